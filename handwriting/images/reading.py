"""Image files as grey arrays, read within limits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # for others, Pillow runs programs
MAX_PIXELS = 64_000_000  # a scan at 600 dpi of A4 is 35 million
MAX_WEBP_PIXELS = 36_000_000  # its decoder takes 16 bytes per pixel, others at most 8
MAX_PIXELS_PER_BYTE = 10_000  # of a file: a blank A4 page at 600 dpi, one bit a pixel, has 8,300
LARGE_PIXELS = 4_000_000  # larger images are read one at a time: up to 12 bytes per pixel

STRAY_SHARE = 1 / 5000  # of 16-bit and float pixels that may be hot or dead...
STRAY_DISTANCE = 0.25  # ...if they lie this far outside the range of all others
MIN_PICTURE_SHARE = 0.4  # of pixels that are visible, if they are more than ink alone...
MIN_PICTURE_CONTRAST = 64  # ...and this many grey levels apart

_one_large = threading.Lock()


def read_grey(path: Path) -> Uint8:
    """An image file as (H, W) uint8, turned as its EXIF says, on a ground that contrasts with it.

    Raises:
        InputError: missing, in none of ``FORMATS``, unreadable, truncated, with several pages or
            frames, larger than ``MAX_PIXELS``, or implausibly large for the number of bytes.
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
    """An image file within the limits, its header read; errors name the file."""
    if not path.is_file():  # reading a pipe or a device might never end
        raise InputError(f"missing image: {path}")
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_size(image, path.stat().st_size)
            # The second picture of an MPO file is a preview or the other eye's view.
            num_frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if num_frames > 1:
                raise InputError(
                    f"it has {num_frames} pages or frames, and a file must hold one image of one "
                    "character: save each as a separate file and list the ones that you want"
                )
            yield image
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # Pillow raises whatever the broken bytes lead to
        raise InputError(f"unreadable image: {path} ({error})") from error


def _check_size(image: Image.Image, num_bytes: int) -> None:
    """Reject, by its header, an image that would exhaust memory."""
    size, num_pixels = f"{image.width} x {image.height} px", image.width * image.height
    limit = MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS
    if num_pixels > limit:
        raise InputError(
            f"it has {size}, more than {limit:,} pixels: too large for an image of one character; "
            "reduce or crop it"
        )
    if num_pixels > max(LARGE_PIXELS, num_bytes * MAX_PIXELS_PER_BYTE):
        raise InputError(
            f"its header declares {size}, which {num_bytes:,} bytes cannot hold: it is damaged "
            "or meant to exhaust the memory; save it again"
        )


def _grey(image: Image.Image) -> Uint8:
    """The image as (H, W) uint8."""
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bit and float
        return _from_deep(np.asarray(image, np.float32))
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        grey, alpha = np.asarray(visible.convert("L")), visible.getchannel("A")
        ground = Image.new("L", image.size, _ground(grey, np.asarray(alpha) > 127))
        return np.asarray(Image.composite(Image.fromarray(grey), ground, alpha))
    return np.asarray(image.convert("L"))


def _from_deep(values: npt.NDArray[np.float32]) -> Uint8:
    """Values (H, W) of any range as grey levels; hot and dead pixels do not set the range.

    Raises:
        ValueError: a value is not finite, or the range is too large.
    """
    num_stray = 3 + int(values.size * STRAY_SHARE)
    last = values.size - 1
    ranks = (0, min(num_stray, last), max(last - num_stray, 0), last)
    lowest, low, high, highest = (float(v) for v in np.partition(values, ranks, None)[[*ranks]])
    if not highest - lowest <= float(np.finfo(np.float32).max):
        raise ValueError(f"its pixel values range from {lowest} to {highest}")
    margin = STRAY_DISTANCE * (high - low)
    if low < high:  # else the ink itself is as few pixels
        lowest = low if lowest < low - margin else lowest
        highest = high if highest > high + margin else highest
    scale = 255 / max(highest - lowest, 1e-6)
    return (np.clip(values - lowest, 0, highest - lowest) * scale).astype(np.uint8)


def _ground(grey: Uint8, is_opaque: npt.NDArray[np.bool_]) -> int:
    """The grey level to put behind a partly transparent image (H, W).

    A picture that includes paper gets the level of that paper; ink alone gets a contrasting level.
    """
    if not is_opaque.any():
        return 255
    low, level, high = np.percentile(grey[is_opaque], (2, 50, 98))
    if is_opaque.mean() >= MIN_PICTURE_SHARE and high - low >= MIN_PICTURE_CONTRAST:
        return int(level)
    return 255 if level < 128 else 0
