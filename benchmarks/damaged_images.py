"""Damaged images of handwriting, to measure what the stroke reader refuses."""

from collections.abc import Callable

import numpy as np
import torch

from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.packed import PackedImages
from handwriting.sources import soft_raster
from handwriting.sources.handwritten_strokes import SIZE_PX, Float32, HandwrittenStrokes

Rng = np.random.Generator
REACH = 1.15  # pen radii from a stroke within which ink belongs to it
BLOT = (0.06, 0.14)  # radii, in units of the ink's longer side


def away(image: Uint8, strokes: Float32) -> Float32:
    """The distances (SIZE_PX, SIZE_PX) of an image's pixels from strokes (S, P, 2)."""
    line = torch.from_numpy(strokes)[None]
    mask = torch.ones(line.shape[:2], dtype=torch.bool)
    centre, _ = soft_raster.boxes(torch.from_numpy(image)[None])
    pixels = soft_raster.pixel_centres(SIZE_PX) - centre[:, None]
    nearest = soft_raster.nearest_segments(line, mask, pixels)
    return soft_raster.distances(line, nearest, pixels).view(image.shape).numpy()


def without(image: Uint8, gone: Float32, rest: Float32, radius: float) -> Uint8:
    """An image without the ink of some strokes, except where other strokes cover it, too."""
    to_rest = away(image, rest)
    erased = (away(image, gone) < to_rest) & (to_rest > REACH * radius)
    return np.where(erased, 0, image).astype(np.uint8)


def missing(image: Uint8, strokes: Float32, radius: float, other: Float32, rng: Rng) -> Uint8:
    k = rng.integers(len(strokes))
    return without(image, strokes[[k]], np.delete(strokes, k, axis=0), radius)


def part(image: Uint8, strokes: Float32, radius: float, other: Float32, rng: Rng) -> Uint8:
    """Half of one of the longer strokes is missing."""
    lengths = np.linalg.norm(np.diff(strokes, axis=1), axis=-1).sum(axis=1)
    k = rng.choice(np.argsort(lengths)[len(strokes) // 2 :])
    half = strokes.shape[1] // 2
    rest = strokes.copy()
    rest[k, half:] = rest[k, half]
    return without(image, strokes[[k], half:], rest, radius)


def extra(image: Uint8, strokes: Float32, radius: float, other: Float32, rng: Rng) -> Uint8:
    """A stroke of another image is added."""
    more = away(image, other[[rng.integers(len(other))]])
    ink = np.clip((radius - more) * SIZE_PX + 0.5, 0, 1)
    return np.maximum(image, (255 * ink).astype(np.uint8))


def cut(image: Uint8, strokes: Float32, radius: float, other: Float32, rng: Rng) -> Uint8:
    """The image is cut off at one side."""
    turns = int(rng.integers(4))
    turned = np.rot90(image, turns).copy()
    turned[:, int(rng.uniform(0.45, 0.8) * SIZE_PX) :] = 0
    return np.rot90(turned, -turns)


def blot(image: Uint8, strokes: Float32, radius: float, other: Float32, rng: Rng) -> Uint8:
    place = strokes[rng.integers(len(strokes))].mean(axis=0)
    covered = away(image, np.stack([place, place + 1e-3])[None]) < rng.uniform(*BLOT)
    return np.where(covered, 255, image).astype(np.uint8)


DAMAGES: dict[str, Callable[[Uint8, Float32, float, Float32, Rng], Uint8]] = {
    "missing": missing, "part": part, "extra": extra, "cut": cut, "blot": blot,
}  # fmt: skip


def damaged(packed: PackedImages, read: HandwrittenStrokes, seed: int) -> dict[str, PackedImages]:
    """Images of ``SIZE_PX``, each with every kind of damage that is visible in it, by kind.

    For "other", images are labelled as another character, with as many strokes if there is one.

    Args:
        read: the strokes read from them, all accepted.
    """
    rng = np.random.default_rng(seed)
    images: dict[str, list[Uint8]] = {name: [] for name in DAMAGES}
    rows: dict[str, list[int]] = {name: [] for name in DAMAGES}
    for i in range(len(packed)):
        image, strokes, radius = np.array(packed.images[i]), read.of(i), float(read.radii[i])
        dot = np.pi * (radius * SIZE_PX) ** 2  # pixels that must change for damage to be visible
        for name, damage in DAMAGES.items():
            other = read.of(int(rng.choice(np.flatnonzero(packed.labels != packed.labels[i]))))
            if name == "missing" and len(strokes) == 1:
                continue
            spoilt = damage(image, strokes, radius, other, rng)
            if np.count_nonzero((spoilt > 127) != (image > 127)) > dot and (spoilt > 127).any():
                images[name].append(canonical_drawn(np.ascontiguousarray(spoilt), SIZE_PX))
                rows[name].append(i)
    found = {}
    for name in DAMAGES:
        own = packed.select(rows[name])
        found[name] = PackedImages(
            np.stack(images[name]), own.labels, own.writers, own.characters, own.writer_names
        )
    labels = packed.labels.copy()
    for i in range(len(packed)):
        others = np.flatnonzero(packed.labels != packed.labels[i])
        alike = others[read.num_strokes[others] == read.num_strokes[i]]
        labels[i] = packed.labels[rng.choice(alike if len(alike) else others)]
    found["other"] = PackedImages(
        packed.images, labels, packed.writers, packed.characters, packed.writer_names
    )
    return found
