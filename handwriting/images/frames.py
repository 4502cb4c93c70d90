"""Removal of frames, ruled lines, scanner edges and specks from the ink of a scan."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Uint8 = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MIN_LINE = 0.85  # of the ink's box: a frame's line is at least this long
SLACK = 0.02  # of the longer side, by which a frame may be tilted or fall short
THIN = 0.75  # of the pen's width or darkness: a frame's line is thinner or fainter
THICK = 1.4  # of the pen's width: a scanner's edge is thicker
MAX_FRAMES = 4  # nested in one another
SPECK = 0.4  # of the pen's width squared: a dot that was written is at least as large


class Line(NamedTuple):
    """A straight line parallel to the border.

    Attributes:
        ends: its first column or row, and the one after its last.
        thickness_px: its median.
        pixels: (H, W) its ink, and what crosses it.
    """

    is_row: bool
    ends: tuple[int, int]
    thickness_px: float
    pixels: Mask


def without_frames(ink: Uint8) -> Uint8:
    """Remove cell frames, lines of neighbouring cells, ruled lines and a scanner's black edges."""
    slack = max(1, round(SLACK * max(ink.shape)))
    for _ in range(MAX_FRAMES):
        frame = _frame(ink, slack) if _may_have_frame(ink, slack) else []
        if not frame:
            break
        ink = ink.copy()
        for line in frame:
            ink[line.pixels] = 0
    return ink


def _may_have_frame(ink: Uint8, slack: int) -> bool:
    """A quick check whether ink spans the image, or runs along all sides of its box."""
    left, top, width, height = cv2.boundingRect(ink)
    if width >= ink.shape[1] - 2 * slack - 2 or height >= ink.shape[0] - 2 * slack - 2:
        return True
    box, depth = ink[top : top + height, left : left + width], 2 * slack + 1
    sides = ((box[:depth], 0), (box[:, :depth], 1), (box[-depth:], 0), (box[:, -depth:], 1))
    return all(np.count_nonzero(s.any(axis)) >= MIN_LINE * s.shape[1 - axis] for s, axis in sides)


def _bar(slack: int) -> Uint8:
    return np.ones((2 * slack + 1, 1), np.uint8)


def _frame(ink: Uint8, slack: int) -> list[Line]:
    """The lines that are not part of the character.

    They end at a border or at another line, and are thinner or fainter than the strokes. If they
    are as thick as these, they must be at the border and apart from the strokes, which must have a
    margin: the outer strokes of 国 in a tight image remain. If no ink would remain, no line is
    removed.
    """
    _, mask = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY)
    lines = _lines(mask, slack)
    while True:
        attached = [line for line in lines if _is_attached(line, lines, mask.shape, slack + 1)]
        if len(attached) == len(lines):
            break
        lines = attached
    if not lines:
        return []
    rest = mask.copy()
    rest[np.logical_or.reduce([line.pixels for line in lines])] = 0
    num_rest, pen = cv2.countNonZero(rest), pen_width_px(rest)
    thinnest, thickest = (f(line.thickness_px for line in _outermost(lines)) for f in (min, max))
    if num_rest < 2 * min(pen, thinnest) ** 2 + 4:
        return []
    darkness = float(np.percentile(ink[rest > 0], 75))
    left, top, width, height = cv2.boundingRect(rest)
    right, bottom = mask.shape[1] - left - width, mask.shape[0] - top - height
    is_tight = min(left, top, right, bottom) <= 1
    is_small = num_rest < 0.5 * (cv2.countNonZero(mask) - num_rest)
    is_closed = min(sum(line.is_row == is_row for line in lines) for is_row in (True, False)) >= 2
    near = cv2.dilate(rest, np.ones((5, 5), np.uint8)) > 0
    frame = []
    for line in lines:
        own = line.pixels & (mask > 0)
        is_apart = not (near & own).any()
        thickness = max(line.thickness_px, thickest if is_closed else 0)
        if thickness <= THIN * pen or float(np.median(ink[own])) <= THIN * darkness:
            is_frame = is_apart or not is_tight
        else:
            is_frame = is_apart and not is_tight and bool(border_of(own.astype(np.uint8)).any())
            is_frame &= min(thinnest, thickness) > THICK * pen or not (is_closed or is_small)
        if is_frame:
            frame.append(line)
    return frame


def _outermost(lines: list[Line]) -> list[Line]:
    """The first and last row and column of lines: a closed frame is equally thick on all sides."""
    found = []
    for is_row in (True, False):
        own = [line for line in lines if line.is_row == is_row]
        own.sort(key=lambda line: int(line.pixels.any(axis=1 if line.is_row else 0).argmax()))
        found += own[:1] + own[-1:]
    return found


def _lines(mask: Uint8, slack: int) -> list[Line]:
    """The straight rows and columns of a mask, nearly as long as the box of its ink."""
    _, _, width, height = cv2.boundingRect(mask)
    lines = []
    for is_row in (True, False):
        upright = mask if is_row else np.ascontiguousarray(mask.T)
        length = max(MIN_LINE * (width if is_row else height), MIN_LINE / 2 * max(width, height))
        turned = cv2.dilate(upright, _bar(slack))
        bands = cv2.morphologyEx(turned, cv2.MORPH_OPEN, np.ones((1, int(length) | 1), np.uint8))
        num_bands, numbers, stats, _ = cv2.connectedComponentsWithStats(bands, connectivity=4)
        for number in range(1, num_bands):
            pixels = numbers == number
            first, extent = stats[number, cv2.CC_STAT_LEFT], stats[number, cv2.CC_STAT_WIDTH]
            thickness = (upright.astype(np.bool_) & pixels).sum(axis=0)
            if not thickness.any():
                continue
            usual = float(np.median(thickness[thickness > 0]))
            ends = int(first), int(first + extent)
            lines.append(Line(is_row, ends, usual, pixels if is_row else pixels.T))
    return lines


def _is_attached(line: Line, lines: list[Line], shape: tuple[int, ...], slack: int) -> bool:
    """Whether both ends of a line are at the image's border or at a line across."""
    stops = [0, shape[1 if line.is_row else 0]]
    for other in lines:
        if other.is_row != line.is_row:
            across = np.flatnonzero(other.pixels.any(axis=0 if line.is_row else 1))
            stops += [int(across[0]), int(across[-1]) + 1]
    return all(min(abs(end - stop) for stop in stops) <= slack for end in line.ends)


def without_specks(ink: Uint8) -> Uint8:
    """Remove specks that are smaller than the dot of a pen."""
    half = cv2.resize(ink, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    outlines, _ = cv2.findContours(half, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    usual = 0.03 * max(ink.shape)  # in the half-size image: about the width of the boldest pen
    if len(outlines) < 2 or all(max(cv2.boundingRect(one)[2:]) > usual for one in outlines):
        return ink
    _, mask = cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # paper
    pen = pen_width_px((areas >= 0.1 * areas.max())[numbers].astype(np.uint8))
    is_written = areas >= max(1.0, SPECK * pen**2)
    return ink if is_written[1:].all() else np.where(is_written[numbers], ink, 0).astype(np.uint8)


def pen_width_px(mask: Uint8) -> float:
    """The median width of the strokes of a mask (H, W)."""
    return float(np.median(stroke_widths_px(mask)))


def stroke_widths_px(mask: Uint8) -> npt.NDArray[np.float32]:
    """The widths of strokes at the pixels of their centre lines (n,); one 0 without strokes."""
    doubled = cv2.resize(mask, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    depth = cv2.distanceTransform(np.pad(doubled, 1), cv2.DIST_L2, 3)
    ridge = depth[(depth > 0) & (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8)))]
    return ridge if len(ridge) else np.zeros(1, np.float32)


def border_of(image: Uint8) -> Uint8:
    """The pixels along the border of an image (H, W)."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
