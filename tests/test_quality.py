"""The measures of images: known distributions, copies, pens, and what cannot be said."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.ndimage import grey_dilation

from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.packed import PackedImages
from handwriting.networks.encoders import SmallResNet
from handwriting.reports.statistics import Float64
from handwriting.runs.inference import outputs
from handwriting.runs.runtime import Runtime
from handwriting.script import compose
from handwriting.sources.simulated_writers import simulated
from training_character_classification.measures.quality import (
    MAX_PER_CHARACTER,
    StageFeatures,
    WriterProbe,
    domain_auc,
    nearest_distance,
    ratio,
    sampled,
    spread,
    writers_of,
)


def area(real: Float64, other: Float64) -> float:
    return domain_auc(real, other) or 0.0


def test_two_samples_of_one_distribution_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(0)
    # Many features: a probe that is tested on what it was trained on finds 0.8.
    found = [area(*rng.normal(size=(2, 300, 60))) for _ in range(6)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0, 6.0])
def test_the_area_is_the_one_of_two_gaussians(distance: float) -> None:
    """The best linear probe of N(0, I) and N(d, I) has an area of Phi(|d| / sqrt 2)."""
    rng = np.random.default_rng(1)
    real, other = rng.normal(size=(2, 1500, 6))
    other[:, 0] += distance
    assert area(real, other) == pytest.approx(NormalDist().cdf(distance / 2**0.5), abs=0.03)
    assert area(other, real) == pytest.approx(area(real, other), abs=0.02)


def test_too_few_images_to_probe_have_no_area() -> None:
    assert domain_auc(np.zeros((3, 4)), np.ones((100, 4))) is None


@pytest.mark.parametrize("count", [2, 5, 40])
def test_diversity_does_not_depend_on_the_number_of_images(count: int) -> None:
    """Two points of N(0, I) in two dimensions are sqrt(pi) apart on average."""
    features = np.random.default_rng(1).normal(size=(8_000 // count * count, 2))
    labels = np.repeat(np.arange(len(features) // count), count)
    features += 100 * labels[:, None]  # how far classes are apart does not count
    found = spread(features, labels, np.arange(len(features)))
    assert found == pytest.approx(np.pi**0.5, rel=0.04)


def test_one_owners_pairs_are_left_out() -> None:
    features = np.array([[0.0], [1.0], [10.0], [11.0]])
    labels, owners = np.zeros(4, np.int64), np.array([0, 0, 1, 1])
    assert spread(features, labels, owners) == 10
    assert spread(features, labels, np.zeros(4, np.int64)) is None


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    """Thirty simulated people's images of ten characters at 32 px."""
    return simulated(tuple("アイウエオ木林休日本"), 30, 1, 0, 32, tmp_path_factory.mktemp("cache"))


def style_of(images: PackedImages) -> Float64:
    torch.manual_seed(0)
    runtime = Runtime(compose(["experiment=smoke", "runtime.precision=no"]).runtime)
    return (
        outputs(StageFeatures(SmallResNet(8), is_style=True), images, runtime)
        .numpy()
        .astype(np.float64)
    )


def test_thick_and_thin_pens_are_told_apart(people: PackedImages) -> None:
    """Two hands that differ by their pen alone, on characters that the probe was not fitted on."""
    thick = people.writers % 2 == 1
    pens = people.images.copy()
    pens[thick] = grey_dilation(people.images[thick], (1, 3, 3))
    images = replace(
        people, images=pens, writers=people.writers % 2, writer_names=("thin", "thick")
    )
    style = style_of(images)
    half = people.writers < 20
    names = writers_of(images)
    hands = WriterProbe(style[half], images.labels[half], names[half])
    found = hands.match(style[~half], images.labels[~half], names[~half])
    assert found is not None
    assert found > 0.95
    wrong = np.where(thick, "thin", "thick")
    swapped = hands.match(style[~half], images.labels[~half], wrong[~half])
    assert swapped == pytest.approx(1 - found)


def test_shuffled_writers_are_told_by_chance() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(100), 5)
    style = rng.normal(size=(500, 20)) + 9 * rng.normal(size=(100, 20))[labels]
    writers = np.concatenate([rng.permutation(list("abcde")) for _ in range(100)])
    own = WriterProbe(style, labels, writers).match(style, labels, writers)
    assert own == pytest.approx(0.2, abs=0.06)  # fitted on them, it would be 0.4


def test_what_the_character_explains_is_not_style() -> None:
    """Characters differ a hundred times as much as hands do."""
    rng = np.random.default_rng(3)
    labels, hands = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    style = 100 * rng.normal(size=(40, 6))[labels] + np.eye(6)[hands]
    style += rng.normal(0, 0.1, style.shape)
    writers = np.array(list("abc"))[hands]
    assert WriterProbe(style, labels, writers).match(style, labels, writers) == 1


def test_only_claims_of_known_hands_count() -> None:
    labels, writers = np.repeat(np.arange(4), 3), np.tile(["a", "b", UNKNOWN_WRITER], 4)
    style = np.tile([[0.0], [1.0], [0.5]], (4, 1))
    hands = WriterProbe(style, labels, writers)
    assert hands.names == ["a", "b"]
    # Of four images one is right, one is wrong, and two are in no hand that is known.
    claims = np.array(["a", "a", UNKNOWN_WRITER, "c"])
    found = hands.match(np.array([[0.0], [1.0], [0.0], [0.0]]), np.arange(4), claims)
    assert found == 0.5
    assert hands.match(style, labels, np.repeat([UNKNOWN_WRITER], 12)) is None


@pytest.mark.parametrize("writers", [["a"] * 8, ["a"] * 4 + ["b"] * 4])
def test_without_two_writers_of_a_character_there_is_nothing_to_match(writers: list[str]) -> None:
    labels, style, names = np.repeat(np.arange(4), 2), np.arange(8.0)[:, None], np.array(writers)
    assert WriterProbe(style, labels, names).match(style, labels, names) is None


def test_copies_are_at_no_distance_and_other_people_at_that_of_people(people: PackedImages) -> None:
    seen = people.select(people.writers < 20)
    other, unseen = (people.select(people.writers // 5 == fifth) for fifth in (4, 5))
    reference = nearest_distance(unseen, seen, 0)
    assert nearest_distance(seen, seen, 0) == 0
    assert ratio(nearest_distance(other, seen, 0), reference) == pytest.approx(1, abs=0.15)
    assert ratio(nearest_distance(seen, seen, 1), reference) == pytest.approx(1, abs=0.15)


def test_a_copy_that_is_moved_a_little_is_still_near(people: PackedImages) -> None:
    seen, unseen = people.select(people.writers < 20), people.select(people.writers >= 20)
    moved = replace(seen, images=np.roll(seen.images, 1, axis=1))
    found = ratio(nearest_distance(moved, seen, 0), nearest_distance(unseen, seen, 0))
    assert 0 < (found or 0) < 0.75


def test_an_image_without_another_has_no_nearest(people: PackedImages) -> None:
    one = people.select(people.writers == 0)
    assert nearest_distance(one, one, 1) is None


def test_a_sample_is_of_the_chosen_characters_and_bounded(people: PackedImages) -> None:
    many = replace(people, labels=np.where(np.arange(len(people)) < 150, 0, people.labels + 1))
    some = sampled(many, np.array([0, 3]))
    counts = np.bincount(some.labels)
    assert counts[0] == MAX_PER_CHARACTER
    assert counts[3] == (many.labels == 3).sum()
    assert counts.sum() == len(some) == counts[0] + counts[3]
    assert (np.diff(some.labels) != 0).sum() > 10  # shuffled: its beginning is a sample too
    np.testing.assert_array_equal(some.images, sampled(many, np.array([0, 3])).images)
    assert np.bincount(sampled(many, np.array([0, 3]), 7).labels).tolist() == [7, 0, 0, 7]
