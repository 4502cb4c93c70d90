"""Structure texts: well formed, different for every character, encoded without silent losses."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from handwriting.characters import kanjivg
from handwriting.characters.classes import class_list
from handwriting.characters.decomposition import (
    Structure,
    fault_of,
    read_structure,
    stroke_class,
    structure_of,
    texts_of,
    tokens_of,
)
from handwriting.characters.vocabulary import EOS, UNK, Vocabulary
from handwriting.errors import InputError

MAX_TOKENS = 22


@pytest.fixture(scope="module")
def structure() -> Structure:
    return structure_of(class_list("all"), MAX_TOKENS)


def test_every_character_has_texts_of_its_own_that_fit() -> None:
    """All 6,703 of KanjiVG: none is divided without end, and no two share a text."""
    files = (path.stem for path in kanjivg.folder().glob("*.svg"))
    drawn = {chr(int(name, 16)) for name in files if "-" not in name}
    found = structure_of(sorted(drawn.union(class_list("all"))), MAX_TOKENS)
    texts = [text for own in found.values() for text in own]
    assert len(drawn) > 6000
    assert all(found.values())
    assert len(set(texts)) == len(texts)
    assert not any(fault_of(text, MAX_TOKENS) for text in texts)


@pytest.mark.parametrize("space", [" ", ""])
def test_every_default_text_may_be_a_text_of_ones_own(
    space: str, structure: Structure, tmp_path: Path
) -> None:
    path = tmp_path / "own.json"
    value = {c: [space.join(text) for text in texts] for c, texts in structure.items()}
    path.write_text(json.dumps(value))
    assert read_structure(path, class_list("all"), MAX_TOKENS) == structure


def test_a_divided_character_is_not_its_own_token(structure: Structure) -> None:
    kanji = class_list("kanji")
    divided = [c for c in kanji if structure[c] != ((c,),)]
    with_itself = [c for c in divided if any(c in text for text in structure[c])]
    assert len(divided) > 2800
    # Only those that would otherwise share their text with another.
    assert all(
        any(set(texts_of(c)) & set(texts_of(o)) for o in kanji if o != c) for c in with_itself
    )
    assert len(with_itself) < 20


def test_kana_are_single_tokens(structure: Structure) -> None:
    assert all(structure[c] == ((c,),) for c in class_list("hiragana") + class_list("katakana"))


@pytest.mark.parametrize(
    ("character", "texts"),
    [
        ("明", ["⿰ 日 月"]),
        ("森", ["⿱ 木 林", "⿱ 木 ⿰ 木 木"]),  # within 森 KanjiVG gives 林 no positions
        ("街", ["⿴ 行 圭", "⿴ 行 ⿱ 土 土"]),
        ("黄", ["⿳ 龷 由 八", "⿳ 龷 ⿻ 日 丨 八"]),
        ("国", ["⿴ 囗 玉", "⿴ 囗 ⿻ 王 丶"]),
        ("聞", ["⿵ 門 耳"]),
        ("凶", ["⿶ 凵 乂"]),
        ("区", ["⿷ 匸 乂"]),
        ("店", ["⿸ 广 占", "⿸ ⿻ 厂 丨 ⿱ 卜 口"]),
        ("包", ["⿹ 勹 己"]),
        ("道", ["⿺ ⻌ 首", "⿺ ⻌ ⿱ ⿻ 丶 ⿻ 丿 一 自", "⿺ ⻌ ⿱ ⿻ 丶 ⿻ 丿 一 ⿻ 目 丿"]),
        ("曲", ["⿻ 日 廾", "⿻ 日 ⿻ 十 丿"]),  # 日 in three pieces, one of them inside 廾
        ("互", ["⿻ 彑 一"]),  # a piece of 二 alone is a stroke
        ("白", ["⿱ 丿 日"]),
        ("自", ["⿻ 目 丿"]),  # a loose stroke
        ("貝", ["⿱ 目 八"]),  # 見 has this text too, and another
        ("見", ["⿱ 目 儿"]),
        ("未", ["⿻ ⿻ 木 一 未"]),  # 末 has the same texts and no other: each gets its own token
        ("が", ["が"]),
        ("☃", ["☃"]),  # not drawn
    ],
)
def test_a_character_is_written_in_its_components(character: str, texts: list[str]) -> None:
    assert [" ".join(text) for text in structure_of(character, MAX_TOKENS)[character]] == texts


def test_loose_strokes_do_not_vanish() -> None:
    """The fully divided 亀 has a token for each named part and each stroke outside of them."""
    text = texts_of("亀")[-1]
    assert text.count("日") == 2
    assert "乛" in text


def test_texts_do_not_depend_on_the_other_characters(structure: Structure) -> None:
    assert structure_of("本休", MAX_TOKENS) == {c: structure[c] for c in "本休"}


def test_short_limit_leaves_shallow_texts() -> None:
    shallow = structure_of(class_list("all"), max_tokens=3)
    assert all(texts and all(len(t) <= 3 for t in texts) for texts in shallow.values())
    assert shallow["国"] == (("⿴", "囗", "玉"),)


@pytest.mark.parametrize("content", ["", "<svg>", "<svg/>", '<svg><g id="kvg:StrokePaths"/></svg>'])
def test_a_damaged_drawing_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kanjivg, "folder", lambda: tmp_path)
    (tmp_path / "06728.svg").write_text(content)
    with pytest.raises(InputError, match=r"06728\.svg.*install the kanjivg package again"):
        kanjivg.read("木")


@pytest.mark.parametrize(
    ("path_data", "expected"),
    [
        ("M10,50 C30,50 70,48 90,47", "一"),
        ("M50,10 C50,30 50,70 51,90", "丨"),
        ("M60,10 C50,30 40,60 20,80", "丿"),
        ("M40,10 C50,20 60,30 70,50", "丶"),
        ("M20,20 C40,20 60,20 80,20 C80,40 80,60 80,80", "乛"),
    ],
)
def test_stroke_class_by_shape(path_data: str, expected: str) -> None:
    assert stroke_class(path_data) == expected


def test_unknown_tokens_are_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    vocabulary = Vocabulary.from_structure({"明": (("⿰", "日", "月"),)})
    with caplog.at_level(logging.WARNING):
        encoded = vocabulary.encode([("⿰", "日", "青"), ("青",)], 24)
    assert (encoded == UNK).sum() == 2
    assert "2 component tokens" in caplog.text
    assert "青" in caplog.text
    caplog.clear()
    vocabulary.encode([("⿰", "日", "月")], 24)
    assert not caplog.text


def test_too_long_text_is_refused() -> None:
    vocabulary = Vocabulary.from_structure({"明": (("⿰", "日", "月"),)})
    with pytest.raises(InputError, match="allows 2"):
        vocabulary.encode([("⿰", "日", "月")], context_length=4)
    assert vocabulary.encode([("⿰", "日", "月")], context_length=5)[0, -1] == EOS


def test_alternatives_are_padded_with_real_texts(structure: Structure) -> None:
    vocabulary = Vocabulary.from_structure(structure)
    tokens, counts = vocabulary.encode_alternatives(structure, ["街", "明", "あ"], 24)
    assert tokens.shape == (3, 2, 24)
    assert tokens.dtype == np.int64
    assert counts.tolist() == [2, 1, 1]
    assert (tokens[0] == vocabulary.encode(structure["街"], 24)).all()
    assert (tokens[1] == vocabulary.encode([structure["明"][0]] * 2, 24)).all()
    assert ((tokens == EOS).sum(axis=-1) == 1).all()


def test_own_structure_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(
        json.dumps({"河": ["⿰ 氵 可", "⿰氵⿹丁口"], "日": ["[sun]"], "月": []}), encoding="utf-8"
    )
    assert read_structure(path, "河日", MAX_TOKENS) == {
        "河": (("⿰", "氵", "可"), ("⿰", "氵", "⿹", "丁", "口")),
        "日": (("[sun]",),),
    }


def test_every_problem_of_an_own_structure_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    value = {
        "日": [" "],
        "月": "⿰ 日 月",
        "木": [" ".join(["木"] * (MAX_TOKENS + 1))],
        "本": [],
        "林": ["⿰ 木 木"],
        "休": ["⿰ 木 木"],
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_structure(path, "日月木本林休河", MAX_TOKENS)
    message = str(error.value)
    for part in (
        "日, text 1: an empty text",
        "月 (U+6708): expected a list of texts, found '⿰ 日 月'",
        "木, text 1: 23 tokens",
        "本 (U+672C): expected a list of texts, found []",
        "休: the same texts as 林",
        "河 (U+6CB3): expected a list of texts, found None",
        "6 problem",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("content", "told"), [("{", "not valid JSON"), ("[]", "expected an object")]
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        read_structure(path, "日", MAX_TOKENS)


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ("⿸厂&CDP-8BC4;", "⿸ 厂 &CDP-8BC4;"), ("⿱&GT-1;⿰{01}𠮟", "⿱ &GT-1; ⿰ {01} 𠮟"),
        ("⿲彳⿳山一几攵", "⿲ 彳 ⿳ 山 一 几 攵"), ("⿰ 氵可", "⿰ 氵 可"),
        ("⿰ さんずい 可", "⿰ さんずい 可"), ("\u2ffe人", "\u2ffe 人"),
        ("\u2ffc㔾\u2fff可", "\u2ffc 㔾 \u2fff 可"),
        ("\u31ef\u2ffd口木〾一", "\u31ef \u2ffd 口 木 〾 一"),
        ("氵 可", "氵 可"), ("三水 可", "三水 可"), ("厂&CDP-8BC4;", "厂 &CDP-8BC4;"),
        ("⿰か\u3099木", "⿰ が 木"), ("⿰①\ue000", "⿰ ① \ue000"),
    ],
)  # fmt: skip
def test_a_sequence_is_parsed(line: str, tokens: str) -> None:
    assert tokens_of(line) == tuple(tokens.split())
    assert not fault_of(tokens_of(line), MAX_TOKENS)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("⿰禾", "token 1, ⿰, takes 2 components, found 1"),
        ("⿰氵⿳丁口", "token 3, ⿳, takes 3 components, found 2"),
        ("⿰", "token 1, ⿰, takes 2 components, found 0"),
        ("⿰氵可口", "surplus from token 4, 口"),
        ("⿰ 氵 可 ⿰ 木 木", "surplus from token 4, ⿰"),
        ("氵⿰可口", "surplus from token 2, ⿰"),
        ("\u2ffe人木", "surplus from token 3, 木"),
        ("⿰氵可[GTJ]", "[GTJ] is a database's tag"),
        ("⿰氵可(GTJ)", "(GTJ) is a database's tag"),
        ("^⿰氵可$", "^ (U+005E CIRCUMFLEX ACCENT), $ (U+0024"),
        ("⿰氵？", "？ (U+FF1F FULLWIDTH QUESTION MARK)"),
        ("⿰氵&CDP-8BC4", "& (U+0026 AMPERSAND)"),
        ("⿰氵葛\U000e0100", "U+E0100 VARIATION SELECTOR-17"),
        ("⿰氵\u200b可", "U+200B ZERO WIDTH SPACE"),
        ("⿰氵\ufffd", "U+FFFD REPLACEMENT CHARACTER"),
        ("[PAD]", "[PAD] is reserved"),
    ],
)
def test_what_is_no_sequence_is_told_with_its_place(line: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"木": ["⿰ 十 八", line], "本": [line, "一"]}), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_structure(path, "木本", MAX_TOKENS)
    first, second = str(caught.value).splitlines()[1:3]
    assert "木, text 2: " in first
    assert "本, text 1: " in second
    assert fault in first
    assert fault in second


def test_components_that_run_together_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"河": ["氵可", "⿰ 氵 可口", "⿰ 三点 [sun]", "⿰氵&CDP-8BC4;"]}))
    assert read_structure(path, "河", MAX_TOKENS)["河"][0] == ("氵可",)
    assert "no spaces between characters: 氵可 可口 三点 (3)" in caplog.text
    caplog.clear()
    path.write_text(json.dumps({"河": ["氵 可", "⿰氵可", "[sun] &CDP-8BC4;"]}))
    read_structure(path, "河", MAX_TOKENS)
    assert not caplog.text


def test_keys_and_components_of_one_letter_are_one(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    value = {
        "か\u3099": ["か ゛"],
        "休": ["⿰人木"],
        "信": ["⿰\u2f08言"],
        "\u2f08": ["人"],
        "x": 1,
    }
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_structure(path, "が休", MAX_TOKENS).keys() == {"が", "休"}
    for characters, told in (("休信", "components 人"), ("人", "⼈")):
        with pytest.raises(InputError, match=rf"{told}.*U\+.*KANGXI RADICAL MAN.* 人|人 .*⼈"):
            read_structure(path, characters, MAX_TOKENS)
