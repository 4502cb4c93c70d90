"""The prepared records' original images as PNG files, with a manifest for each split."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from handwriting.etl.integrity import DataFile
from handwriting.etl.records import EtlFile
from handwriting.etl.selection import SPLITS, Int64
from handwriting.images.manifest import Entry, write_manifest
from handwriting.images.packed import open_packed
from handwriting.images.sheets import save_png
from handwriting.parallel.workers import run_parallel


def has_originals(output: Path) -> bool:
    return all(_manifest(output, split).is_file() for split in SPLITS)


def write_originals(output: Path, files: Sequence[DataFile], num_workers: int) -> None:
    """Write ``png/train/manifest.json`` and so on: black ink on white, all grey levels.

    An image is ``U+4E9C/ETL9G_01_00100.png``, from record 100 of that file. Images that are there
    already are not written again.

    Args:
        output: with the prepared splits.
        files: that they were made of.
        num_workers: processes, each with one ETL file at a time.
    """
    for split in SPLITS:
        packed, folder = open_packed(output / split), _manifest(output, split).parent
        characters = [packed.characters[label] for label in packed.labels]
        writers = [packed.writer_names[writer] for writer in packed.writers]
        number, record = np.load(output / split / "records.npy").T
        paths = [
            folder / f"U+{ord(character):04X}" / f"{files[i].name}_{place:05d}.png"
            for character, i, place in zip(characters, number, record, strict=True)
        ]
        jobs = [
            (
                partial(_write_file, files[i], record[rows]),
                [paths[row] for row in rows],
            )
            for i in np.unique(number)
            for rows in [np.flatnonzero(number == i)]
        ]
        run_parallel(jobs, num_workers, f"writing PNG files ({split})")
        write_manifest(_manifest(output, split), map(Entry, characters, map(str, paths), writers))


def _manifest(output: Path, split: str) -> Path:
    return output / "png" / split / "manifest.json"


def _write_file(file: DataFile, record: Int64, paths: list[Path]) -> None:
    """Write some records of a file, one at a time: PNG takes longer than decoding."""
    assert file.path is not None
    records = EtlFile(file.path, file.set_name)
    for place, path in zip(record.tolist(), paths, strict=True):
        if not path.is_file() or path.stat().st_size == 0:  # a power cut leaves empty files
            save_png(path, records.images([place])[0], flush=False)
