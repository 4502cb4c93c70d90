"""Are strokes read out of images what was written?

    python -m benchmarks.strokes data/omniglot_katakana/manifest.json
    python -m benchmarks.strokes data/tomoe/manifest.json --truth data/tomoe/strokes.json
    python -m benchmarks.strokes data/tomoe/manifest.json --limit 150 --damaged

Reads the strokes out of every image of a manifest on one core, draws them, and compares; ends in
one line of JSON. What is refused counts as an IoU of 0, and as if the model had been read.

IoU is that of drawing and image over half ink, at 40 px for kana and 56 px for the others, with one
radius of the pen for an image, the one that covers it best at this size; the drawing has the box of
the image's ink at this size. Distances are means over strokes, matched one to one such that their
sum is least (an image does not tell the order), of 11 points at equal arc length, in a box of side
1.72; only characters that were written with as many strokes as KanjiVG has count.
``author_found_images`` is the share of images for which the nearest drawing of their character, of
all people's, is their own person's; ``author_found_hands`` the share of people by all of their
images together.

``--damaged`` also damages each image that was accepted (``benchmarks/damaged_images.py``): a stroke
or half of a long one is missing, a stroke of another image is there, too, the image is said to be
of another character, it has lost a side, or has a blot. ``damaged_refused`` are the shares of them
that are refused, and 80 % of the time is theirs.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchmarks.damaged_images import damaged
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, margin_px
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import PackedImages, pack_manifest
from handwriting.images.sheets import save_png, sheet
from handwriting.runs.inference import stroke_reader
from handwriting.sources import soft_raster
from handwriting.sources.hands import boxed
from handwriting.sources.handwritten_strokes import (
    NUM_POINTS,
    SIZE_PX,
    Float32,
    HandwrittenStrokes,
    is_readable,
    model_of,
    read_strokes,
)
from handwriting.sources.stroke_fitting import covering_radii
from handwriting.sources.strokes import Float64, evenly
from handwriting.storage.json_files import read_json


def distance(ours: Float64 | Float32, theirs: Float64 | Float32) -> float:
    """Between equally many strokes (S, P, 2)."""
    apart = np.linalg.norm(boxed(ours)[:, None] - boxed(theirs)[None], axis=-1).mean(axis=-1)
    return float(apart[linear_sum_assignment(apart)].mean())


def truths(packed: PackedImages, path: Path) -> list[Float64 | None]:
    """What was written, for each image whose character has as many strokes in KanjiVG, else None.

    The file's form is {"character": [[[[x, y], ...] per stroke] per image]}, x right and y down.
    """
    told = read_json(path)
    numbers: Counter[str] = Counter()
    found: list[Float64 | None] = []
    for label in packed.labels.tolist():
        character = packed.characters[label]
        try:
            record = told[character][numbers[character]]
        except (LookupError, TypeError):
            raise InputError(f"{path} lacks strokes of an image of {character}") from None
        numbers[character] += 1
        same = is_readable(character) and len(record) == len(model_of(character).strokes)
        found.append(np.concatenate([_stroke(points) for points in record]) if same else None)
    return found


def _stroke(points: Any) -> Float64:
    line = np.array([points[0], *points], np.float64)  # a dot has one point
    line[0] -= 1e-3
    return evenly(line[None], NUM_POINTS)


def each(strokes: HandwrittenStrokes) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """What was read, image by image: its number, strokes (1, S, P, 2), mask (1, S), radius (1,)."""
    for i in np.flatnonzero(strokes.num_strokes).tolist():
        line = torch.from_numpy(strokes.of(i))[None]
        mask = torch.ones(line.shape[:2], dtype=torch.bool)
        yield i, line, mask, torch.from_numpy(strokes.radii[i : i + 1])


def ious(packed: PackedImages, read: PackedImages, strokes: HandwrittenStrokes) -> Float32:
    """(N,) IoU of images and drawings at the size of the images, with the pen that fits there.

    Args:
        read: the images, at the size at which their strokes were read; the ink's box, of whole
            pixels, has another aspect there.
    """
    found = np.zeros(len(packed), np.float32)
    for i, line, mask, radius in each(strokes):
        image = torch.from_numpy(packed.images[i : i + 1])
        centre, sides = soft_raster.boxes(image)
        _, sides_read = soft_raster.boxes(torch.from_numpy(read.images[i : i + 1]))
        line = line * sides / sides_read
        pixels = soft_raster.pixel_centres(packed.size_px) - centre[:, None]
        away = soft_raster.distances(line, soft_raster.nearest_segments(line, mask, pixels), pixels)
        ink = image > 127
        best = covering_radii(away, radius, ink.flatten(1))
        drawn = (away < best[:, None]).view(ink.shape)
        found[i] = float(soft_raster.iou(drawn, ink))
    return found


def drawings(strokes: HandwrittenStrokes, size_px: int) -> Uint8:
    """(N, size_px, size_px) of what was read."""
    found = np.zeros((len(strokes.radii), size_px, size_px), np.uint8)
    pixels = soft_raster.pixel_centres(size_px)
    softness = 0.35 / (size_px - 2 * margin_px(size_px))  # as area averaging leaves an edge
    for i, line, mask, radius in each(strokes):
        nearest = soft_raster.nearest_segments(line, mask, pixels)
        drawn = soft_raster.draw(line, radius, nearest, pixels, softness)
        found[i] = (255 * drawn).byte().view(size_px, size_px)
    return found


def authors_found(packed: PackedImages, drawn: Uint8) -> dict[str, float | None]:
    """Whether images are nearest to drawings by their own person."""
    num_people = len(packed.writer_names)
    if num_people < 2:
        return {"author_found_images": None, "author_found_hands": None}
    images = np.array(packed.images)
    ours, theirs = (
        [gaussian_filter(i.astype(np.float32), 1.0) for i in s] for s in (images, drawn)
    )
    right, totals = [], np.zeros((num_people, num_people))
    for label in np.unique(packed.labels):  # with --limit some characters have no image
        rows = np.flatnonzero(packed.labels == label)
        people = packed.writers[rows]
        apart = np.array([[np.square(ours[i] - theirs[k]).mean() for k in rows] for i in rows])
        by_person = np.stack(
            [apart[:, people == p].min(axis=1, initial=np.inf) for p in range(num_people)], axis=1
        )
        right += (by_person.argmin(axis=1) == people).tolist()
        complete = np.isfinite(by_person).all()
        for row, person in zip(by_person, people, strict=True):
            totals[person] += row if complete else 0
    # Of characters that all have; without any, nobody can be told from the others.
    of_hands = float((totals.argmin(axis=1) == np.arange(num_people)).mean())
    return {
        "author_found_images": float(np.mean(right)),
        "author_found_hands": of_hands if totals.any() else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--truth", type=Path, help="pen strokes of each image, JSON")
    parser.add_argument("--weights", type=Path, help="of a reader; default: those that ship")
    parser.add_argument("--judge", type=Path, help="weights of a judge; default: those that ship")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="of packed images")
    parser.add_argument("--limit", type=int, help="so many images, drawn at random")
    parser.add_argument("--damaged", action="store_true", help="damage the images, too")
    parser.add_argument("--sheet", type=Path, help="PNG: the worst over what was read")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reader, reader_keys = stroke_reader(arguments.weights, arguments.judge)

    manifest = read_manifest(arguments.manifest)
    rows = np.arange(len(manifest.entries))
    if arguments.limit:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[: arguments.limit])

    def packed_at(size_px: int) -> PackedImages:
        return pack_manifest(manifest, size_px, arguments.cache).select(rows)

    packed = packed_at(SIZE_PX)
    for character in packed.characters:
        is_readable(character)  # KanjiVG's files are read once, and not timed

    def read(images: PackedImages) -> HandwrittenStrokes:
        with tempfile.TemporaryDirectory() as folder:
            return read_strokes(images, reader, reader_keys, Path(folder))

    started = time.process_time()
    strokes = read(packed)
    duration_s = time.process_time() - started
    accepted = strokes.accepted

    is_kana = np.array([packed.characters[label] < "\u3100" for label in packed.labels])
    overlap = np.zeros(len(packed), np.float32)
    for size_px, is_of_size in ((40, is_kana), (56, ~is_kana)):
        own = np.flatnonzero(accepted & is_of_size)
        if len(own):
            parts = (images.select(own) for images in (packed_at(size_px), packed))
            overlap[own] = ious(*parts, strokes.select(own))
    drawn = drawings(strokes, SIZE_PX)
    found: dict[str, Any] = {
        "num_images": len(packed),
        "refused": int((~accepted).sum()),
        "iou_mean": float(overlap.mean()),
        "iou_p05": float(np.quantile(overlap, 0.05)),
        "images_per_s": len(packed) / duration_s,
        **authors_found(packed, drawn),
    }
    if arguments.truth:
        written = truths(pack_manifest(manifest, SIZE_PX, arguments.cache), arguments.truth)
        apart = []
        for i, (row, label) in enumerate(zip(rows, packed.labels, strict=True)):
            if (truth := written[row]) is not None:
                model = model_of(packed.characters[label]).strokes
                apart.append(distance(strokes.of(i) if accepted[i] else model, truth))
        found |= {
            "num_compared": len(apart),
            "distance_median": float(np.median(apart)),
            "distance_p90": float(np.quantile(apart, 0.9)),
        }
    if arguments.damaged:
        whole = np.flatnonzero(accepted)
        found["damaged_refused"] = {
            name: float((~read(images).accepted).mean())
            for name, images in damaged(packed.select(whole), strokes.select(whole), 0).items()
        }
    if arguments.sheet:
        worst = np.argsort(overlap, kind="stable")[:240]
        parts = [worst[first : first + 24] for first in range(0, len(worst), 24)]
        pairs = [images[part] for part in parts for images in (packed.images, drawn)]
        save_png(arguments.sheet, sheet(pairs))
    print(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
