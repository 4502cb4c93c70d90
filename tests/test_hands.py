"""Hands: what somebody wrote, and how they would write the rest."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.hands import found
from benchmarks.strokes import distance
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.packed import PackedImages
from handwriting.sources import hand_process, hands
from handwriting.sources.hand_drawings import draw, redraw
from handwriting.sources.hand_process import CENTRES, SHAPES, predict
from handwriting.sources.hands import Hand, boxed, load_hand
from handwriting.sources.handwritten_strokes import HandwrittenStrokes, model_of
from handwriting.sources.lines import write_line
from handwriting.sources.simulated_writers import draw_deviation, make_writer, write
from handwriting.sources.strokes import Float64, evenly, read_drawing

KNOWN = "一二三木林森河海池語話読国回道近遠花草思意京高明時時日月火水田"
UNSEEN = "湖詩園通茶悪晶休村沖"


def model(character: str) -> Float64:
    return boxed(model_of(character).strokes)


def written(character: str, number: int) -> Float64:
    drawing = read_drawing(character)
    deviation = draw_deviation(np.random.default_rng([number, ord(character)]), drawing)
    ((strokes, _),) = write([drawing], make_writer(7, number), deviation)
    return boxed(evenly(strokes[: len(drawing.strokes)], hands.NUM_POINTS))


def slanted(character: str) -> Float64:
    return boxed(model(character) @ np.array([[1, 0], [-0.3, 1]]))


def test_who_writes_as_the_model_goes_on_so() -> None:
    drawn = predict(Hand("model", {c: model(c) for c in KNOWN}, 0.03), UNSEEN)
    for character in UNSEEN:
        assert drawn[character] == pytest.approx(model(character), abs=1e-6)


def test_what_was_written_stays_and_the_rest_follows_the_slant() -> None:
    hand = Hand("slanted", {c: slanted(c) for c in KNOWN}, 0.03)
    drawn = predict(hand, KNOWN + UNSEEN)
    assert all(np.array_equal(drawn[c], hand.strokes[c]) for c in KNOWN)
    before = [distance(model(c), slanted(c)) for c in UNSEEN]
    after = [distance(drawn[c], slanted(c)) for c in UNSEEN]
    assert np.mean(after) < 0.4 * np.mean(before)


def test_of_many_characters_an_even_part_tells_the_others_in_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything = {c: written(c, 0) for c in KNOWN}
    part = dict([*everything.items()][::4])
    expected = predict(Hand("x", part, 0.03), UNSEEN)
    monkeypatch.setattr(hand_process, "MAX_KNOWN", len(part))
    monkeypatch.setattr(hand_process, "CHUNK_SIZE", 7)
    drawn = predict(Hand("x", everything, 0.03), [*KNOWN, *UNSEEN])
    for character in UNSEEN:
        # float32: products of other shapes are rounded otherwise.
        assert drawn[character] == pytest.approx(expected[character], abs=1e-5)
    assert all(np.array_equal(drawn[c], everything[c]) for c in KNOWN)


def test_people_are_followed_on_characters_that_they_did_not_write() -> None:
    hands = [Hand("x", {c: written(c, number) for c in KNOWN}, 0.03) for number in range(6)]
    drawn = [predict(hand, UNSEEN) for hand in hands]
    apart = np.array([  # (hands, writers)
        [np.mean([distance(own[c], written(c, number)) for c in UNSEEN]) for number in range(6)]
        for own in drawn
    ])  # fmt: skip
    model_apart = np.mean([[distance(model(c), written(c, n)) for c in UNSEEN] for n in range(6)])
    own, others = np.diagonal(apart).mean(), apart[~np.eye(6, dtype=bool)].mean()
    assert own < model_apart
    assert own < 0.95 * others


def test_a_component_that_was_written_is_written_again() -> None:
    own = model("河").copy()
    own[0] += (0.1, 0.05)  # the first dot of 氵, and nothing else
    known = {"河": own, **{c: model(c) for c in "木林語国道"}}
    drawn = predict(Hand("x", known, 0.03), "湖")["湖"]
    moved = np.linalg.norm((drawn - model("湖")).mean(axis=1), axis=-1)
    assert moved.argmax() == 0


def test_ends_follow_the_strokes_that_they_are_near_to() -> None:
    box, lines = model("口"), model("二")
    elsewhere = box + np.array([0.1, 0.2])
    np.testing.assert_allclose(hand_process.joined(elsewhere, box, 0.5), elsewhere)
    shifted = box.copy()
    shifted[2, :, 1] += 0.2  # the lower side, which both others reach
    moved = hand_process.joined(shifted, box, 0.5) - box
    assert 0.08 < moved[2, 0, 1] < 0.12
    assert 0.08 < moved[2, -1, 1] < 0.12
    assert moved[0, -1, 1] > 0.04 > 0.01 > moved[0, 0, 1]  # the left side's lower end
    apart = lines + np.array([[[0, -0.1]], [[0, 0.1]]])
    np.testing.assert_allclose(hand_process.joined(apart, lines, 0.5), apart, atol=1e-3)


def test_predicted_strokes_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    def gap() -> float:
        known = [{c: written(c, number) for c in "アイウエオカキク"} for number in range(6)]
        drawn = [predict(Hand("x", own, 0.03), "口")["口"] for own in known]
        return float(np.mean([np.linalg.norm(left[0] - top[0]) for left, top, _ in drawn]))

    joined = gap()
    monkeypatch.setattr(hand_process, "joined", lambda strokes, model, share: strokes)
    assert joined < 0.8 * gap()


def test_the_more_is_known_the_less_are_ends_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []

    def noted(strokes: Float64, model: Float64, share: float) -> Float64:
        shares.append(share)
        return strokes

    monkeypatch.setattr(hand_process, "joined", noted)
    for known in ("一", KNOWN):
        predict(Hand("x", {c: model(c) for c in known}, 0.03), "口")
    assert 0.5 > shares[0] > 0.49
    assert 0.1 < shares[1] < 0.4


def test_the_order_of_characters_does_not_matter() -> None:
    strokes = {c: written(c, 0) for c in KNOWN}
    forward = predict(Hand("x", strokes, 0.03), UNSEEN)
    back = predict(Hand("x", dict(reversed(strokes.items())), 0.03), UNSEEN[::-1])
    for character in UNSEEN:
        assert forward[character] == pytest.approx(back[character], abs=1e-6)


@pytest.mark.parametrize("process", [CENTRES, SHAPES])
def test_covariances_are_some_processes(process: hand_process.Process) -> None:
    features = hand_process._features(list(KNOWN + UNSEEN), {})
    eigenvalues = np.linalg.eigvalsh(process.covariance(features, features))
    assert eigenvalues.min() > -1e-9 * eigenvalues.max()


def test_images_are_canonical_and_of_the_pen() -> None:
    strokes = {c: written(c, 2) for c in KNOWN}
    thin, thick = (draw(Hand("x", strokes, r), UNSEEN, 48) for r in (0.015, 0.03))
    for image in (*thin, *thick):
        np.testing.assert_array_equal(canonical(image, 48), image)
    assert (thick > 127).sum() > 1.5 * (thin > 127).sum()


def test_a_character_is_redrawn_the_same_among_others() -> None:
    def redrawn(characters: str) -> Uint8:
        rngs = [np.random.default_rng(ord(character)) for character in characters]
        return redraw(
            characters, [model(c) for c in characters], [0.03] * len(characters), 1.0, rngs, 40
        )

    for character, image in zip(UNSEEN, redrawn(UNSEEN), strict=True):
        np.testing.assert_array_equal(redrawn(character)[0], image)


def test_a_line_has_large_and_small_characters_at_their_places() -> None:
    line = write_line(Hand("model", {c: model(c) for c in KNOWN}, 0.03), "木っ\u3000つ木", 50)
    assert line.shape == (50, 246)
    cells = [line[:, 49 * i :][:, :49] for i in (1, 2, 3)]
    small, space, large = (np.ptp(np.nonzero(c.any(axis=1))[0]) if c.any() else 0 for c in cells)
    assert space == 0
    assert 5 < small < 0.9 * large


def test_a_hand_is_one_small_file(tmp_path: Path) -> None:
    hand = Hand("山", {c: written(c, 1) for c in KNOWN}, 0.031, "CC BY 4.0", "by 山")
    path = hand.save(tmp_path / "hand.safetensors")
    again = load_hand(path)
    assert path.stat().st_size < 40_000
    assert (again.name, again.radius, again.licence, again.credit) == (
        hand.name, hand.radius, hand.licence, hand.credit,
    )  # fmt: skip
    assert list(again.strokes) == list(hand.strokes)
    for character, strokes in hand.strokes.items():
        assert again.strokes[character] == pytest.approx(strokes, abs=1e-3)


@pytest.mark.parametrize("damage", ["cut", "other", "strokes", "missing"])
def test_what_is_no_hand_is_refused(damage: str, tmp_path: Path) -> None:
    strokes = {"木": written("木", 0), "河": written("河", 0)}
    if damage == "strokes":
        strokes = {"木": strokes["河"], "河": strokes["木"]}
    path = Hand("x", strokes, 0.03).save(tmp_path / "hand.safetensors")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    if damage == "other":
        path.write_text("{}")
    if damage == "missing":
        path.unlink()
    with pytest.raises(InputError, match="hand"):
        load_hand(path)


def test_a_hand_takes_the_best_of_what_was_read() -> None:
    strokes = np.zeros((4, 4, hands.NUM_POINTS, 2), np.float32)
    strokes[:3] = model_of("木").strokes
    strokes[1, 0] += 0.1
    read = HandwrittenStrokes(
        strokes, np.array([4, 4, 4, 4]), np.full(4, 0.03, np.float32),
        np.array([0.7, 0.9, 0.99, 0.1], np.float32),
    )  # fmt: skip
    packed = PackedImages(
        np.zeros((4, 64, 64), np.uint8), np.zeros(4, int), np.array([0, 0, 1, 2]), ("木",),
        ("one", "two", "three"),
    )  # fmt: skip
    hand = hands.hand_of(packed, read, "one")
    assert hand.strokes["木"] == pytest.approx(boxed(strokes[1]))
    assert hand.radius_of("木") == pytest.approx(0.03 * hands.scale_to_box(strokes[1]), rel=0.01)
    assert hand.radius_of("議") < 0.8 * hand.radius_of("木")  # it is written larger
    with pytest.raises(InputError, match="three"):
        hands.hand_of(packed, read, "three")


def test_authors_are_found_where_their_own_drawing_is_nearest() -> None:
    apart = np.ones((3, 3, 4))
    apart[[0, 1], [0, 1]] = 0.5
    apart[2, 0] = 0.1
    assert found(apart) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    apart[0, :, 0] = np.nan  # refused
    assert found(apart)[0] == pytest.approx(7 / 12)
