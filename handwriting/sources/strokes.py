"""Strokes of characters as points, and their rasterisation.

Coordinates are in em, the side of KanjiVG's drawing area, from its centre, x to the right and y
down. All strokes of a character are one (S, P, 2) array: S strokes of P points each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from scipy.interpolate import Akima1DInterpolator

from handwriting.characters import kanjivg
from handwriting.characters.kanjivg import Component
from handwriting.images.canonical import MIN_PEN, Uint8, canonical_drawn, margin_px

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
NUM_POINTS = 21  # P: points per stroke, at equal arc length
NUM_HABITS = 64  # of shift and scale, to which components are hashed
_FINE = np.linspace(0, 1, 13)[:, None]
_BEZIER = np.hstack(
    [(1 - _FINE) ** 3, 3 * _FINE * (1 - _FINE) ** 2, 3 * _FINE**2 * (1 - _FINE), _FINE**3]
)  # (13, 4): points on a cubic Bezier curve from its control points
# Angles of the vertices of a round end, in radians from the stroke's direction.
_ROUND = np.pi * np.array([1 / 3, 1 / 6, 0, -1 / 6, -1 / 3])[:, None]

Written = tuple[Float64, Float64]  # a character's centre lines (S, P, 2) and pen radii (S, P)


@dataclass(frozen=True)
class Drawing:
    """A character's model, which every simulated writer starts from.

    Attributes:
        strokes: (S, P, 2) em.
        membership: (S, G) 1 if a stroke belongs to a component, else 0. Components nest.
        centres: (G, 2) em, the middle of each component.
        habits: (G,) which of a writer's component habits applies.
    """

    strokes: Float64
    membership: Float64
    centres: Float64
    habits: Int64


@cache
def read_drawing(character: str, regular_script: bool = False) -> Drawing:
    """The strokes and components of a character, optionally of KanjiVG's Kaisho (regular) form.

    Raises:
        InputError: KanjiVG has no drawing of it.
    """
    kaisho = regular_script and kanjivg.has_drawing(character, "Kaisho")
    root = kanjivg.read(character, "Kaisho" if kaisho else "")
    strokes = sample_paths(root.strokes)
    groups = _components(root)
    membership = np.zeros((len(strokes), len(groups)))
    for i, (_, first, count) in enumerate(groups):
        membership[first : first + count, i] = 1
    middles = strokes.mean(axis=1)  # (S, 2)
    centres = membership.T @ middles / membership.sum(axis=0)[:, None]
    habits = np.array([sum(map(ord, name)) % NUM_HABITS for name, _, _ in groups], np.int64)
    return Drawing(strokes, membership, centres, habits)


def _components(component: Component, first: int = 0) -> list[tuple[str, int, int]]:
    """(name, first stroke, number of strokes) of every whole component below one, recursively."""
    found = []
    position = 0
    for child in component.children:
        # A child's strokes are consecutive, but the parent's own may come before and after them.
        position = component.strokes.index(child.strokes[0], position)
        # Pieces of a divided component move with what surrounds them, a single stroke on its own.
        if not child.part and len(child.strokes) > 1:
            found.append((child.element + child.position, first + position, len(child.strokes)))
        found += _components(child, first + position)
        position += len(child.strokes)
    return found


def sample_paths(paths: Sequence[str]) -> Float64:
    """The SVG path data of S strokes as (S, P, 2) em at equal arc length."""
    curves = [*map(_curve, paths)]
    # Pad all to the longest by repeating their last point.
    longest = np.arange(max(map(len, curves)))
    together = np.stack([curve[np.minimum(longest, len(curve) - 1)] for curve in curves])
    return evenly(together, NUM_POINTS) / kanjivg.CANVAS - 0.5


def _curve(path_data: str) -> Float64:
    """Points (N, 2) along a path, in the units of its data."""
    pen = RecordingPen()
    parse_path(path_data, pen)
    (_, [here]), *curves, _ = pen.value  # KanjiVG's paths are a moveTo, curveTo's and an endPath
    pieces = []
    for _, control in curves:
        pieces.append(_BEZIER @ np.array([here, *control]))
        here = control[-1]
    return np.concatenate(pieces)


def lengths(vectors: Float64) -> Float64:
    """The lengths (...) of vectors (..., 2)."""
    return np.hypot(vectors[..., 0], vectors[..., 1])


def evenly(strokes: Float64, num_points: int) -> Float64:
    """Strokes (S, P, 2) with their points at equal arc length, (S, num_points, 2)."""
    travelled = np.cumsum(lengths(np.diff(strokes, axis=1)), axis=1)
    travelled = np.pad(travelled, ((0, 0), (1, 0)))
    # All strokes in a single table, concatenated with gaps.
    taken = travelled[:, -1:] + 1
    offsets = np.cumsum(taken, axis=0) - taken
    have = travelled + offsets
    want = np.linspace(0, travelled[:, -1], num_points, axis=1) + offsets
    even = [np.interp(want.ravel(), have.ravel(), strokes[..., i].ravel()) for i in (0, 1)]
    return np.stack(even, axis=-1).reshape(len(strokes), num_points, 2)


def smoothly(strokes: Float64, num_points: int) -> Float64:
    """Strokes (S, P, 2) resampled along smooth curves through their points, (S, num_points, 2).

    H. Akima, A New Method of Interpolation and Smooth Curve Fitting, 1970, in the modified form
    that does not overshoot at corners.
    """
    have, want = (np.linspace(0, 1, number) for number in (strokes.shape[1], num_points))
    curves = Akima1DInterpolator(have, strokes, axis=1, method="makima")
    return np.asarray(curves(want))


def in_ink_units(strokes: Float64, radii: Float64) -> tuple[Float64, Float64]:
    """Centre lines (S, P, 2) and pen radii in the coordinates of their canonical image's ink.

    The centre of the ink's box is 0 and its longer side 1, whatever the size of the image.
    """
    low = (strokes - radii[..., None]).min(axis=(0, 1))
    high = (strokes + radii[..., None]).max(axis=(0, 1))
    side = (high - low).max()
    return (strokes - (low + high) / 2) / side, radii / side


def draw_canonical(written: Sequence[Written], size_px: int) -> Uint8:
    """The canonical images (N, size_px, size_px) of N characters, in any unit and at any position.

    The outlines of the ink are moved and scaled to where a canonical image has it, then filled.
    """
    strokes, radii = (np.concatenate(part) for part in zip(*written, strict=True))
    num_strokes = np.array([len(own) for own, _ in written])
    owners = np.repeat(np.arange(len(written)), num_strokes)
    inner_px = size_px - 2 * margin_px(size_px)

    _, extents = _boxes(strokes, num_strokes)
    thinnest = MIN_PEN / 2 * extents.max(axis=1) / inner_px
    outlines = _outlines(strokes, np.maximum(radii, thinnest[owners, None]))
    low, extents = _boxes(outlines, num_strokes)
    # Both sides of the ink's box are whole pixels, so the two scales differ slightly.
    sides_px = np.maximum(1, np.rint(inner_px * extents / extents.max(axis=1, keepdims=True)))
    scales = sides_px / extents
    shifts = (size_px - sides_px) // 2 - scales * low
    outlines = outlines * scales[owners, None] + shifts[owners, None]
    each = np.split(outlines, np.cumsum(num_strokes)[:-1])
    return np.stack([canonical_drawn(_fill(own, size_px, size_px), size_px) for own in each])


def draw_page(strokes: Float64, radii: Float64, width_px: int, height_px: int) -> Uint8:
    """The ink (height_px, width_px) of centre lines (S, P, 2) and radii (S, P) in pixels."""
    return _fill(_outlines(strokes, radii), width_px, height_px)


def _boxes(points: Float64, num_strokes: Int64) -> tuple[Float64, Float64]:
    """The upper left corners and the extents, (N, 2) both, of N characters' points (T, V, 2)."""
    coordinates = np.ascontiguousarray(points.reshape(-1, 2).T)
    firsts = points.shape[1] * (np.cumsum(num_strokes) - num_strokes)
    low, high = (f.reduceat(coordinates, firsts, axis=1).T for f in (np.minimum, np.maximum))
    return low, high - low


def _outlines(strokes: Float64, radii: Float64) -> Float64:
    """Polygons (S, V, 2) around the ink of strokes (S, P, 2) with round ends."""
    along = np.gradient(strokes, axis=1)
    along *= (radii / (lengths(along) + 1e-9))[..., None]
    across = along[..., ::-1] * (-1, 1)
    ends = [0, -1]
    caps = np.cos(_ROUND) * along[:, ends, None] + np.sin(_ROUND) * across[:, ends, None]
    before, behind = strokes[:, :1] - caps[:, 0], strokes[:, -1:] + caps[:, 1]
    there, back = strokes + across, (strokes - across)[:, ::-1]
    return np.concatenate([there, behind, back, before], axis=1)


def _fill(outlines: Float64, width_px: int, height_px: int) -> Uint8:
    """The coverage of each pixel by outlines (S, V, 2): (height_px, width_px)."""
    # Imported here since it searches the system's fonts, which takes a second.
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    codes = np.full(outlines.shape[:2], Path.LINETO)
    codes[:, 0] = Path.MOVETO
    renderer = RendererAgg(width_px, height_px, 72)
    context = renderer.new_gc()
    context.set_linewidth(0)
    context.set_snap(False)
    path = Path(outlines.reshape(-1, 2), codes.ravel())
    # The nonzero rule: areas that outlines enclose several times are filled, too.
    renderer.draw_path(context, path, IdentityTransform(), (1.0, 1.0, 1.0))
    upwards = np.asarray(renderer.buffer_rgba())[..., 3]
    return np.ascontiguousarray(upwards[::-1])
