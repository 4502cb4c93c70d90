"""The outside judge: what it reads, and the message if it is not installed."""

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.hands import readings
from handwriting.characters.classes import named_lists
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8
from handwriting.sources.hands import Hand, boxed
from handwriting.sources.handwritten_strokes import MODEL_RADIUS, model_of
from handwriting.sources.strokes import draw_canonical, read_drawing
from training_character_classification.measures import outside_judge
from training_character_classification.measures.outside_judge import OutsideJudge, lines

needs_judge = pytest.mark.skipif(
    outside_judge.installed() is None, reason="the extra is not installed: pip install '.[judge]'"
)
KANJI = named_lists()["kanji"]
DRAWN = "愛書永海河湖語摂働娯帯悪焔嚢一口山川休林"
LACKED = "鯵"  # its other form 鰺 is known


def drawn(characters: Sequence[str], radius: float = 0.03, size_px: int = 64) -> Uint8:
    strokes = [read_drawing(character).strokes for character in characters]
    return draw_canonical([(own, np.full(own.shape[:2], radius)) for own in strokes], size_px)


@needs_judge
@pytest.mark.parametrize("size_px", [32, 64])
def test_kanji_are_read_among_all(size_px: int) -> None:
    judge = OutsideJudge(KANJI)
    read = judge.predict(drawn(DRAWN, size_px=size_px))
    assert "".join(KANJI[i] for i in read) == DRAWN
    assert (~judge.knows).sum() == 14


@needs_judge
def test_answers_are_taken_from_the_list() -> None:
    images = drawn("愛書永")
    assert OutsideJudge("永愛書").predict(images).tolist() == [1, 2, 0]
    assert OutsideJudge("受水").predict(images[::2]).tolist() == [0, 1]  # what they look like


@needs_judge
def test_share_is_of_what_it_knows() -> None:
    judge = OutsideJudge(f"愛書{LACKED}永")
    assert judge.knows.tolist() == [True, True, False, True]
    images = drawn(f"愛書{LACKED}永")
    assert judge.read_as_intended(images, np.array([0, 1, 2, 3])) == 1
    assert judge.read_as_intended(images, np.array([0, 1, 2, 0])) == pytest.approx(2 / 3)
    assert judge.read_as_intended(images[2:3], np.array([2])) is None
    assert OutsideJudge(f"{LACKED}愛").predict(drawn("一")).tolist() == [1]


@pytest.mark.parametrize("size_px", [32, 64, 96])
def test_a_line_is_the_character_and_as_much_paper(size_px: int) -> None:
    found = lines(drawn("川口", size_px=size_px))
    assert found.shape == (2, 3, 48, 96)
    assert found[..., 48:].min() == found.max() == 1
    assert found.min() == pytest.approx(-1, abs=0.1)
    columns, rows = ((found[:, 0] < 0).any(dim).float().mean(0) > 0 for dim in (1, 2))
    for ink in columns[:48], rows:
        first, last = ink.nonzero()[[0, -1], 0].tolist()
        assert 1 <= first <= 6  # centred, a margin around it
        assert abs(first - (47 - last)) <= 1


def test_a_thin_pen_is_widened_and_a_broad_one_is_not() -> None:
    thin, broad = ((1 - lines(drawn("川", radius)[:1])).sum() for radius in (0.02, 0.08))
    wanted = [(1 - lines(drawn("川", radius)[:1], thin=0)).sum() for radius in (0.02, 0.08)]
    assert thin > 1.3 * wanted[0]
    assert broad == wanted[1]


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside_judge, "_weights", lambda: None)
    assert outside_judge.installed() is None
    with pytest.raises(InputError, match=r"pip install '.*\[judge\]'"):
        OutsideJudge("愛")


class Printed:
    """Two people who write as KanjiVG draws, the second one the first stroke only."""

    people = range(2)

    def characters(self, labels: list[int]) -> list[str]:
        return ["愛" for _ in labels]

    def hand(self, person: int, known: list[int]) -> Hand:
        assert self.characters(known) == ["愛"]
        strokes = {c: boxed(model_of(c).strokes) for c in KANJI}
        if person == 1:
            strokes = {c: np.tile(own[:1], (len(own), 1, 1)) for c, own in strokes.items()}
        return Hand("x", strokes, MODEL_RADIUS)


@needs_judge
def test_what_is_read_of_hands_is_a_share_of_all_people() -> None:
    found = readings(Printed(), [[7], [7]], 20)  # type: ignore[arg-type]
    assert found["num_read"] == 40
    assert 0.45 < found["read_as_intended"] < 0.6
    assert found["read_as_intended_dense"] == 0.5
    assert len(found["read_as_intended_by_strokes"]) == 4
