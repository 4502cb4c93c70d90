"""The canonical image: one form for every source, real or generated.

Grey, ink bright (255) on dark (0), levels stretched to the full range, faint paper set to zero, the
tight box of the ink centred in a square with a fixed margin, resized by area averaging without
stretching. Whatever differs between real and generated images after this, a classifier may use;
whatever this removes, it cannot cheat on.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from stat import S_ISREG

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from scipy.ndimage import correlate1d

from handwriting.errors import InputError
from handwriting.files import write_atomically

Uint8 = npt.NDArray[np.uint8]

INK_FLOOR = 48  # grey levels of 255 below which a pixel is paper
MIN_CONTRAST = 24  # grey levels between paper and ink below which an image is blank
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")  # Pillow runs programs for others
MAX_PIXELS = 64_000_000  # a scan at 600 dpi of A4 is 35 million
MAX_BYTES = 5 * MAX_PIXELS  # of a file: four bytes a pixel, and metadata
LARGE_PIXELS = 4_000_000  # images of more are read one at a time: each takes up to 12 bytes a pixel
MAX_REFITS = 16  # a speckled scan may lose its outermost specks several times
SMOOTHED_AT_ONCE = 1024  # images: the histograms of all of them would be large

_one_large = threading.Lock()


def margin_px(size_px: int) -> int:
    """Empty pixels on each side of a canonical image's longer side."""
    return max(1, size_px // 16)


def _levels(ink: Uint8) -> Uint8:
    """Stretch the brightest ink to 255 and set what is fainter than the floor to zero."""
    peak = int(ink.max())
    stretched = (ink.astype(np.uint16) * 255 + peak // 2) // max(peak, 1)
    return np.where(stretched < INK_FLOOR, 0, stretched).astype(np.uint8)


def _tight(ink: Uint8) -> Uint8:
    """Cut the image to the box of its non-zero pixels."""
    rows = np.flatnonzero(ink.any(axis=1))
    if not len(rows):  # averaging made paper of specks that lie far apart
        raise InputError("the image is blank at this size")
    columns = np.flatnonzero(ink.any(axis=0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resize(ink: Uint8, long_side_px: int) -> Uint8:
    """Resize so that the longer side has ``long_side_px``, keeping the aspect."""
    height, width = ink.shape
    scale = long_side_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return ink
    # A box filter is area averaging; it would be nearest-neighbour when enlarging.
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(ink).resize(size, method))


def _fit(glyph: Uint8, inner_px: int) -> Uint8:
    """Resize a glyph so that its ink, floored again, has a longer side of at most ``inner_px``."""
    fitted = _tight(_levels(resize(glyph, inner_px)))
    for extra_px in range(1, 4):
        if max(fitted.shape) == inner_px:
            break
        larger = _tight(_levels(resize(glyph, inner_px + extra_px)))
        if max(larger.shape) > inner_px:
            break
        fitted = larger
    return fitted


def canonical(image: Uint8, size_px: int) -> Uint8:
    """The canonical form of a grey image.

    Args:
        image: (H, W) uint8, dark ink on bright paper or the reverse; the border decides which.
        size_px: side of the result.

    Returns:
        (size_px, size_px) uint8, ink 255 on 0. Applying the function again changes nothing.

    Raises:
        InputError: the image is blank, or becomes so when it is resized.
    """
    if not image.size:
        raise InputError("the image is blank: it has no pixels")
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    paper = int(np.median(border))
    difference = image.astype(np.int16) - paper
    ink = np.clip(-difference if paper > 127 else difference, 0, 255).astype(np.uint8)
    if ink.max() < MIN_CONTRAST:
        raise InputError("the image is blank")
    glyph = _tight(_levels(ink))

    # Averaging can push the outermost ink below the floor. The glyph is then enlarged a little, and
    # if need be again from what is left, until its ink reaches the margin exactly: that is what
    # makes the form idempotent.
    inner_px = size_px - 2 * margin_px(size_px)
    fitted = _fit(glyph, inner_px)
    for _ in range(MAX_REFITS):
        if max(fitted.shape) == inner_px:
            break
        fitted = _fit(fitted, inner_px)

    height, width = fitted.shape
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square = np.zeros((size_px, size_px), np.uint8)
    square[top : top + height, left : left + width] = fitted
    return square


def read_grey(path: Path) -> Uint8:
    """An image file as (H, W) uint8, turned as its EXIF says; transparent pixels are white paper.

    Raises:
        InputError: missing, no regular file, none of ``FORMATS``, unreadable, truncated, or larger
            than ``MAX_PIXELS`` or ``MAX_BYTES``.
    """
    with _opened(path) as image:
        return _grey(image)


def read_canonical(path: Path, size_px: int) -> Uint8:
    """:func:`canonical` of an image file; errors name the file."""
    with _opened(path) as image:
        is_large = image.width * image.height > LARGE_PIXELS
        with _one_large if is_large else nullcontext():
            grey = _grey(image)
            try:
                return canonical(grey, size_px)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file whose header is read, within the limits; errors name the file."""
    try:
        status = path.stat()
        if not S_ISREG(status.st_mode):  # reading a pipe or a device might never end
            raise InputError(f"unreadable image: {path} (not a regular file)")
        if status.st_size > MAX_BYTES:
            raise InputError(f"{path} has {status.st_size:,} bytes: at most {MAX_BYTES:,} are read")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{path} has {image.width} x {image.height} px, more than {MAX_PIXELS:,}: too "
                    "large for an image of one character; make it smaller"
                )
            yield image
    except FileNotFoundError:
        raise InputError(f"missing image: {path}") from None
    except InputError:
        raise
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


def save_png(path: Path, ink: Uint8, flush: bool = True) -> None:
    """Write bright-on-dark ink as black ink on white paper, as people expect to see it."""
    write_atomically(path, Image.fromarray(255 - ink).save, flush)


def smooth(images: Uint8) -> Uint8:
    """Blur images and set to zero what is not ink by Otsu's threshold; strokes keep their grey.

    A 3 x 3 Gaussian kernel, then N. Otsu, A Threshold Selection Method from Gray-Level Histograms,
    1979, for each image.

    Args:
        images: (N, H, W) uint8 ink, bright on dark.

    Returns:
        (N, H, W) uint8.
    """
    smoothed = np.empty_like(images, order="C", subok=False)
    for start in range(0, len(images), SMOOTHED_AT_ONCE):
        chunk = slice(start, start + SMOOTHED_AT_ONCE)
        blurred = images[chunk].astype(np.float32)
        for axis in (1, 2):
            blurred = correlate1d(blurred, [0.25, 0.5, 0.25], axis=axis, mode="mirror")
        grey = np.rint(blurred).astype(np.uint8)
        smoothed[chunk] = np.where(grey > otsu_thresholds(grey)[:, None, None], grey, 0)
    return smoothed


def otsu_thresholds(images: Uint8) -> npt.NDArray[np.int64]:
    """The grey level of each image (N, H, W) above which a pixel is ink (Otsu 1979, eq. 18): (N,).

    The first of the levels that part the image's grey levels into two classes of the largest
    variance between them; 0 for an image of one level.
    """
    num_images, pixels = len(images), images[0].size
    levels = images.reshape(num_images, -1) + 256 * np.arange(num_images)[:, None]
    histograms = np.bincount(levels.ravel(), minlength=256 * num_images).reshape(-1, 256)
    below = histograms.cumsum(axis=1) / pixels  # the share of pixels up to each level
    mean_below = (histograms * np.arange(256)).cumsum(axis=1) / pixels
    mean = mean_below[:, -1:]
    apart = (mean * below - mean_below) ** 2
    between = np.divide(apart, below * (1 - below), out=np.zeros_like(apart), where=apart > 0)
    return between.argmax(axis=1)


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
