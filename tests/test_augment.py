"""Augmentation: exact where it must be, random only through its generator."""

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torch.nn import functional

from handwriting.corpus.corpus import Corpus
from handwriting.images.augment import (
    Classical,
    affine_grid,
    displacement,
    over_neighbours,
    place,
    random_placement,
    to_float,
    to_uint8,
)
from handwriting.rng import Rng

SIDE = 24


def placed(
    image: Tensor, angle: float = 0, scale: float = 1, shift: tuple[float, float] = (0, 0)
) -> Tensor:
    return place(image, *(torch.tensor([value]).float() for value in (angle, scale, shift)))


@pytest.fixture
def noise(rng: Rng) -> Tensor:
    return torch.randint(0, 256, (1, 2, SIDE, SIDE), generator=rng, dtype=torch.uint8)


@pytest.fixture
def glyphs(corpus: Corpus) -> Tensor:
    return torch.from_numpy(np.array(corpus.train.images))


def test_floats_and_bytes_are_a_round_trip() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    floats = to_float(images)
    assert (float(floats.min()), float(floats.max())) == (-1, 1)
    assert torch.equal(to_uint8(floats), images)
    assert torch.equal(
        to_uint8(torch.tensor([-3.0, 3.0]).view(1, 1, 1, 2)).flatten(), images[0, [0, 15], [0, 15]]
    )


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_equal_rot90(quarters: int, noise: Tensor) -> None:
    turned = placed(noise, angle=quarters * math.pi / 2)
    expected = torch.rot90(noise, quarters, dims=(2, 3)) / 127.5 - 1
    torch.testing.assert_close(turned, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -4), (-2, 5)])
def test_shifts_by_whole_pixels_equal_roll(right: int, down: int, noise: Tensor) -> None:
    shifted = placed(noise, shift=(right * 2 / SIDE, down * 2 / SIDE))
    expected = torch.roll(noise, (down, right), dims=(2, 3)) / 127.5 - 1
    inside = (..., slice(5, -5), slice(5, -5))
    torch.testing.assert_close(shifted[inside], expected[inside], atol=1e-3, rtol=0)
    edge = shifted[..., 0] if right > 0 else shifted[..., 0, :] if down > 0 else shifted[..., -1, :]
    assert (edge == -1).all()  # what comes in from outside is paper


def test_half_the_size_is_the_centre_with_paper_around() -> None:
    full = torch.full((1, 1, SIDE, SIDE), 255, dtype=torch.uint8)
    small = placed(full, scale=0.5)
    quarter = SIDE // 4
    assert (small[..., quarter:-quarter, quarter:-quarter] == 1).all()
    assert (small > -1).float().mean() < 0.31


def test_images_of_an_item_move_together_and_items_apart(rng: Rng) -> None:
    images = torch.randint(0, 256, (8, 1, SIDE, SIDE), generator=rng, dtype=torch.uint8)
    several = random_placement(8, rng, max_angle=15, free=True)
    together = place(images.repeat(1, 3, 1, 1), *several)
    assert torch.equal(together[:, 0], together[:, 2])
    for i in range(8):
        alone = place(images[[i]], *(draws[[i]] for draws in several))
        torch.testing.assert_close(alone[:, 0], together[[i], 0])


def test_half_of_the_items_are_turned_by_at_most_the_angle(rng: Rng) -> None:
    angle, scale, shift = random_placement(20_000, rng, max_angle=15, free=False)
    degrees = angle.rad2deg()
    assert abs(float((degrees == 0).float().mean()) - 0.5) < 0.02
    assert 14.9 < float(degrees.abs().max()) <= 15
    assert (scale == 1).all()
    assert (shift == 0).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31))
def test_free_placement_without_rotation_keeps_all_ink(seed: int) -> None:
    generator = Rng(seed)
    full = torch.full((16, 1, SIDE, SIDE), 255, dtype=torch.uint8)
    drawn = random_placement(16, generator, max_angle=0, free=True)
    scale = drawn[1]
    area = (place(full, *drawn) + 1).sum(dim=(1, 2, 3)) / 2
    torch.testing.assert_close(area, (scale * SIDE) ** 2, rtol=0.02, atol=0)
    assert (scale >= 0.8).all()


def test_classical_augmentation_is_decided_by_its_generator(glyphs: Tensor) -> None:
    def made(seed: int) -> Tensor:
        torch.manual_seed(seed + 100)  # of no influence
        return Classical()(glyphs, Rng(seed))

    first = made(0)
    assert torch.equal(first, made(0))
    assert not torch.equal(first, made(1))


def test_classical_augmentation_keeps_shape_range_and_paper(glyphs: Tensor, rng: Rng) -> None:
    out = Classical()(glyphs, rng)
    assert out.shape == (len(glyphs), 1, *glyphs.shape[1:])
    assert -1 <= float(out.min()) <= float(out.max()) <= 1
    paper = torch.zeros(4, SIDE, SIDE, dtype=torch.uint8)
    assert (Classical()(paper, rng) == -1).all()
    assert -1 < float(Classical(roughness=1)(paper, rng).mean()) < -0.98  # but for dust


NOTHING = {field.name: 0.0 for field in fields(Classical)}


@pytest.mark.parametrize("name", NOTHING)
def test_each_kind_of_change_is_drawn_for_each_image_on_its_own(
    name: str, glyphs: Tensor, rng: Rng
) -> None:
    strength = getattr(Classical(roughness=1), name)
    out = Classical(**NOTHING | {name: strength})(glyphs[:1].repeat(32, 1, 1), rng)
    num_changed = 8 if name in ("thickness", "thinness") else 32
    assert len(torch.unique(out.flatten(1), dim=0)) >= num_changed


def test_classical_augmentation_turned_off_is_the_identity(glyphs: Tensor, rng: Rng) -> None:
    nothing = Classical(**NOTHING)
    torch.testing.assert_close(nothing(glyphs, rng), to_float(glyphs), atol=1e-4, rtol=0)


def test_thickness_only_adds_ink_and_thinness_only_removes_it(glyphs: Tensor, rng: Rng) -> None:
    ink = to_float(glyphs)
    thicker = Classical(**NOTHING | {"thickness": 1.0})(glyphs, rng)
    thinner = Classical(**NOTHING | {"thinness": 1.0})(glyphs, rng)
    assert (thicker >= ink - 1e-4).all()
    assert (thinner <= ink + 1e-4).all()
    assert (thicker.sum() > ink.sum()) & (ink.sum() > thinner.sum())


def test_what_is_written_for_speed_equals_what_torch_has(rng: Rng) -> None:
    theta, images = torch.randn(5, 2, 3, generator=rng), torch.rand(5, 2, 12, 9, generator=rng)
    expected = functional.affine_grid(theta, [5, 1, 12, 9], align_corners=False)
    torch.testing.assert_close(affine_grid(theta, 12, 9), expected)
    thick = functional.max_pool2d(images, 3, stride=1, padding=1)
    thin = -functional.max_pool2d(-images, 3, stride=1, padding=1)
    assert torch.equal(over_neighbours(images, torch.maximum), thick)
    assert torch.equal(over_neighbours(images, torch.minimum), thin)
    control = torch.randn(5, 2, 6, 6, generator=rng)
    field = displacement(control, 12, 9)
    enlarged = functional.interpolate(control, (12, 9), mode="bicubic", align_corners=True)
    torch.testing.assert_close(field, enlarged.permute(0, 2, 3, 1))


def test_roughness_changes_edges_and_leaves_strokes_and_paper(glyphs: Tensor) -> None:
    ink = to_float(glyphs)
    smooth, rough = (
        Classical(**NOTHING | {"roughness": amount})(glyphs, Rng(0)) for amount in (1e-6, 1.0)
    )
    is_edge = (over_neighbours(ink, torch.maximum) - over_neighbours(ink, torch.minimum)) > 0.5
    changed = (rough - smooth).abs()
    assert float(changed[is_edge].mean()) > 3 * float(changed[~is_edge].mean())
    assert float((smooth - ink).abs()[~is_edge].mean()) < 0.01
