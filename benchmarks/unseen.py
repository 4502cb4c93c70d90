"""Are characters recognised of which no image was ever seen?

    python -m benchmarks.unseen data/tomoe/manifest.json
    python -m benchmarks.unseen MANIFEST --unseen held_out --recogniser WEIGHTS

The images of a manifest that show characters of a list, which CLIP (the one that ships) has not
seen, find their character among all 3,057: by its text; by one drawing of it, KanjiVG's; by the
mean of pictures in ten simulated hands; by text and pictures together. Beside them the images of
characters that it has seen. A recogniser that was trained without them (``data.characters=base``)
is given their mean directions (``add_characters.py``) and reads the same images. Ends in one line
of JSON: of each the share found, and among the first five.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import add_characters
from handwriting.characters.classes import class_list
from handwriting.characters.vocabulary import Vocabulary, class_texts
from handwriting.config import Runtime as RuntimeConfig, Structure
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.networks.encoders import Classifier
from handwriting.runs.inference import outputs
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights, shipped
from handwriting.sources.handwritten_strokes import MODEL_RADIUS
from handwriting.sources.simulated_writers import simulated
from handwriting.sources.strokes import draw_canonical, read_drawing
from training_clip.model import Clip
from training_clip.retrieval import ImageTower, class_embeddings

NUM_HANDS = 10
SEED = 3_000_017


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--unseen", default="held_out", help="list of characters")
    parser.add_argument("--clip", type=Path, default=shipped("clip"))
    parser.add_argument("--recogniser", type=Path, help="weights that lack these characters")
    parser.add_argument("--limit", type=int, default=1000, help="images of seen ones, at random")
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    arguments = parser.parse_args()
    characters, unseen = class_list("all"), class_list(arguments.unseen)
    runtime = Runtime(RuntimeConfig(num_threads=1))
    images = pack_manifest(read_manifest(arguments.manifest), 64, arguments.cache).of(characters)
    is_unseen = np.isin(np.array(characters)[images.labels], unseen)
    others = np.random.default_rng(0).permutation(np.flatnonzero(~is_unseen))[: arguments.limit]
    asked = {"unseen": images.select(is_unseen), "seen": images.select(np.sort(others))}
    pictures = simulated(characters, NUM_HANDS, 1, SEED, images.size_px, arguments.cache)
    result: dict[str, Any] = {f"num_{name}": len(part) for name, part in asked.items()}

    clip = load_weights(arguments.clip, "clip", "training_clip/train_clip.py")
    network = runtime.freeze(build(Clip, clip))
    prototypes = prototypes_of(network, clip.facts["vocabulary"], pictures, runtime)
    for name, part in asked.items():
        embedded = outputs(ImageTower(network), part, runtime)
        for kind, own in prototypes.items():
            result |= shares(f"clip_{name}_by_{kind}", embedded @ own.T, part)
    if arguments.recogniser:
        weights = load_weights(arguments.recogniser, "classifier", "prepare_recogniser.py")
        recogniser = runtime.freeze(build(Classifier, weights))
        new = pictures.of(unseen)
        directions = add_characters.directions(recogniser, new, runtime)
        known = F.normalize(recogniser.head.directions.weight.cpu())
        order = [*weights.facts["characters"], *unseen]
        embedding = torch.nn.Sequential(recogniser.encoder, recogniser.embedding)
        every = torch.cat([known, directions])
        for name, part in asked.items():
            own = part.of(order)
            similarity = F.normalize(outputs(embedding, own, runtime)) @ every.T
            result |= shares(f"recogniser_{name}", similarity, own)
    print(json.dumps(result))


def prototypes_of(
    network: Clip, vocabulary: list[str], pictures: PackedImages, runtime: Runtime
) -> dict[str, Tensor]:
    """What each of K characters is embedded as by its text and by pictures, (K, D) each."""
    characters = pictures.characters
    structure = Structure()
    texts = class_texts(structure, characters, characters, Vocabulary(tuple(vocabulary)))
    text = class_embeddings(network, texts.to(runtime.device), runtime).cpu()
    tower = ImageTower(network)
    drawn = [(own, np.full(own.shape[:2], MODEL_RADIUS)) for own in strokes_of(characters)]
    drawing = outputs(tower, as_packed(draw_canonical(drawn, pictures.size_px), pictures), runtime)
    by_hand = outputs(tower, pictures, runtime)
    sums = torch.zeros_like(text).index_add_(0, torch.from_numpy(pictures.labels), by_hand)
    hands = F.normalize(sums)
    return {"text": text, "drawing": drawing, "hands": hands, "both": F.normalize(text + hands)}


def strokes_of(characters: tuple[str, ...]) -> list[Any]:
    return [read_drawing(character).strokes for character in characters]


def as_packed(images: Any, like: PackedImages) -> PackedImages:
    """One image of each character."""
    labels = np.arange(len(images))
    return replace(like, images=images, labels=labels, writers=0 * labels)


def shares(name: str, scores: Tensor, images: PackedImages) -> dict[str, float]:
    """The shares of images (N,) whose character has the highest score, or is among five."""
    found = scores.topk(5, dim=1).indices == torch.from_numpy(images.labels)[:, None]
    return {name: float(found[:, 0].float().mean()),
            f"{name}_in_five": float(found.any(dim=1).float().mean())}  # fmt: skip


if __name__ == "__main__":
    main()
