"""The picture of people: who is shown, with which characters, and what stands beside them."""

import numpy as np

from handwriting.characters.classes import is_kanji
from handwriting.images.packed import PackedImages
from training_character_classification.report.people import (
    NUM_CHARACTERS,
    NUM_PEOPLE,
    chosen,
    rows_of_people,
)


def packed(
    characters: str, writers: list[str], skipped: tuple[str, str] = ("", "")
) -> PackedImages:
    """An image of each character by each writer whose grey says which; one pair is left out."""
    pairs = [(w, c) for w in writers for c in characters if (w, c) != skipped]
    grey = [10 * writers.index(w) + characters.index(c) + 1 for w, c in pairs]
    images = np.array(grey, np.uint8)[:, None, None].repeat(16, 1).repeat(16, 2)
    labels = np.array([characters.index(c) for _, c in pairs])
    owners = np.array([writers.index(w) for w, _ in pairs])
    return PackedImages(images, labels, owners, tuple(characters), tuple(writers))


def test_each_person_stands_beside_what_was_made_in_their_hand() -> None:
    given = packed("あ木※", ["a", "b"])
    made = {"redrawn": packed("木あ", ["b", "a"], skipped=("a", "木")), "vae": packed("あ木", [""])}
    blocks = rows_of_people(given, made)
    assert {person: list(rows) for person, rows in blocks.items()} == {
        "a": ["given", "KanjiVG", "redrawn"], "b": ["given", "KanjiVG", "redrawn"]
    }  # fmt: skip
    grey = {
        (p, row): images[:, 0, 0].tolist()
        for p, rows in blocks.items()
        for row, images in rows.items()
    }
    assert grey["a", "given"] == [2, 1]  # kanji first, and no drawing of ※
    assert grey["b", "given"] == [12, 11]
    assert grey["a", "redrawn"] == [0, 12]  # blank where there is none
    assert grey["b", "redrawn"] == [1, 2]
    assert blocks["a"]["KanjiVG"][0].max() == 255


def test_what_somebody_did_not_write_is_not_shown() -> None:
    blocks = rows_of_people(packed("あい", ["a", "b"], skipped=("b", "い")), {})
    assert {len(images) for rows in blocks.values() for images in rows.values()} == {1}
    assert rows_of_people(packed("※", ["a"]), {}) == {}


def test_few_are_shown_kanji_and_kana() -> None:
    names = [f"w{i}" for i in range(9)]
    assert len(rows_of_people(packed("あ木", names), {})) == NUM_PEOPLE
    characters = "あいうえおかきくけこさしすせそたちつてと山川木林森日月火水土"
    some = chosen(characters)
    assert len(some) == len(set(some)) == NUM_CHARACTERS
    assert sum(map(is_kanji, some)) == NUM_CHARACTERS // 2
    assert len(chosen("あいうえお")) == 5
