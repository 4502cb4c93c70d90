"""Who wrote a record: keys for splits by writer."""

from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.etl.layouts import EtlSet

# Records of one data set in a file of ETL8G and ETL9G, samples of one class in ETL8B2, and sheets
# of one data set in ETL9B.
ETL8_CLASSES, ETL9_CLASSES = 956, 3036
ETL8_DATA_SETS = 160
ETL9_SHEETS = 20
ETL5_WRITERS = 104
_PERSON = ("sex", "age", "industry", "occupation", "sheet_date")


def writer_keys(
    etl_set: EtlSet, file_number: int, metadata: npt.NDArray[np.void]
) -> npt.NDArray[np.str_]:
    """The writer of every record of a file as a key such as "ETL6:1001".

    A key is unique over all files of the set, and ETL8B2 shares its keys with ETL8G as ETL9B does
    with ETL9G: they are the same data sets at two resolutions.

    Args:
        etl_set: the set of the file.
        file_number: 0 for the set's first file.
        metadata: (N,) of the whole file.
    """
    name, position = etl_set.name, np.arange(len(metadata))
    if name == "ETL2":  # printed: the mark is the source
        return np.char.add("ETL2:", metadata["mark"])
    if name == "ETL8G":
        return _keys("ETL8", file_number * 5 + position // ETL8_CLASSES, digits=3)
    if name == "ETL8B2":
        # That the samples of a class lie in the order of ETL8G's data sets is inferred, not
        # documented. If it does not hold, a key here is not the same writer in ETL8G.
        return _keys("ETL8", position % ETL8_DATA_SETS, digits=3)
    if name == "ETL9G":  # sheet numbers begin again in every file
        return _keys("ETL9", file_number * 4 + position // ETL9_CLASSES, digits=3)
    if name == "ETL9B":  # sheet numbers go on from file to file
        return _keys("ETL9", (metadata["sheet"].astype(int) - 1) // ETL9_SHEETS, digits=3)
    # A writer of ETL7 filled large and small sheets, and one of ETL5 several if there are more than
    # writers. Nothing names the writer then: all records of the same sex, age, industry, occupation
    # and date is taken for one, which may merge people but splits nobody.
    if name == "ETL7" or (name == "ETL5" and len(np.unique(metadata["sheet"])) > ETL5_WRITERS):
        return _keys(name, *(metadata[field] for field in _PERSON))
    return _keys(name, metadata["sheet"])


def _keys(prefix: str, *numbers: npt.NDArray[Any], digits: int = 1) -> npt.NDArray[np.str_]:
    """ "prefix:1-2-3" for every row of the columns of numbers."""
    rows, row_of = np.unique(np.stack(numbers, axis=1), axis=0, return_inverse=True)
    texts = [prefix + ":" + "-".join(f"{number:0{digits}}" for number in row) for row in rows]
    return np.array(texts, np.str_)[row_of]
