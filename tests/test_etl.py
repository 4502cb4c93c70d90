"""The ETL reader against an encoder that knows only the form sheets: every bit, label and hand."""

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

from handwriting.characters.classes import class_list
from handwriting.errors import InputError
from handwriting.etl import SETS, EtlFile
from handwriting.etl.codes import T56, read_co59

FILES = {
    "ETL1": "ETL1C_01", "ETL2": "ETL2_1", "ETL3": "ETL3C_1", "ETL4": "ETL4C", "ETL5": "ETL5C",
    "ETL6": "ETL6C_01", "ETL7": "ETL7LC_1", "ETL8B2": "ETL8B2C1", "ETL8G": "ETL8G_01",
    "ETL9B": "ETL9B_1", "ETL9G": "ETL9G_01",
}  # fmt: skip
NUM_RECORDS = {  # in the files as they are, dummies not counted
    "ETL1": 141_319, "ETL2": 52_796, "ETL3": 9_600, "ETL4": 6_120, "ETL5": 10_608,
    "ETL6": 159_045, "ETL7": 33_600, "ETL8B2": 153_916, "ETL8G": 153_916, "ETL9B": 610_236,
    "ETL9G": 607_200,
}  # fmt: skip
FILE_BYTES = {
    "ETL1C_06": 23_721_120, "ETL1C_07": 23_162_976, "ETL1C_09": 23_160_924,
    "ETL1C_13": 8_686_116, "ETL2_1": 24_858_720, "ETL2_5": 31_347_900, "ETL3C_2": 14_169_600,
    "ETL4C": 18_066_240, "ETL5C": 31_314_816, "ETL6C_11": 28_379_160, "ETL6C_12": 14_189_580,
    "ETL7LC_1": 19_699_200, "ETL7SC_2": 14_774_400, "ETL8B2C2": 26_214_912,
    "ETL8B2C3": 26_376_704, "ETL8G_32": 39_191_220, "ETL8G_33": 7_838_244,
    "ETL9B_4": 69_950_016, "ETL9B_5": 71_698_752, "ETL9G_50": 99_568_656,
}  # fmt: skip


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


# The encoder itself, against bytes taken by hand from what is published of the real files.


@pytest.mark.parametrize(
    ("set_name", "fields", "first_byte", "expected"),
    [
        # serial 1, A, five spaces, KANJI and a space, the first four bits of M
        ("ETL2", {"serial": 1, "mark": "A", "contents": "KANJI ", "style": "MINCHO"}, 0,
         "0000000014" "50410410" "8919616509"),
        ("ETL2", {"co59": (4, 4)}, 18, "000000" "1040"),
        ("ETL2", {"co59": (5, 12)}, 21, "14c0"),
        ("ETL4", {"serial": 500100, "sheet": 5001, "jis": 0xB1}, 0, "00007a184000001389" "b1"),
        ("ETL4", {"ebcdic": 0x81}, 13, "0810"),  # from the middle of byte 13
        ("ETL4", {"character_code": "H  A"}, 18, "6104114100"),  # two spaces, quality 0
        ("ETL1", {"character_code": " A", "sheet": 1001, "jis": 0xB1}, 2, "204103e9b1"),
        ("ETL1", {"y": 7, "x": 9, "scan_date": 7401}, 22, "1ce90709"),
        ("ETL9G", {"sheet": 3, "jis": 0x3430, "reading": "KAN", "serial": 401}, 0,
         "00033430" "4b414e2020202020" "00000191"),
        ("ETL9G", {"x": 7, "y": 9}, 28, "0709"),
        ("ETL8B2", {"sheet": 1, "jis": 0x2422, "reading": "A.HI"}, 510, "000000012422412e4849"),
    ],
)  # fmt: skip
def test_the_encoder_puts_bytes_where_the_form_sheets_have_them(
    set_name: str, fields: Fields, first_byte: int, expected: str
) -> None:
    layout = LAYOUTS[set_name]
    blank = np.zeros((1, layout.height_px, layout.width_px), np.uint8)
    assert encode(set_name, [fields], blank)[first_byte:].startswith(bytes.fromhex(expected))


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
    assert {
        name: sum(form.files.values()) - len(form.files) * form.dummy_records
        for name, form in SETS.items()
    } == NUM_RECORDS
    sizes = {
        file: num * form.record_bytes for form in SETS.values() for file, num in form.files.items()
    }
    assert {file: sizes[file] for file in FILE_BYTES} == FILE_BYTES
    assert len(sizes) == 13 + 5 + 2 + 1 + 1 + 12 + 4 + 3 + 33 + 5 + 50


# Every bit.


@pytest.mark.parametrize("set_name", LAYOUTS)
def test_every_bit_of_a_thousand_random_records_comes_back(set_name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(sorted(LAYOUTS).index(set_name))
    layout, levels = LAYOUTS[set_name], random_levels(set_name, 1000, rng)
    meant = {name: field for name, field in layout.fields.items() if name != "blank"}
    fields: list[Fields] = [
        {name: random_value(field, rng) for name, field in meant.items()} for _ in levels
    ]
    file = etl_file(tmp_path, set_name, fields, levels, noise=rng)
    assert file.etl_set is SETS[set_name]
    assert len(file) == 1000
    np.testing.assert_array_equal(
        file.images(), np.rint(levels.astype(float) * 255 / (2**layout.bits - 1)).astype(np.uint8)
    )
    assert set(file.metadata.dtype.names or ()) == set(meant)
    for name, field in meant.items():
        column, expected = file.metadata[name], [one[name] for one in fields]
        assert column.dtype.isnative, name
        if field.kind == "ascii":
            assert column.tolist() == [str(text).encode() for text in expected], name
        else:
            np.testing.assert_array_equal(column, expected, name)


@pytest.mark.parametrize("set_name", ["ETL2", "ETL5", "ETL7", "ETL9B"])
@pytest.mark.parametrize(
    "which",
    [slice(2, 9, 3), slice(None, None, -1), slice(3, 3), slice(9, 99), [-1], [5, 1, 1, 11, 0],
     np.arange(12) % 3 == 0],
    ids=str,
)  # fmt: skip
def test_chosen_images_are_those_of_the_whole(set_name: str, which: Any, tmp_path: Path) -> None:
    levels = random_levels(set_name, 12, np.random.default_rng(0))
    file = etl_file(tmp_path, set_name, [{}] * 12, levels)
    np.testing.assert_array_equal(file.images(which), file.images()[which])


@pytest.mark.parametrize("name", ["ETL9G_07", "ETL8B2C1", "ETL1C_01"])
def test_opening_a_file_of_real_size_reads_no_more_than_is_asked_for(
    name: str, tmp_path: Path
) -> None:
    form = next(one for one in SETS.values() if name in one.files)
    path = sparse_file(tmp_path, name, form.files[name] * form.record_bytes)
    tracemalloc.start()
    file = EtlFile(path)
    assert len(file) == form.files[name] - form.dummy_records
    assert not file.images(slice(-3, None)).any()
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
LATIN_CODES = range(0x21, 0x7F)
LATIN = "".join(map(chr, LATIN_CODES)).replace("\\", "¥").replace("~", "‾")
NO_CODES = [*range(0x20), *range(0x7F, 0xA1), *range(0xE0, 0x100)]
LEVEL_1 = [
    0x8080 + row * 256 + cell
    for row in range(0x30, 0x50)
    for cell in range(0x21, 0x7F)
    if (row, cell) <= (0x4F, 0x53)
]


@pytest.mark.parametrize(
    ("set_names", "codes", "expected"),
    [
        (["ETL1", "ETL5", "ETL6"], KANA_CODES, KATAKANA),
        (["ETL4", "ETL7"], KANA_CODES, HIRAGANA),
        (["ETL1", "ETL5", "ETL6"], [0xA8, 0xAA], "ヰヱ"),  # the codes of small ィ and ェ
        (["ETL4", "ETL7"], [0xA8, 0xAA], "ゐゑ"),
        (["ETL6", "ETL7"], [0xDE, 0xDF], "\u309b\u309c"),  # printable alone
        (["ETL1", "ETL3", "ETL6"], LATIN_CODES, LATIN),
        (["ETL1"], [0xA5, 0x2C], "・,"),
        (["ETL1", "ETL4", "ETL6"], NO_CODES, [None] * len(NO_CODES)),
        (["ETL8B2", "ETL9B"], [code - 0x8080 for code in [*range(0xA4A1, 0xA4F4), *LEVEL_1]],
         b"".join(c.to_bytes(2) for c in [*range(0xA4A1, 0xA4F4), *LEVEL_1]).decode("euc_jp")),
        (["ETL8G", "ETL8B2"], [0x2422, 0, 0x306C], ["あ", None, "一"]),
    ],
)  # fmt: skip
def test_codes_are_characters(
    set_names: list[str], codes: Sequence[int], expected: Sequence[str | None], tmp_path: Path
) -> None:
    for set_name in set_names:
        file = etl_file(tmp_path, set_name, [{"jis": code, "sheet": 1} for code in codes])
        assert list(file.characters) == list(expected), set_name


def test_the_two_byte_code_does_not_decide_the_label(tmp_path: Path) -> None:
    fields: list[Fields] = [
        {"character_code": code, "jis": jis}
        for code, jis in [("A ", 0x41), (" A", 0xB1), ("YI", 0xB2)]
    ]
    assert list(etl_file(tmp_path, "ETL6", fields).characters) == ["A", "ア", "イ"]


def test_the_six_bit_table_is_that_of_the_computer_not_of_the_script() -> None:
    assert T56 == SIX_BIT
    assert len(set(T56)) == 64
    assert (T56[31], T56[32], T56[48], T56[58]) == ("\\", "^", "+", "_")


@pytest.mark.parametrize("encoding", ["euc_jp", "utf_8"])
def test_etl2_has_labels_by_the_table_that_is_given(encoding: str, tmp_path: Path) -> None:
    places = [*range(4, 28), *range(36, 60)]
    pairs = [(a, b) for a in places for b in places]
    kanji = [code.to_bytes(2, "big").decode("euc_jp") for code in LEVEL_1[: len(pairs)]]
    lines = [f"{one}:{a},{b}\n" for one, (a, b) in zip(kanji, pairs, strict=True)]
    table = tmp_path / "table"
    table.write_bytes("".join([*lines, "▲:0,5\n", "▲:0,6\n"]).encode(encoding))  # illegible
    co59 = read_co59(table)
    assert co59 == dict(zip(pairs, kanji, strict=True))
    fields: list[Fields] = [{"co59": code} for code in [(4, 4), (0, 5), (59, 59), (60, 60)]]
    labels = etl_file(tmp_path, "ETL2", fields, co59=co59).characters
    assert list(labels) == [kanji[0], None, kanji[-1], None]
    assert list(etl_file(tmp_path, "ETL2", fields).characters) == [None] * 4


# Writers.

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


def test_etl5_has_104_hands_on_104_or_208_sheets(tmp_path: Path) -> None:
    """Of 208, sheets number i and i + 104 say the same of who filled them in."""
    people = [{**TUPLE, "age": 10 + i // 2, "sex": 1 + i % 2} for i in range(104)]
    keys = writers(tmp_path, "ETL5", [{**p, "sheet": 6001 + i} for i, p in enumerate(people * 2)])
    assert groups(keys) == [*range(104)] * 2
    same = [{**TUPLE, "sheet": 6001 + i} for i in range(104)]
    assert len(set(writers(tmp_path, "ETL5", same))) == 104


def test_etl7_is_grouped_by_person_over_large_and_small_sheets(tmp_path: Path) -> None:
    others = [{**TUPLE, name: value + 1} for name, value in TUPLE.items()]
    people: list[Fields] = [TUPLE, *others, TUPLE]
    large = [{**one, "sheet": 1 + i} for i, one in enumerate(people)]
    small = [{**one, "sheet": 501 + i} for i, one in enumerate(people)]
    keys = [
        key
        for sheets, name in ((large, "ETL7LC_1"), (small, "ETL7SC_2"))
        for key in writers(tmp_path, "ETL7", sheets, name)
    ]
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
    ("name", "num_models"),
    [("ETL8B2C2", 0), ("ETL8B2C3", 956), ("ETL8G_32", 0), ("ETL8G_33", 956), ("ETL9B_4", 0),
     ("ETL9B_5", 3036)],
)  # fmt: skip
def test_the_organisers_prints_are_marked_and_nobodys_hand(
    name: str, num_models: int, tmp_path: Path
) -> None:
    file = EtlFile(sparse_file(tmp_path, name, FILE_BYTES[name]))
    num_people = len(file) - num_models
    assert file.is_model.tolist() == [False] * num_people + [True] * num_models
    assert not set(file.writers[:num_people]) & set(file.writers[num_people:])


# Drawn folders.


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[DrawnFile, EtlFile]]:
    co59 = {code: character for character, code in CO59.items()}
    files = drawn_files(tmp_path_factory.mktemp("etl"))
    return [(file, EtlFile(file.path, co59=co59)) for file in files]


def test_a_drawn_set_is_read_as_it_was_drawn(drawn: list[tuple[DrawnFile, EtlFile]]) -> None:
    for file, read in drawn:
        assert read.etl_set.name == file.set_name
        assert list(read.characters) == [sample.character for sample in file.samples]
        assert read.is_model.tolist() == [sample.is_model for sample in file.samples]
        images = read.images()
        assert images.max(axis=(1, 2)).min() > 200  # ink
        assert np.median(images, axis=(1, 2)).max() < 48  # paper


def test_a_hand_has_a_key_of_its_own_and_one_in_both_forms_of_etl8_and_of_etl9(
    drawn: list[tuple[DrawnFile, EtlFile]],
) -> None:
    keys_of: dict[tuple[str, int], set[str]] = {}
    for file, read in drawn:
        for sample, key in zip(file.samples, read.writers, strict=True):
            keys_of.setdefault((file.set_name[:4], sample.person), set()).add(str(key))
    assert all(len(keys) == 1 for keys in keys_of.values())
    assert len(set.union(*keys_of.values())) == len(keys_of)


# Names.


@pytest.mark.parametrize(
    ("name", "set_name"), [("ETL1C-01", "ETL1"), ("ETL7SC-2", "ETL7"), ("ETL8B2-1", "ETL8B2")]
)
def test_the_official_spelling_is_understood(name: str, set_name: str, tmp_path: Path) -> None:
    assert etl_file(tmp_path, set_name, [{}], name=name).etl_set is SETS[set_name]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ETL1INFO", "no records"),
        ("data.bin", "expected a file name"),
        ("ETL1C", "expected a file"),
    ],
)
def test_what_is_no_file_of_a_set_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(bytes(2052))
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        EtlFile(tmp_path / name)


# Damaged files.


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


def test_a_b_file_without_its_dummy_is_refused(tmp_path: Path) -> None:
    path = etl_file(tmp_path, "ETL9B", [{"jis": 0x2422, "sheet": 1}] * 2).path
    path.write_bytes(path.read_bytes()[LAYOUTS["ETL9B"].record_bytes :])
    with pytest.raises(InputError, match=path.name):
        EtlFile(path)


@pytest.mark.parametrize(
    ("set_name", "code"), [("ETL8B2", 0x2F21), ("ETL9B", 0x4F54), ("ETL8G", 0xFFFF)]
)
def test_an_unknown_code_is_named_with_its_file_and_record(
    set_name: str, code: int, tmp_path: Path
) -> None:
    fields = [{"jis": 0x2422, "sheet": 1}] * 41 + [{"jis": code, "sheet": 1}]
    file = etl_file(tmp_path, set_name, fields)
    assert len(file.images(slice(40, None))) == 2  # only the label is missing
    with pytest.raises(InputError, match=rf"{FILES[set_name]}(.|\n)*record 41 .*0x{code:04X}"):
        _ = file.characters


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *((f"あ:5,12\n{line}\n".encode(), r"line 2: expected") for line in
          ["上", "上:4", "上:4,x", "上:4,4,4", "上あ:4,4", ":4,4", "上:4,64"]),
        ("あ:5,12\n上:5,12\n".encode(), "line 2: .* is 上, but あ further up"),
        (b"\xff\xfe:4,4\n", "neither EUC-JP nor UTF-8"),
        (None, "cannot read"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_named(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    table = tmp_path / "euc_co59.dat"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_co59(table)
    assert str(table) in str(caught.value)
