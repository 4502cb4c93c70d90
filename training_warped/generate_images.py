"""Warp the training writers' images: PNG files and a manifest.

    python training_warped/generate_images.py

The simplest baseline for every generator: one of a character's real images is bent by a smooth
random field (P. Simard, D. Steinkraus, J. Platt, Best Practices for Convolutional Neural Networks,
2003), its connected parts are each moved, turned and scaled a little, and its strokes become
thinner or thicker. Writes to ``runs/<name>/generated/warped/``.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.generation import (
    GeneratedBatch,
    GenerateFn,
    ImageRequest,
    Prepared,
    generate,
)
from handwriting.corpus.styles import WriterIndex
from handwriting.errors import report_problems
from handwriting.images.canonical import Uint8
from handwriting.images.packed import PackedImages
from handwriting.runs.folder import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import load_weights

Float32 = npt.NDArray[np.float32]
FIELDS = ((4, 0.045), (7, 0.008))  # control points per side, deviation as a share of the side
# Standard deviations for a part: share of the image's side, radians, log of the size.
SHIFT, TURN, STRETCH = 0.025, 0.1, 0.08
THICKNESS = 0.4  # largest blend towards strokes that are two pixels wider or narrower


def main(config: Config) -> Path:
    weights = load_weights(
        config.gen_weight or run_folder(config) / "warped",
        "warped",
        config.size_px,
    )

    def prepare(corpus: Corpus, characters: Sequence[str], _: Runtime) -> Prepared:
        absent = [c for c in corpus.train.absent() if c in characters]
        advice = "Choose characters that they wrote: generation.characters."
        problems = [f"{c}: no training writer's image of it to warp" for c in absent]
        report_problems("warped", problems, advice)
        return warping(corpus.train), [corpus.train]

    return generate(config, "warped", weights, prepare)


def warping(images: PackedImages) -> GenerateFn:
    """The function that warps a random image of each requested character."""
    index = WriterIndex(images.labels, images.writers)

    def make(wanted: list[ImageRequest]) -> GeneratedBatch:
        rows = [int(index.pick(one.label, 1, one.rng)[0]) for one in wanted]
        drawn = [warped(images.images[row], one.rng) for row, one in zip(rows, wanted, strict=True)]
        writers = [images.writer_names[images.writers[row]] for row in rows]
        return GeneratedBatch(np.stack(drawn), writers)

    return make


def warped(image: Uint8, rng: np.random.Generator) -> Uint8:
    """Warp ink (H, H) uint8, bright on 0: move its parts, bend it, change its strokes' width."""
    ink = bent(moved(image, rng), rng)
    neighbours = np.ones((3, 3), np.uint8)
    blend = rng.uniform(-THICKNESS, THICKNESS)
    other = (cv2.dilate if blend > 0 else cv2.erode)(ink, neighbours)
    mixed: Uint8 = cv2.addWeighted(ink, 1 - abs(blend), other, abs(blend), 0).astype(np.uint8)
    return mixed


def moved(image: Uint8, rng: np.random.Generator) -> Uint8:
    """Move, turn and scale every connected part of ink (H, H) about its centre."""
    side = len(image)
    count, part_of, _, middles = cv2.connectedComponentsWithStats((image > 0).astype(np.uint8))
    result = np.zeros_like(image)
    for part in range(1, count):
        turn, stretch = TURN * rng.standard_normal(), np.exp(STRETCH * rng.standard_normal())
        matrix = cv2.getRotationMatrix2D(tuple(middles[part]), np.degrees(turn), stretch)
        matrix[:, 2] += SHIFT * side * rng.standard_normal(2)
        own = np.where(part_of == part, image, 0).astype(np.uint8)
        result = np.maximum(result, cv2.warpAffine(own, matrix, (side, side)))
    return result


def bent(image: Uint8, rng: np.random.Generator) -> Uint8:
    """Bend ink (H, H) by smooth random fields."""
    side = len(image)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for cells, deviation in FIELDS:
        control = (deviation * side * rng.standard_normal((cells, cells, 2))).astype(np.float32)
        field: Float32 = cv2.resize(control, (side, side), interpolation=cv2.INTER_CUBIC)
        x, y = x + field[..., 0], y + field[..., 1]
    found: Uint8 = cv2.remap(image, x, y, cv2.INTER_LINEAR).astype(np.uint8)
    return found


if __name__ == "__main__":
    run_script(main, reads=["gen_weight", "generation"], folder_keys=["generation.output"])
