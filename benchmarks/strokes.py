"""Do the strokes read from images match what was written?

    python -m benchmarks.strokes data/omniglot_katakana/manifest.json
    python -m benchmarks.strokes data/tomoe/manifest.json --truth data/tomoe/strokes.json
    python -m benchmarks.strokes data/tomoe/manifest.json --limit 150 --damaged

Reads the strokes of every image of a manifest on one core, draws them, and compares; ends in one
line of JSON. A refused image counts as an IoU of 0, and as if the model itself had been read.

IoU compares drawing and image, thresholded at half ink, at 40 px for kana and 56 px for other
characters. Each image has one pen radius, the one that covers it best at this size, and the drawing
is fitted to the box of the image's ink. Distances are over 11 points at equal arc length in a box
of side 1.72, as means over strokes, which are matched one to one such that the sum is least (an
image does not show their order); only characters that were written with as many strokes as KanjiVG
has are counted. ``author_found_images`` is the share of images for which, among all people's
drawings of their character, the nearest is by the image's own writer; ``author_found_hands`` is the
share of people so identified by all of their images together.

``--damaged`` also damages each accepted image (``benchmarks/damaged_images.py``): a stroke or half
of a long one is missing, a stroke of another image is added, the image is labelled as another
character, is cut off at a side, or has a blot. ``damaged_refused`` is the share refused of each;
this takes 80 % of the time.
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
    """The mean distance between equally many strokes (S, P, 2), matched one to one."""
    apart = np.linalg.norm(boxed(ours)[:, None] - boxed(theirs)[None], axis=-1).mean(axis=-1)
    return float(apart[linear_sum_assignment(apart)].mean())


def truths(packed: PackedImages, path: Path) -> list[Float64 | None]:
    """The written strokes of each image, None if KanjiVG has another number of strokes.

    The file's format is {"character": [[[[x, y], ...] per stroke] per image]}, x right and y down.
    """
    recorded = read_json(path)
    numbers: Counter[str] = Counter()
    found: list[Float64 | None] = []
    for label in packed.labels.tolist():
        character = packed.characters[label]
        try:
            record = recorded[character][numbers[character]]
        except (LookupError, TypeError):
            raise InputError(
                f"{path} has strokes of fewer images of {character} than the manifest"
            ) from None
        numbers[character] += 1
        same = is_readable(character) and len(record) == len(model_of(character).strokes)
        found.append(np.concatenate([_stroke(points) for points in record]) if same else None)
    return found


def _stroke(points: Any) -> Float64:
    line = np.array([points[0], *points], np.float64)  # a dot has one point
    line[0] -= 1e-3
    return evenly(line[None], NUM_POINTS)


def each(strokes: HandwrittenStrokes) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """For each image that was read: its index, strokes (1, S, P, 2), mask (1, S), radius (1,)."""
    for i in np.flatnonzero(strokes.num_strokes).tolist():
        line = torch.from_numpy(strokes.of(i))[None]
        mask = torch.ones(line.shape[:2], dtype=torch.bool)
        yield i, line, mask, torch.from_numpy(strokes.radii[i : i + 1])


def ious(packed: PackedImages, read: PackedImages, strokes: HandwrittenStrokes) -> Float32:
    """IoU (N,) of images and drawings at the size of the images, with the best-fitting pen.

    Args:
        read: the images at the size at which their strokes were read, where the aspect of the ink's
            box, which is of whole pixels, differs slightly.
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
    """Drawings (N, size_px, size_px) of the strokes that were read."""
    found = np.zeros((len(strokes.radii), size_px, size_px), np.uint8)
    pixels = soft_raster.pixel_centres(size_px)
    softness = 0.35 / (size_px - 2 * margin_px(size_px))  # like edges under area averaging
    for i, line, mask, radius in each(strokes):
        nearest = soft_raster.nearest_segments(line, mask, pixels)
        drawn = soft_raster.draw(line, radius, nearest, pixels, softness)
        found[i] = (255 * drawn).byte().view(size_px, size_px)
    return found


def authors_found(packed: PackedImages, drawn: Uint8) -> dict[str, float | None]:
    """The shares of images and of people that are nearest to drawings by the right person."""
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
    # Over characters that all people wrote; without any, people cannot be identified.
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
    parser.add_argument("--limit", type=int, help="use only this many random images")
    parser.add_argument("--damaged", action="store_true", help="test damaged images, too")
    parser.add_argument("--sheet", type=Path, help="PNG: the worst images above what was read")
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
        is_readable(character)  # reads KanjiVG's files, so that this is not timed

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
