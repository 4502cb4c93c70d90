"""The classes: counts, orders and sets that other work can be compared with."""

import unicodedata
from pathlib import Path

import pytest
from conftest import KATAKANA

from handwriting.characters.classes import class_list, named_lists
from handwriting.errors import InputError

EVALUATION = KATAKANA.parents[1] / "classes/evaluation_973.txt"


@pytest.mark.parametrize(
    ("name", "size"),
    [("hiragana", 46), ("katakana", 46), ("kanji", 2965), ("all", 3057), ("evaluation", 973),
     ("education_1948", 881), ("demo", 30), ("smoke", 6)],
)  # fmt: skip
def test_lists_have_their_size_and_no_character_twice(name: str, size: int) -> None:
    characters = class_list(name)
    assert len(characters) == len(set(characters)) == size


def test_kana_are_the_gojuon() -> None:
    assert "".join(class_list("hiragana")) == (
        "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
    )
    assert "".join(class_list("katakana")) == (
        "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワヲン"
    )


def test_kanji_are_level_one_in_the_order_of_the_standard() -> None:
    kanji = class_list("kanji")
    assert (kanji[0], kanji[-1]) == ("亜", "腕")
    assert "弌" not in kanji  # the first of level 2
    codes = [c.encode("euc_jp") for c in kanji]
    assert codes == sorted(codes)


def test_every_list_is_within_all() -> None:
    for name, characters in named_lists().items():
        assert set(characters) <= set(class_list("all")), name


@pytest.mark.skipif(not EVALUATION.is_file(), reason="the list to check against is not here")
def test_the_evaluation_classes_are_those_to_check_against() -> None:
    assert set(class_list("evaluation")) == set(EVALUATION.read_text(encoding="utf-8").split())


def test_a_class_list_may_be_the_characters_themselves_or_a_file(tmp_path: Path) -> None:
    assert class_list("日本") == ("日", "本")
    path = tmp_path / "own.txt"
    path.write_text("# mine\n日 # sun\n\n本休\n", encoding="utf-8-sig")
    assert class_list(str(path)) == ("日", "本", "休")


def test_thousands_of_characters_may_be_given_themselves() -> None:
    kanji = class_list("kanji")
    assert class_list("".join(kanji)) == kanji


@pytest.mark.parametrize(
    ("wanted", "content", "message"),
    [
        ("日本日", None, r"日 \(U\+65E5\) is listed more than once"),
        ("no_such_list", None, "no class list 'no_such_list'.*smoke"),
        ("", None, "no class list ''"),
        ("{}/bad.txt", b"# only\n", r"bad\.txt is empty"),
        ("{}/bad.txt", b"\xff\xfe", r"cannot read .*bad\.txt"),
    ],
)
def test_unusable_lists_are_named(
    wanted: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"(?s){message}"):
        class_list(wanted.format(tmp_path))


def listed(folder: Path, content: str) -> tuple[str, ...]:
    path = folder / "list.txt"
    path.write_text(content, encoding="utf-8")
    return class_list(str(path))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("text", ["がぎぐ", "パピプ", "ヴゞ"])
def test_classes_are_composed(text: str, form: str, tmp_path: Path) -> None:
    written = unicodedata.normalize(form, text)
    assert class_list(written) == listed(tmp_path, written) == tuple(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("人", "\u2f08"), ("母", "\u2e9f"), ("神", "\ufa19"), ("葛", "葛\U000e0100"),
        ("Ω", "\u2126"), ("ア", "\uff71"), ("が", "か\u3099"), ("ガ", "\uff76\uff9e"),
        ("゛", "\uff9e"), ("A", "\uff21"), ("〜", "\uff5e"),
    ],
)  # fmt: skip
def test_two_code_points_of_a_letter_are_refused_by_name(
    first: str, second: str, tmp_path: Path
) -> None:
    for pair in ((first, second), (second, first)):
        with pytest.raises(InputError) as caught:
            listed(tmp_path, "\n".join(["木", *pair]))
        for c in first + second:
            assert f"U+{ord(c):04X} {unicodedata.name(c)}" in str(caught.value)


def test_letters_that_only_look_alike_are_classes(tmp_path: Path) -> None:
    alike = "①1ヘへカ力叱𠮟‥…㈱株〇○ヽヾゝゞはば"
    assert listed(tmp_path, "\n".join(alike)) == (*alike,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\u2f08", "U+2F08 KANGXI RADICAL MAN): use 人 (U+4EBA"),
        ("\uff76\uff9e", "use ガ (U+30AC"),
        ("葛\U000e0100", "VARIATION SELECTOR-17): use 葛 (U+845B"),
        ("か\u309a", "SEMI-VOICED SOUND MARK) is not a single character: a class is one code"),
        ("\ufffd", "U+FFFD REPLACEMENT CHARACTER) is not a character"),
    ],
)
def test_what_cannot_be_a_class_is_told_with_what_to_write(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        class_list(f"日{text}")
    assert told in str(caught.value)


def test_hardly_meant_code_points_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert class_list("日\ufa19\uff71\u2e85") == ("日", "神", "\uff71", "\u2e85")
    assert "U+FA19 CJK COMPATIBILITY IDEOGRAPH-FA19) is read as 神 (U+795E" in caplog.text
    assert "HALFWIDTH KATAKANA LETTER A) is a half-width ア (U+30A2" in caplog.text
    assert "U+2E85 CJK RADICAL PERSON) is a radical" in caplog.text
    caplog.clear()
    class_list("がＡ①")
    assert not caplog.text


@pytest.mark.parametrize(
    "line",
    ["あ,い", "あ、い", "あ;い", "あ・い", "「あ」", "['あ'", "- あ", "1. あ", "１）あ", "あ-ん",
     "あ〜ん", "1 あ", "2\tい う", "１ あ", "12 A", "あ 1", "1あ", "あ12", "あ U+3042",
     "あ a", "か ka"],
)  # fmt: skip
def test_numbered_separated_and_annotated_lists_are_refused(line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)line 2, .* beside .*A list is the characters and"):
        listed(tmp_path, f"日\n{line}\n")
    if not any(c.isascii() for c in line):
        with pytest.raises(InputError, match="beside other characters.*without separators"):
            class_list(line)


@pytest.mark.parametrize(
    "content",
    ["0\n1\nA\n,\nあ\n・", "0 1 2 A B あ い", "0123456789\nABC\n¥+-*/=()・,_▾",
     "0123456789 ABCDEFGHIJ", "ABCアイウ゛゜ー", "+ - * /\nＡ\n１\n。", "々〆ヶ 〇", "あ # 1, a"],
)  # fmt: skip
def test_digits_letters_and_signs_may_be_classes(content: str, tmp_path: Path) -> None:
    assert listed(tmp_path, content) == (*"".join(content.split("#")[0].split()),)
