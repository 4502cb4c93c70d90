"""Preparation of the selected records: a part for each ETL file, then packed arrays per split."""

import os
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from handwriting.config import SPLITS
from handwriting.errors import InputError
from handwriting.etl.integrity import DataFile
from handwriting.etl.settings import Preparation
from handwriting.images.canonical import Uint8, canonical, resize, smooth
from handwriting.images.ink import MIN_CONTRAST
from handwriting.images.packed import Int64, UnpackedImages, save_packed
from handwriting.parallel.workers import run_parallel
from handwriting.storage.atomic import write_atomically
from handwriting.storage.keys import content_key

_CHUNK_SIZE = 512  # images decoded at a time


def prepare(
    files: Sequence[DataFile],
    records: pd.DataFrame,
    settings: dict[str, Any],
    sources: Mapping[str, str],
    output: Path,
    num_workers: int,
) -> dict[str, int]:
    """Make the arrays of all splits; parts left by an interrupted run are reused.

    Args:
        records: the selected records of these files, from :func:`select`.
        settings: what the arrays depend on: size_px, characters, preparation and others.
        sources: the stamps of the files.
        num_workers: processes, each with one ETL file at a time.

    Returns:
        How many records of each split were left out as blank.

    Raises:
        InputError: the disk is full, or a file has become unreadable.
    """
    (output / "prepared.json").unlink(missing_ok=True)  # earlier results are invalid from here on
    shutil.rmtree(output / "png", ignore_errors=True)
    folder = output / "unfinished" / content_key(settings)
    rows_of = {
        str(name): rows["record"].to_numpy() for name, rows in records.groupby("file", sort=False)
    }
    # A file may be repaired between two runs, and then change what is selected from the others.
    keys = {
        n: content_key(sources[n], sha256(rows.tobytes()).hexdigest())
        for n, rows in rows_of.items()
    }
    parts = {name: folder / f"{name}-{key}.npz" for name, key in keys.items()}
    jobs = [
        (partial(_make_part, file, rows_of[file.name], settings), part)
        for file in files
        if (part := parts.get(file.name))
    ]
    run_parallel(jobs, num_workers, "preparing files")
    has_ink = np.concatenate([_load_part(part, "has_ink") for part in parts.values()])
    for split in SPLITS:
        shutil.rmtree(folder / split, ignore_errors=True)
        _save_split(folder / split, records, (records["fate"] == split) & has_ink, parts, settings)
    for split in SPLITS:
        shutil.rmtree(output / split, ignore_errors=True)
        os.replace(folder / split, output / split)
    blank = records.loc[~has_ink, "fate"]
    return {split: int((blank == split).sum()) for split in SPLITS}


def _make_part(file: DataFile, record: Int64, settings: dict[str, Any], path: Path) -> None:
    """Write the images of some records of a file, and which of them have ink, if not done yet."""
    if path.is_file():
        return
    records, size_px = file.open(), settings["size_px"]
    images = np.empty((len(record), size_px, size_px), np.uint8)
    has_ink = np.empty(len(record), np.bool_)
    for start in range(0, len(record), _CHUNK_SIZE):
        chunk = slice(start, start + _CHUNK_SIZE)
        ink = records.images(record[chunk])
        images[chunk], has_ink[chunk] = prepare_images(ink, settings["preparation"], size_px)
    # Uncompressed: compressing takes longer than computing.
    write_atomically(path, lambda temporary: np.savez(temporary, images=images, has_ink=has_ink))


def _load_part(path: Path, name: str) -> npt.NDArray[Any]:
    """An array of a part; the archive verifies its checksum."""
    try:
        array: npt.NDArray[Any] = np.load(path)[name]
        return array
    except Exception as error:  # NumPy and zipfile raise whatever the broken bytes lead to
        raise InputError(
            f"{path} is damaged ({error}). Delete it and run prepare_etl.py again"
        ) from error


def _save_split(
    folder: Path,
    records: pd.DataFrame,
    taken: "pd.Series[bool]",
    parts: dict[str, Path],
    settings: dict[str, Any],
) -> None:
    """Write the records of one split as packed images, which are never all in memory."""
    images = (
        _load_part(parts[str(name)], "images")[mask.to_numpy()]
        for name, mask in taken.groupby(records["file"], sort=False)
        if mask.any()
    )
    rows = records[taken]
    writers, names = pd.factorize(rows["writer"], sort=True)
    made = UnpackedImages(
        images, rows["label"].to_numpy(), writers, tuple(settings["characters"]), tuple(names),
        settings["size_px"],
    )  # fmt: skip
    folder.mkdir(parents=True)
    rows[["file", "record"]].to_csv(folder / "records.csv", index=False)
    save_packed(folder, made)


def prepare_images(
    ink: Uint8, preparation: Preparation, size_px: int
) -> tuple[Uint8, npt.NDArray[np.bool_]]:
    """Images as training sees them.

    ``canonical`` takes them black on white, as their PNG files are, so that both give the same.
    ``plain`` pads to a square, ``smooth`` blurs, thresholds and crops to a square; both then resize
    by area averaging. All keep the aspect ratio.

    Args:
        ink: (n, H, W) uint8, bright on dark.

    Returns:
        (n, size_px, size_px) uint8, ink bright on 0, and whether each has any ink (n,).
    """
    if preparation is Preparation.canonical:
        prepared = np.stack([_canonical_or_zero(255 - one, size_px) for one in ink])
    else:
        squares = _padded(ink) if preparation is Preparation.plain else _cut(smooth(ink))
        prepared = np.stack([resize(square, size_px) for square in squares])
    return prepared, prepared.max(axis=(1, 2)) >= MIN_CONTRAST


def _canonical_or_zero(image: Uint8, size_px: int) -> Uint8:
    try:
        return canonical(image, size_px)
    except InputError:  # blank
        return np.zeros((size_px, size_px), np.uint8)


def _padded(images: Uint8) -> Uint8:
    """Pad images (n, H, W) to squares of their longer side; an odd row goes to the end."""
    side_px = max(images.shape[1:])
    margins = [((side_px - side) // 2, (side_px - side + 1) // 2) for side in images.shape[1:]]
    return np.pad(images, [(0, 0), *margins])


def _cut(images: Uint8) -> Uint8:
    """Crop images (n, H, W) to central squares of their shorter side."""
    side_px = min(images.shape[1:])
    top, left = ((side - side_px) // 2 for side in images.shape[1:])
    return images[:, top : top + side_px, left : left + side_px]
