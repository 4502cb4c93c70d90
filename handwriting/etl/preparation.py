"""Chosen records become packed arrays: one part for each ETL file, then the three splits.

Beside the arrays of a split lies ``records.npy`` (N, 2): the file, an index into the ``files`` of
``meta.json``, and the record in it that each image was.
"""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.errors import InputError
from handwriting.etl.integrity import DataFile
from handwriting.etl.prepared import unmark
from handwriting.etl.records import EtlFile
from handwriting.etl.selection import SPLITS, Bool, Int64, Selection
from handwriting.etl.settings import Preparation
from handwriting.images.canonical import MIN_CONTRAST, Uint8, canonical, resize, smooth
from handwriting.images.packed import save_array, write_images
from handwriting.parallel.workers import run_parallel
from handwriting.storage.atomic import write_atomically
from handwriting.storage.json_files import write_json
from handwriting.storage.keys import content_key

_AT_ONCE = 512  # images decoded at a time


def prepare(
    selection: Selection, settings: dict[str, Any], output: Path, num_workers: int
) -> dict[str, int]:
    """Make the arrays of all splits; parts that an interrupted run left are not made again.

    Args:
        settings: of :func:`handwriting.etl.settings.settings_of`.
        num_workers: processes, each with one ETL file at a time.

    Returns:
        How many records of each split were left out as blank.

    Raises:
        InputError: the disk is full, or a file became unreadable.
    """
    unmark(output)
    folder = output / "unfinished" / content_key(settings)
    parts = _make_parts(selection, settings, folder, num_workers)
    has_ink = np.concatenate([np.load(part)["has_ink"] for part in parts.values()])
    for split in SPLITS:
        shutil.rmtree(folder / split, ignore_errors=True)
        _save_split(folder / split, selection, has_ink, parts, settings["size_px"])
    for split in SPLITS:
        shutil.rmtree(output / split, ignore_errors=True)
        os.replace(folder / split, output / split)
    blank = selection.split[~has_ink]
    return {split: int((blank == i).sum()) for i, split in enumerate(SPLITS)}


def _make_parts(
    selection: Selection, settings: dict[str, Any], folder: Path, num_workers: int
) -> dict[int, Path]:
    """The part of every file that has chosen records, by the file's number."""
    numbers = np.unique(selection.file).tolist()
    parts = {number: folder / f"{selection.files[number].name}.npz" for number in numbers}
    jobs = [
        (
            partial(
                _make_part, file=selection.files[number],
                record=selection.record[selection.file == number],
                preparation=settings["preparation"], size_px=settings["size_px"],
            ),
            part,
        )
        for number, part in parts.items()
    ]  # fmt: skip
    run_parallel(jobs, num_workers, "preparing files")
    return parts


def _make_part(
    path: Path, file: DataFile, record: Int64, preparation: Preparation, size_px: int
) -> None:
    """Write the images of some records of a file, and which of them have ink, if not done yet."""
    if path.is_file():
        return
    assert file.path is not None
    records = EtlFile(file.path, file.set_name)
    images = np.empty((len(record), size_px, size_px), np.uint8)
    has_ink = np.empty(len(record), np.bool_)
    for start in range(0, len(record), _AT_ONCE):
        chunk = slice(start, start + _AT_ONCE)
        ink = records.images(record[chunk])
        images[chunk], has_ink[chunk] = prepare_images(ink, preparation, size_px)
    # Not compressed: it would take longer than to make them.
    write_atomically(path, lambda temporary: np.savez(temporary, images=images, has_ink=has_ink))


def _save_split(
    folder: Path, selection: Selection, has_ink: Bool, parts: dict[int, Path], size_px: int
) -> None:
    """Write one split in the form of packed images; its images are never in memory at once."""
    taken = has_ink & (selection.split == SPLITS.index(folder.name))
    rows = selection.only(taken)
    masks = {number: taken[selection.file == number] for number in parts}

    images = (
        np.load(part)["images"][masks[number]]
        for number, part in parts.items()
        if masks[number].any()
    )
    write_images(folder / "images.npy", (len(rows.file), size_px, size_px), images)
    numbers, writers = np.unique(rows.writer, return_inverse=True)
    records = np.stack([rows.file, rows.record], axis=1)
    for name, array in {"labels": rows.label, "writers": writers, "records": records}.items():
        save_array(folder / f"{name}.npy", array)
    meta = {
        "characters": rows.characters,
        "writer_names": [rows.writer_names[number] for number in numbers],
        "files": [file.name for file in rows.files],
    }
    write_json(folder / "meta.json", meta)


def prepare_images(ink: Uint8, preparation: Preparation, size_px: int) -> tuple[Uint8, Bool]:
    """Images as training sees them.

    ``canonical`` takes them black on white, as their PNG files are, so that both give the same.
    ``plain`` pads to a square, ``smooth`` blurs, thresholds and cuts to a square; both then resize
    by area averaging. Nothing is stretched.

    Args:
        ink: (n, H, W) uint8, bright on dark.

    Returns:
        (n, size_px, size_px) uint8, ink bright on 0, and whether each has any ink (n,).
    """
    if preparation is Preparation.canonical:
        prepared = np.stack([_canonical_or_zero(255 - one, size_px) for one in ink])
    elif preparation is Preparation.plain:
        prepared = _resized(_squared(ink, max(ink.shape[1:])), size_px)
    else:
        prepared = _resized(_squared(smooth(ink), min(ink.shape[1:])), size_px)
    return prepared, prepared.max(axis=(1, 2)) >= MIN_CONTRAST


def _canonical_or_zero(image: Uint8, size_px: int) -> Uint8:
    try:
        return canonical(image, size_px)
    except InputError:  # blank
        return np.zeros((size_px, size_px), np.uint8)


def _squared(images: Uint8, side_px: int) -> Uint8:
    """Cut images (n, H, W) to the middle, or pad them with paper; an odd row goes to the bottom."""
    num_images, *sides = images.shape
    squares = np.zeros((num_images, side_px, side_px), np.uint8)
    common = [min(side, side_px) for side in sides]
    squares[_middle([side_px, side_px], common)] = images[_middle(sides, common)]
    return squares


def _middle(sides: list[int], common: list[int]) -> tuple[slice, ...]:
    """The middle of every image of an array (n, rows, columns)."""
    starts = [(side - part) // 2 for side, part in zip(sides, common, strict=True)]
    rows, columns = (slice(a, a + n) for a, n in zip(starts, common, strict=True))
    return slice(None), rows, columns


def _resized(squares: Uint8, size_px: int) -> Uint8:
    return np.stack([resize(square, size_px) for square in squares])
