"""Scores and intervals: parity with scikit-learn, closed forms, people as the sample."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from handwriting.reports.scores import score, worst_tenth
from handwriting.reports.statistics import (
    Float64,
    accuracy_interval,
    holm,
    interval,
    sign_flip_p,
    verdict,
)

CHARACTERS = "アイウエオカキ"
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=80)


def bounds(per_writer: Float64) -> tuple[float, float]:
    found = interval(per_writer)
    assert found is not None
    return found


@given(PAIRS)
def test_scores_equal_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    found = score(labels, predicted, CHARACTERS, 100)
    tested = np.unique(labels)
    options = {"labels": tested, "zero_division": 0.0}
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro", **options))
    for name, function in (
        ("precision", precision_score), ("recall", recall_score), ("f1", f1_score),
        ("accuracy", recall_score),
    ):  # fmt: skip
        expected = function(labels, predicted, average=None, **options)
        values = [scores[name] for scores in found.per_character.values()]
        np.testing.assert_allclose(values, expected)
    assert list(found.per_character) == [CHARACTERS[i] for i in tested]
    supports = [scores["support"] for scores in found.per_character.values()]
    assert supports == [int((labels == i).sum()) for i in tested]


def test_classes_without_test_images_count_nowhere() -> None:
    labels = np.array([0, 0, 2, 2])
    found = score(labels, np.array([0, 0, 2, 5]), CHARACTERS, 10)
    assert list(found.per_character) == ["ア", "ウ"]
    assert found.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert found.confusions == [("ウ", "カ", 1)]  # but what was read is told


def test_confusions_go_from_written_to_read_most_frequent_first() -> None:
    labels = np.array([0] * 6 + [1] * 4 + [2] * 2)
    predicted = np.array([1, 1, 1, 2, 0, 0, 0, 0, 1, 1, 2, 2])
    found = score(labels, predicted, CHARACTERS, 10).confusions
    assert found == [("ア", "イ", 3), ("イ", "ア", 2), ("ア", "ウ", 1)]
    assert score(labels, predicted, CHARACTERS, 2).confusions == found[:2]
    assert score(labels, predicted, CHARACTERS, 0).confusions == []


def bounds_of_rows(draws: Float64) -> tuple[Float64, Float64]:
    """The interval of each row: its half width is a multiple of the row's deviation."""
    mean, deviation = draws.mean(axis=1), draws.std(axis=1, ddof=1)
    half = (bounds(draws[0])[1] - mean[0]) / deviation[0] * deviation
    assert bounds(draws[1]) == pytest.approx((mean[1] - half[1], mean[1] + half[1]))
    return mean - half, mean + half


@pytest.mark.parametrize("num_writers", [4, 5, 10, 20])
def test_an_interval_covers_as_often_as_it_says(num_writers: int) -> None:
    for seed in range(3):
        draws = np.random.default_rng(seed).normal(0, 0.1, (20_000, num_writers))
        low, high = bounds_of_rows(draws)
        assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.97


def test_equal_writers_have_no_spread_and_one_writer_has_no_interval() -> None:
    assert interval(np.full(5, 0.25)) == (0.25, 0.25)
    assert interval(np.array([0.9])) is None
    assert accuracy_interval(np.array([0.9])) is None


def test_an_interval_of_accuracies_ends_where_accuracies_do() -> None:
    few = np.array([0.9, 1.0, 1.0])
    low, high = interval(few)
    assert high > 1
    assert accuracy_interval(few) == (low, 1)
    assert accuracy_interval(1 - few) == (0, pytest.approx(1 - low))


def test_an_interval_is_students() -> None:
    half = 2.776445 * 2.5**0.5 / 5**0.5  # of four degrees of freedom
    assert interval(np.arange(1.0, 6.0)) == pytest.approx((3 - half, 3 + half), abs=1e-5)
    half = 4.604095 * 2.5**0.5 / 5**0.5
    assert interval(np.arange(1.0, 6.0), 0.99) == pytest.approx((3 - half, 3 + half), abs=1e-5)


def test_p_is_the_share_of_signs_with_as_large_a_mean() -> None:
    values = np.array([0.05, -0.02, 0.01, 0.07, -0.01, 0.03])
    flipped = [abs(np.dot(signs, values)) for signs in product((-1, 1), repeat=6)]
    expected = np.mean(np.array(flipped) >= abs(values.sum()) - 1e-12)
    assert sign_flip_p(values) == pytest.approx(expected)


def test_no_gain_and_one_writer_show_nothing() -> None:
    assert sign_flip_p(np.zeros(6)) == 1
    assert sign_flip_p(np.array([0.3])) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(
    values: list[float],
) -> None:
    found = np.array(holm(values))
    assert np.all(found >= np.array(values))
    assert np.all(found <= np.minimum(len(values) * np.array(values), 1) + 1e-12)
    assert np.all(np.diff(found[np.argsort(values, kind="stable")]) >= 0)


def test_the_worst_tenth_has_at_least_one_character() -> None:
    assert worst_tenth([0.5, 0.1, 0.9]) == pytest.approx(0.1)
    assert worst_tenth(list(np.linspace(1, 0, 30))) == pytest.approx(1 / 29)


def test_a_verdict_is_that_of_a_corrected_interval() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.02, 10)
    assert verdict(interval(gains)) == "a gain"
    assert verdict(interval(-gains)) == "a loss"
    assert verdict(interval(gains, 0.99995)).endswith("no difference is shown")
    assert verdict(None) == "one writer gives no interval"
