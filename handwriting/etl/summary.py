"""What was prepared, in two tables: the splits, and what became of every record of each set."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.etl.selection import FATES, SPLITS
from handwriting.images.packed import open_packed
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import write_json

_COLUMNS = ("images", "classes", "writers", "fewest of a class", "most", "blank, left out")


def write_summary(output: Path, counts: dict[str, Counter[str]], blank: dict[str, int]) -> str:
    """Write ``summary.json`` and ``summary.txt`` of the prepared splits; return the text.

    Args:
        counts: set -> fate -> records, of a :class:`Selection`.
        blank: split -> records without ink.
    """
    splits = {split: _row(output / split, blank[split]) for split in SPLITS}
    sets = {name: {fate: count[fate] for fate in FATES} for name, count in counts.items()}
    text = f"{_table('split', splits)}\n\n{_table('records of', sets)}\n"
    write_json(output / "summary.json", {"splits": splits, "sets": sets})
    write_text(output / "summary.txt", text)
    return text


def _row(folder: Path, num_blank: int) -> dict[str, int]:
    packed = open_packed(folder)
    sizes = np.unique(packed.labels, return_counts=True)[1]
    writers = len(packed.present_writers())
    numbers = (len(packed), len(sizes), writers, int(sizes.min()), int(sizes.max()), num_blank)
    return dict(zip(_COLUMNS, numbers, strict=True))


def _table(corner: str, rows: dict[str, dict[str, Any]]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"{corner:12}" + "".join(f"{column:>{_width(column)}}" for column in columns)]
    for name, row in rows.items():
        cells = (f"{row[column]:>{_width(column)},}" for column in columns)
        lines.append(f"{name:12}" + "".join(cells))
    return "\n".join(lines)


def _width(column: str) -> int:
    return max(len(column) + 2, 10)
