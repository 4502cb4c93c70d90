"""Teach a recogniser further characters without retraining it.

    python add_characters.py characters=澤濱邊 output=mine.safetensors  # from KanjiVG's strokes
    python add_characters.py manifest=PATH output=mine.safetensors      # from images
    python read.py images=[a.png] weights=mine.safetensors

A character's direction begins as the mean embedding of its images, which are drawn by simulated
writers or come from a manifest (H. Qi, M. Brown, D. Lowe, Low-Shot Learning with Imprinted Weights,
2018), and is then turned away from similar known characters; the rest of the recogniser stays
unchanged. Prints the share of images by further simulated writers that is read correctly among all
characters: of the new ones, and of a sample of the others before and after. The recogniser must
have an embedding (``classifier.embedding_dim``), as the shipped one has.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.characters import kanjivg
from handwriting.characters.classes import class_list
from handwriting.config import AddCharacters
from handwriting.corpus.audit import writers_seen
from handwriting.errors import InputError
from handwriting.images.manifest import Manifest, read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.networks.encoders import Classifier, CosineHead
from handwriting.parallel.ranks import main_only
from handwriting.runs.inference import outputs, predict
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Facts, Weights, build, save_weights
from handwriting.sources.simulated_writers import beside_others, simulated
from training_character_classification.reading import recogniser_weights

NUM_TESTED = 10  # further simulated writers
MAX_OTHERS = 500  # of the characters that are known already, in the test
SEED = 2_000_003  # of the writers who write; others test
NUM_OTHERS = 3  # simulated writers who write the known characters, each character by one of them
PULL = 10.0  # towards the mean, over the number of images: directions of few fit these alone


@main_only
def main(config: AddCharacters) -> Path:
    if bool(config.characters) == bool(config.manifest):
        raise InputError("give either characters=澤濱 or manifest=PATH")
    if config.manifest and config.num_writers != AddCharacters.num_writers:
        raise InputError(
            "num_writers= are simulated ones, and the manifest's are not: leave it out"
        )
    weights = recogniser_weights(config.weights)
    if not weights.arguments.get("embedding_dim"):
        raise InputError(
            f"{weights.path} has no embedding: train one with classifier.embedding_dim"
        )
    output = Path(config.output)
    if output.exists():
        raise InputError(f"{output} is there already: name another output")
    runtime = Runtime(config.runtime)
    manifest = read_manifest(config.manifest) if config.manifest else None
    images = shown(config, weights, manifest)
    network, cache_dir = runtime.freeze(build(Classifier, weights)), Path(config.cache_dir)
    others = written_once(weights.facts["characters"], images.size_px, cache_dir)
    added = new_directions(network, images, others, runtime)
    seen = writers_seen(weights, images, others, *([manifest] if manifest else []))
    larger = extended(weights, output, added, images.characters, seen)
    both = runtime.freeze(build(Classifier, larger))
    print(f"{len(added)} characters added")
    if new := [character for character in images.characters if kanjivg.has_drawing(character)]:
        read, count = share_read(both, larger, new, cache_dir, runtime)
        print(
            f"{read:.3f} of {count} images of them by {NUM_TESTED} further simulated writers are "
            f"read right among {len(larger.facts['characters']):,}"
        )
    some = np.random.default_rng(0).permutation(others.characters)[:MAX_OTHERS].tolist()
    before, _ = share_read(network, weights, some, cache_dir, runtime)
    after, count = share_read(both, larger, some, cache_dir, runtime)
    print(f"{after:.3f} of {count} images of others, before {before:.3f}\n{output}")
    return save_weights(output, "classifier", larger.arguments, larger.facts, larger.state)


def extended(
    weights: Weights, path: Path, added: Tensor, characters: Sequence[str], seen: Sequence[str]
) -> Weights:
    """The weights of a recogniser with directions (K, D) of K further characters."""
    known, name = weights.facts["characters"], "head.directions.weight"
    facts = {**weights.facts, "characters": [*known, *characters], "writers_seen": [*seen]}
    rows = torch.cat([weights.state[name], added.to(weights.state[name])])
    arguments = {**weights.arguments, "num_classes": len(rows)}
    return Weights(path, weights.kind, arguments, Facts(path, facts), {**weights.state, name: rows})


def shown(config: AddCharacters, weights: Weights, manifest: Manifest | None) -> PackedImages:
    """The images that show what the new characters look like."""
    size_px, cache_dir = weights.arguments["size_px"], Path(config.cache_dir)
    if manifest:
        images = pack_manifest(manifest, size_px, cache_dir)
        new = [c for c in images.characters if c not in weights.facts["characters"]]
        if not new:
            raise InputError(f"{manifest.path}: {weights.path} knows all of its characters already")
        return images.of(new)
    characters = class_list(config.characters or "")
    if again := "".join(c for c in characters if c in weights.facts["characters"]):
        raise InputError(f"{weights.path} knows {again[:20]} already")
    images = simulated(characters, config.num_writers, 1, SEED, size_px, cache_dir)
    return beside_others(images)


def written_once(characters: Sequence[str], size_px: int, cache_dir: Path) -> PackedImages:
    """An image of each character that KanjiVG draws, by simulated writers in turn.

    Raises:
        InputError: it draws none of them.
    """
    drawn = [character for character in characters if kanjivg.has_drawing(character)]
    if not drawn:
        raise InputError("KanjiVG draws none of the known characters, as look-alikes")
    written = simulated(drawn, NUM_OTHERS, 1, SEED, size_px, cache_dir)
    return beside_others(written.select(written.labels % NUM_OTHERS == written.writers))


def embedded(network: Classifier, images: PackedImages, runtime: Runtime) -> Tensor:
    """What a recogniser embeds N images as, (N, D) of length 1."""
    return F.normalize(outputs(nn.Sequential(network.encoder, network.embedding), images, runtime))


def new_directions(
    network: Classifier, images: PackedImages, others: PackedImages, runtime: Runtime
) -> Tensor:
    """What directions tell new characters from each other and from the known ones.

    A mean lies nearer to its images than a direction that was trained beside look-alikes, so it
    would take images of these. Each new direction therefore minimises the cross entropy of its
    images and of one image of each known character, whose directions stay.

    Args:
        network: with an embedding and a direction for each known character.
        images: N, of K new characters.
        others: M, of the known ones.

    Returns:
        (K, D) of length 1.
    """
    own, other = (embedded(network, part, runtime) for part in (images, others))
    mean, labels = mean_directions(own, images), torch.from_numpy(images.labels)
    head = deepcopy(network.head).cpu()
    every, counts = torch.cat([own, other]), labels.bincount()
    with torch.no_grad():
        known = torch.logsumexp(head(every), dim=1, keepdim=True)
    new = CosineHead(*mean.shape[::-1])
    new.load_state_dict({"directions.weight": mean, "log_scale": head.log_scale})
    new.log_scale.requires_grad_(False)
    directions = new.directions.weight
    optimizer = torch.optim.LBFGS([directions], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = new(every)
        all_of_them = torch.logsumexp(torch.cat([known, logits], dim=1), dim=1)
        right = logits[: len(own)].gather(1, labels[:, None]).squeeze(1)
        missed = (all_of_them[: len(own)] - right) / counts[labels]
        astray = (F.normalize(directions) - mean).square().sum(dim=1) / counts
        total = missed.sum() + all_of_them[len(own) :].sum() + PULL * astray.sum()
        total.backward()
        return total

    optimizer.step(loss)
    return F.normalize(directions.detach())


def mean_directions(embedded: Tensor, images: PackedImages) -> Tensor:
    """The mean direction of each character's images (N, D) of length 1: (K, D) of length 1."""
    sums = torch.zeros(len(images.characters), embedded.shape[1])
    return F.normalize(sums.index_add_(0, torch.from_numpy(images.labels), embedded))


def share_read(
    network: Classifier, weights: Weights, characters: Sequence[str], cache_dir: Path,
    runtime: Runtime,
) -> tuple[float, int]:  # fmt: skip
    """The share that a recogniser reads right of images by simulated writers, and their number."""
    size_px = weights.arguments["size_px"]
    images = simulated(characters, NUM_TESTED, 1, SEED + 1, size_px, cache_dir)
    images = images.of(weights.facts["characters"])
    return float((predict(network, images, runtime) == images.labels).mean()), len(images)


if __name__ == "__main__":
    run_script(main)
