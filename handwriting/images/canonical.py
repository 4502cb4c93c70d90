"""The canonical image: one form for every source, real or generated.

Grey, ink bright (255) on dark (0), nothing but ink (:mod:`handwriting.images.ink`), levels
stretched to the full range, the tight box of the ink centred in a square with a fixed margin,
resized by area averaging without stretching. Whatever differs between real and generated images
after this, a classifier may use; whatever this removes, it cannot cheat on.
"""

import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from handwriting.errors import InputError
from handwriting.images.frames import border_of
from handwriting.images.ink import INK_FLOOR, MIN_CONTRAST, ink_of, stretched

Uint8 = npt.NDArray[np.uint8]

MAX_FITS = 17  # a speckled scan may lose its outermost specks several times
MAX_LOST = 0.02  # share of inked pixels lost by averaging; if it is more, the pen is too thin
MIN_PEN = 0.5  # pixels of the result to which such a pen is widened


def margin_px(size_px: int) -> int:
    """Empty pixels on each side of a canonical image's longer side."""
    return max(1, size_px // 16)


def _levels(ink: Uint8) -> Uint8:
    """Stretch the brightest ink to 255 and set what is fainter than the floor to zero."""
    return stretched(ink, int(ink.max()))


def _tight(ink: Uint8) -> Uint8:
    """Cut the image to the box of its non-zero pixels."""
    left, top, width, height = cv2.boundingRect(ink)
    if not width:  # averaging has erased specks that are far apart
        raise InputError("the image is blank at this size")
    return ink[top : top + height, left : left + width]


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


def _widened(glyph: Uint8, inner_px: int) -> Uint8:
    """A glyph, widened if averaging would erase strokes, as those of a thin pen next to a blot."""
    scale = max(glyph.shape) / inner_px
    if scale * INK_FLOOR <= 128:  # a pen of one pixel covers half of one of the result
        return glyph
    averaged = resize(glyph, inner_px)
    kept = cv2.dilate(_levels(averaged), np.ones((3, 3), np.uint8))
    lost = cv2.countNonZero(averaged) - cv2.countNonZero(cv2.min(averaged, kept))
    if lost <= MAX_LOST * cv2.countNonZero(averaged):
        return glyph
    return cv2.dilate(glyph, np.ones((math.ceil(MIN_PEN * scale),) * 2, np.uint8))


def canonical(image: Uint8, size_px: int) -> Uint8:
    """The canonical form of a scan.

    Args:
        image: (H, W) uint8, dark ink on bright paper or the reverse.
        size_px: side of the result.

    Returns:
        (size_px, size_px) uint8, ink 255 on 0. Applying the function again changes nothing.

    Raises:
        InputError: the image is blank, or becomes so when it is resized, or ink and paper cannot be
            told apart.
    """
    if not image.size:
        raise InputError("the image is blank: it has no pixels")
    bright = 255 - image if image[0, 0] > 127 else image
    return bright if _is_canonical(bright, size_px) else _fitted(ink_of(image), size_px)


def _is_canonical(ink: Uint8, size_px: int) -> bool:
    """Whether an image is canonical already: its ink is then left as it is."""
    if ink.shape != (size_px, size_px) or ink.max() < 255 or ((ink > 0) & (ink < INK_FLOOR)).any():
        return False
    left, top, width, height = cv2.boundingRect(ink)
    is_centred = left == (size_px - width) // 2 and top == (size_px - height) // 2
    return is_centred and max(width, height) == size_px - 2 * margin_px(size_px)


def canonical_drawn(image: Uint8, size_px: int) -> Uint8:
    """The canonical form of a drawn or generated image (H, W): all but the border's level is ink.

    Raises:
        InputError: the image is blank, or becomes so when it is resized.
    """
    paper = int(np.median(border_of(image)))
    ink = cv2.subtract(paper, image) if paper > 127 else cv2.subtract(image, paper)
    return _fitted(ink, size_px)


def _fitted(ink: Uint8, size_px: int) -> Uint8:
    """Fit ink (H, W), bright on 0, into its square."""
    if ink.max() < MIN_CONTRAST:
        raise InputError("the image is blank")
    inner_px = size_px - 2 * margin_px(size_px)
    glyph = _widened(_tight(_levels(ink)), inner_px)

    # Averaging can push the outermost ink below the floor. The glyph is then enlarged a little, and
    # if need be again from what is left, until its ink reaches the margin exactly: that is what
    # makes the form idempotent.
    for _ in range(MAX_FITS):
        glyph = _fit(glyph, inner_px)
        if max(glyph.shape) == inner_px:
            break

    height, width = glyph.shape
    top, left = (size_px - height) // 2, (size_px - width) // 2
    square = np.zeros((size_px, size_px), np.uint8)
    square[top : top + height, left : left + width] = glyph
    return square


def smooth(images: Uint8) -> Uint8:
    """Blur bright ink (N, H, W) and zero all below Otsu's threshold; strokes keep their grey.

    A 3 x 3 Gaussian kernel, then N. Otsu, A Threshold Selection Method from Gray-Level Histograms,
    1979, for each image.
    """
    kept = cv2.THRESH_TOZERO | cv2.THRESH_OTSU
    found = np.empty_like(images)
    for image, ink in zip(images, found, strict=True):
        cv2.threshold(cv2.GaussianBlur(image, (3, 3), 0), 0, 255, kept, dst=ink)
    return found
