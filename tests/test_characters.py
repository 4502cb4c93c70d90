"""The classes: counts, orders and sets that other work can be compared with."""

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
