"""The records of an ETL file: images, characters, writers and metadata.

    file = EtlFile("ETL9G/ETL9G_01")
    file.images(slice(0, 100))    # (100, 127, 128) uint8, ink 255 on 0
    file.characters[:100], file.writers[:100]

The database is used under the terms of its publisher, who alone distributes it; publications must
name it "ETL Character Database".
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.characters.classes import class_list
from handwriting.errors import InputError, report_problems
from handwriting.etl.codes import jis_x_0201, jis_x_0208
from handwriting.etl.layouts import BYTE_FIELDS, SETS, SIX_BIT_FIELDS, EtlSet
from handwriting.etl.unpacking import byte_fields, six_bit_fields, unpack_levels
from handwriting.images.canonical import Uint8

_CHUNK_BYTES = 1 << 18  # packed pixels that are unpacked at a time: they fit in the CPU cache
_HIRAGANA_SETS = ("ETL4", "ETL7")  # under the codes of katakana
_ONLY_IN_ETL8 = "っゃゅょ"

# Records of one data set in a file of ETL8G and ETL9G, samples of one class in ETL8B2, and sheets
# of one data set in ETL9B.
_ETL8_CLASSES, _ETL9_CLASSES = 956, 3036
_ETL8_DATA_SETS = 160
_ETL9_SHEETS = 20
_ETL5_WRITERS = 104
_PERSON = ("sex", "age", "industry", "occupation", "sheet_date")


class EtlFile:
    """One data file, memory-mapped: the columns of its records, dummy records left out.

    Args:
        path: the file; its name identifies the set.
        co59: the table of :func:`read_co59`, which only ETL2 needs; without it its characters are
            None.

    Raises:
        InputError: the file is missing or unreadable, is a description (INFO) without data, has the
            name of no set, a fraction of a record or a first record that should be a dummy and is
            not, or is ETL8G under the name of ETL9G or the reverse.
    """

    def __init__(self, path: str | Path, co59: Mapping[tuple[int, int], str] | None = None) -> None:
        self.path = Path(path)
        self.etl_set = _set_of(self.path)
        self._number = list(self.etl_set.files).index(official_name(self.path))
        self._co59 = co59 or {}
        self._bytes = _map_records(self.path, self.etl_set)
        if self.etl_set.family == "G":
            _check_etl8_or_etl9(self.path, self.etl_set, self._bytes[:_ETL8_CLASSES])

    def __len__(self) -> int:
        return len(self._bytes)

    @cached_property
    def metadata(self) -> npt.NDArray[np.void]:
        """(N,) structured, in native byte order: the fields that ``layouts`` lists."""
        header, family = self._bytes[:, : self.etl_set.image_byte], self.etl_set.family
        if family in BYTE_FIELDS:
            return byte_fields(header, BYTE_FIELDS[family])
        return six_bit_fields(header, SIX_BIT_FIELDS[family])

    @cached_property
    def characters(self) -> list[str | None]:
        """The character of every record; None where it has no code.

        Raises:
            InputError: codes of ETL8 or ETL9 that JIS X 0208 does not have.
        """
        if self.etl_set.family == "K":
            return [self._co59.get((a, b)) for a, b in self.metadata["co59"].tolist()]
        codes = self.metadata["jis"].tolist()
        if self.etl_set.family in "MC":
            hiragana = self.etl_set.name in _HIRAGANA_SETS
            characters = {code: jis_x_0201(code, hiragana) for code in set(codes)}
        else:
            characters = {code: jis_x_0208(code) for code in set(codes)}
            report_problems(
                str(self.path),
                [
                    f"record {i} (from 0): no character has the JIS X 0208 code 0x{code:04X}"
                    for i, code in enumerate(codes)
                    if code and characters[code] is None
                ],
                "The file is damaged, or not one of its set: unpack it again.",
            )
        return [characters[code] for code in codes]

    @cached_property
    def writers(self) -> npt.NDArray[np.str_]:
        """(N,) keys of the writers, such as "ETL6:1001", unique over the files of the set.

        ETL8B2 shares its keys with ETL8G as ETL9B does with ETL9G: they are the same data sets at
        two resolutions. The printed models of ETL8 and ETL9 have the writer "model".
        """
        return np.where(self.is_model, f"{self.etl_set.name[:4]}:model", self._writer_keys())

    def _writer_keys(self) -> npt.NDArray[np.str_]:
        name, metadata, position = self.etl_set.name, self.metadata, np.arange(len(self))
        if name == "ETL2":  # printed: the mark is the source
            return np.char.add("ETL2:", metadata["mark"])
        if name == "ETL8G":
            return _keys("ETL8", self._number * 5 + position // _ETL8_CLASSES, digits=3)
        if name == "ETL8B2":
            # That the samples of a class lie in the order of ETL8G's data sets is inferred, not
            # documented. If it does not hold, a key here is not the same writer in ETL8G.
            return _keys("ETL8", position % _ETL8_DATA_SETS, digits=3)
        if name == "ETL9G":  # sheet numbers restart in every file
            return _keys("ETL9", self._number * 4 + position // _ETL9_CLASSES, digits=3)
        if name == "ETL9B":  # sheet numbers continue from file to file
            return _keys("ETL9", (metadata["sheet"].astype(int) - 1) // _ETL9_SHEETS, digits=3)
        # A writer of ETL7 filled large and small sheets, and one of ETL5 several if there are more
        # sheets than writers. Nothing names the writer then: all records with the same sex, age,
        # industry, occupation and date count as one, which may merge people but splits nobody.
        num_sheets = len(np.unique(metadata["sheet"]))
        if name == "ETL7" or (name == "ETL5" and num_sheets > _ETL5_WRITERS):
            return _keys(name, *(metadata[field] for field in _PERSON))
        return _keys(name, metadata["sheet"])

    @cached_property
    def is_model(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the organisers printed it: not handwriting, and one more of each class."""
        models, form = np.zeros(len(self), np.bool_), self.etl_set
        if form.num_models and self._number == len(form.files) - 1:
            num_records = form.files[official_name(self.path)] - form.dummy_records
            models[num_records - form.num_models :] = True
        return models

    def images(self, which: Any = slice(None)) -> Uint8:
        """Images (n, H, W) uint8, high is ink, the levels stretched to 0-255.

        Args:
            which: records as a slice, indices or a mask.
        """
        form = self.etl_set
        place = slice(form.image_byte, form.image_byte + form.image_bytes)
        numbers = np.arange(len(self))[which]
        pixels = np.empty((len(numbers), form.width_px * form.height_px), np.uint8)
        step = _CHUNK_BYTES // form.image_bytes
        for start in range(0, len(numbers), step):
            chunk = slice(start, start + step)
            unpack_levels(self._bytes[numbers[chunk], place], form.bits, pixels[chunk])
        return pixels.reshape(-1, form.height_px, form.width_px)


def _keys(prefix: str, *numbers: npt.NDArray[Any], digits: int = 1) -> npt.NDArray[np.str_]:
    """ "prefix:1-2-3" for every row of the columns of numbers."""
    rows, row_of = np.unique(np.stack(numbers, axis=1), axis=0, return_inverse=True)
    texts = [prefix + ":" + "-".join(f"{number:0{digits}}" for number in row) for row in rows]
    return np.array(texts, np.str_)[row_of]


def official_name(path: Path) -> str:
    """``ETL8B2C1``, also for ``etl8b2c1`` and for ``ETL8B2-1`` of the official tables."""
    return path.name.upper().replace("-", "_").replace("ETL8B2_", "ETL8B2C")


def _set_of(path: Path) -> EtlSet:
    """The set of a file by its name."""
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if "INFO" in path.name:
        raise InputError(
            f"{path} is an INFO file: it describes its set and holds no records; give a data file"
        )
    for etl_set in SETS.values():
        if official_name(path) in etl_set.files:
            return etl_set
    raise InputError(
        f"{path}: expected a file name of the ETL Character Database such as ETL1C_01, ETL8B2C1 "
        "or ETL9G_50, which tells the set; rename the file"
    )


def _map_records(path: Path, form: EtlSet) -> Uint8:
    """The records of a file as (N, record_bytes), read when they are used."""
    num_records, rest = divmod(path.stat().st_size, form.record_bytes)
    fewest = form.dummy_records + 1
    if rest or num_records < fewest:
        raise InputError(
            f"{path}: expected whole records of {form.record_bytes} bytes ({form.name}), at least "
            f"{fewest}; found {num_records} and {rest} bytes more. The file is truncated, or "
            "belongs to another set: unpack it again."
        )
    try:
        mapped = np.memmap(path, np.uint8, "r", shape=(num_records, form.record_bytes))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    records = np.asarray(mapped)
    if form.dummy_records and records[0, 2:4].any():
        raise InputError(
            f"{path}: expected a first record without a character, as in every {form.name} file, "
            "but it has one: the start of the file is missing, or it belongs to another set"
        )
    return records[form.dummy_records :]


def _check_etl8_or_etl9(path: Path, form: EtlSet, records: Uint8) -> None:
    """Reject ETL9G named as ETL8G and the reverse: only the images' positions differ, by 8 pixels.

    The first 956 records tell: they are one data set of ETL8G, all its classes once, and a third of
    one of ETL9G, of whose kanji two thirds are not among the 881 of ETL8.
    """
    codes = byte_fields(records, BYTE_FIELDS["G"])["jis"].tolist()
    characters = [jis_x_0208(code) or "" for code in codes]
    kanji_of_etl8 = class_list("education_1948")
    only_in_etl9 = [c for c in characters if c >= "一" and c not in kanji_of_etl8]
    if form.name == "ETL8G" and len(only_in_etl9) > len(characters) / 4:
        other, sign = "ETL9G", f"kanji that ETL8 does not have ({''.join(only_in_etl9[:5])} ...)"
    elif form.name == "ETL9G" and set(_ONLY_IN_ETL8) & set(characters):
        other, sign = "ETL8G", f"kana that ETL9 does not have ({_ONLY_IN_ETL8})"
    else:
        return
    raise InputError(
        f"{path}: expected {form.name}, found {sign}: it seems to be a file of {other}. Rename it; "
        "under this name, its images would be 8 pixels off."
    )
