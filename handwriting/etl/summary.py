"""What was prepared, in two tables: the splits, and the fates of the records of each set."""

from pathlib import Path

import numpy as np
import pandas as pd

from handwriting.etl.prepared import SPLITS
from handwriting.images.packed import open_packed
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import write_json


def write_summary(output: Path, fates: pd.DataFrame, blank: dict[str, int]) -> None:
    """Write ``summary.json`` and ``summary.txt`` of the prepared splits.

    Args:
        fates: how many records of each set had each fate, of :func:`select`.
        blank: split -> records without ink.
    """
    splits = {}
    for split in SPLITS:
        packed = open_packed(output / split)
        sizes = np.unique(packed.labels, return_counts=True)[1]
        splits[split] = {
            "images": len(packed),
            "classes": len(sizes),
            "writers": len(packed.writer_names),
            "fewest of a class": int(sizes.min()),
            "most": int(sizes.max()),
            "blank, left out": blank[split],
        }
    write_json(output / "summary.json", {"splits": splits, "sets": fates.to_dict("index")})
    tables = [pd.DataFrame(splits).T, fates.rename_axis(index=None, columns=None)]
    text = "\n\n".join(table.map("{:,}".format).to_string() for table in tables)
    write_text(output / "summary.txt", f"{text}\n")
