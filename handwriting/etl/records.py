"""The records of an ETL file: images, characters, writers and metadata.

    file = EtlFile("ETL9G/ETL9G_01")
    file.images(slice(0, 100))    # (100, 127, 128) uint8, ink 255 on 0
    file.characters[:100], file.writers[:100]

The database is used under the terms of its publisher, who alone distributes it; publications name
it "ETL Character Database".
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.characters.classes import class_list
from handwriting.errors import InputError, report_problems
from handwriting.etl.codes import jis_x_0201, jis_x_0208
from handwriting.etl.layouts import BYTE_FIELDS, SETS, SIX_BIT_FIELDS, EtlSet
from handwriting.etl.unpacking import byte_fields, scale_levels, six_bit_fields, unpack_levels
from handwriting.etl.writers import ETL8_CLASSES, writer_keys
from handwriting.images.canonical import Uint8

Which = slice | Sequence[int] | npt.NDArray[Any]

_CHUNK_BYTES = 1 << 18  # packed pixels that are unpacked at a time: they stay in the cache
_HIRAGANA_SETS = ("ETL4", "ETL7")  # under the codes of katakana
_ONLY_IN_ETL8 = "っゃゅょ"


class EtlFile:
    """One data file, memory-mapped: the columns of its records, dummy records left out.

    Args:
        path: the file.
        set_name: a key of ``SETS``; None takes it from the file's name.
        co59: the table of :func:`read_co59`, which only ETL2 needs; without it its characters are
            None.

    Raises:
        InputError: missing or unreadable, a description (INFO) and no data, a name of no set,
            not a whole number of records, a first record that should be a dummy and is not, or
            ETL8G and ETL9G under each other's name.
    """

    def __init__(
        self,
        path: str | Path,
        set_name: str | None = None,
        co59: Mapping[tuple[int, int], str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.etl_set = _set_of(self.path, set_name)
        self._co59 = co59 or {}
        self._bytes = _map_records(self.path, self.etl_set)
        if self.etl_set.family == "G":
            _check_etl8_or_etl9(self.path, self.etl_set, self._bytes[:ETL8_CLASSES])

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
            self._refuse([code for code, found in characters.items() if code and found is None])
        return [characters[code] for code in codes]

    def _refuse(self, codes: list[int]) -> None:
        """Name every record with one of these codes, if there are any."""
        jis = self.metadata["jis"]
        problems = [
            f"record {i} (from 0): no character has the JIS X 0208 code 0x{jis[i]:04X}"
            for i in np.flatnonzero(np.isin(jis, codes))
        ]
        report_problems(
            str(self.path), problems, "The file is damaged, or not one of its set: unpack it again."
        )

    @cached_property
    def writers(self) -> npt.NDArray[np.str_]:
        """(N,) keys of the writers, such as "ETL6:1001", unique over the files of the set.

        The printed models of ETL8 and ETL9 have the writer "model".

        Raises:
            InputError: the writer follows from the file's name, and that is not an official one.
        """
        number = self._file_number() if self.etl_set.family in "BG" else 0
        keys = writer_keys(self.etl_set, number, self.metadata)
        return np.where(self.is_model, f"{self.etl_set.name[:4]}:model", keys)

    @cached_property
    def is_model(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the organisers printed it: not handwriting, and one more of each class.

        Raises:
            InputError: that follows from the file's name, and it is not an official one.
        """
        models = np.zeros(len(self), np.bool_)
        if self.etl_set.model_records:
            name = list(self.etl_set.files)[self._file_number()]
            handwritten = self.etl_set.files[name] - self.etl_set.dummy_records
            models[handwritten - self.etl_set.model_records.get(name, 0) :] = True
        return models

    def _file_number(self) -> int:
        """The place of the file among those of its set, from 0."""
        names = list(self.etl_set.files)
        if (name := official_name(self.path)) in names:
            return names.index(name)
        raise InputError(
            f"{self.path}: who wrote a record of {self.etl_set.name} follows from its file's name; "
            f"expected one of {names[0]} to {names[-1]}: give the file its name back"
        )

    def images(self, which: Which = slice(None), full_scale: bool = True) -> Uint8:
        """Images (n, H, W) uint8, high is ink.

        Args:
            which: records as a slice, indices or a mask.
            full_scale: stretch the levels to 0-255; otherwise they are as stored: 0-15 (4 bit),
                0-63 (ETL2) or 0-1 (1 bit).
        """
        form = self.etl_set
        place = slice(form.image_byte, form.image_byte + form.image_bytes)
        numbers = np.arange(len(self))[which]
        pixels = np.empty((len(numbers), form.width_px * form.height_px), np.uint8)
        step = _CHUNK_BYTES // form.image_bytes
        for start in range(0, len(numbers), step):
            chunk = slice(start, start + step)
            unpack_levels(self._bytes[numbers[chunk], place], form.bits, pixels[chunk])
            if full_scale:
                scale_levels(pixels[chunk], form.bits)
        return pixels.reshape(-1, form.height_px, form.width_px)


def official_name(path: Path) -> str:
    """``ETL8B2C1``, also for ``etl8b2c1`` and for ``ETL8B2-1`` of the official tables."""
    return path.name.upper().replace("-", "_").replace("ETL8B2_", "ETL8B2C")


def _set_of(path: Path, set_name: str | None) -> EtlSet:
    """The set of a file by the name given or else by the file's own."""
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if "INFO" in path.name:
        raise InputError(
            f"{path} is an INFO file: it describes its set and holds no records; give a data file"
        )
    if set_name is not None:
        if set_name not in SETS:
            raise InputError(f"no set {set_name!r}: give one of {', '.join(SETS)}")
        return SETS[set_name]
    for etl_set in SETS.values():
        if official_name(path) in etl_set.files:
            return etl_set
    raise InputError(
        f"{path}: expected a file name of the ETL Character Database such as ETL1C_01, ETL8B2C1 "
        "or ETL9G_50, which tells the set; rename the file or name the set"
    )


def _map_records(path: Path, form: EtlSet) -> Uint8:
    """The records of a file as (N, record_bytes), read when they are used."""
    num_records, rest = divmod(path.stat().st_size, form.record_bytes)
    fewest = form.dummy_records + 1
    if rest or num_records < fewest:
        raise InputError(
            f"{path}: expected whole records of {form.record_bytes} bytes ({form.name}), at least "
            f"{fewest}; found {num_records} and {rest} bytes more. The last record was cut off, or "
            "the file is of another set: unpack it again."
        )
    try:
        mapped = np.memmap(path, np.uint8, "r", shape=(num_records, form.record_bytes))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    records = np.asarray(mapped)
    if form.dummy_records and records[0, 2:4].any():
        raise InputError(
            f"{path}: expected a first record without a character, as every {form.name} file has; "
            "found one with: the file's start is missing, or it is of another set"
        )
    return records[form.dummy_records :]


def _check_etl8_or_etl9(path: Path, form: EtlSet, records: Uint8) -> None:
    """Refuse ETL9G as ETL8G and the reverse: equal but for the image's place, 8 pixels apart.

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
        f"{path}: expected {form.name}, found {sign}: it seems to be a file of {other}. Give it "
        "its own name; under this one its images would be 8 pixels off."
    )
