"""The distances of images from handwriting: closed forms, samples of one distribution, strokes."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy.linalg import sqrtm

from handwriting.images.canonical import Uint8
from handwriting.networks.encoders import SmallResNet
from handwriting.reports.statistics import Float64, Int64
from training_character_classification.measures.distances import (
    appearance,
    appearance_distances,
    frechet_distance,
    kernel_distance,
    match_class_counts,
    neighbourhoods,
)
from training_character_classification.measures.quality import StageFeatures


def with_moments(mean: Float64, root: Float64, size: int = 50) -> Float64:
    """Features (N, D) of exactly this mean and of the covariance ``root.T @ root``."""
    values = np.random.default_rng(len(mean)).normal(size=(size, len(mean)))
    values -= values.mean(axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T
    return values @ whitening @ root + mean


def sets(size: int, other_size: int, seed: int = 0) -> tuple[Float64, Int64, Float64, Int64]:
    """Two samples of forty classes, so many of each: features and classes."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 0.4, (40, 6))
    labels, others = np.repeat(np.arange(40), size), np.repeat(np.arange(40), other_size)
    real, other = (centres[side] + rng.normal(0, 0.1, (len(side), 6)) for side in (labels, others))
    return real, labels, other, others


def test_equally_many_of_each_class_are_compared() -> None:
    labels, other = np.array([2, 0, 2, 1, 2, 0]), np.array([0, 2, 2, 3, 0, 0])
    ours, theirs = match_class_counts(labels, other)
    np.testing.assert_array_equal(ours, [1, 5, 0, 2])  # the first ones, and no 1, which they lack
    np.testing.assert_array_equal(theirs, [0, 4, 1, 2])
    assert [len(side) for side in match_class_counts(np.array([0]), np.array([1]))] == [0, 0]


def test_the_frechet_distance_is_the_one_with_a_root_of_matrices() -> None:
    rng = np.random.default_rng(0)
    roots, mean = rng.normal(size=(2, 5, 5)), rng.normal(size=5)
    first, second = (root.T @ root for root in roots)
    expected = mean @ mean + np.trace(first + second - 2 * sqrtm(first @ second).real)
    real, other = with_moments(np.zeros(5), roots[0]), with_moments(mean, roots[1])
    assert frechet_distance(real, other) == pytest.approx(expected)


def test_a_feature_that_never_changes_is_no_trouble() -> None:
    real = np.random.default_rng(0).normal(size=(30, 4))
    real[:, 1] = 0
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(real, real + np.array([0, 2, 0, 0])) == pytest.approx(4)


def test_the_kernel_distance_of_points_is_that_of_the_kernel() -> None:
    """k(0, 0) + k(c, c) - 2 k(0, c) = (c^2 + 1)^3 - 1."""
    labels = np.zeros(3, np.int64)
    found = kernel_distance(np.zeros((3, 1)), labels, np.full((2, 1), 2.0), labels[:2])
    assert found == pytest.approx(124)


@pytest.mark.parametrize(("size", "other_size"), [(2, 2), (5, 5), (3, 12)])
def test_samples_of_one_distribution_are_at_no_kernel_distance(size: int, other_size: int) -> None:
    """However few of a class: the estimate has no bias, and as often is below zero."""
    found = np.array([kernel_distance(*sets(size, other_size, seed)) for seed in range(30)])
    assert abs(found.mean()) < 3 * found.std() / 30**0.5
    assert 5 < (found < 0).sum() < 25
    real, labels, other, others = sets(size, other_size)
    assert (kernel_distance(real, labels, other + 0.1, others) or 0) > found.max()


def test_one_image_of_a_class_has_no_kernel_distance() -> None:
    real, labels, other, others = sets(1, 5)
    assert kernel_distance(real, labels, other, others) is None
    assert kernel_distance(other, others, real, labels) is None


def test_neighbourhoods_are_balls_to_the_nearest_of_the_same_set() -> None:
    """Balls of 1, 1 and 9 around 0, 1 and 10; of 19.5 around both others."""
    found = neighbourhoods(np.array([[0.0], [1.0], [10.0]]), np.array([[0.5], [20.0]]))
    expected = {"precision": 0.5, "recall": 1, "density": 1, "coverage": 2 / 3}
    assert found == pytest.approx(expected)


@pytest.fixture
def real() -> Float64:
    """Two modes: 400 features, the first half around one, the second around the other."""
    values = np.random.default_rng(0).normal(size=(400, 8))
    values[200:] += 20
    return values


def sample(deviation: float = 1, modes: tuple[float, float] = (0, 20)) -> Float64:
    values = np.random.default_rng(1).normal(0, deviation, size=(400, 8))
    return values + np.repeat(modes, 200)[:, None]


def test_a_second_sample_is_as_dense_and_covers_half(real: Float64) -> None:
    found = neighbourhoods(real, sample())
    assert found["density"] == pytest.approx(1, abs=0.1)
    assert found["coverage"] == pytest.approx(0.5, abs=0.05)


def test_a_mode_that_is_dropped_costs_recall_and_coverage_not_precision(real: Float64) -> None:
    whole, dropped = (neighbourhoods(real, sample(modes=(0, last))) for last in (20, 0))
    assert dropped["precision"] == pytest.approx(whole["precision"], abs=0.05)
    assert dropped["recall"] < 0.6 * whole["recall"]
    assert dropped["coverage"] < 0.7 * whole["coverage"]


def test_what_is_too_various_costs_precision_and_what_is_too_alike_recall(real: Float64) -> None:
    alike, whole, various = (neighbourhoods(real, sample(by)) for by in (0.5, 1, 1.5))
    assert various["precision"] < 0.5 * whole["precision"] < 0.5 * alike["precision"]
    assert various["density"] < 0.5 * whole["density"]
    assert alike["recall"] < 0.5 * whole["recall"]


def test_coarse_features_forget_the_place() -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 128, 128)  # large: the borders' effect does not reach the block
    image[:, :, 56:60, 56:60] = 1
    features = StageFeatures(SmallResNet(8), is_style=False).eval()
    here, there = (features(torch.roll(image, move, (2, 3))) for move in ((0, 0), (8, 8)))
    assert here.shape == (1, 32)
    torch.testing.assert_close(here, there)


def stroke(width: float, angle: float = 0) -> Uint8:
    """A stroke of 60 px through the middle of 96 px, drawn at eight times the size, (1, 96, 96)."""
    picture = Image.new("L", (768, 768))
    box = (144, 384 - 4 * width, 624, 384 + 4 * width)
    ImageDraw.Draw(picture).rectangle(box, fill=255)
    turned = picture.rotate(angle, Image.Resampling.BICUBIC)
    return np.asarray(turned.resize((96, 96), Image.Resampling.BOX))[None]


@pytest.mark.parametrize("angle", [0, 20, 45, 90])
@pytest.mark.parametrize("width", [2, 5])
def test_the_width_of_a_stroke_is_measured_in_any_direction(width: float, angle: float) -> None:
    """Twice the area over the edge of 2 (60 + width): a little less than the width."""
    expected = 60 * width / (60 + width)
    assert appearance(stroke(width, angle))[0, 0] == pytest.approx(expected, rel=0.08)


def test_a_paler_pen_is_as_wide() -> None:
    ink = stroke(4, 30)
    full, pale = appearance(ink)[0], appearance(ink // 2)[0]
    assert pale[0] == pytest.approx(full[0], rel=0.01)
    assert pale[1] == pytest.approx(full[1] / 2, rel=0.02)


def test_level_and_centroid_of_a_block() -> None:
    image = np.zeros((1, 12, 20), np.uint8)
    image[0, 2:5, 10:15] = 120
    np.testing.assert_allclose(appearance(image)[0, 1:], [120, 12, 3])


@pytest.fixture
def blocks() -> Uint8:
    """Fifty blocks of many sizes, levels and places."""
    rng = np.random.default_rng(0)
    images = np.zeros((50, 32, 32), np.uint8)
    for image in images:
        top, left, height, width = rng.integers(4, 12, 4)
        image[top : top + height, left : left + width] = rng.integers(80, 220)
    return images


def test_looks_are_apart_by_as_much_as_all_are_moved(blocks: Uint8) -> None:
    moved = np.roll(blocks + (blocks > 0).astype(np.uint8) * 30, (2, 1), axis=(1, 2))
    _, grey, x, y = appearance(blocks).std(axis=0)
    expected = {"stroke_width": 0, "grey_level": 30 / grey, "centroid": (1 / x + 2 / y) / 2}
    assert appearance_distances(blocks, moved[::-1]) == pytest.approx(expected, abs=1e-9)


def test_thicker_strokes_are_told(blocks: Uint8) -> None:
    thin, thick = (np.concatenate([stroke(w + i / 10) for i in range(5)]) for w in (2, 4))
    assert (appearance_distances(thin, thick)["stroke_width"] or 0) > 5


def test_what_never_changes_has_no_deviation_to_measure_by(blocks: Uint8) -> None:
    flat = np.where(blocks > 0, 200, 0).astype(np.uint8)
    found = appearance_distances(flat, blocks)
    assert found["grey_level"] is None
    assert found["stroke_width"] is not None
    one = appearance_distances(blocks[:1], blocks[:1])
    assert set(one.values()) == set(appearance_distances(blocks[:0], blocks[:0]).values()) == {None}
