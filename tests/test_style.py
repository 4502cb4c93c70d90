"""Slant, width and proportion: closed forms, and whether images in a hand have the hand's."""

from dataclasses import replace

import numpy as np
import pytest

from handwriting.images.canonical import Uint8
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.packed import PackedImages, concatenate
from handwriting.reports.statistics import Float64
from handwriting.sources.simulated_writers import simulated
from training_character_classification.measures.style import (
    TRAITS,
    agreement,
    concordance,
    halves,
    traits,
)


def ellipse(slant: float = 0, proportion: float = 0) -> Uint8:
    """An ellipse of e^proportion times its height, sheared to the right above, (1, 96, 96)."""
    x, up = np.meshgrid(np.arange(-47.5, 48), np.arange(47.5, -48, -1))
    distance = np.hypot((x - slant * up) / np.exp(proportion / 2), up * np.exp(proportion / 2))
    return np.rint(255 * np.clip(25.5 - distance, 0, 1)).astype(np.uint8)[None]


@pytest.mark.parametrize("slant", [-0.6, -0.2, 0, 0.1, 0.4])
def test_a_sheared_disc_slants_by_its_shear(slant: float) -> None:
    """Cov(x, up) is s of the disc's variance, which grows by s^2 across."""
    found = traits(ellipse(slant))[0]
    assert found[0] == pytest.approx(2 * slant / (2 + slant**2), abs=0.01)


@pytest.mark.parametrize("proportion", [-0.8, -0.1, 0, 0.2, 0.8])
def test_an_ellipse_is_as_wide_for_its_height_as_it_is_drawn(proportion: float) -> None:
    found = traits(ellipse(proportion=proportion))[0]
    assert found[2] == pytest.approx(np.tanh(proportion), abs=0.01)
    assert found[0] == pytest.approx(0, abs=1e-6)


def test_width_is_measured_below_a_pixel_too() -> None:
    """Lines of half a pixel, between two pixels and on one; of one, of two."""
    between, half, one, two = np.zeros((4, 1, 64, 64), np.uint8)
    for image, rows, level in (
        (between, [20, 21], 60), (half, [20], 120), (one, [20], 240), (two, [20, 21], 240),
    ):  # fmt: skip
        image[0, rows, 4:60] = level
    widths = np.exp([traits(image)[0, 1] for image in (between, half, one, two)])
    np.testing.assert_allclose(widths, [0.5, 0.5, 1, 2], rtol=0.1)
    np.testing.assert_allclose(traits(one)[0, [0, 2]], traits(half)[0, [0, 2]])


def test_a_line_without_height_is_no_infinite_slant() -> None:
    line, dot = np.zeros((2, 1, 16, 16), np.uint8)
    line[0, 8, 2:14] = dot[0, 8, 8] = 255
    np.testing.assert_allclose(traits(line)[0, [0, 2]], [0, 1], atol=1e-9)
    np.testing.assert_allclose(traits(dot)[0, [0, 2]], 0, atol=1e-9)


@pytest.mark.parametrize("times", [-1, 0, 0.1, 0.5, 1, 3])
def test_what_comes_through_in_part_is_in_part_concordant(times: float) -> None:
    values = np.random.default_rng(0).normal(size=50)
    found = concordance(values, times * values)
    assert found == pytest.approx(2 * times / (1 + times**2))
    assert concordance(0 * values, 0 * values) is None


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """Twelve simulated writers' ten characters, two of each."""
    return simulated(tuple("アイウエオ木林休日ー"), 12, 2, 0, 32, tmp_path_factory.mktemp("cache"))


def numbers(found: dict[str, float | None]) -> Float64:
    return np.array([found[name] for name in TRAITS], float)


def test_what_writers_write_again_agrees_with_them_and_not_with_others(
    written: PackedImages,
) -> None:
    first, second = halves(written)
    assert (numbers(agreement(first, second)) > 0.7).all()
    assert numbers(agreement(first, first)) == pytest.approx(1)
    others = replace(second, writers=(second.writers + 5) % 12)
    assert (np.abs(numbers(agreement(first, others))) < 0.3).all()


def test_a_few_hands_tell_too(written: PackedImages) -> None:
    first, second = (half.select(half.writers < 3) for half in halves(written))
    assert (numbers(agreement(first, second)) > 0.6).all()
    others = replace(second, writers=(second.writers + 1) % 3)
    assert numbers(agreement(first, others)).max() < 0.4


def test_everybody_in_one_hand_agrees_with_nobody(written: PackedImages) -> None:
    """Characters are followed, hands are not."""
    first, second = halves(written)
    one = second.select(second.writers == 4)
    alike = concatenate([replace(one, writers=np.full(len(one), i)) for i in range(12)])
    assert numbers(agreement(alike, first)) == pytest.approx(0, abs=1e-9)


def test_only_writers_and_characters_that_both_show_are_compared(written: PackedImages) -> None:
    first, second = halves(written)
    expected = agreement(first.select(first.labels < 6), second)
    rng = np.random.default_rng(0)
    some = first.select(rng.permutation(np.flatnonzero(first.labels < 6)))
    turned = replace(some, writers=11 - some.writers, writer_names=some.writer_names[::-1])
    lonely = first.select((first.labels == 7) & (first.writers == 2))
    stranger = replace(first, writer_names=tuple(f"other_{i}" for i in range(12)))
    nobody = replace(first, writers=0 * first.writers, writer_names=(UNKNOWN_WRITER,))
    found = agreement(
        concatenate([turned, lonely, stranger, nobody]), concatenate([second, nobody])
    )
    assert numbers(found) == pytest.approx(numbers(expected))


def test_the_means_of_several_images_are_compared(written: PackedImages) -> None:
    first, second = halves(written)
    both = agreement(written, first)
    single = numbers(agreement(second, first))
    assert (numbers(both) > single).all()
    assert agreement(concatenate([first, first]), second) == pytest.approx(agreement(first, second))


def test_two_writers_are_no_agreement(written: PackedImages) -> None:
    nothing = dict.fromkeys(TRAITS)
    two = written.select(written.writers < 2)
    third = written.select((written.writers == 2) & (written.labels == 0))
    alone = concatenate([two.select(two.labels > 0), third])  # with a character of their own
    assert agreement(alone, written) == nothing
    assert agreement(two, written) == agreement(written, two) == nothing
    assert (
        agreement(written.select([]), written) == agreement(written, written.select([])) == nothing
    )
    assert agreement(*halves(halves(written)[0])) == nothing  # one of each


def test_halves_are_balanced(written: PackedImages) -> None:
    odd = concatenate([written, written.select(np.flatnonzero(np.arange(len(written)) % 7))])
    parts = halves(odd)
    assert len(parts[0]) + len(parts[1]) == len(odd)
    pairs = [{}, {}]
    for part, counts in zip(parts, pairs, strict=True):
        for pair in zip(part.labels.tolist(), part.writers.tolist(), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
    assert all(0 <= pairs[0][pair] - pairs[1].get(pair, 0) <= 1 for pair in pairs[0])
