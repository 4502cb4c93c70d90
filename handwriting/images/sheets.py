"""Pictures for people: images as PNG files, and many of them on one sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from handwriting.images.augment import to_uint8
from handwriting.images.canonical import Uint8
from handwriting.storage.atomic import write_atomically


def save_png(path: Path, ink: Uint8, flush: bool = True) -> None:
    """Write bright-on-dark ink as black ink on white paper, as people expect to see it."""
    write_atomically(path, Image.fromarray(255 - ink).save, flush)


def sheet(rows: list[Uint8], gap_px: int = 2) -> Uint8:
    """Tile rows of images into one picture, bright ink on dark.

    Args:
        rows: one (N, H, W) uint8 array per row; all images of one size.
        gap_px: grey gap between tiles.
    """
    height, width = rows[0].shape[1:]
    num_columns = max(len(row) for row in rows)
    cell_h, cell_w = height + gap_px, width + gap_px
    picture = np.full((len(rows) * cell_h + gap_px, num_columns * cell_w + gap_px), 64, np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = gap_px + i * cell_h, gap_px + j * cell_w
            picture[top : top + height, left : left + width] = image
    return picture


def float_sheet(rows: Sequence[Tensor]) -> Uint8:
    """The same of float images (N, 1, H, W) in [-1, 1] on any device."""
    return sheet([np.asarray(to_uint8(row).cpu()) for row in rows])


def save_animation(path: Path, frames: Sequence[Path], frame_ms: int = 150) -> None:
    """Write pictures that are there as PNG files as an animated GIF, the last shown for longer."""
    first, *others = [Image.open(frame).convert("L") for frame in frames]
    durations = [frame_ms] * len(others) + [10 * frame_ms]
    write_atomically(
        path,
        lambda temporary: first.save(
            temporary, save_all=True, append_images=others, duration=durations, loop=0
        ),
    )
