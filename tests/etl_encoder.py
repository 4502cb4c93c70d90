"""Synthetic files in the eleven record formats of the ETL Character Database.

An encoder written from the form sheets, apart from the reader, so that each can prove the other: a
record is one big integer, most significant bit first, into which every field is set at its bit.
Bits that no field covers can be filled with noise, because a reader must not look at them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from handwriting.etl.layouts import EtlSet
from handwriting.sources.fonts import find_fonts

Uint8 = npt.NDArray[np.uint8]
Value = int | str | tuple[int, int]
Fields = Mapping[str, Value]

# The six-bit characters of the TOSBAC-5600, 16 to a row.
SIX_BIT = "0123456789[#@:>?" + " ABCDEFGHI&.](<\\" + "^JKLMNOPQR-$*);'" + '+/STUVWXYZ_,%="!'


@dataclass(frozen=True)
class Field:
    """A stretch of bits in a record; kind is "number", "ascii", "t56" or "pair" (two halves)."""

    first_bit: int
    num_bits: int
    kind: str = "number"


def _at_byte(first: int, num_bytes: int = 1, kind: str = "number") -> Field:
    return Field(8 * first, 8 * num_bytes, kind)


def _word(number: int, num_bits: int = 36, kind: str = "number") -> Field:
    """The leftmost bits of a 36-bit word of the C type."""
    return Field(36 * number, num_bits, kind)


M_FIELDS = {
    "data_number": _at_byte(0, 2),
    "character_code": _at_byte(2, 2, "ascii"),
    "sheet": _at_byte(4, 2),
    "jis": _at_byte(6),
    "ebcdic": _at_byte(7),
    "quality": _at_byte(8),
    "group_quality": _at_byte(9),
    "sex": _at_byte(10),
    "age": _at_byte(11),
    "serial": _at_byte(12, 4),
    "industry": _at_byte(16, 2),
    "occupation": _at_byte(18, 2),
    "sheet_date": _at_byte(20, 2),
    "scan_date": _at_byte(22, 2),
    "y": _at_byte(24),
    "x": _at_byte(25),
    "min_level": _at_byte(26),
    "max_level": _at_byte(27),
}
K_FIELDS = {
    "serial": Field(0, 36),
    "mark": Field(36, 6, "t56"),
    "blank": Field(42, 30, "t56"),
    "contents": Field(72, 36, "t56"),
    "style": Field(108, 36, "t56"),
    "co59": Field(168, 12, "pair"),
}
C_FIELDS = {
    "serial": _word(0),
    "sheet": _word(1),
    "jis": _word(2, 8),
    "ebcdic": _word(3, 8),
    "character_code": _word(4, 24, "t56"),
    "blank": Field(168, 12, "t56"),
    "quality": _word(5),
    "group_quality": _word(6),
    "y": _word(7),
    "x": _word(8),
    "sex": _word(9),
    "age": _word(10),
    "industry": _word(11),
    "occupation": _word(12),
    "sheet_date": _word(13),
    "scan_date": _word(14),
    "x_samples": _word(15),
    "y_samples": _word(16),
    "num_levels": _word(17),
    "magnification": _word(18),
    "old_serial": _word(19),
}
B_FIELDS = {
    "sheet": _at_byte(0, 2),
    "jis": _at_byte(2, 2),
    "reading": _at_byte(4, 4, "ascii"),
}
G_FIELDS = {
    "sheet": _at_byte(0, 2),
    "jis": _at_byte(2, 2),
    "reading": _at_byte(4, 8, "ascii"),
    "serial": _at_byte(12, 4),
    "quality": _at_byte(16),
    "group_quality": _at_byte(17),
    "sex": _at_byte(18),
    "age": _at_byte(19),
    "industry": _at_byte(20, 2),
    "occupation": _at_byte(22, 2),
    "sheet_date": _at_byte(24, 2),
    "scan_date": _at_byte(26, 2),
    "x": _at_byte(28),
    "y": _at_byte(29),
}


@dataclass(frozen=True)
class Layout:
    """The record of a set: its fields, its length and the image in it."""

    fields: dict[str, Field]
    record_bytes: int
    width_px: int
    height_px: int
    bits: int
    image_byte: int

    @property
    def starts_with_dummy(self) -> bool:
        return self.fields is B_FIELDS

    @property
    def image(self) -> Field:
        return _at_byte(self.image_byte, self.width_px * self.height_px * self.bits // 8)


LAYOUTS = {
    "ETL1": Layout(M_FIELDS, 2052, 64, 63, 4, 32),
    "ETL2": Layout(K_FIELDS, 2745, 60, 60, 6, 45),
    "ETL3": Layout(C_FIELDS, 2952, 72, 76, 4, 216),
    "ETL4": Layout(C_FIELDS, 2952, 72, 76, 4, 216),
    "ETL5": Layout(C_FIELDS, 2952, 72, 76, 4, 216),
    "ETL6": Layout(M_FIELDS, 2052, 64, 63, 4, 32),
    "ETL7": Layout(M_FIELDS, 2052, 64, 63, 4, 32),
    "ETL8B2": Layout(B_FIELDS, 512, 64, 63, 1, 8),
    "ETL8G": Layout(G_FIELDS, 8199, 128, 127, 4, 60),
    "ETL9B": Layout(B_FIELDS, 576, 64, 63, 1, 8),
    "ETL9G": Layout(G_FIELDS, 8199, 128, 127, 4, 64),
}


def _text_bits(text: str, field: Field) -> int:
    """Characters of eight (ascii) or six (t56) bits, padded with spaces on the right."""
    alphabet = SIX_BIT if field.kind == "t56" else "".join(map(chr, range(256)))
    bits = 6 if field.kind == "t56" else 8
    number = 0
    for character in text.ljust(field.num_bits // bits):
        number = number << bits | alphabet.index(character)
    return number


def _field_bits(value: Value, field: Field) -> int:
    if isinstance(value, str):
        return _text_bits(value, field)
    if isinstance(value, tuple):
        return value[0] << 6 | value[1]
    return value


def _image_bits(levels: Uint8, bits: int) -> int:
    """Pixels from left to right and top to bottom, each with its highest bit first."""
    places = np.arange(bits)[::-1]
    pixels = levels.reshape(-1, 1) >> places & 1  # (H * W, bits)
    return int.from_bytes(np.packbits(pixels.astype(np.uint8)).tobytes(), "big")


def _defaults(fields: Mapping[str, Field]) -> dict[str, Value]:
    """What a field holds that is not given: zero, or spaces."""
    return {name: "" if field.kind in ("ascii", "t56") else 0 for name, field in fields.items()}


def _record(layout: Layout, fields: Fields, levels: Uint8, noise: int) -> bytes:
    """One record; ``noise`` fills the bits that no field covers."""
    num_bits = 8 * layout.record_bytes
    record, covered = 0, 0
    values: dict[str, Value] = {**_defaults(layout.fields), **fields}
    parts = [
        (layout.fields[name], _field_bits(value, layout.fields[name]))
        for name, value in values.items()
    ]
    parts.append((layout.image, _image_bits(levels, layout.bits)))
    for field, bits in parts:
        assert 0 <= bits < 1 << field.num_bits
        shift = num_bits - field.first_bit - field.num_bits
        record |= bits << shift
        covered |= (1 << field.num_bits) - 1 << shift
    return (record | noise & ~covered).to_bytes(layout.record_bytes, "big")


def encode(
    set_name: str,
    fields: Sequence[Fields],
    levels: Uint8,
    noise: np.random.Generator | None = None,
) -> bytes:
    """The bytes of a file with these records; a B file gets its dummy first record.

    Args:
        fields: per record its fields by name; numbers left out are zero, texts are spaces.
        levels: (N, H, W) uint8, pixels as they are stored, high for ink.
        noise: fills the bits that mean nothing; they are zero without it.
    """
    layout = LAYOUTS[set_name]
    assert levels.shape == (len(fields), layout.height_px, layout.width_px)
    records = [bytes(layout.record_bytes)] if layout.starts_with_dummy else []
    for values, image in zip(fields, levels, strict=True):
        junk = noise.bytes(layout.record_bytes) if noise else b""
        records.append(_record(layout, values, image, int.from_bytes(junk, "big")))
    return b"".join(records)


# Below: small folders with the files, orders and codes of the real ones, drawn from fonts.


@dataclass(frozen=True)
class Sample:
    """One drawn record.

    Attributes:
        character: the label that a reader should give; None if the record has no code.
        person: who "wrote" it, a number within the set; the same in ETL8B2 and ETL8G, and in ETL9B
            and ETL9G. In ETL2 the printed source.
        is_model: a print by the organisers.
    """

    character: str | None
    person: int
    fields: Fields
    is_model: bool = False


@dataclass(frozen=True)
class DrawnFile:
    """A file that was drawn, with its records in order."""

    path: Path
    set_name: str
    samples: tuple[Sample, ...]


FOLDERS = {name: name for name in LAYOUTS} | {"ETL8B2": "ETL8B"}
CO59 = {"上": (4, 4), "あ": (5, 12), "ア": (37, 12), "宙": (56, 14)}
NUM_PEOPLE = 4

# (character, JIS X 0201 code, two-byte character code) of each file, in the files' order.
M_CLASSES: dict[str, list[tuple[str | None, int, str]]] = {
    "ETL1C_01": [("0", 0x30, "0 "), ("1", 0x31, "1 ")],
    "ETL1C_02": [("A", 0x41, "A ")],
    "ETL1C_05": [("¥", 0x5C, "$Y")],
    "ETL1C_07": [("ア", 0xB1, " A"), ("イ", 0xB2, " I")],
    "ETL1C_11": [("イ", 0xB2, "YI")],
    "ETL1C_12": [("ヰ", 0xA8, "WI")],
    "ETL1C_13": [("ヱ", 0xAA, "WE"), ("ン", 0xDD, " N")],
    "ETL6C_01": [("ア", 0xB1, " A"), ("カ", 0xB6, "KA")],
    "ETL6C_05": [("゛", 0xDE, ",,"), ("゜", 0xDF, ",0")],
    "ETL6C_06": [("5", 0x35, "5 "), ("K", 0x4B, "K "), (None, 0x00, "+1")],
}
ETL7_CLASSES = [("あ", 0xB1, " A"), ("か", 0xB6, "KA"), ("ん", 0xDD, " N"), ("゛", 0xDE, ",,")]
# (character, JIS X 0201 code, four-character code)
C_CLASSES = {
    "ETL3": [("0", 0x30, "N  0"), ("K", 0x4B, "A  K"), ("+", 0x2B, "S  +"), ("¥", 0x5C, "S  $")],
    "ETL4": [
        ("あ", 0xB1, "H  A"),
        ("い", 0xB2, "H  I"),
        ("い", 0xB2, "H YI"),
        ("ゐ", 0xA8, "H WI"),
    ],
    "ETL5": [
        ("ア", 0xB1, "K  A"),
        ("イ", 0xB2, "K  I"),
        ("イ", 0xB2, "K YI"),
        ("ヱ", 0xAA, "K WE"),
    ],
}
C_FIRST_SHEETS = {"ETL3": 4001, "ETL4": 5001, "ETL5": 6001}
ETL8_READINGS = {"あ": "A.HIRA", "い": "I.HIRA", "一": "ICHI", "右": "UU"}  # in JIS order
ETL9_READINGS = {"あ": "A.HIRA", "い": "I.HIRA", "亜": "A", "哀": "AI"}
ETL8_PEOPLE = {"ETL8G_01": 0, "ETL8G_02": 5, "ETL8G_03": 10}  # the first data set of each file
ETL9_PEOPLE = {"ETL9G_01": 0, "ETL9G_02": 4, "ETL9G_03": 8}


def _jis_x_0208(character: str) -> int:
    return int.from_bytes(character.encode("euc_jp"), "big") - 0x8080


def _about(person: int) -> dict[str, Value]:
    """What a sheet says of who filled it in."""
    return {
        "sex": 1 + person % 2,
        "age": 20 + person,
        "industry": 100 + person,
        "occupation": 300 + person,
    }


def _m_sample(
    character: str | None, jis: int, code: str, person: int, first_sheet: int = 1001
) -> Sample:
    fields: dict[str, Value] = {
        "character_code": code,
        "sheet": first_sheet + person,
        "jis": jis,
        "sheet_date": 7312,
        "scan_date": 7401,
        "y": 1,
        "x": 2,
        "min_level": 3,
        "max_level": 80,
    }
    return Sample(character, person, {**fields, **_about(person)})


def _m_files(set_name: str) -> dict[str, list[Sample]]:
    """ETL1 and ETL6: one character after the other, each by all people."""
    return {
        name: [_m_sample(*one, person) for one in classes for person in range(NUM_PEOPLE)]
        for name, classes in M_CLASSES.items()
        if name.startswith(set_name)
    }


def _etl7_files() -> dict[str, list[Sample]]:
    """Large (L) and small (S) frames by the same people; every character twice on a sheet."""
    halves = {1: range(2), 2: range(2, NUM_PEOPLE)}
    return {
        f"ETL7{size}C_{number}": [
            _m_sample(*one, person, first_sheet)
            for one in ETL7_CLASSES
            for person in people
            for _ in range(2)
        ]
        for size, first_sheet in {"L": 2001, "S": 2501}.items()
        for number, people in halves.items()
    }


def _etl2_files() -> dict[str, list[Sample]]:
    """Two printed sources a file; a source is Mincho or Gothic."""
    kinds = {"上": "KANJI", "あ": "HRKANA", "ア": "KTKANA", "宙": "KANJI"}

    def sample(character: str, source: int) -> Sample:
        fields: dict[str, Value] = {
            "mark": "ABCD"[source],
            "contents": kinds[character],
            "style": ("MINCHO", "GOTHIC")[source % 2],
            "co59": CO59[character],
        }
        return Sample(character, source, fields)

    return {
        f"ETL2_{number}": [sample(character, source) for source in sources for character in CO59]
        for number, sources in {1: (0, 1), 2: (2, 3)}.items()
    }


def _c_files(set_name: str) -> dict[str, list[Sample]]:
    """ETL3, ETL4 and ETL5, sheet by sheet (their real order is not known)."""

    def sample(character: str, jis: int, code: str, person: int) -> Sample:
        fields: dict[str, Value] = {
            "sheet": C_FIRST_SHEETS[set_name] + person,
            "jis": jis,
            "character_code": code,
            "sheet_date": 741202,
            "scan_date": 750115,
            "x_samples": 72,
            "y_samples": 76,
            "num_levels": 16,
            "magnification": 100 if set_name == "ETL5" else 133,
        }
        return Sample(character, person, {**fields, **_about(person)})

    name = {"ETL3": "ETL3C_1"}.get(set_name, f"{set_name}C")
    people = range(NUM_PEOPLE)
    return {name: [sample(*one, person) for person in people for one in C_CLASSES[set_name]]}


def _jis_sample(
    character: str, reading: str, person: int, sheet: int, more: Fields | None = None
) -> Sample:
    fields: dict[str, Value] = {
        "sheet": sheet,
        "jis": _jis_x_0208(character),
        "reading": reading,
    }
    return Sample(character, person, {**fields, **(more or {})})


def _etl8b2_files() -> dict[str, list[Sample]]:
    """One character after the other, each by all of the 160 data sets; four-letter readings."""
    return {
        "ETL8B2C1": [
            _jis_sample(character, reading[:4], person, 10 * person + 1)
            for character, reading in ETL8_READINGS.items()
            for person in range(160)
        ]
    }


def _etl8g_files() -> dict[str, list[Sample]]:
    """The beginning of the first data set of three files, and of the printed model set."""
    files = {
        name: [
            _jis_sample(character, reading, person, 10 * person + 1, _about(person))
            for character, reading in ETL8_READINGS.items()
        ]
        for name, person in ETL8_PEOPLE.items()
    }
    files["ETL8G_33"] = [
        Sample(character, 160, {"sheet": 1601, "jis": _jis_x_0208(character)}, is_model=True)
        for character in ETL8_READINGS
    ]
    return files


def _etl9b_files() -> dict[str, list[Sample]]:
    """One data set after the other, characters in JIS order; sheets count on over all sets."""
    return {
        "ETL9B_1": [
            _jis_sample(character, reading[:4], person, 20 * person + 1)
            for person in ETL9_PEOPLE.values()
            for character, reading in ETL9_READINGS.items()
        ]
    }


def _etl9g_files() -> dict[str, list[Sample]]:
    """The beginning of the first data set of three files, in an order that is not that of JIS.

    Sheets begin at 1 again in every file; nothing is known of the people.
    """
    return {
        name: [
            _jis_sample(character, ETL9_READINGS[character], person, 1)
            for character in sorted(ETL9_READINGS, reverse=True)
        ]
        for name, person in ETL9_PEOPLE.items()
    }


DRAWN_SETS: dict[str, Callable[[], dict[str, list[Sample]]]] = {
    "ETL1": lambda: _m_files("ETL1"),
    "ETL2": _etl2_files,
    "ETL3": lambda: _c_files("ETL3"),
    "ETL4": lambda: _c_files("ETL4"),
    "ETL5": lambda: _c_files("ETL5"),
    "ETL6": lambda: _m_files("ETL6"),
    "ETL7": _etl7_files,
    "ETL8B2": _etl8b2_files,
    "ETL8G": _etl8g_files,
    "ETL9B": _etl9b_files,
    "ETL9G": _etl9g_files,
}


@cache
def _face(index: int, size_px: int) -> ImageFont.FreeTypeFont:
    """A packaged font: 0 Mincho (with serifs), 1 Gothic (without)."""
    gothic, mincho = find_fonts(("pylopdf_fonts_jp",))[:2]
    path = (mincho, gothic)[index].path
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def _drawn(character: str, person: int, width_px: int, height_px: int) -> Uint8:
    """A glyph with a person's size, slant and place: (H, W) uint8, ink 255 on 0."""
    habits = np.random.default_rng(person)
    size_px = round(height_px * habits.uniform(0.6, 0.75))
    slant = habits.uniform(-0.2, 0.2)
    x, y = habits.uniform(-0.05, 0.05, 2) * height_px
    centre = (width_px / 2 + x, height_px / 2 + y)
    picture = Image.new("L", (width_px, height_px))
    font = _face(person % 2, size_px)
    ImageDraw.Draw(picture).text(centre, character, fill=255, font=font, anchor="mm")
    shear = (1, slant, -slant * height_px / 2, 0, 1, 0)
    sheared = picture.transform(
        picture.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR
    )
    return np.asarray(sheared)


def _levels(sample: Sample, layout: Layout) -> Uint8:
    """A sample's pixels as they are stored; paper of 16 levels is not quite clean."""
    ink = _drawn(sample.character or "+", sample.person, layout.width_px, layout.height_px)
    highest = 2**layout.bits - 1
    levels = np.rint(ink / 255 * highest).astype(np.uint8)
    if layout.bits != 4:
        return levels
    paper = np.random.default_rng(sample.person).integers(0, 2, levels.shape, np.uint8)
    return np.maximum(levels, paper)


def _write_set(folder: Path, set_name: str) -> Iterator[DrawnFile]:
    layout = LAYOUTS[set_name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{folder.name.rstrip('BG')}INFO").write_text("not a data file\n", encoding="ascii")
    for name, samples in DRAWN_SETS[set_name]().items():
        levels = np.stack([_levels(sample, layout) for sample in samples])
        numbered: list[Fields] = [dict(sample.fields) for sample in samples]
        if "serial" in layout.fields:
            numbered = [{**one, "serial": 1 + i} for i, one in enumerate(numbered)]
        (folder / name).write_bytes(encode(set_name, numbered, levels))
        yield DrawnFile(folder / name, set_name, tuple(samples))


def drawn_files(folder: Path, set_names: Sequence[str] = tuple(LAYOUTS)) -> list[DrawnFile]:
    """Write small ETL folders with the names and orders of the real ones: ``folder/ETL1/ETL1C_01``.

    Few characters by few people, about 900 records, 1 MB. ETL8G and ETL9G give a data set by the
    place of a record in its file, so that each file holds only the beginning of its first set.
    ``folder/euc_co59.dat`` is the table of the characters in ETL2.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = "".join(f"{character}:{a},{b}\n" for character, (a, b) in CO59.items())
    (folder / "euc_co59.dat").write_bytes(table.encode("euc_jp"))
    return [
        file for set_name in set_names for file in _write_set(folder / FOLDERS[set_name], set_name)
    ]


def small_sets(sets: Mapping[str, EtlSet], drawn: Sequence[DrawnFile]) -> dict[str, EtlSet]:
    """The reader's table of sets, as if the drawn files were all that there is."""
    found = {}
    for name, form in sets.items():
        own = [file for file in drawn if file.set_name == name]
        files = {file.path.name: len(file.samples) + form.dummy_records for file in own}
        models = {file.path.name: sum(one.is_model for one in file.samples) for file in own}
        models = {file: number for file, number in models.items() if number}
        found[name] = replace(form, files=files, model_records=models, sha256={})
    return found
