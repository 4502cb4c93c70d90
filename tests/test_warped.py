"""Warping: an image of the character by its writer, bent, its parts moved, and still its own."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ComposeSmoke, DrawGlyph
from scipy.ndimage import label

from handwriting.corpus.corpus import open_corpus
from handwriting.images.canonical import canonical
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import pack_manifest
from training_warped import generate_images, train
from training_warped.generate_images import bent, moved, warped


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.minimum(a, b).sum() / np.maximum(a, b).sum())


def test_a_warped_image_is_nearer_to_its_own_than_to_others(draw_glyph: DrawGlyph) -> None:
    own, *others = (canonical(draw_glyph(character), 64) for character in "木シあ")
    found = [warped(own, np.random.default_rng(seed)) for seed in range(20)]
    assert len({image.tobytes() for image in found}) == 20
    near = np.mean([overlap(own, image) for image in found])
    far = np.mean([overlap(other, image) for other in others for image in found])
    assert far < near < 0.95
    np.testing.assert_array_equal(warped(own, np.random.default_rng(3)), found[3])


def test_parts_move_apart_from_each_other_and_a_whole_stays_whole(draw_glyph: DrawGlyph) -> None:
    two = np.zeros((64, 64), np.uint8)
    two[10:14, 20:44] = two[50:54, 12:52] = 255  # 二
    gaps = []
    for seed in range(10):
        image = moved(two, np.random.default_rng(seed))
        parts, count = label(image > 127)
        assert count == 2
        first, second = (np.argwhere(parts == part).mean(axis=0) for part in (1, 2))
        gaps.append(second[0] - first[0])
    assert np.std(gaps) > 0.5
    assert np.mean(gaps) == pytest.approx(40, abs=2)
    whole = bent(canonical(draw_glyph("木"), 64), np.random.default_rng(0))
    assert label(whole > 60, np.ones((3, 3)))[1] == 1


def test_images_are_of_the_training_writers_and_only_of_what_they_wrote(
    smoke: ComposeSmoke,
) -> None:
    config = smoke("data.train_writers=2", "generation.num_per_character=8")
    train.main(config)
    manifest = read_manifest(generate_images.main(config) / "manifest.json")
    corpus = open_corpus(config)
    assert set(manifest.writers) == set(corpus.train.present_writers())
    made = pack_manifest(manifest, 16, Path(config.cache_dir))
    nearest = []
    for image, number in zip(made.images, made.labels, strict=True):
        character = made.characters[number]
        scores = [overlap(image, own) for own in corpus.train.images]
        nearest.append(corpus.characters[corpus.train.labels[int(np.argmax(scores))]] == character)
    assert np.mean(nearest) > 0.5  # at 16 px; by chance a sixth
