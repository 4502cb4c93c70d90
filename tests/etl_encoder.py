"""Synthetic files in the eleven record formats of the ETL Character Database.

An encoder written from the form sheets, apart from the reader, so that each can prove the other: a
record is one big integer, most significant bit first, into which every field is set at its bit.
Bits that no field covers can be filled with noise, because a reader must not look at them.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
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


def _fields(table: str, unit_bits: int) -> dict[str, Field]:
    """Fields one after the other, "name size kind", sizes in units of bits; "-" means nothing."""
    fields, first_bit = {}, 0
    for name, size, *kind in map(str.split, table.split(",")):
        fields[name] = Field(first_bit, unit_bits * int(size), *kind)
        first_bit += unit_bits * int(size)
    return {name: field for name, field in fields.items() if not name.startswith("-")}


M_FIELDS = _fields(
    "data_number 2, character_code 2 ascii, sheet 2, jis 1, ebcdic 1, quality 1, group_quality 1, "
    "sex 1, age 1, serial 4, industry 2, occupation 2, sheet_date 2, scan_date 2, y 1, x 1, "
    "min_level 1, max_level 1",
    unit_bits=8,
)
K_FIELDS = _fields(
    "serial 6, mark 1 t56, blank 5 t56, contents 6 t56, style 6 t56, - 4, co59 2 pair", unit_bits=6
)
C_FIELDS = _fields(  # words of 36 bits
    "serial 9, sheet 9, jis 2, - 7, ebcdic 2, - 7, character_code 6 t56, blank 3 t56, quality 9, "
    "group_quality 9, y 9, x 9, sex 9, age 9, industry 9, occupation 9, sheet_date 9, scan_date 9, "
    "x_samples 9, y_samples 9, num_levels 9, magnification 9, old_serial 9",
    unit_bits=4,
)
B_FIELDS = _fields("sheet 2, jis 2, reading 4 ascii", unit_bits=8)
G_FIELDS = _fields(
    "sheet 2, jis 2, reading 8 ascii, serial 4, quality 1, group_quality 1, sex 1, age 1, "
    "industry 2, occupation 2, sheet_date 2, scan_date 2, x 1, y 1",
    unit_bits=8,
)


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
        return Field(8 * self.image_byte, self.width_px * self.height_px * self.bits)


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


def _field_bits(value: Value, field: Field) -> int:
    """A number, two halves, or characters of eight (ascii) or six (t56) bits padded with spaces."""
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return value[0] << 6 | value[1]
    bits = 6 if field.kind == "t56" else 8
    codes = map(SIX_BIT.index if field.kind == "t56" else ord, value.ljust(field.num_bits // bits))
    return sum(code << bits * place for place, code in enumerate(reversed([*codes])))


def _image_bits(levels: Uint8, bits: int) -> int:
    """Pixels from left to right and top to bottom, each with its highest bit first."""
    places = np.arange(bits)[::-1]
    pixels = levels.reshape(-1, 1) >> places & 1  # (H * W, bits)
    return int.from_bytes(np.packbits(pixels.astype(np.uint8)).tobytes(), "big")


def _record(layout: Layout, fields: Fields, levels: Uint8, noise: int) -> bytes:
    """One record; ``noise`` fills the bits that no field covers."""
    num_bits = 8 * layout.record_bytes
    parts = [(layout.image, _image_bits(levels, layout.bits))]
    for name, field in layout.fields.items():
        nothing = "" if field.kind in ("ascii", "t56") else 0
        parts.append((field, _field_bits(fields.get(name, nothing), field)))
    record, covered = 0, 0
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


Files = dict[str, list[Sample]]  # by their names
FOLDERS = {name: name for name in LAYOUTS} | {"ETL8B2": "ETL8B"}
CO59 = {"上": (4, 4), "あ": (5, 12), "ア": (37, 12), "宙": (56, 14)}
NUM_PEOPLE = 4
PERSON = {"age": 20, "industry": 100, "occupation": 300}  # of person 0, one more of the next

# Character: its JIS X 0201 code and its two- or four-byte character code, in the files' order.
M_CLASSES = {
    "ETL1C_01": {"0": (0x30, "0 "), "1": (0x31, "1 ")},
    "ETL1C_02": {"A": (0x41, "A ")},
    "ETL1C_05": {"¥": (0x5C, "$Y")},
    "ETL1C_07": {"ア": (0xB1, " A"), "イ": (0xB2, " I")},
    "ETL1C_11": {"イ": (0xB2, "YI")},
    "ETL1C_12": {"ヰ": (0xA8, "WI")},
    "ETL1C_13": {"ヱ": (0xAA, "WE"), "ン": (0xDD, " N")},
    "ETL6C_01": {"ア": (0xB1, " A"), "カ": (0xB6, "KA")},
    "ETL6C_05": {"゛": (0xDE, ",,"), "゜": (0xDF, ",0")},
    "ETL6C_06": {"5": (0x35, "5 "), "K": (0x4B, "K "), None: (0x00, "+1")},
}
ETL7_CLASSES = {"あ": (0xB1, " A"), "か": (0xB6, "KA"), "ん": (0xDD, " N"), "゛": (0xDE, ",,")}
C_CLASSES = {  # い and イ are written twice
    "ETL3C_1": [("0", 0x30, "N  0"), ("K", 0x4B, "A  K"), ("+", 0x2B, "S  +"), ("¥", 0x5C, "S  $")],
    "ETL4C": [("あ", 0xB1, "H  A"), ("い", 0xB2, "H  I"),
              ("い", 0xB2, "H YI"), ("ゐ", 0xA8, "H WI")],
    "ETL5C": [("ア", 0xB1, "K  A"), ("イ", 0xB2, "K  I"),
              ("イ", 0xB2, "K YI"), ("ヱ", 0xAA, "K WE")],
}  # fmt: skip
ETL8_READINGS = {"あ": "A.HIRA", "い": "I.HIRA", "一": "ICHI", "右": "UU"}  # in JIS order
ETL9_READINGS = {"あ": "A.HIRA", "い": "I.HIRA", "亜": "A", "哀": "AI"}
ETL8_PEOPLE = {"ETL8G_01": 0, "ETL8G_02": 5, "ETL8G_03": 10}  # the first data set of each file
ETL9_PEOPLE = {"ETL9G_01": 0, "ETL9G_02": 4, "ETL9G_03": 8}


def _sample(character: str | None, person: int, jis: int, sheet: int, **more: Value) -> Sample:
    """What a record says of its character and of who filled in the sheet."""
    about = {name: base + person for name, base in PERSON.items()}
    fields = {"jis": jis, "sheet": sheet, "sex": 1 + person % 2, **about, **more}
    return Sample(character, person, fields)


def _jis_sample(character: str, person: int, sheet: int, reading: str = "") -> Sample:
    jis = int.from_bytes(character.encode("euc_jp"), "big") - 0x8080
    return _sample(character, person, jis, sheet, reading=reading)


def _m_files(set_name: str) -> Files:
    """ETL1 and ETL6: one character after the other, each by all people."""
    return {
        name: [
            _sample(character, person, jis, 1001 + person, character_code=code)
            for character, (jis, code) in classes.items()
            for person in range(NUM_PEOPLE)
        ]
        for name, classes in M_CLASSES.items()
        if name.startswith(set_name)
    }


def _c_files(name: str) -> Files:
    """ETL3, ETL4 and ETL5, sheet by sheet (their real order is not known)."""
    return {
        name: [
            _sample(character, person, jis, 6001 + person, character_code=code)
            for person in range(NUM_PEOPLE)
            for character, jis, code in C_CLASSES[name]
        ]
    }


DRAWN_SETS: dict[str, Files] = {
    "ETL1": _m_files("ETL1"),
    "ETL2": {  # two printed sources a file
        f"ETL2_{number}": [
            Sample(character, source, {"mark": "ABCD"[source], "co59": code})
            for source in (2 * number - 2, 2 * number - 1)
            for character, code in CO59.items()
        ]
        for number in (1, 2)
    },
    "ETL3": _c_files("ETL3C_1"),
    "ETL4": _c_files("ETL4C"),
    "ETL5": _c_files("ETL5C"),
    "ETL6": _m_files("ETL6"),
    # Large (L) and small (S) frames by the same people; every character twice on a sheet.
    "ETL7": {
        f"ETL7{size}C_{number}": [
            _sample(character, person, jis, ord(size) + person, character_code=code)
            for character, (jis, code) in ETL7_CLASSES.items()
            for person in range(NUM_PEOPLE)[2 * number - 2 : 2 * number]
            for _ in range(2)
        ]
        for size, number in itertools.product("LS", (1, 2))
    },
    # One character after the other, each by all of the 160 data sets; four-letter readings.
    "ETL8B2": {
        "ETL8B2C1": [
            _jis_sample(character, person, 10 * person + 1, reading[:4])
            for character, reading in ETL8_READINGS.items()
            for person in range(160)
        ]
    },
    # The beginning of the first data set of three files, and of the printed model set.
    "ETL8G": {
        name: [
            _jis_sample(character, person, 10 * person + 1, reading)
            for character, reading in ETL8_READINGS.items()
        ]
        for name, person in ETL8_PEOPLE.items()
    }
    | {
        "ETL8G_33": [
            replace(_jis_sample(character, 160, 1601), is_model=True) for character in ETL8_READINGS
        ]
    },
    # One data set after the other, characters in JIS order; sheets count on over all sets.
    "ETL9B": {
        "ETL9B_1": [
            _jis_sample(character, person, 20 * person + 1, reading[:4])
            for person in ETL9_PEOPLE.values()
            for character, reading in ETL9_READINGS.items()
        ]
    },
    # The beginning of the first data set of three files, in an order that is not that of JIS.
    # Sheets begin at 1 again in every file.
    "ETL9G": {
        name: [
            _jis_sample(character, person, 1, ETL9_READINGS[character])
            for character in sorted(ETL9_READINGS, reverse=True)
        ]
        for name, person in ETL9_PEOPLE.items()
    },
}


@cache
def _face(index: int, size_px: int) -> ImageFont.FreeTypeFont:
    """A packaged font: 0 Mincho (with serifs), 1 Gothic (without)."""
    gothic, mincho = find_fonts(("pylopdf_fonts_jp",))[:2]
    path = (mincho, gothic)[index].path
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


@cache
def _drawn(character: str, person: int, of: str, width_px: int, height_px: int) -> Uint8:
    """A glyph as a person of some sets bends it, in its place: (H, W) uint8, ink 255 on 0."""
    habits = np.random.default_rng([*of.encode(), person, 1])
    size_px = round(height_px * habits.uniform(0.6, 0.75))
    x, y = habits.uniform(-0.05, 0.05, 2) * height_px
    centre = (width_px / 2 + x, height_px / 2 + y)
    picture = Image.new("L", (width_px, height_px))
    font = _face(person % 2, size_px)
    ImageDraw.Draw(picture).text(centre, character, fill=255, font=font, anchor="mm")
    corners = np.array([0, 0, 0, height_px, width_px, height_px, width_px, 0])
    bent = tuple((corners + habits.uniform(-0.35, 0.35, 8) * height_px).tolist())
    method = Image.Transform.QUAD, bent, Image.Resampling.BILINEAR
    return np.asarray(picture.transform(picture.size, *method))


def _levels(sample: Sample, layout: Layout, set_name: str) -> Uint8:
    """A sample's pixels as they are stored; paper of 16 levels is not quite clean."""
    size = layout.width_px, layout.height_px
    ink = _drawn(sample.character or "+", sample.person, set_name[:4], *size)
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
    for name, samples in DRAWN_SETS[set_name].items():
        levels = np.stack([_levels(sample, layout, set_name) for sample in samples])
        fields = [{**sample.fields, "serial": 1 + i} for i, sample in enumerate(samples)]
        (folder / name).write_bytes(encode(set_name, fields, levels))
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
        own = {file.path.name: file.samples for file in drawn if file.set_name == name}
        files = {file: len(samples) + form.dummy_records for file, samples in own.items()}
        num_models = sum(one.is_model for samples in own.values() for one in samples)
        found[name] = replace(form, files=files, num_models=num_models)
    return found
