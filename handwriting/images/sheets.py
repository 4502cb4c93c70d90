"""Pictures for people: images as PNG files, and many of them on one sheet."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from handwriting.images.canonical import Uint8
from handwriting.storage.atomic import write_atomically

if TYPE_CHECKING:
    from torch import Tensor  # slow to import, and not needed to write pictures

GREY = 64


def save_png(path: Path, ink: Uint8, flush: bool = True) -> None:
    """Write bright-on-dark ink as black ink on white paper, as people expect to see it."""
    write_atomically(path, Image.fromarray(255 - ink).save, flush)


def evenly_chosen(values: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """At most ``most`` of the values (n,), evenly spaced: as many as a sheet has room for."""
    return values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]


def sheet(rows: list[Uint8]) -> Uint8:
    """Tile rows of images (N, H, W), bright ink on dark, separated by two grey pixels."""
    most = max(map(len, rows))
    framed = [
        np.pad(row, ((0, most - len(row)), (2, 0), (2, 0)), constant_values=GREY) for row in rows
    ]
    tiled = np.vstack([np.hstack([*row]) for row in framed])
    return np.pad(tiled, ((0, 2), (0, 2)), constant_values=GREY)


def float_sheet(rows: "Sequence[Tensor]") -> Uint8:
    """The same for float images (N, 1, H, W) in [-1, 1] on any device."""
    from handwriting.images.augment import to_uint8

    return sheet([np.asarray(to_uint8(row).cpu()) for row in rows])


def save_animation(path: Path, frames: Sequence[Path]) -> None:
    """Write an animated GIF from PNG files; the last frame is shown for longer."""
    first, *others = [Image.open(frame).convert("L") for frame in frames]
    durations_ms = [150] * len(others) + [1500]
    write_atomically(
        path,
        lambda temporary: first.save(
            temporary, save_all=True, append_images=others, duration=durations_ms, loop=0
        ),
    )
