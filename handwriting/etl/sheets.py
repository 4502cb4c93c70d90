"""Contact sheets: do labels and images match? A row per class, beginning with a font's glyph."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from handwriting.etl.integrity import DataFile
from handwriting.etl.selection import SPLITS, Int64
from handwriting.images.canonical import Uint8
from handwriting.images.packed import PackedImages, open_packed
from handwriting.images.sheets import save_png, sheet
from handwriting.sources.fonts import FontFace
from handwriting.sources.glyphs import render_font

NUM_ROWS, NUM_IMAGES = 40, 12


def write_sheets(output: Path, files: Sequence[DataFile], face: FontFace) -> None:
    """Write ``sheets/ETL1.png`` and so on: some classes of each set, from all splits.

    Args:
        output: with the prepared splits.
        files: that they were made of.
        face: the font that shows the labels; where it has no glyph the row begins with nothing.
    """
    splits = [open_packed(output / split) for split in SPLITS]
    label = np.concatenate([packed.labels for packed in splits])
    number = np.concatenate([np.load(output / split / "records.npy")[:, 0] for split in SPLITS])
    set_name = np.array([file.set_name for file in files])[number]
    classes = {
        name: _spread(np.unique(label[set_name == name]), NUM_ROWS)
        for name in np.unique(set_name).tolist()
    }
    shutil.rmtree(output / "sheets", ignore_errors=True)  # perhaps of other sets, or half done
    glyphs = _glyphs(face, np.unique(np.concatenate([*classes.values()])), splits[0])
    for name, shown in classes.items():
        rows, of_set = [], set_name == name
        for i in shown.tolist():
            found = np.flatnonzero(of_set & (label == i))
            rows.append(np.append(glyphs[i], _images(splits, _spread(found, NUM_IMAGES)), axis=0))
        save_png(output / "sheets" / f"{name}.png", sheet(rows))


def _spread(values: Int64, most: int) -> Int64:
    """At most so many of the values (n,), evenly spread over them."""
    return values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]


def _glyphs(face: FontFace, labels: Int64, first: PackedImages) -> dict[int, Uint8]:
    """Label -> (1, size_px, size_px), zero where the font has no glyph."""
    blank = np.zeros((1, first.size_px, first.size_px), np.uint8)
    names = [first.characters[i] for i in labels]
    images, rendered, _ = render_font(face, names, first.size_px)
    found = {int(labels[i]): image[None] for i, image in zip(rendered, images, strict=True)}
    return {i: found.get(i, blank) for i in labels.tolist()}


def _images(splits: list[PackedImages], indices: Int64) -> Uint8:
    """The images at places of all splits, one after the other."""
    starts = np.cumsum([0, *map(len, splits)])
    owners = np.searchsorted(starts, indices, side="right") - 1
    return np.stack([splits[k].images[i - starts[k]] for k, i in zip(owners, indices, strict=True)])
