"""Strokes read out of images: the soft drawing, the fit, the reader, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor

from benchmarks import strokes as benchmark
from benchmarks.damage import harm
from handwriting.images.packed import PackedImages
from handwriting.networks.stroke_reader import StrokeJudge, StrokeReader
from handwriting.runs.inference import stroke_reader
from handwriting.runs.weights import load_weights, shipped
from handwriting.sources import hands, handwritten_strokes, practice, soft_raster
from handwriting.sources.handwritten_strokes import (
    SIZE_PX,
    Reader,
    drawing_of,
    model_of,
    padded,
)
from handwriting.sources.practice import practise
from handwriting.sources.simulated_writers import simulate
from handwriting.sources.stroke_fitting import fit, start_radii
from handwriting.sources.strokes import Float64, draw_canonical, evenly, in_ink_units

RADIUS = 0.03


def drawn(character: str) -> tuple[Tensor, Tensor, Tensor]:
    """A character's model: strokes (1, S, P, 2), mask (1, S) and soft image."""
    strokes, mask = padded([model_of(character).strokes])
    return strokes, mask, image_of(strokes, mask)


def image_of(strokes: Tensor, mask: Tensor, radius: float = RADIUS, size_px: int = 64) -> Tensor:
    pixels = soft_raster.pixel_centres(size_px)
    nearest = soft_raster.nearest_segments(strokes, mask, pixels)
    radii = torch.full((len(strokes),), radius)
    image = soft_raster.draw(strokes, radii, nearest, pixels, 0.006)
    return image.view(-1, size_px, size_px)


# The soft drawing ---------------------------------------------------------------------------------


def test_a_pixel_is_as_bright_as_the_pen_reaches_beyond_it() -> None:
    line = torch.tensor([[[[-0.3, 0.0], [0.3, 0.0]]]])
    pixels = torch.tensor([[0.0, 0.05], [0.1, -0.02], [0.4, 0.0]])  # beside it and behind its end
    mask = torch.ones(1, 1, dtype=torch.bool)
    nearest = soft_raster.nearest_segments(line, mask, pixels)
    image = soft_raster.draw(line, torch.tensor([0.04]), nearest, pixels, 0.01)
    expected = torch.sigmoid((0.04 - torch.tensor([0.05, 0.02, 0.1])) / 0.01)
    torch.testing.assert_close(image[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("character", ["ぬ", "道", "鬱"])
def test_the_nearest_segment_is_nearly_as_near_as_any(character: str) -> None:
    strokes, mask = padded([model_of(character).strokes])
    pixels = soft_raster.pixel_centres(40)
    nearest = soft_raster.nearest_segments(strokes, mask, pixels)
    starts, along = strokes[0, :, :-1].flatten(0, 1), strokes[0].diff(dim=1).flatten(0, 1)
    at = ((pixels[:, None] - starts) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)
    apart = (pixels[:, None] - starts - at.clamp(0, 1)[..., None] * along).norm(dim=-1)
    chosen = apart.gather(1, nearest[0, :, None])[:, 0]
    least = apart.amin(dim=1)
    near = least < 0.1  # beyond, nothing is drawn
    assert float(((chosen - least)[near] < 0.002).float().mean()) > 0.95
    assert float((chosen - least)[near].max()) < 0.05


def test_strokes_that_are_not_there_are_not_drawn() -> None:
    strokes, mask, image = drawn("木")
    more = torch.cat([strokes, torch.zeros(1, 2, *strokes.shape[2:])], dim=1)
    longer = torch.cat([mask, torch.zeros(1, 2, dtype=torch.bool)], dim=1)
    torch.testing.assert_close(image_of(more, longer), image)


@pytest.mark.parametrize("size_px", [32, 40, 64])
def test_a_soft_drawing_is_the_canonical_form_of_what_a_pen_draws(size_px: int) -> None:
    strokes = model_of("道").strokes.astype(np.float64)
    radii = np.full(strokes.shape[:2], 2 * RADIUS)
    strokes, radii = in_ink_units(strokes, radii)
    line = evenly(strokes, 21)
    drawn = draw_canonical([(line, np.full(line.shape[:2], radii[0, 0]))], size_px)
    theirs = torch.from_numpy(drawn) > 127
    points, mask = torch.from_numpy(line).float()[None], torch.ones(1, len(line), dtype=torch.bool)
    centre, _ = soft_raster.boxes(theirs)
    ours = soft_raster.ink(points, mask, torch.tensor([radii[0, 0]]).float(), size_px, centre)
    assert float(soft_raster.iou(ours, theirs)) > 0.9


def test_outlines_are_drawn_where_the_distance_field_is() -> None:
    strokes, mask = padded([model_of(character).strokes for character in "木語"])
    images = torch.from_numpy(np.stack([model_of(c).image for c in "木語"]))[:, None] / 255
    ours = drawing_of(strokes, mask, images)
    radii = start_radii(images[:, 0], strokes, mask)
    theirs = soft_raster.ink(strokes, mask, radii, SIZE_PX)
    assert ours.shape == images.shape
    assert float(soft_raster.iou(ours[:, 0] > 0.5, theirs).min()) > 0.85


# The fit ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["シ", "木", "河"])
def test_a_fit_brings_strokes_back_onto_their_ink(character: str) -> None:
    truth, mask, image = drawn(character)
    torch.manual_seed(0)
    start = truth + 0.02 * torch.randn(1, truth.shape[1], 1, 2)
    strokes, radii = fit(image, start, mask)
    before, after = ((s - truth).norm(dim=-1).mean() for s in (start, strokes))
    assert float(after) < 0.5 * float(before)
    assert float(radii) == pytest.approx(RADIUS, rel=0.1)
    overlap = soft_raster.iou(soft_raster.ink(strokes, mask, radii, SIZE_PX), image > 0.5)
    assert float(overlap) > 0.9


def test_images_are_fitted_apart() -> None:
    alone, mask, image = drawn("木")
    _, _, other_image = drawn("河")
    both, both_mask = padded([model_of("木").strokes, model_of("河").strokes])
    start = both + 0.01
    together, radii = fit(torch.cat([image, other_image]), start, both_mask)
    single, radius = fit(image, alone + 0.01, mask)
    torch.testing.assert_close(together[:1, : mask.shape[1]], single, atol=2e-3, rtol=0)
    torch.testing.assert_close(radii[:1], radius, atol=1e-3, rtol=0)


# Strokes ------------------------------------------------------------------------------------------


def test_points_lie_at_equal_arc_length() -> None:
    bend = np.array([[[0, 0], [0.1, 0], [1, 0], [1, 0.4]], [[0, 0], [0, 0.1], [0, 0.2], [0, 0.3]]])
    even = evenly(bend, 15)
    steps = np.linalg.norm(np.diff(even, axis=1), axis=-1)
    assert even[:, [0, -1]] == pytest.approx(bend[:, [0, -1]])
    assert steps == pytest.approx(steps.mean(axis=1, keepdims=True) * np.ones((2, 14)))


def test_units_of_the_ink_do_not_depend_on_place_and_size() -> None:
    strokes, radii = np.random.default_rng(0).random((3, 5, 2)), np.full((3, 5), 0.1)
    ours, pen = in_ink_units(strokes, radii)
    theirs, their_pen = in_ink_units(7 * strokes - 2, 7 * radii)
    assert ours == pytest.approx(theirs)
    assert pen == pytest.approx(their_pen)
    low, high = (ours - pen[..., None]).min((0, 1)), (ours + pen[..., None]).max((0, 1))
    assert low == pytest.approx(-high)
    assert (high - low).max() == pytest.approx(1)


# The network --------------------------------------------------------------------------------------


def small_reader() -> StrokeReader:
    torch.manual_seed(0)
    reader = StrokeReader(11, 30, 8, 8, 2)
    torch.nn.init.normal_(reader.move.weight)
    return reader


def inputs(*characters: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    model, mask = padded([model_of(character).strokes for character in characters])
    drawings = torch.from_numpy(np.stack([model_of(c).image for c in characters]))[:, None] / 255
    return drawings.flip(-1), drawings, model, mask


def test_what_is_read_does_not_depend_on_the_rest_of_the_batch() -> None:
    reader = small_reader()
    (alone,), (together,) = ([reader(*inputs(*c), 0.9)[0][-1]] for c in ("木", "木語"))
    torch.testing.assert_close(together[:1, :4], alone)
    assert not together[0, 4:].any()


def judged(judge: StrokeJudge, *characters: str) -> tuple[Tensor, Tensor]:
    images, drawings, model, mask = inputs(*characters)
    return judge(images, drawings, images, model, model, mask, 0.9)


def test_a_judgement_does_not_depend_on_the_rest_of_the_batch() -> None:
    torch.manual_seed(0)
    judge = StrokeJudge(11, 30, 8, 8)
    torch.nn.init.constant_(judge.written.bias, 9.0)  # what is padded has less
    (alone, points), (together, all_points) = judged(judge, "木"), judged(judge, *"木語")
    torch.testing.assert_close(together[:1], alone)
    torch.testing.assert_close(all_points[:1, :4], points)


def test_every_weight_learns() -> None:
    reader, judge = small_reader(), StrokeJudge(11, 30, 8, 8)
    images, drawings, model, mask = inputs(*"木語")
    found, known = reader(images, drawings, model, mask, 0.9)
    logits = reader.judge(images, drawings, images, known, mask)
    (sum(strokes.square().sum() for strokes in found) + logits.sum()).backward()
    sum(logits.sum() for logits in judged(judge, *"木語")).backward()
    for network in (reader, judge):
        named = network.named_parameters()
        assert [name for name, p in named if p.grad is None or not p.grad.any()] == []


# Practice -----------------------------------------------------------------------------------------


def test_samples_do_not_depend_on_how_many_are_made() -> None:
    some, more = (practise("木河あシ", numbers, 3, 0.5) for numbers in (range(5, 8), range(2, 10)))
    for name, values in some.items():
        np.testing.assert_array_equal(values, more[name][3:6], err_msg=name)


def test_the_truth_of_practice_is_where_the_ink_is() -> None:
    made = practise("木河語", range(40), 0, 0.0)
    assert made["is_right"].all()
    shares = []
    for i in range(40):
        number = made["num_strokes"][i]
        points = torch.from_numpy(made["strokes"][i : i + 1, :number].astype(np.float32))
        mask = torch.ones(1, number, dtype=torch.bool)
        line = soft_raster.ink(points, mask, torch.tensor([0.01]), SIZE_PX)[0].numpy()
        shares.append((made["images"][i][line] > 0).mean())
    assert min(shares) > 0.7
    assert np.mean(shares) > 0.95


@pytest.mark.parametrize("kind", practice.WRONG)
def test_practice_knows_what_wrong_images_show(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(practice, "WRONG", {kind: 1.0})
    right, wrong = (practise("木河語", range(8), 0, share) for share in (0.0, 1.0))
    there = np.arange(practise_strokes := right["strokes"].shape[1]) < right["num_strokes"][:, None]
    lost = (there[..., None] & ~wrong["is_written"]).mean(axis=(1, 2)) * practise_strokes
    assert not wrong["is_right"].any()
    assert right["is_written"][there].all()
    np.testing.assert_array_equal(right["strokes"], wrong["strokes"])
    assert (right["images"] != wrong["images"]).any(axis=(1, 2)).all()
    least, most = {
        "missing": (1, 1), "part": (0.3, 0.8), "extra": (0, 0), "twice": (0, 0), "blot": (0, 0),
        "alike": (4, 14), "other": (4, 14), "cut": (0.05, 14),
    }[kind]  # fmt: skip
    assert (least <= lost).all()
    assert (lost <= most).all()


# Reading ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader() -> Reader:
    return stroke_reader()[0]


@pytest.fixture(scope="module")
def people() -> PackedImages:
    """Simulated writers whom the reader did not see."""
    made = simulate(tuple("アシ木河語あぬ飛"), 2, 1, 99, 48)
    images = np.concatenate([*made.images])
    return PackedImages(images, made.labels, made.writers, made.characters, made.writer_names)


def test_what_was_written_is_read_and_what_was_not_is_refused(
    reader: Reader, people: PackedImages, tmp_path: Path
) -> None:
    right = handwritten_strokes.read_strokes(people, reader, "", tmp_path)
    assert right.accepted.mean() > 0.8
    assert np.median(benchmark.ious(people, people, right)) > 0.8
    swapped = PackedImages(
        people.images, (people.labels + 4) % 8, people.writers, people.characters,
        people.writer_names,
    )  # fmt: skip
    wrong = handwritten_strokes.read_strokes(swapped, reader, "", tmp_path)
    assert wrong.accepted.mean() < 0.2


def test_strokes_are_read_once_and_damage_is_repaired(
    reader: Reader, people: PackedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = people.select([0, 1, 2])
    first = handwritten_strokes.read_strokes(few, reader, "", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(handwritten_strokes, "_read_batch", None)
        again = handwritten_strokes.read_strokes(few, reader, "", tmp_path)
    (path,) = tmp_path.rglob("*.npz")
    harm(path, "flipped")
    repaired = handwritten_strokes.read_strokes(few, reader, "", tmp_path)
    for other in (again, repaired):
        np.testing.assert_array_equal(other.strokes, first.strokes)
        np.testing.assert_array_equal(other.scores, first.scores)
    other_reader = handwritten_strokes.read_strokes(few, reader, "other", tmp_path)
    assert len([*tmp_path.rglob("*.npz")]) == 2
    np.testing.assert_array_equal(other_reader.radii, first.radii)


def test_characters_without_a_drawing_are_refused(reader: Reader, tmp_path: Path) -> None:
    packed = PackedImages(
        np.full((1, 64, 64), 255, np.uint8), np.zeros(1, int), np.zeros(1, int), ("♥",), ("one",)
    )
    read = handwritten_strokes.read_strokes(packed, reader, "", tmp_path)
    assert (read.num_strokes[0], read.scores[0]) == (0, 0)


# The benchmark ------------------------------------------------------------------------------------


def test_distances_do_not_see_order_place_and_size() -> None:
    strokes: Float64 = model_of("語").strokes.astype(np.float64)
    assert benchmark.distance(strokes, 3 * strokes[::-1] + 1) == pytest.approx(0, abs=1e-6)
    moved = strokes.copy()
    moved[3] += 0.1
    side = (strokes.max((0, 1)) - strokes.min((0, 1))).max()
    expected = 0.1 * np.sqrt(2) * hands.BOX / side / len(strokes)
    assert benchmark.distance(strokes, moved) == pytest.approx(expected, rel=0.05)


def test_what_a_hand_needs_is_small_and_says_where_it_comes_from() -> None:
    paths = [shipped(kind) for kind in ("stroke_reader", "stroke_judge")]
    assert sum(path.stat().st_size for path in paths) < 1_000_000
    for path in paths:
        assert path.is_relative_to(ROOT)
        facts = load_weights(path, path.stem).facts
        assert facts["licence"] == "CC BY-SA 3.0"
        assert facts["writers_seen"] == []
