"""Strokes of characters as points, and their rasters.

Everything is measured in em, the side of KanjiVG's drawing area, from its centre, x to the right
and y down. All strokes of a character are one (S, P, 2) array: S strokes of P points each.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from PIL import Image, ImageDraw

from handwriting.characters import kanjivg
from handwriting.characters.kanjivg import Component
from handwriting.images.canonical import Uint8, canonical_drawn

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
NUM_POINTS = 21  # P: points per stroke, at equal arc length
PIECE = 5  # segments per polygon: short enough that no polygon overlaps itself
SUPERSAMPLING = 4  # canvas pixels per pixel of the canonical image
NUM_HABITS = 64  # components are hashed to this many habits of shift and scale
_FINE = np.linspace(0, 1, 13)[:, None]
_BEZIER = np.hstack(
    [(1 - _FINE) ** 3, 3 * _FINE * (1 - _FINE) ** 2, 3 * _FINE**2 * (1 - _FINE), _FINE**3]
)  # (13, 4): points on a cubic Bezier curve from its control points


# The pieces of a stroke as polygons with round ends, V vertices each: (pieces, V) the point of the
# stroke that a vertex belongs to, and (V,) the angle at which it lies from there, in radians
# against the stroke's direction.
_OUTLINE = [*range(PIECE + 1), *[PIECE] * 3, *range(PIECE, -1, -1), *[0] * 3]
_VERTEX = np.arange(0, NUM_POINTS - 1, PIECE)[:, None] + _OUTLINE
_ANGLE = np.pi / 4 * np.array([*[2] * (PIECE + 1), 1, 0, -1, *[-2] * (PIECE + 1), -3, 4, 3])
_COS, _SIN = np.cos(_ANGLE)[..., None], np.sin(_ANGLE)[..., None]


@dataclass(frozen=True)
class Drawing:
    """The model that every writer has in mind.

    Attributes:
        strokes: (S, P, 2) em.
        membership: (S, G) 1 where a stroke belongs to a component, else 0. Components nest.
        centres: (G, 2) em, the middle of each component.
        habits: (G,) which of a writer's component habits applies.
    """

    strokes: Float64
    membership: Float64
    centres: Float64
    habits: Int64


@cache
def read_drawing(character: str, regular_script: bool = False) -> Drawing:
    """The strokes and components of a character, regular script as in KanjiVG's Kaisho drawing.

    Raises:
        InputError: KanjiVG has no drawing of it.
    """
    kaisho = regular_script and kanjivg.has_drawing(character, "Kaisho")
    root = kanjivg.read(character, "Kaisho" if kaisho else "")
    strokes = np.stack([sample_path(data) for data in root.strokes])
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
        # A child's strokes are consecutive, but the parent's own may stand before and after them.
        position = component.strokes.index(child.strokes[0], position)
        # The pieces of a divided component move with what is around them, one stroke as a stroke.
        if not child.part and len(child.strokes) > 1:
            found.append((child.element + child.position, first + position, len(child.strokes)))
        found += _components(child, first + position)
        position += len(child.strokes)
    return found


def sample_path(path_data: str) -> Float64:
    """SVG path data as (P, 2) em at equal arc length."""
    pen = RecordingPen()
    parse_path(path_data, pen)
    (_, [here]), *curves, _ = pen.value  # KanjiVG's paths are a moveTo, curveTo's and an endPath
    pieces = []
    for _, control in curves:
        pieces.append(_BEZIER @ np.array([here, *control]))
        here = control[-1]
    (even,) = evenly(np.concatenate(pieces)[None], NUM_POINTS)
    return even / kanjivg.CANVAS - 0.5


def evenly(strokes: Float64, num_points: int) -> Float64:
    """Strokes (S, P, 2) with their points at equal arc length, (S, num_points, 2)."""
    travelled = np.cumsum(np.hypot(*np.moveaxis(np.diff(strokes, axis=1), -1, 0)), axis=1)
    travelled = np.pad(travelled, ((0, 0), (1, 0)))
    # All strokes in one table, one after another with a gap.
    taken = travelled[:, -1:] + 1
    offsets = np.cumsum(taken, axis=0) - taken
    have = travelled + offsets
    want = np.linspace(0, travelled[:, -1], num_points, axis=1) + offsets
    even = [np.interp(want.ravel(), have.ravel(), strokes[..., i].ravel()) for i in (0, 1)]
    return np.stack(even, axis=-1).reshape(len(strokes), num_points, 2)


def in_ink_units(strokes: Float64, radii: Float64) -> tuple[Float64, Float64]:
    """Centre lines (S, P, 2) and radii of the pen as their canonical image shows them.

    The centre of the ink's box is 0 and its longer side 1, whatever the size of the image.
    """
    middle, side = _ink_box(strokes, radii)
    return (strokes - middle) / side, radii / side


def draw_canonical(strokes: Float64, radii: Float64, size_px: int) -> Uint8:
    """The canonical image (size_px, size_px) of centre lines (S, P, 2) and radii (S, P)."""
    return canonical_drawn(rasterise(strokes, radii, SUPERSAMPLING * size_px), size_px)


def rasterise(strokes: Float64, radii: Float64, side_px: int) -> Uint8:
    """Draw centre lines (S, P, 2) with a pen of radii (S, P) as large as a square allows.

    Bright on dark, without grey.
    """
    points, radii = fitted(strokes, radii, side_px)
    along = np.empty_like(points)
    along[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along[:, 0], along[:, -1] = points[:, 1] - points[:, 0], points[:, -1] - points[:, -2]
    along *= (radii / (np.hypot(along[..., 0], along[..., 1]) + 1e-9))[..., None]
    across = along[..., ::-1] * (-1, 1)
    outlines = points[:, _VERTEX] + _COS * along[:, _VERTEX] + _SIN * across[:, _VERTEX]

    image = Image.new("L", (side_px, side_px))
    draw = ImageDraw.Draw(image)
    for outline in outlines.reshape(-1, 2 * _VERTEX.shape[1]).tolist():
        draw.polygon(outline, fill=255)
    # At a hairpin a polygon does overlap itself, which leaves a hole: the core fills it.
    cores = zip(points.reshape(len(points), -1).tolist(), radii.min(axis=1).tolist(), strict=True)
    for core, radius in cores:
        draw.line(core, fill=255, width=int(1.9 * radius))
    return np.asarray(image)


def fitted(strokes: Float64, radii: Float64, side_px: int) -> tuple[Float64, Float64]:
    """Strokes and radii in pixels, centred in a square with one pixel of margin."""
    middle, side = _ink_box(strokes, radii)
    scale = (side_px - 3) / side
    return (strokes - middle) * scale + (side_px - 1) / 2, radii * scale


def _ink_box(strokes: Float64, radii: Float64) -> tuple[Float64, float]:
    """The middle (2,) and the longer side of the box of what a pen of radii (S, P) draws."""
    low = (strokes - radii[..., None]).min(axis=(0, 1))
    high = (strokes + radii[..., None]).max(axis=(0, 1))
    return (low + high) / 2, (high - low).max()
