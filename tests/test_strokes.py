"""The simulated writers: stable identities, the canonical form, exact ink, real habits."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from handwriting.errors import InputError
from handwriting.images.canonical import canonical, margin_px
from handwriting.sources import simulated_writers, strokes

Float64 = npt.NDArray[np.float64]
CHARACTERS = ("ア", "ぬ", "河")
MIXED = tuple("アシヲあぬそ河語道愛亜機")


def exact_raster(lines: Float64, radii: Float64, side_px: int) -> Float64:
    """Coverage in [0, 1] from the distance of every pixel to every segment's capsule."""
    rows, columns = np.mgrid[:side_px, :side_px].astype(np.float64)
    nearest = np.full((side_px, side_px), np.inf)
    for line, radius in zip(lines, radii, strict=True):
        for (ax, ay), (bx, by), r_a, r_b in zip(
            line[:-1], line[1:], radius[:-1], radius[1:], strict=True
        ):
            dx, dy = bx - ax, by - ay
            share = ((columns - ax) * dx + (rows - ay) * dy) / max(dx * dx + dy * dy, 1e-12)
            share = np.clip(share, 0, 1)
            distance = np.hypot(columns - ax - share * dx, rows - ay - share * dy)
            nearest = np.minimum(nearest, distance - r_a - share * (r_b - r_a))
    return np.clip(0.5 - nearest, 0, 1)


def write_once(characters: Sequence[str], number: int, **habits: float) -> list[strokes.Written]:
    """A sample of each character by one writer."""
    writer = replace(simulated_writers.make_writer(0, number), **habits)
    drawings = [strokes.read_drawing(c, writer.regular_script) for c in characters]
    rngs = [np.random.default_rng([ord(character), number]) for character in characters]
    deviations = map(simulated_writers.draw_deviation, rngs, drawings)
    return simulated_writers.write(drawings, writer, simulated_writers.joint(deviations))


def test_adding_writers_characters_and_samples_changes_nothing_that_was_there(
    tmp_path: Path,
) -> None:
    few = simulated_writers.simulated(CHARACTERS, 2, 1, 0, 32, tmp_path)
    many = simulated_writers.simulated(("国", *reversed(CHARACTERS)), 3, 2, 0, 32, tmp_path)
    other = simulated_writers.simulated(CHARACTERS, 2, 1, 1, 32, tmp_path)
    assert not np.array_equal(few.images, other.images)
    shared = many.by(few.writer_names).of(CHARACTERS)
    for writer in range(2):
        for label in range(len(CHARACTERS)):
            mine = few.images[(few.writers == writer) & (few.labels == label)]
            theirs = shared.images[(shared.writers == writer) & (shared.labels == label)]
            assert np.array_equal(mine[0], theirs[0])
            assert not np.array_equal(theirs[0], theirs[1])


def test_images_are_labelled_and_canonical(tmp_path: Path) -> None:
    packed = simulated_writers.simulated(MIXED, 3, 1, 0, 32, tmp_path)
    assert packed.images.shape == (36, 32, 32)
    assert packed.labels.tolist() == list(range(12)) * 3
    assert packed.writers.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    assert packed.writer_names == ("simulated_0000", "simulated_0001", "simulated_0002")
    for image in packed.images:
        assert np.array_equal(canonical(image, 32), image)


def test_a_character_is_written_and_drawn_the_same_among_others() -> None:
    for number in range(3):
        together = write_once(MIXED, number)
        images = strokes.draw_canonical(together, 40)
        for character, written, image in zip(MIXED, together, images, strict=True):
            (alone,) = write_once(character, number)
            assert all(map(np.array_equal, alone, written))
            assert np.array_equal(strokes.draw_canonical([alone], 40)[0], image)


def test_a_pen_that_is_never_lifted_joins_the_strokes_of_each_character() -> None:
    written = write_once(MIXED, 0, lifting=-np.inf, regular_script=False)
    for character, (lines, radii) in zip(MIXED, written, strict=True):
        number = len(strokes.read_drawing(character).strokes)
        assert lines.shape[:2] == radii.shape == (2 * number - 1, strokes.NUM_POINTS)
        np.testing.assert_allclose(lines[number:, 0], lines[: number - 1, -1])
        np.testing.assert_allclose(lines[number:, -1], lines[1:number, 0])


@pytest.mark.parametrize("size_px", [16, 24, 40, 64, 97])
@pytest.mark.parametrize("pen", [0.2, 1, 3])
def test_drawings_are_canonical_and_no_stroke_is_lost(size_px: int, pen: float) -> None:
    written = [(lines, pen * radii) for lines, radii in write_once(MIXED, 0)]
    for image, (lines, radii) in zip(
        strokes.draw_canonical(written, size_px), written, strict=True
    ):
        assert np.array_equal(canonical(image, size_px), image)
        at, _ = strokes.in_ink_units(lines, radii)
        x, y = np.moveaxis(at * (size_px - 2 * margin_px(size_px)) + size_px / 2, -1, 0).astype(int)
        around = np.stack([image[y + i, x + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        assert around.max(axis=0).min() > 0


@pytest.mark.parametrize("character", MIXED)
def test_drawings_agree_with_an_exact_distance_field(character: str) -> None:
    side_px, factor = 48, 16
    for number in range(2):
        written = write_once(character, number)
        lines, radii = strokes.in_ink_units(*written[0])
        inner_px = side_px - 2 * margin_px(side_px)
        exact = exact_raster(lines * inner_px + (side_px - 1) / 2, radii * inner_px, side_px)
        fine = strokes.draw_canonical(written, side_px * factor)
        drawn = fine.reshape(side_px, factor, side_px, factor).mean(axis=(1, 3)) / 255
        assert np.abs(drawn - exact).sum() < 0.09 * exact.sum()
        assert abs(drawn.sum() - exact.sum()) < 0.05 * exact.sum()


def test_strokes_are_sampled_at_equal_arc_length_on_the_drawn_curve() -> None:
    (straight,) = strokes.sample_paths(["M10,20c10,10,20,20,30,30"])  # from (10, 20) to (40, 50)
    expected = np.linspace([10, 20], [40, 50], strokes.NUM_POINTS) / 109 - 0.5
    np.testing.assert_allclose(straight, expected, atol=1e-9)
    for line in strokes.read_drawing("愛").strokes:
        steps = np.hypot(*np.diff(line, axis=0).T)
        assert steps.max() < 1.25 * np.median(steps)  # a chord is shorter than its arc at corners


def test_components_are_the_strokes_of_the_tree() -> None:
    drawing = strokes.read_drawing("河")  # 氵 has 3 strokes, 可 5, of which 口 the 2nd to 4th
    columns = {tuple(column) for column in drawing.membership.T.astype(int)}
    assert columns == {(1, 1, 1, 0, 0, 0, 0, 0), (0, 0, 0, 1, 1, 1, 1, 1), (0, 0, 0, 0, 1, 1, 1, 0)}
    np.testing.assert_allclose(
        drawing.centres[0], drawing.strokes[:3].mean(axis=(0, 1)), atol=1e-12
    )


def test_samples_of_a_writer_are_more_alike_than_writers_are(tmp_path: Path) -> None:
    packed = simulated_writers.simulated(MIXED, 10, 2, 0, 32, tmp_path)
    images = packed.images.reshape(10, len(MIXED), 2, -1).astype(np.float64)
    within = np.linalg.norm(images[:, :, 0] - images[:, :, 1], axis=-1).mean()
    between = np.linalg.norm(images[:-1, :, 0] - images[1:, :, 1], axis=-1).mean()
    assert between > 1.2 * within


def test_a_character_without_drawing_is_named() -> None:
    with pytest.raises(InputError, match=r"U\+2603"):
        simulated_writers.simulate("ア☃", 1, 1, 0, 32)


def test_a_corpus_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = simulated_writers.simulated(CHARACTERS, 2, 1, 0, 32, tmp_path)
    monkeypatch.setattr(simulated_writers, "simulate", lambda *arguments: pytest.fail("made again"))
    again = simulated_writers.simulated(CHARACTERS, 2, 1, 0, 32, tmp_path)
    assert np.array_equal(first.images, again.images)
    assert first.characters == again.characters
    monkeypatch.setattr(simulated_writers, "VERSION", -1)
    with pytest.raises(pytest.fail.Exception, match="made again"):
        simulated_writers.simulated(CHARACTERS, 2, 1, 0, 32, tmp_path)
