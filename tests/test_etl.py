"""The ETL reader against an encoder that knows only the form sheets: every bit, label and hand."""

import re
import tempfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etl_encoder import (
    CO59,
    LAYOUTS,
    SIX_BIT,
    DrawnFile,
    Field,
    Fields,
    Uint8,
    Value,
    drawn_files,
    encode,
)
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from handwriting.characters.classes import class_list
from handwriting.errors import InputError
from handwriting.etl import SETS, EtlFile
from handwriting.etl.codes import T56, jis_x_0201, jis_x_0208, read_co59

FILES = {
    "ETL1": "ETL1C_01",
    "ETL2": "ETL2_1",
    "ETL3": "ETL3C_1",
    "ETL4": "ETL4C",
    "ETL5": "ETL5C",
    "ETL6": "ETL6C_01",
    "ETL7": "ETL7LC_1",
    "ETL8B2": "ETL8B2C1",
    "ETL8G": "ETL8G_01",
    "ETL9B": "ETL9B_1",
    "ETL9G": "ETL9G_01",
}
FAMILIES = {"M": "ETL1", "K": "ETL2", "C": "ETL3", "B": "ETL9B", "G": "ETL9G"}
ONLY_IN_ETL8 = {0x2443, 0x2463, 0x2465, 0x2467}  # っ ゃ ゅ ょ: a sign of ETL8G, refused as ETL9G
NUM_RECORDS = {  # in the files as they are, dummies not counted
    "ETL1": 141_319,
    "ETL2": 52_796,
    "ETL3": 9_600,
    "ETL4": 6_120,
    "ETL5": 10_608,
    "ETL6": 159_045,
    "ETL7": 33_600,
    "ETL8B2": 153_916,
    "ETL8G": 153_916,
    "ETL9B": 610_236,
    "ETL9G": 607_200,
}
FILE_BYTES = {
    "ETL1C_06": 23_721_120,
    "ETL1C_07": 23_162_976,
    "ETL1C_09": 23_160_924,
    "ETL1C_13": 8_686_116,
    "ETL2_1": 24_858_720,
    "ETL2_5": 31_347_900,
    "ETL3C_2": 14_169_600,
    "ETL4C": 18_066_240,
    "ETL5C": 31_314_816,
    "ETL6C_11": 28_379_160,
    "ETL6C_12": 14_189_580,
    "ETL7LC_1": 19_699_200,
    "ETL7SC_2": 14_774_400,
    "ETL8B2C2": 26_214_912,
    "ETL8B2C3": 26_376_704,
    "ETL8G_32": 39_191_220,
    "ETL8G_33": 7_838_244,
    "ETL9B_4": 69_950_016,
    "ETL9B_5": 71_698_752,
    "ETL9G_50": 99_568_656,
}


def etl_file(
    folder: Path,
    set_name: str,
    fields: Sequence[Fields],
    levels: Uint8 | None = None,
    name: str = "",
    noise: np.random.Generator | None = None,
    **options: Any,
) -> EtlFile:
    """A file of these records, written and opened; blank images if no levels are given."""
    layout = LAYOUTS[set_name]
    if levels is None:
        levels = np.zeros((len(fields), layout.height_px, layout.width_px), np.uint8)
    path = folder / (name or FILES[set_name])
    path.write_bytes(encode(set_name, fields, levels, noise))
    return EtlFile(path, **options)


def sparse_file(folder: Path, name: str, size_bytes: int) -> Path:
    """A file of zeros that takes no room on the disk."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


def meant(set_name: str) -> dict[str, Field]:
    """The fields that mean something."""
    return {name: field for name, field in LAYOUTS[set_name].fields.items() if name != "blank"}


def random_levels(set_name: str, num: int, rng: np.random.Generator) -> Uint8:
    layout = LAYOUTS[set_name]
    return rng.integers(0, 2**layout.bits, (num, layout.height_px, layout.width_px), np.uint8)


def random_value(field: Field, rng: np.random.Generator) -> Value:
    """Any value that the field can hold; text without NUL, which ends a text in numpy."""
    if field.kind == "t56":
        return "".join(SIX_BIT[i] for i in rng.integers(0, 64, field.num_bits // 6))
    if field.kind == "ascii":
        return "".join(map(chr, rng.integers(1, 128, field.num_bits // 8)))
    if field.kind == "pair":
        return int(rng.integers(64)), int(rng.integers(64))
    return int(rng.integers(2**field.num_bits))


def random_fields(set_name: str, num: int, rng: np.random.Generator) -> list[Fields]:
    return [
        {name: random_value(field, rng) for name, field in meant(set_name).items()}
        for _ in range(num)
    ]


def full_scale(levels: Uint8, bits: int) -> Uint8:
    """Levels as ink of 0..255, rounded to the nearest, in whole numbers."""
    highest = 2**bits - 1
    return ((levels.astype(np.int64) * 510 + highest) // (2 * highest)).astype(np.uint8)


def as_numpy_lists(value: Value, field: Field) -> object:
    """A field's value as ``tolist`` gives it."""
    if field.kind == "ascii":
        return str(value).encode()
    return list(value) if isinstance(value, tuple) else value


def assert_metadata(file: EtlFile, fields: Sequence[Fields], set_name: str) -> None:
    table = meant(set_name)
    assert set(file.metadata.dtype.names or ()) == set(table)
    for name, field in table.items():
        column = file.metadata[name]
        assert column.dtype.isnative, name
        assert column.tolist() == [as_numpy_lists(one[name], field) for one in fields], name


def assert_everything(
    file: EtlFile, fields: Sequence[Fields], levels: Uint8, set_name: str
) -> None:
    assert len(file) == len(fields)
    assert file.levels().dtype == file.images().dtype == np.uint8
    np.testing.assert_array_equal(file.levels(), levels)
    np.testing.assert_array_equal(file.images(), full_scale(levels, LAYOUTS[set_name].bits))
    assert_metadata(file, fields, set_name)


# The encoder itself, against bytes taken by hand from what is published of the real files.


def encoded(set_name: str, **fields: Value) -> bytes:
    layout = LAYOUTS[set_name]
    return encode(set_name, [fields], np.zeros((1, layout.height_px, layout.width_px), np.uint8))


def test_the_encoder_gives_the_first_record_of_etl2() -> None:
    record = encoded("ETL2", serial=1, mark="A", contents="KANJI ", style="MINCHO", co59=(4, 4))
    assert record[:5] == bytes.fromhex("0000000014")  # serial 1, the first 4 bits of A
    assert record[5:9] == bytes.fromhex("50410410")  # the last 2 bits of A, 5 spaces
    assert record[9:14] == bytes.fromhex("8919616509")  # KANJI, space, the first 4 bits of M
    assert record[18:21] == bytes(3)
    assert record[21:23] == bytes.fromhex("1040")  # a = byte 21 >> 2
    assert encoded("ETL2", co59=(5, 12))[21:23] == bytes.fromhex("14c0")


def test_the_encoder_gives_the_words_of_etl4s_first_record_and_of_a_k() -> None:
    first = encoded("ETL4", serial=500100, sheet=5001, jis=0xB1, ebcdic=0x81, character_code="H  A")
    assert int.from_bytes(first[:9], "big") == 500100 << 36 | 5001
    assert first[9] == 0xB1
    assert first[13:15] == bytes.fromhex("0810")  # EBCDIC 0x81 from the middle of byte 13
    assert first[18:23] == bytes.fromhex("6104114100")  # "H  A", 2 spaces, quality 0
    letter = int.from_bytes(encoded("ETL3", jis=0x4B)[9:14], "big") >> 4
    assert letter == 20132659200


def test_the_encoder_puts_bytes_where_the_form_sheets_have_them() -> None:
    m_type = encoded("ETL1", character_code=" A", sheet=1001, jis=0xB1, y=7, x=9, scan_date=7401)
    assert m_type[2:7] == bytes.fromhex("204103e9b1")
    assert m_type[22:26] == bytes.fromhex("1ce90709")
    g_type = encoded("ETL9G", sheet=3, jis=0x3430, reading="KAN", serial=401, x=7, y=9)
    assert g_type[:16] == bytes.fromhex("00033430") + b"KAN     " + bytes.fromhex("00000191")
    assert g_type[28:30] == bytes.fromhex("0709")
    b_type = encoded("ETL8B2", sheet=1, jis=0x2422, reading="A.HI")
    assert b_type[:512] == bytes(512)  # the dummy
    assert b_type[512:520] == bytes.fromhex("00012422") + b"A.HI"


@pytest.mark.parametrize(
    ("set_name", "pixels", "packed"),
    [
        ("ETL1", [1, 2, 3, 15], "123f"),
        ("ETL2", [1, 2, 3, 63], "0420ff"),
        ("ETL8B2", [1, 0, 0, 0, 0, 0, 1, 1], "83"),
        ("ETL8G", [1, 2, 3, 15], "123f"),
        ("ETL9G", [1, 2, 3, 15], "123f"),
    ],
)
def test_the_encoder_packs_the_left_pixel_highest(
    set_name: str, pixels: list[int], packed: str
) -> None:
    layout = LAYOUTS[set_name]
    levels = np.zeros((1, layout.height_px, layout.width_px), np.uint8)
    levels[0, 0, : len(pixels)] = pixels
    record = encode(set_name, [{}], levels)[-layout.record_bytes :]
    assert record[layout.image_byte :].startswith(bytes.fromhex(packed))


# What the sets are.


def test_the_sets_are_as_large_as_the_real_files() -> None:
    assert set(SETS) == set(LAYOUTS)
    for name, etl_set in SETS.items():
        dummies = len(etl_set.files) if etl_set.family == "B" else 0
        assert sum(etl_set.files.values()) - dummies == NUM_RECORDS[name], name


def test_every_named_file_has_its_size_and_records_of_its_set() -> None:
    sizes = {
        file: num * etl_set.record_bytes
        for etl_set in SETS.values()
        for file, num in etl_set.files.items()
    }
    assert {file: sizes[file] for file in FILE_BYTES} == FILE_BYTES
    assert len(sizes) == 13 + 5 + 2 + 1 + 1 + 12 + 4 + 3 + 33 + 5 + 50


@pytest.mark.parametrize("set_name", LAYOUTS)
def test_the_geometry_is_that_of_the_form_sheet(set_name: str) -> None:
    layout, etl_set = LAYOUTS[set_name], SETS[set_name]
    for name in ("record_bytes", "width_px", "height_px", "bits", "image_byte"):
        assert getattr(etl_set, name) == getattr(layout, name)


# Every bit.


@pytest.mark.parametrize("set_name", LAYOUTS)
def test_every_bit_of_a_thousand_random_records_comes_back(set_name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(sorted(LAYOUTS).index(set_name))
    fields, levels = random_fields(set_name, 1000, rng), random_levels(set_name, 1000, rng)
    file = etl_file(tmp_path, set_name, fields, levels, noise=rng)
    assert file.etl_set is SETS[set_name]
    assert_everything(file, fields, levels, set_name)


def field_values(field: Field) -> st.SearchStrategy[Value]:
    if field.kind == "pair":
        return st.tuples(st.integers(0, 63), st.integers(0, 63))
    if field.kind == "number":
        return st.integers(0, 2**field.num_bits - 1)
    alphabet = SIX_BIT if field.kind == "t56" else "".join(map(chr, range(1, 128)))
    size = field.num_bits // (6 if field.kind == "t56" else 8)
    return st.text(alphabet, min_size=size, max_size=size)


@pytest.mark.parametrize("set_name", FAMILIES.values())
@settings(max_examples=20)
@given(data=st.data())
def test_any_fields_and_pixels_come_back(set_name: str, data: st.DataObject) -> None:
    layout = LAYOUTS[set_name]
    record = st.fixed_dictionaries({n: field_values(f) for n, f in meant(set_name).items()})
    fields = data.draw(st.lists(record, min_size=1, max_size=3))
    assume(ONLY_IN_ETL8.isdisjoint(one.get("jis") for one in fields))
    shape = (len(fields), layout.height_px, layout.width_px)
    levels = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 2**layout.bits - 1)))
    noise = np.random.default_rng(data.draw(st.integers(0, 9)))
    with tempfile.TemporaryDirectory() as folder:
        file = etl_file(Path(folder), set_name, fields, levels, noise=noise)
        assert_everything(file, fields, levels, set_name)


# Parts of a file.


@pytest.fixture(scope="module", params=["ETL2", "ETL5", "ETL7", "ETL9B"])
def twelve(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EtlFile:
    """A file of twelve records that all differ."""
    rng = np.random.default_rng(0)
    set_name: str = request.param
    jis = 0x3021 if set_name == "ETL9B" else 0xB1
    extra = {"jis": jis, "sheet": 20} if set_name != "ETL2" else {}
    fields: list[Fields] = [
        {**one, **{name: value + i for name, value in extra.items()}}
        for i, one in enumerate(random_fields(set_name, 12, rng))
    ]
    folder = tmp_path_factory.mktemp(set_name)
    return etl_file(folder, set_name, fields, random_levels(set_name, 12, rng))


@pytest.mark.parametrize(
    "part",
    [
        slice(None),
        slice(2, 9, 3),
        slice(None, None, -1),
        slice(-4, None),
        slice(3, 3),
        slice(9, 99),
    ],
)
def test_a_slice_is_that_part_of_the_whole(twelve: EtlFile, part: slice) -> None:
    records = twelve[part]
    np.testing.assert_array_equal(records.images, twelve.images()[part])
    np.testing.assert_array_equal(records.metadata, twelve.metadata[part])
    np.testing.assert_array_equal(records.is_model, twelve.is_model[part])
    assert list(records.characters) == list(twelve.characters)[part]
    assert list(records.writers) == list(twelve.writers)[part]
    np.testing.assert_array_equal(twelve.images(part), records.images)
    np.testing.assert_array_equal(twelve.levels(part), twelve.levels()[part])


@pytest.mark.parametrize("index", [0, 5, 11, -1, -12])
def test_one_record_is_that_of_the_whole(twelve: EtlFile, index: int) -> None:
    record = twelve[index]
    np.testing.assert_array_equal(record.image, twelve.images()[index])
    assert record.image.dtype == np.uint8
    assert record.metadata == twelve.metadata[index]
    assert record.character == twelve.characters[index]
    assert record.writer == twelve.writers[index]
    assert record.is_model == twelve.is_model[index]


def test_an_integer_array_gives_its_records_in_its_order(twelve: EtlFile) -> None:
    which = np.array([5, 1, 1, 11, 0])
    np.testing.assert_array_equal(twelve.levels(which), twelve.levels()[which])
    np.testing.assert_array_equal(twelve.images(which), twelve.images()[which])
    assert twelve.levels(which[:0]).shape == (0, *twelve.levels().shape[1:])


@pytest.mark.parametrize("index", [12, -13])
def test_an_index_outside_is_an_index_error(twelve: EtlFile, index: int) -> None:
    with pytest.raises(IndexError):
        twelve[index]


def test_a_file_is_a_sequence(twelve: EtlFile) -> None:
    images = np.stack([record.image for record in twelve])
    np.testing.assert_array_equal(images, twelve.images())


@pytest.mark.parametrize("name", ["ETL9G_07", "ETL8B2C1", "ETL1C_01"])
def test_opening_a_file_of_real_size_reads_no_more_than_is_asked_for(
    name: str, tmp_path: Path
) -> None:
    etl_set = next(one for one in SETS.values() if name in one.files)
    path = sparse_file(tmp_path, name, etl_set.files[name] * etl_set.record_bytes)
    tracemalloc.start()
    file = EtlFile(path)
    num_dummies = 1 if etl_set.family == "B" else 0
    assert len(file) == etl_set.files[name] - num_dummies
    assert not file.images(slice(-3, None)).any()
    assert not file.levels(np.array([0, 4000])).any()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 1_000_000 < path.stat().st_size


# Labels.

KATAKANA = (
    "ヲアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン"
)
HIRAGANA = (
    "をあいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわん"
)
KANA_CODES = [0xA6, *range(0xB1, 0xDE)]
LEVEL_1 = [0x8080 + row * 256 + cell for row in range(0x30, 0x50) for cell in range(0x21, 0x7F)]


def labels(folder: Path, set_name: str, codes: Sequence[int]) -> list[str | None]:
    fields = [{"jis": code, "sheet": 1} for code in codes]
    return list(etl_file(folder, set_name, fields).characters)


@pytest.mark.parametrize("set_name", ["ETL1", "ETL5", "ETL6"])
def test_katakana_codes_are_katakana(set_name: str, tmp_path: Path) -> None:
    assert labels(tmp_path, set_name, KANA_CODES) == list(KATAKANA)


@pytest.mark.parametrize("set_name", ["ETL4", "ETL7"])
def test_katakana_codes_are_hiragana_in_the_hiragana_sets(set_name: str, tmp_path: Path) -> None:
    assert labels(tmp_path, set_name, KANA_CODES) == list(HIRAGANA)


@pytest.mark.parametrize(
    ("set_name", "expected"),
    [("ETL1", "ヰヱ"), ("ETL5", "ヰヱ"), ("ETL6", "ヰヱ"), ("ETL4", "ゐゑ"), ("ETL7", "ゐゑ")],
)
def test_the_codes_of_small_i_and_e_are_wi_and_we(
    set_name: str, expected: str, tmp_path: Path
) -> None:
    assert labels(tmp_path, set_name, [0xA8, 0xAA]) == list(expected)


@pytest.mark.parametrize("set_name", ["ETL6", "ETL7"])
def test_voiced_marks_are_printable_alone(set_name: str, tmp_path: Path) -> None:
    assert labels(tmp_path, set_name, [0xDE, 0xDF]) == ["\u309b", "\u309c"]


@pytest.mark.parametrize("set_name", ["ETL1", "ETL3", "ETL6"])
def test_latin_codes_are_ascii_but_for_yen_and_overline(set_name: str, tmp_path: Path) -> None:
    expected = [chr(code) for code in range(0x21, 0x7F)]
    expected[0x5C - 0x21], expected[0x7E - 0x21] = "¥", "‾"
    assert labels(tmp_path, set_name, range(0x21, 0x7F)) == expected


def test_the_middle_dot_of_etl1_is_the_full_width_one(tmp_path: Path) -> None:
    assert labels(tmp_path, "ETL1", [0xA5, 0x2C]) == ["・", ","]


@pytest.mark.parametrize("set_name", ["ETL1", "ETL4", "ETL6"])
def test_a_byte_without_a_character_is_no_label(set_name: str, tmp_path: Path) -> None:
    nothing = [*range(0x20), *range(0x7F, 0xA1), *range(0xE0, 0x100)]
    assert labels(tmp_path, set_name, nothing) == [None] * len(nothing)


def test_the_two_byte_code_does_not_decide_the_label(tmp_path: Path) -> None:
    fields: list[Fields] = [
        {"character_code": "A ", "jis": 0x41},
        {"character_code": " A", "jis": 0xB1},
        {"character_code": "YI", "jis": 0xB2},
        {"character_code": " I", "jis": 0xB2},
    ]
    file = etl_file(tmp_path, "ETL6", fields)
    assert list(file.characters) == ["A", "ア", "イ", "イ"]
    assert file.metadata["character_code"].tolist() == [b"A ", b" A", b"YI", b" I"]


@pytest.mark.parametrize("set_name", ["ETL8B2", "ETL9B"])
def test_every_level_1_kanji_and_kana_is_as_the_euc_codec_says(
    set_name: str, tmp_path: Path
) -> None:
    kana = range(0xA4A1, 0xA4F4)
    codes = [*kana, *[code for code in LEVEL_1 if code <= 0xCFD3]]
    expected = [code.to_bytes(2, "big").decode("euc_jp") for code in codes]
    assert len(codes) == 83 + 2965
    assert labels(tmp_path, set_name, [code - 0x8080 for code in codes]) == expected


@pytest.mark.parametrize("set_name", ["ETL8G", "ETL8B2"])
def test_a_kanji_set_gives_no_label_to_a_zero_code(set_name: str, tmp_path: Path) -> None:
    assert labels(tmp_path, set_name, [0x2422, 0, 0x306C]) == ["あ", None, "一"]


def test_codes_alone() -> None:
    assert [jis_x_0201(code, hiragana=False) for code in KANA_CODES] == list(KATAKANA)
    assert [jis_x_0201(code, hiragana=True) for code in KANA_CODES] == list(HIRAGANA)
    assert [jis_x_0208(code) for code in (0x2422, 0x4F53, 0x4F54, 0)] == ["あ", "腕", None, None]


def test_the_six_bit_table_is_that_of_the_computer_not_of_the_script() -> None:
    assert T56 == SIX_BIT
    assert len(set(T56)) == 64
    assert (T56[31], T56[32], T56[48], T56[58]) == ("\\", "^", "+", "_")


def test_the_signs_plus_and_underline_of_etl3_are_told_apart(tmp_path: Path) -> None:
    fields: list[Fields] = [{"character_code": f"S  {sign}"} for sign in "+_$.'"]
    codes = etl_file(tmp_path, "ETL3", fields).metadata["character_code"]
    assert codes.tolist() == ["S  +", "S  _", "S  $", "S  .", "S  '"]


@pytest.mark.parametrize("encoding", ["euc_jp", "utf_8"])
def test_etl2_has_labels_by_the_table_that_is_given(encoding: str, tmp_path: Path) -> None:
    lines = [f"{character}:{a},{b}\n" for character, (a, b) in CO59.items()]
    table = tmp_path / "table"
    table.write_bytes("".join([*lines, "▲:4,5\n", "▲:4,6\n"]).encode(encoding))
    co59 = read_co59(table)
    assert co59 == {code: character for character, code in CO59.items()}
    fields: list[Fields] = [{"co59": code} for code in [*CO59.values(), (4, 5), (59, 59)]]
    file = etl_file(tmp_path, "ETL2", fields, co59=co59)
    assert list(file.characters) == [*CO59, None, None]


def test_etl2_without_a_table_has_no_labels(tmp_path: Path) -> None:
    file = etl_file(tmp_path, "ETL2", [{"co59": (4, 4)}, {"co59": (5, 12)}])
    assert list(file.characters) == [None, None]
    assert file.metadata["co59"].tolist() == [[4, 4], [5, 12]]


def test_a_table_of_the_real_size_is_read_whole(tmp_path: Path) -> None:
    places = [*range(4, 28), *range(36, 60)]
    pairs = [(a, b) for a in places for b in places]
    kanji = [code.to_bytes(2, "big").decode("euc_jp") for code in LEVEL_1[: len(pairs)]]
    lines = [f"{one}:{a},{b}\n" for one, (a, b) in zip(kanji, pairs, strict=True)]
    table = tmp_path / "euc_co59.dat"
    table.write_bytes("".join(lines).encode("euc_jp"))
    assert table.stat().st_size == 20_160
    assert read_co59(table) == dict(zip(pairs, kanji, strict=True))


# WriterProbe.

TUPLE = {"sex": 1, "age": 30, "industry": 12, "occupation": 34, "sheet_date": 7312}


def groups(keys: Sequence[object]) -> list[int]:
    """Keys replaced by the place where each first occurs: equal for equal partitions."""
    keys = list(keys)
    return [keys.index(key) for key in keys]


def writers(folder: Path, set_name: str, fields: Sequence[Fields], name: str = "") -> list[str]:
    keys = [str(key) for key in etl_file(folder, set_name, fields, name=name).writers]
    assert all(keys)
    return keys


@pytest.mark.parametrize("set_name", ["ETL1", "ETL3", "ETL4", "ETL6"])
def test_a_sheet_is_a_hand(set_name: str, tmp_path: Path) -> None:
    fields = [{"sheet": sheet, "age": i} for i, sheet in enumerate([1001, 2960, 1001])]
    expected = [f"{set_name}:1001", f"{set_name}:2960", f"{set_name}:1001"]
    assert writers(tmp_path, set_name, fields) == expected


def test_a_printed_source_is_a_hand(tmp_path: Path) -> None:
    fields = [{"mark": mark} for mark in "ADBCA"]
    assert writers(tmp_path, "ETL2", fields) == [f"ETL2:{mark}" for mark in "ADBCA"]


def test_etl5_with_208_sheets_has_104_hands(tmp_path: Path) -> None:
    """Sheets number i and i + 104 say the same of who filled them in."""
    people = [{**TUPLE, "age": 10 + i // 2, "sex": 1 + i % 2} for i in range(104)]
    fields = [{**one, "sheet": 6001 + i} for i, one in enumerate(people * 2)]
    keys = writers(tmp_path, "ETL5", fields)
    assert len(set(keys)) == 104
    assert keys[:104] == keys[104:]


def test_etl5_with_104_sheets_has_a_hand_per_sheet(tmp_path: Path) -> None:
    same = [{**TUPLE, "sheet": 6001 + i} for i in range(104)]
    assert len(set(writers(tmp_path, "ETL5", same))) == 104


def test_etl7_is_grouped_by_person_over_large_and_small_sheets(tmp_path: Path) -> None:
    others = [{**TUPLE, name: value + 1} for name, value in TUPLE.items()]
    people: list[Fields] = [TUPLE, *others, TUPLE]
    large = [{**one, "sheet": 1 + i} for i, one in enumerate(people)]
    small = [{**one, "sheet": 501 + i} for i, one in enumerate(people)]
    keys = writers(tmp_path, "ETL7", large, "ETL7LC_1") + writers(
        tmp_path, "ETL7", small, "ETL7SC_2"
    )
    assert groups(keys) == [0, 1, 2, 3, 4, 5, 0] * 2


def test_etl8b2_has_its_hands_by_place_among_the_160_of_a_class(tmp_path: Path) -> None:
    fields = [{"jis": 0x2422 + i // 160, "sheet": 1} for i in range(480)]
    first = writers(tmp_path, "ETL8B2", fields, "ETL8B2C1")
    second = writers(tmp_path, "ETL8B2", fields, "ETL8B2C2")
    assert len(set(first)) == 160
    assert first == second == first[:160] * 3


@pytest.mark.parametrize(
    ("set_name", "per_set", "sets_per_file"), [("ETL8G", 956, 5), ("ETL9G", 3036, 4)]
)
def test_a_data_set_of_a_g_file_is_a_hand(
    set_name: str, per_set: int, sets_per_file: int, tmp_path: Path
) -> None:
    size = per_set * sets_per_file * 8199
    files = [EtlFile(sparse_file(tmp_path, f"{set_name}_{n:02d}", size)) for n in (1, 2, 12)]
    keys = [str(key) for file in files for key in file.writers]
    expected = np.arange(3 * sets_per_file).repeat(per_set) * per_set
    assert groups(keys[::4]) == groups(expected[::4].tolist())
    assert len(set(keys)) == 3 * sets_per_file


def test_etl9b_has_twenty_sheets_a_hand_and_shares_the_hands_of_etl9g(tmp_path: Path) -> None:
    first = writers(tmp_path, "ETL9B", [{"sheet": n} for n in (1, 20, 21, 800)], "ETL9B_1")
    second = writers(tmp_path, "ETL9B", [{"sheet": n} for n in (801, 820, 4000)], "ETL9B_2")
    assert groups(first + second) == [0, 0, 2, 3, 4, 4, 6]
    grey = [{"sheet": 1, "jis": 0x3021}]
    assert writers(tmp_path, "ETL9G", grey, "ETL9G_01") == first[:1]
    assert writers(tmp_path, "ETL9G", grey, "ETL9G_11") == second[:1]


@pytest.mark.parametrize(
    ("name", "num_models"), [("ETL8B2C2", 0), ("ETL8B2C3", 956), ("ETL8G_32", 0), ("ETL8G_33", 956)]
)
def test_the_organisers_prints_are_marked(name: str, num_models: int, tmp_path: Path) -> None:
    etl_set = next(one for one in SETS.values() if name in one.files)
    file = EtlFile(sparse_file(tmp_path, name, FILE_BYTES.get(name, 0)))
    expected = np.zeros(len(file), bool)
    expected[len(file) - num_models :] = True
    np.testing.assert_array_equal(file.is_model, expected)
    assert file.etl_set is etl_set
    people = {key for key, model in zip(file.writers, expected, strict=True) if not model}
    prints = {key for key, model in zip(file.writers, expected, strict=True) if model}
    assert not people & prints


def test_the_prints_at_the_end_of_etl9b_are_marked_and_nobodys_hand(tmp_path: Path) -> None:
    path = sparse_file(tmp_path, "ETL9B_5", FILE_BYTES["ETL9B_5"])
    records = np.memmap(path, ">u2", "r+", shape=(124_477, 288))
    records[1:121_441, 0] = 3201 + np.arange(121_440) // 152 % 800
    records.flush()
    file = EtlFile(path)
    assert np.flatnonzero(file.is_model).tolist() == list(range(121_440, 124_476))
    keys = [str(key) for key in file.writers]
    assert len(set(keys[:121_440])) == 40
    assert not set(keys[:121_440]) & set(keys[121_440:])


def test_etl9b_1_has_no_prints(tmp_path: Path) -> None:
    assert not EtlFile(sparse_file(tmp_path, "ETL9B_1", FILE_BYTES["ETL9B_4"])).is_model.any()


# Drawn folders.


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[DrawnFile]:
    return drawn_files(tmp_path_factory.mktemp("etl"))


def open_drawn(file: DrawnFile) -> EtlFile:
    return EtlFile(file.path, co59={code: character for character, code in CO59.items()})


@pytest.mark.parametrize("set_name", LAYOUTS)
def test_a_drawn_set_is_read_as_it_was_drawn(set_name: str, drawn: list[DrawnFile]) -> None:
    files = [file for file in drawn if file.set_name == set_name]
    opened = [open_drawn(file) for file in files]
    samples = [sample for file in files for sample in file.samples]
    assert {file.etl_set.name for file in opened} == {set_name}
    characters = [character for file in opened for character in file.characters]
    assert characters == [sample.character for sample in samples]
    is_model = np.concatenate([file.is_model for file in opened])
    assert is_model.tolist() == [sample.is_model for sample in samples]
    keys = [str(key) for file in opened for key in file.writers]
    assert groups(keys) == groups([sample.person for sample in samples])


def test_drawn_ink_is_high_on_low_paper(drawn: list[DrawnFile]) -> None:
    for file in drawn:
        images = open_drawn(file).images()
        assert images.max(axis=(1, 2)).min() > 200
        assert np.median(images, axis=(1, 2)).max() < 48


def test_a_hand_has_a_key_of_its_own_and_one_in_both_forms_of_etl8_and_of_etl9(
    drawn: list[DrawnFile],
) -> None:
    keys_of: dict[tuple[str, int], set[str]] = {}
    for file in drawn:
        for sample, key in zip(file.samples, open_drawn(file).writers, strict=True):
            keys_of.setdefault((file.set_name[:4], sample.person), set()).add(str(key))
    assert all(len(keys) == 1 for keys in keys_of.values())
    assert len(set.union(*keys_of.values())) == len(keys_of)


# Bad input.


@pytest.mark.parametrize("set_name", LAYOUTS)
def test_a_truncated_last_record_is_refused(set_name: str, tmp_path: Path) -> None:
    layout = LAYOUTS[set_name]
    path = tmp_path / FILES[set_name]
    num_whole = 3 if layout.starts_with_dummy else 2
    path.write_bytes(bytes(num_whole * layout.record_bytes + 100))
    with pytest.raises(InputError, match=rf"{path.name}(.|\n)*\b{num_whole}\b(.|\n)*\b100\b"):
        EtlFile(path)


@pytest.mark.parametrize("set_name", ["ETL1", "ETL9B"])
def test_a_file_without_records_is_refused(set_name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=FILES[set_name]):
        etl_file(tmp_path, set_name, [])  # of ETL9B the dummy alone


@pytest.mark.parametrize(
    ("set_name", "code"), [("ETL8B2", 0x2F21), ("ETL9B", 0x4F54), ("ETL8G", 0xFFFF)]
)
def test_an_unknown_code_is_named_with_its_file_and_record(
    set_name: str, code: int, tmp_path: Path
) -> None:
    fields = [{"jis": 0x2422, "sheet": 1}] * 41 + [{"jis": code, "sheet": 1}]
    file = etl_file(tmp_path, set_name, fields)
    assert len(file.images(slice(40, None))) == 2  # only the label is missing
    with pytest.raises(InputError, match=rf"{FILES[set_name]}(.|\n)*\b4[12]\b") as caught:
        _ = file.characters
    assert f"{code:04X}" in str(caught.value).upper()


@pytest.mark.parametrize("name", ["ETL1INFO", "ETL8INFO"])
def test_an_info_file_is_refused_as_such(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("text")
    with pytest.raises(InputError, match=rf"{name}.*no records"):
        EtlFile(path)


@pytest.mark.parametrize("name", ["data.bin", "ETL10_1", "ETL1C", "ETL9_1"])
def test_an_unknown_name_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(2052))
    with pytest.raises(InputError, match=re.escape(name)):
        EtlFile(path)


def test_a_file_of_any_name_opens_as_the_set_that_is_said(tmp_path: Path) -> None:
    named = etl_file(tmp_path, "ETL6", [{"sheet": 9}]).path
    file = EtlFile(named.rename(tmp_path / "mine.bin"), "ETL6")
    assert list(file.writers) == ["ETL6:9"]


@pytest.mark.parametrize(
    ("name", "set_name"), [("ETL1C-01", "ETL1"), ("ETL7SC-2", "ETL7"), ("ETL8B2-1", "ETL8B2")]
)
def test_the_official_spelling_is_understood(name: str, set_name: str, tmp_path: Path) -> None:
    assert etl_file(tmp_path, set_name, [{}], name=name).etl_set is SETS[set_name]


def test_an_unknown_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ETL1C_01"
    path.write_bytes(bytes(2052))
    with pytest.raises(InputError, match="ETL11"):
        EtlFile(path, "ETL11")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ETL4C"):
        EtlFile(tmp_path / "ETL4C")


@pytest.mark.parametrize("set_name", ["ETL8B2", "ETL9B"])
def test_a_b_file_without_its_dummy_is_refused(set_name: str, tmp_path: Path) -> None:
    path = etl_file(tmp_path, set_name, [{"jis": 0x2422, "sheet": 1}] * 2).path
    beheaded = tmp_path / "beheaded" / path.name
    beheaded.parent.mkdir()
    beheaded.write_bytes(path.read_bytes()[LAYOUTS[set_name].record_bytes :])
    with pytest.raises(InputError, match=path.name):
        EtlFile(beheaded)


def first_codes(set_name: str) -> list[int]:
    """The JIS codes of a grey file's first 956 records."""
    if set_name == "ETL9G":
        return [code - 0x8080 for code in LEVEL_1[:956]]
    kanji = [
        int.from_bytes(c.encode("euc_jp"), "big") - 0x8080 for c in class_list("education_1948")
    ]
    return [*range(0x2422, 0x246D), *kanji]  # the hiragana are 75, though not quite these


@pytest.mark.parametrize(("true_name", "false_name"), [("ETL8G", "ETL9G"), ("ETL9G", "ETL8G")])
def test_one_grey_set_under_the_others_name_is_refused(
    true_name: str, false_name: str, tmp_path: Path
) -> None:
    fields = [{"jis": code, "sheet": 1} for code in first_codes(true_name)]
    file = etl_file(tmp_path, true_name, fields, name=f"{true_name}_02")
    assert len(file) == 956
    renamed = file.path.rename(tmp_path / f"{false_name}_02")
    with pytest.raises(InputError, match=rf"{renamed.name}(.|\n)*{true_name}"):
        EtlFile(renamed)
    with pytest.raises(InputError, match=rf"{renamed.name}(.|\n)*{true_name}"):
        EtlFile(renamed, false_name)


@pytest.mark.parametrize("line", ["上", "上:4", "上:4,x", "上:4,4,4", "上あ:4,4", ":4,4"])
def test_a_malformed_table_names_its_line(line: str, tmp_path: Path) -> None:
    table = tmp_path / "co59-utf8.txt"
    table.write_text(f"あ:5,12\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"co59-utf8.txt(.|\n)*\b2\b"):
        read_co59(table)


def test_a_table_in_no_known_encoding_or_missing_is_named(tmp_path: Path) -> None:
    table = tmp_path / "euc_co59.dat"
    with pytest.raises(InputError, match=table.name):
        read_co59(table)
    table.write_bytes(b"\xff\xfe:4,4\n")
    with pytest.raises(InputError, match=table.name):
        read_co59(table)
