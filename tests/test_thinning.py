"""Line drawings: where strokes run, whatever the pen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from handwriting.images.canonical import Uint8
from handwriting.images.packed import PackedImages
from handwriting.images.thinning import line_drawings, packed_line_drawings
from handwriting.sources.strokes import draw_canonical, read_drawing


def drawn(characters: str, radius: float, size_px: int) -> Uint8:
    strokes = [read_drawing(character).strokes for character in characters]
    radii = [np.full(part.shape[:2], radius) for part in strokes]
    return draw_canonical([*zip(strokes, radii, strict=True)], size_px)


def ink_widths(images: Uint8, thin: Uint8) -> float:
    """How much ink there is for each pixel of a centre line."""
    return float(images.sum() / thin.sum())


@pytest.mark.parametrize("size_px", [32, 64, 200])
def test_the_pen_is_gone(size_px: int) -> None:
    images = [drawn("木口の水", radius, size_px) for radius in (0.02, 0.045)]
    lines = [line_drawings(each) for each in images]
    assert images[1].sum() > 1.5 * images[0].sum()
    assert lines[1].sum() == pytest.approx(lines[0].sum(), rel=0.12)


@pytest.mark.parametrize("size_px", [32, 64])
def test_lines_lie_within_the_ink(size_px: int) -> None:
    images = drawn("木口の水", 0.045, size_px)
    lines = line_drawings(images)
    assert lines[images == 0].max() < 128
    assert lines.reshape(4, -1).max(axis=1).min() == 255


def test_drawings_are_made_once_for_each_content(tmp_path: Path, thinned: list[int]) -> None:
    labels = np.array([1, 0, 2])
    packed = PackedImages(drawn("木口水", 0.04, 32), labels, labels * 0, ("口", "木", "水"), ("a",))
    found = packed_line_drawings(packed, tmp_path)
    assert np.array_equal(found.images[:], line_drawings(packed.images[:]))
    assert found.labels.tolist() == [1, 0, 2]
    packed_line_drawings(packed, tmp_path)
    assert thinned == [3]
    packed_line_drawings(replace(packed, images=packed.images[::-1]), tmp_path)
    assert thinned == [3, 3]
    two = replace(packed, writers=np.array([0, 1, 0]), writer_names=("a", "b"))
    assert packed_line_drawings(two, tmp_path).writers.tolist() == [0, 1, 0]
    swapped = replace(two, writers=np.array([1, 0, 1]))
    assert packed_line_drawings(swapped, tmp_path).writers.tolist() == [1, 0, 1]
