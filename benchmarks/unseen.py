"""Are characters recognised of which no image was seen in training?

    python -m benchmarks.unseen data/tomoe/manifest.json
    python -m benchmarks.unseen MANIFEST --unseen held_out --recogniser WEIGHTS

The manifest's images of characters that the CLIP that ships has not seen (a list) are matched with
their character among all 3,057: by its text; by one drawing of it, KanjiVG's; by the mean of images
in ten simulated hands; by text and images together. Images of characters that it has seen are
matched for comparison. A recogniser that was trained without the unseen ones
(``data.characters=base``) is given directions for them (``add_characters.py``) and reads the same
images. Ends in one line of JSON: for each, the share found first, and among the first five.
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
from handwriting.sources.handwritten_strokes import SIZE_PX, model_of
from handwriting.sources.simulated_writers import simulated
from training_character_classification.reading import judged
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
    images = pack_manifest(read_manifest(arguments.manifest), SIZE_PX, arguments.cache).of(
        characters
    )
    is_unseen = np.isin(np.array(characters)[images.labels], unseen)
    others = np.random.default_rng(0).permutation(np.flatnonzero(~is_unseen))[: arguments.limit]
    asked = {"unseen": images.select(is_unseen), "seen": images.select(np.sort(others))}
    pictures = simulated(characters, NUM_HANDS, 1, SEED, images.size_px, arguments.cache)
    result: dict[str, Any] = {f"num_{name}": len(part) for name, part in asked.items()}

    clip = load_weights(arguments.clip, "clip")
    network = runtime.freeze(build(Clip, clip))
    prototypes = prototypes_of(network, clip.facts["vocabulary"], pictures, runtime)
    for name, part in asked.items():
        embedded = outputs(ImageTower(network), part, runtime)
        for kind, own in prototypes.items():
            result |= shares(f"clip_{name}_by_{kind}", embedded @ own.T, part)
    if arguments.recogniser:
        weights = load_weights(arguments.recogniser, "classifier", SIZE_PX)
        if not weights.arguments.get("embedding_dim") or {*unseen} & {*weights.facts["characters"]}:
            parser.error(f"{weights.path}: needs an embedding, and not to know {arguments.unseen}")
        recogniser = runtime.freeze(build(Classifier, weights))
        known, new = weights.facts["characters"], pictures.of(unseen)
        once = add_characters.written_once(known, new.size_px, arguments.cache)
        added = add_characters.new_directions(recogniser, new, once, runtime)
        every = torch.cat([F.normalize(recogniser.head.directions.weight.cpu()), added])
        for name, part in asked.items():
            images = part.of([*known, *unseen])
            similarity = add_characters.embedded(recogniser, images, runtime) @ every.T
            result |= shares(f"recogniser_{name}", similarity, images)
    print(json.dumps(result))


def prototypes_of(
    network: Clip, vocabulary: list[str], pictures: PackedImages, runtime: Runtime
) -> dict[str, Tensor]:
    """The embeddings of K characters by their texts and by images, (K, D) each."""
    characters = pictures.characters
    structure = Structure()
    texts = class_texts(structure, characters, characters, Vocabulary(tuple(vocabulary)))
    text = class_embeddings(network, texts.to(runtime.device), runtime).cpu()
    tower, labels = ImageTower(network), np.arange(len(characters))
    models = np.stack([model_of(character).image for character in characters])
    drawings = replace(pictures, images=models, labels=labels, writers=0 * labels)
    hands = add_characters.mean_directions(outputs(tower, pictures, runtime), pictures)
    return {
        "text": text, "drawing": outputs(tower, drawings, runtime), "hands": hands,
        "both": F.normalize(text + hands),
    }  # fmt: skip


def shares(name: str, scores: Tensor, images: PackedImages) -> dict[str, float]:
    """The shares of N images whose character has the highest score, or is among the first five."""
    table, _ = judged([scores], images)
    return {name: float(table["right"].mean()), f"{name}_in_five": float(table["in_five"].mean())}


if __name__ == "__main__":
    main()
