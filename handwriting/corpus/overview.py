"""What to look at before a study: a contact sheet of the images, and those that look odd."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from handwriting.images.canonical import Uint8
from handwriting.images.packed import LazyImages, PackedImages, in_parts
from handwriting.images.sheets import evenly_chosen, save_png, sheet

NUM_ROWS, NUM_IMAGES = 40, 12
MAX_NAMED = 10
MAX_INK_RATIO = 3.0  # of a character's ink to the fonts', relative to the median pen
MAX_ASPECT_RATIO = 4.5  # of width to height: a slanted 一 is four times as high as a font's


def write_overview(
    path: Path, images: PackedImages, image_names: Callable[[], Sequence[str]], fonts: PackedImages
) -> None:
    """Write a contact sheet, unless it exists, and warn of images unlike their character in fonts.

    It has a row for each of some characters, which begins with the character in a font.

    Args:
        image_names: returns the source of each image, in the order of packing.
        fonts: over the same characters.
    """
    if path.is_file() or not len(images):
        return
    labels = evenly_chosen(np.unique(images.labels), NUM_ROWS)
    rows = []
    for label in labels:
        own = evenly_chosen(np.flatnonzero(images.labels == label), NUM_IMAGES)
        rows.append(np.concatenate([fonts.images[np.flatnonzero(fonts.labels == label)[:1]],
                                    images.images[own]]))  # fmt: skip
    odd = far_from_fonts(images, fonts)
    if len(odd):
        files, numbers = image_names(), LazyImages.of(images.images).numbers
        shown = []
        for i in odd[:MAX_NAMED]:
            own, writer = numbers[i], images.writer_names[images.writers[i]]
            where = files[own] if own < len(files) else f"the font {writer}"
            shown.append(f"  {where} ({images.characters[images.labels[i]]})")
        more = [f"  ... and {len(odd) - MAX_NAMED} more"] if len(odd) > MAX_NAMED else []
        print("\n".join([
            f"warning: {len(odd)} image(s) have far more or less ink than their character has in "
            "fonts, or another shape: inverted, a frame left in, or another character?",
            *shown, *more,
        ]), flush=True)  # fmt: skip
    save_png(path, sheet(rows))
    print(f"contact sheet (each row begins with its label in a font): {path}", flush=True)


def far_from_fonts(images: PackedImages, fonts: PackedImages) -> npt.NDArray[np.int64]:
    """The indices of images whose amount of ink or aspect is far from that of all fonts."""
    of_fonts, own = (
        np.concatenate([*map(_ink_and_aspect, in_parts(p.images))]) for p in (fonts, images)
    )
    lowest = np.full((len(fonts.characters), 2), np.inf)
    highest = -lowest
    np.minimum.at(lowest, fonts.labels, of_fonts)
    np.maximum.at(highest, fonts.labels, of_fonts)
    low, high = lowest[images.labels], highest[images.labels]
    own[:, 0] -= np.median(own[:, 0] - (low + high)[:, 0] / 2)  # the usual pen
    beyond = np.maximum(low - own, own - high)
    return np.flatnonzero((beyond > np.log([MAX_INK_RATIO, MAX_ASPECT_RATIO])).any(axis=1))


def _ink_and_aspect(images: Uint8) -> npt.NDArray[np.float64]:
    """The logarithms of the ink and of width over height for each image, (n, 2)."""
    width, height = (images.any(axis=axis).sum(axis=1) for axis in (1, 2))
    ink = images.sum(axis=(1, 2), dtype=np.float64)
    return np.log(np.stack([np.maximum(ink, 1), np.maximum(width, 1) / np.maximum(height, 1)], 1))
