"""The file formats of the ETL Character Database: sets, files, records and fields.

The facts are those of the official form sheets (Electrotechnical Laboratory, Japanese Technical
Committee for Optical Character Recognition, ETL Character Database, 1973-1984). A file consists of
records of equal length, big endian, the most significant bit first; pixels run left to right and
top to bottom without padding, and high levels are ink.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class EtlSet:
    """One of the eleven sets.

    Attributes:
        name: "ETL1" to "ETL9G".
        family: the record's form: "M", "K", "C", "B" or "G".
        record_bytes: length of a record.
        width_px: pixels in a row.
        height_px: rows of an image.
        bits: per pixel.
        image_byte: where the packed image begins in the record.
        files: file name -> records in the file as it is on disk, dummy records included.
        num_models: how many records at the end of the last file the organisers printed.
    """

    name: str
    family: str
    record_bytes: int
    width_px: int
    height_px: int
    bits: int
    image_byte: int
    files: dict[str, int]
    num_models: int = 0

    @property
    def image_bytes(self) -> int:
        """Length of the packed image."""
        return self.width_px * self.height_px * self.bits // 8

    @property
    def dummy_records(self) -> int:
        """Empty records at the start of every file."""
        return 1 if self.family == "B" else 0


# Families M, B and G: whole bytes, one field after another from the start of the record.
BYTE_FIELDS = {
    "M": np.dtype(
        [
            ("data_number", ">u2"),
            ("character_code", "S2"),  # the space matters: "A " is the letter, " A" is ア
            ("sheet", ">u2"),
            ("jis", "u1"),  # JIS X 0201
            ("ebcdic", "u1"),
            ("quality", "u1"),  # 0 (clean) to 3
            ("group_quality", "u1"),  # 0 to 2
            ("sex", "u1"),  # 1 male, 2 female
            ("age", "u1"),
            ("serial", ">u4"),
            ("industry", ">u2"),  # JIS X 0403
            ("occupation", ">u2"),  # JIS X 0404
            ("sheet_date", ">u2"),  # decimal YYMM
            ("scan_date", ">u2"),
            ("y", "u1"),  # position on the sheet, y before x
            ("x", "u1"),
            ("min_level", "u1"),  # of the scan, 0 to 255
            ("max_level", "u1"),
        ]
    ),
    "B": np.dtype([("sheet", ">u2"), ("jis", ">u2"), ("reading", "S4")]),  # JIS X 0208
    "G": np.dtype(
        [
            ("sheet", ">u2"),
            ("jis", ">u2"),  # JIS X 0208
            ("reading", "S8"),
            ("serial", ">u4"),
            ("quality", "u1"),
            ("group_quality", "u1"),
            ("sex", "u1"),
            ("age", "u1"),
            ("industry", ">u2"),
            ("occupation", ">u2"),
            ("sheet_date", ">u2"),  # decimal YYMM
            ("scan_date", ">u2"),
            ("x", "u1"),  # x before y
            ("y", "u1"),
        ]
    ),
}

# Families K and C come from a machine with words of six 6-bit characters. A field is its name, its
# first character, how many it has, and its type: text in the code T56, digits as they are ("2u1"),
# or a number of base 64, of which a type with fewer bits keeps the leftmost.
_C_WORDS = (  # dates are decimal YYMMDD; y before x
    "serial", "sheet", "jis", "ebcdic", "character_code", "quality", "group_quality", "y", "x",
    "sex", "age", "industry", "occupation", "sheet_date", "scan_date", "x_samples", "y_samples",
    "num_levels", "magnification", "old_serial",
)  # fmt: skip
_C_KINDS = {"jis": (6, "u1"), "ebcdic": (6, "u1"), "character_code": (4, "U4")}  # jis: JIS X 0201
SIX_BIT_FIELDS = {
    "K": (
        ("serial", 0, 6, "u8"),
        ("mark", 6, 1, "U1"),
        ("contents", 12, 6, "U6"),
        ("style", 18, 6, "U6"),
        ("co59", 28, 2, "2u1"),
    ),
    "C": tuple(
        (name, 6 * word, *_C_KINDS.get(name, (6, "u8"))) for word, name in enumerate(_C_WORDS)
    ),
}


def _numbered(form: str, count: int, records: int) -> dict[str, int]:
    """``count`` files of equal length, numbered from 1."""
    return {form.format(number): records for number in range(1, count + 1)}


_SETS = (
    EtlSet(
        "ETL1", "M", 2052, 64, 63, 4, 32,
        # A file holds eight characters; from 07 on there are 1411 writers, and ナ of sheet 2672 and
        # リ of sheet 2708 are missing.
        files=_numbered("ETL1C_{:02}", 13, 11288)
        | _numbered("ETL1C_{:02}", 6, 11560)
        | {"ETL1C_09": 11287, "ETL1C_12": 11287, "ETL1C_13": 4233},
    ),
    EtlSet(
        "ETL2", "K", 2745, 60, 60, 6, 45,
        files={
            "ETL2_1": 9056, "ETL2_2": 10480, "ETL2_3": 11360, "ETL2_4": 10480, "ETL2_5": 11420,
        },
    ),
    EtlSet("ETL3", "C", 2952, 72, 76, 4, 216, files=_numbered("ETL3C_{}", 2, 4800)),
    EtlSet("ETL4", "C", 2952, 72, 76, 4, 216, files={"ETL4C": 6120}),
    EtlSet("ETL5", "C", 2952, 72, 76, 4, 216, files={"ETL5C": 10608}),
    # The official total of 157,662 leaves out a block of 1,383 records without a code.
    EtlSet(
        "ETL6", "M", 2052, 64, 63, 4, 32,
        files=_numbered("ETL6C_{:02}", 11, 13830) | {"ETL6C_12": 6915},
    ),
    # The official total of 16,800 is half of what the files hold.
    EtlSet(
        "ETL7", "M", 2052, 64, 63, 4, 32,
        files={"ETL7LC_1": 9600, "ETL7LC_2": 7200, "ETL7SC_1": 9600, "ETL7SC_2": 7200},
    ),
    EtlSet(
        "ETL8B2", "B", 512, 64, 63, 1, 8,
        files={"ETL8B2C1": 51201, "ETL8B2C2": 51201, "ETL8B2C3": 51517},
        num_models=956,
    ),
    EtlSet(
        "ETL8G", "G", 8199, 128, 127, 4, 60,
        files=_numbered("ETL8G_{:02}", 32, 4780) | {"ETL8G_33": 956},
        num_models=956,
    ),
    EtlSet(
        "ETL9B", "B", 576, 64, 63, 1, 8,
        files=_numbered("ETL9B_{}", 4, 121441) | {"ETL9B_5": 124477},
        num_models=3036,
    ),
    EtlSet(
        "ETL9G", "G", 8199, 128, 127, 4, 64,
        files=_numbered("ETL9G_{:02}", 50, 12144),
    ),
)  # fmt: skip
SETS = {etl_set.name: etl_set for etl_set in _SETS}
