"""Contact sheets: do labels and images match? A row per class, beginning with a font's glyph."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from handwriting.etl.integrity import DataFile
from handwriting.etl.prepared import SPLITS
from handwriting.images.packed import Int64, concatenate, open_packed
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
    packed = concatenate([open_packed(output / split) for split in SPLITS])
    records = pd.concat([pd.read_csv(output / split / "records.csv") for split in SPLITS])
    set_name = records["file"].map({file.name: file.set_name for file in files}).to_numpy()
    shutil.rmtree(output / "sheets", ignore_errors=True)  # perhaps of other sets, or half done
    for name in set(set_name):
        labels = _spread(np.unique(packed.labels[set_name == name]), NUM_ROWS)
        glyphs = np.zeros((len(labels), 1, packed.size_px, packed.size_px), np.uint8)
        images, rendered, _ = render_font(
            face, [packed.characters[label] for label in labels], packed.size_px
        )
        glyphs[rendered, 0] = images
        found = [np.flatnonzero((set_name == name) & (packed.labels == label)) for label in labels]
        rows = [
            np.append(glyph, packed.images[_spread(indices, NUM_IMAGES)], axis=0)
            for glyph, indices in zip(glyphs, found, strict=True)
        ]
        save_png(output / "sheets" / f"{name}.png", sheet(rows))


def _spread(values: Int64, most: int) -> Int64:
    """At most ``most`` of the values (n,), evenly spread."""
    return values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]
