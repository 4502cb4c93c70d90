"""Image files as grey arrays, read within limits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # Pillow runs programs for others
MAX_PIXELS = 64_000_000  # a scan at 600 dpi of A4 is 35 million
LARGE_PIXELS = 4_000_000  # images of more are read one at a time: each takes up to 12 bytes a pixel

_one_large = threading.Lock()


def read_grey(path: Path) -> Uint8:
    """An image file as (H, W) uint8, turned as its EXIF says; transparent pixels are white paper.

    Raises:
        InputError: missing, none of ``FORMATS``, unreadable, truncated, or larger than
            ``MAX_PIXELS``.
    """
    with _opened(path) as image:
        return _grey(image)


def read_canonical(path: Path, size_px: int) -> Uint8:
    """:func:`canonical` of an image file."""
    with _opened(path) as image:
        is_large = image.width * image.height > LARGE_PIXELS
        with _one_large if is_large else nullcontext():
            return canonical(_grey(image), size_px)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file whose header is read, within the limits; errors on it name the file."""
    if not path.is_file():  # reading a pipe or a device might never end
        raise InputError(f"missing image: {path}")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"it has {image.width} x {image.height} px, more than {MAX_PIXELS:,}: too "
                    "large for an image of one character; make it smaller"
                )
            yield image
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # Pillow raises whatever the broken bytes lead to
        raise InputError(f"unreadable image: {path} ({error})") from error


def _grey(image: Image.Image) -> Uint8:
    """The first frame as (H, W) uint8."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit and float
        values = np.asarray(image, np.float32)
        low, high = float(values.min()), float(values.max())
        if not high - low <= float(np.finfo(np.float32).max):
            raise ValueError(f"its pixels go from {low} to {high}")
        return ((values - low) * (255 / max(high - low, 1e-6))).astype(np.uint8)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        return np.asarray(Image.alpha_composite(paper, image.convert("RGBA")).convert("L"))
    return np.asarray(image.convert("L"))
