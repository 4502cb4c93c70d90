"""Outputs for people to look at: contact sheets, PNG files and a summary of the arrays."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from handwriting.config import SPLITS
from handwriting.errors import InputError
from handwriting.etl.integrity import DataFile
from handwriting.images.manifest import Entry, read_manifest, write_manifest
from handwriting.images.packed import concatenate, files_key, open_packed
from handwriting.images.sheets import evenly_chosen, save_png, sheet
from handwriting.parallel.workers import run_parallel
from handwriting.sources.font_files import FontFace
from handwriting.sources.glyphs import render_font
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_json, write_json

NUM_ROWS, NUM_IMAGES = 40, 12  # of a contact sheet
_PNG_KEYS = "png/keys.json"  # written last: the content of each split's files


def write_sheets(output: Path, files: Sequence[DataFile], face: FontFace) -> None:
    """Write ``sheets/ETL1.png`` and so on, to check that labels and images match.

    A sheet has a row for each of some classes of the set, from all splits; it begins with the label
    in the font, or is blank there if the font has no glyph.
    """
    packed = concatenate([open_packed(output / split) for split in SPLITS])
    records = pd.concat([pd.read_csv(output / split / "records.csv") for split in SPLITS])
    set_name = records["file"].map({file.name: file.set_name for file in files}).to_numpy()
    shutil.rmtree(output / "sheets", ignore_errors=True)  # perhaps of other sets, or incomplete
    shown = {
        name: evenly_chosen(np.unique(packed.labels[set_name == name]), NUM_ROWS)
        for name in set(set_name)
    }
    everything = np.unique(np.concatenate([*shown.values()]))
    characters = [packed.characters[label] for label in everything]
    images, rendered, _ = render_font(face, characters, packed.size_px)
    shape = (len(packed.characters), 1, packed.size_px, packed.size_px)
    glyphs = np.zeros(shape, np.uint8)
    glyphs[everything[rendered], 0] = images
    for name, labels in shown.items():
        found = [np.flatnonzero((set_name == name) & (packed.labels == label)) for label in labels]
        rows = [
            np.append(glyph, packed.images[evenly_chosen(indices, NUM_IMAGES)], axis=0)
            for glyph, indices in zip(glyphs[labels], found, strict=True)
        ]
        save_png(output / "sheets" / f"{name}.png", sheet(rows))


def write_summary(output: Path, fates: pd.DataFrame, blank: dict[str, int]) -> None:
    """Write ``summary.json`` and ``summary.txt``: the splits, and the fates of each set's records.

    Args:
        fates: the number of records of each set and fate, from :func:`select`.
        blank: split -> number of records without ink.
    """
    splits = {}
    for split in SPLITS:
        packed = open_packed(output / split)
        sizes = np.unique(packed.labels, return_counts=True)[1]
        splits[split] = {
            "images": len(packed),
            "classes": len(sizes),
            "writers": len(packed.writer_names),
            "fewest of a class": int(sizes.min(initial=len(packed))),
            "most": int(sizes.max(initial=0)),
            "blank, left out": blank[split],
        }
    write_json(output / "summary.json", {"splits": splits, "sets": fates.to_dict("index")})
    tables = [pd.DataFrame(splits).T, fates.rename_axis(index=None, columns=None)]
    text = "\n\n".join(table.map("{:,}".format).to_string() for table in tables)
    write_text(output / "summary.txt", f"{text}\n")


def has_originals(output: Path) -> bool:
    """Whether all PNG files exist and are intact; if not, they are removed."""
    if not (output / _PNG_KEYS).is_file():
        return False
    with suppress(InputError):
        if read_json(output / _PNG_KEYS) == _png_keys(output):
            return True
    print(f"  PNG files in {output / 'png'} are missing or damaged: writing all of them again")
    shutil.rmtree(output / "png")
    return False


def _png_keys(output: Path) -> dict[str, str]:
    manifests = {split: output / "png" / split / "manifest.json" for split in SPLITS}
    return {split: files_key(read_manifest(path)) for split, path in manifests.items()}


def write_originals(output: Path, files: Sequence[DataFile], num_workers: int) -> None:
    """Write ``png/train/manifest.json`` and so on: black ink on white, all grey levels.

    An image is ``U+4E9C/ETL9G_01_00100.png``, from record 100 of that file. Existing images are not
    written again.

    Args:
        num_workers: processes, each with one ETL file at a time.
    """
    file_of = {file.name: file for file in files}
    for split in SPLITS:
        packed, folder = open_packed(output / split), output / "png" / split
        characters = [packed.characters[label] for label in packed.labels]
        writers = [packed.writer_names[writer] for writer in packed.writers]
        records = pd.read_csv(output / split / "records.csv")
        records["path"] = [
            str(folder / f"U+{ord(character):04X}" / f"{file}_{record:05d}.png")
            for character, file, record in zip(
                characters, records["file"], records["record"], strict=True
            )
        ]
        jobs = [
            (partial(_write_file, file_of[str(name)]), rows)
            for name, rows in records.groupby("file", sort=False)
        ]
        run_parallel(jobs, num_workers, f"writing PNG files ({split})")
        write_manifest(folder / "manifest.json", map(Entry, characters, records["path"], writers))
    write_json(output / _PNG_KEYS, _png_keys(output))


def _write_file(file: DataFile, rows: pd.DataFrame) -> None:
    """Write some records of a file, one at a time: PNG takes longer than decoding."""
    records = file.open()
    for record, path in zip(rows["record"], map(Path, rows["path"]), strict=True):
        if not path.is_file() or path.stat().st_size == 0:  # a power cut leaves empty files
            save_png(path, records.images([record])[0], flush=False)
