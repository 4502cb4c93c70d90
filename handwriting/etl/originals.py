"""The prepared records' original images as PNG files, with a manifest for each split."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from handwriting.etl.integrity import DataFile
from handwriting.etl.prepared import SPLITS
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
    file_of = {file.name: file for file in files}
    for split in SPLITS:
        packed, manifest = open_packed(output / split), _manifest(output, split)
        characters = [packed.characters[label] for label in packed.labels]
        writers = [packed.writer_names[writer] for writer in packed.writers]
        records = pd.read_csv(output / split / "records.csv")
        records["path"] = [
            str(manifest.parent / f"U+{ord(character):04X}" / f"{file}_{record:05d}.png")
            for character, file, record in zip(
                characters, records["file"], records["record"], strict=True
            )
        ]
        jobs = [
            (partial(_write_file, file_of[str(name)]), rows)
            for name, rows in records.groupby("file", sort=False)
        ]
        run_parallel(jobs, num_workers, f"writing PNG files ({split})")
        write_manifest(manifest, map(Entry, characters, records["path"], writers))


def _manifest(output: Path, split: str) -> Path:
    return output / "png" / split / "manifest.json"


def _write_file(file: DataFile, rows: pd.DataFrame) -> None:
    """Write some records of a file, one at a time: PNG takes longer than decoding."""
    records = file.open()
    for record, path in zip(rows["record"], map(Path, rows["path"]), strict=True):
        if not path.is_file() or path.stat().st_size == 0:  # a power cut leaves empty files
            save_png(path, records.images([record])[0], flush=False)
