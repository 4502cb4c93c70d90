"""Extraction of the ink from a scan or photograph: everything else becomes 0.

A clean image needs one subtraction: most of its border is paper of one level, and nothing but dark
strokes differs from it. Otherwise the paper is estimated locally (shadows, vignettes, stained
paper), the polarity is decided by where strokes are thin, and a fainter layer (bleed-through, ruled
lines) is set to zero. In both cases frame lines, scanner edges and specks are removed.
"""

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from handwriting.errors import InputError
from handwriting.images.frames import border_of, stroke_widths_px, without_frames, without_specks

cv2.setNumThreads(1)  # images are read in a pool of threads

Uint8 = npt.NDArray[np.uint8]

INK_FLOOR = 48  # grey levels of 255 below which a pixel is paper
MIN_CONTRAST = 24  # grey levels between paper and ink below which an image is blank
MAX_SIDE_PX = 4096  # to which an image is reduced before its paper is estimated

# The largest shares in a clean image.
MAX_OTHER_CONTRAST = 0.35  # of the contrast on the other side of the paper's level
MAX_INK = 0.5  # of all pixels: the boldest kanji of a font with its margin has .45
MAX_TOUCHING = 0.3  # of the border: strokes of a tight image, one side of a frame
MAX_FAINT = 0.1  # of the ink: below STRONG, and not beside an edge

STRONG = 128  # grey levels of what is not faint
PAPER_KERNEL = 0.3  # of the longer side: wider than a bold stroke, narrower than a shadow
THIN_KERNEL = 0.15  # of the shorter side: most pens are narrower, most gaps wider
MARGIN = 0.12  # of the shorter side, where paper is more likely than ink
MIN_THIN = 0.01  # of the pixels, at full contrast: with less, there is no stroke
MIN_CERTAINTY = 0.8  # in logits, for polarity: about 70 %
FAINT_LIGHT = 16  # grey levels of paper: if it is darker, noise exceeds light
NUM_SIGMAS = 4.5  # ink differs from paper by at least this many deviations of its noise
BIMODAL = 0.8  # share of the ink's variance between two layers; varying pencil pressure has .75


def ink_of(image: Uint8) -> Uint8:
    """The ink of a grey image (H, W), 255 where it is darkest, 0 where there is none.

    Raises:
        InputError: the image is blank, or ink and paper cannot be told apart.
    """
    ink = _against_border(image)
    if ink is None:
        ink = _against_local_paper(_at_most(image, MAX_SIDE_PX))
    return without_specks(without_frames(ink))


def stretched(ink: Uint8, peak: int) -> Uint8:
    """Stretch ink so that ``peak`` becomes 255, and set levels below the floor to zero."""
    if peak == 255:
        return cv2.threshold(ink, INK_FLOOR - 1, 0, cv2.THRESH_TOZERO)[1]
    return cv2.LUT(ink, _levels(peak))


@cache
def _levels(peak: int) -> Uint8:
    levels = np.minimum((np.arange(256) * 255 + peak // 2) // max(peak, 1), 255)
    return np.where(levels < INK_FLOOR, 0, levels).astype(np.uint8)


def _against_border(image: Uint8) -> Uint8 | None:
    """The ink of a clean image, whose paper has the border's level; None if it is not clean."""
    border = np.sort(border_of(image))
    paper = (int(border[(len(border) - 1) // 2]) + int(border[len(border) // 2])) // 2
    low, high, _, _ = cv2.minMaxLoc(image)
    darker, brighter = paper - int(low), int(high) - paper
    if max(darker, brighter) < MIN_CONTRAST:
        raise InputError("the image is blank")
    if min(darker, brighter) > MAX_OTHER_CONTRAST * max(darker, brighter):
        return None
    difference = cv2.subtract(paper, image) if darker >= brighter else cv2.subtract(image, paper)
    ink = stretched(difference, max(darker, brighter))
    num_ink = cv2.countNonZero(ink)
    if num_ink > MAX_INK * ink.size or np.count_nonzero(border_of(ink)) > MAX_TOUCHING * len(
        border
    ):
        return None
    return ink if _num_faint(ink) <= MAX_FAINT * num_ink else None


def _num_faint(ink: Uint8) -> int:
    """How many pixels are faint ink, other than the soft edges of dark ink."""
    _, strong = cv2.threshold(ink, STRONG - 1, 255, cv2.THRESH_BINARY)
    return cv2.countNonZero(cv2.subtract(ink, cv2.dilate(strong, np.ones((5, 5), np.uint8))))


def _at_most(image: Uint8, side_px: int) -> Uint8:
    """The image, reduced by area averaging if its longer side is longer."""
    scale = side_px / max(image.shape)
    if scale >= 1:
        return image
    height, width = (max(1, round(side * scale)) for side in image.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


# Paper --------------------------------------------------------------------------------------------


def _against_local_paper(image: Uint8) -> Uint8:
    """The ink of any image, relative to the paper around it."""
    is_dark = _is_dark_ink(image)
    if not is_dark:
        image = 255 - image
    size = image.shape[1], image.shape[0]
    small = cv2.medianBlur(_at_most(image, 128), 3)
    paper = cv2.resize(_paper(small), size, interpolation=cv2.INTER_LINEAR)
    contrast, _ = cv2.threshold(cv2.subtract(paper, image), 0, 255, cv2.THRESH_OTSU)
    noise, offset = _noise(paper, image)
    excess = NUM_SIGMAS * noise / max(1.0, 2 * contrast * INK_FLOOR / 255)
    if excess > 1:
        sigma = max(0.7, 0.3 * excess, max(image.shape) / 256)  # the last is 1/4 pixel
        image = cv2.GaussianBlur(image, (0, 0), sigma)  # of the usual canonical form
        noise, offset = _noise(paper, image)
    paper = cv2.subtract(paper, round(offset))
    ink = cv2.subtract(paper, image)
    is_noise = ink < NUM_SIGMAS * noise
    ink[is_noise] = 0
    if _peak(ink) < MIN_CONTRAST:
        raise InputError("the image is blank: nothing stands out from the paper")
    ink = _relative(ink, paper if is_dark else 255 - paper)
    return _without_vignette(_without_faint_layer(stretched(ink, _peak(ink))))


def _peak(ink: Uint8) -> int:
    """The level of the darkest ink, without hot pixels; 0 if there is none."""
    threshold, _ = cv2.threshold(ink, 0, 255, cv2.THRESH_OTSU)
    dark = ink[ink > threshold]
    return round(float(np.percentile(dark, 97))) if len(dark) else 0


def _square(side: float) -> Uint8:
    """A square kernel with an odd side."""
    return np.ones((max(3, int(side) | 1),) * 2, np.uint8)


def _noise(paper: Uint8, image: Uint8) -> tuple[float, float]:
    """The deviation of the paper's grey levels, and how far they lie below the estimate."""
    threshold, _ = cv2.threshold(cv2.subtract(paper, image), 0, 255, cv2.THRESH_OTSU)
    difference = paper.astype(np.int16) - image
    ground = difference[difference <= threshold]
    offset = float(np.median(ground))
    return 1.4826 * float(np.median(np.abs(ground - offset))), max(0.0, offset)


def _paper(image: Uint8) -> Uint8:
    """The paper behind dark ink: the image without what is narrower than a kernel.

    A closing takes dark areas at the border for ink, so slopes and vignettes are divided out first,
    as far as a quadratic surface fits them.
    """
    closed = cv2.morphologyEx(image, cv2.MORPH_CLOSE, _square(PAPER_KERNEL * max(image.shape)))
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    is_paper = image > 0.85 * closed
    weights = np.linalg.lstsq(terms[is_paper], image[is_paper], rcond=None)[0]
    light = np.maximum(terms @ weights, 1)
    even = (image / light).astype(np.float32)
    closed = cv2.morphologyEx(even, cv2.MORPH_CLOSE, _square(PAPER_KERNEL * max(image.shape)))
    return np.clip(cv2.blur(closed, (5, 5)) * light, 0, 255).astype(np.uint8)


def _relative(ink: Uint8, paper: Uint8) -> Uint8:
    """Ink relative to the light on the paper, since a shadow dims both; its maximum becomes 255.

    Args:
        paper: its true levels, to which FAINT_LIGHT is added, below which noise exceeds light.
    """
    relative = ink / (paper.astype(np.float32) + FAINT_LIGHT)
    most = float(np.percentile(relative, 99.8))
    return np.clip(relative * (255 / max(most, 1e-6)), 0, 255).astype(np.uint8)


def _is_dark_ink(image: Uint8) -> bool:
    """Whether ink is darker than paper: strokes are thin, of one width, and off the margin.

    This is tested on the ink of both polarities, relative to the local paper. If the results
    contradict one another and a single threshold divides the image, its two sides are tested
    instead. The weights are those of logistic regressions on 4,500 glyphs of fonts and simulated
    writers, with and without margin, framed, noisy and shaded, in both polarities.

    Raises:
        InputError: the evidence is balanced.
    """
    small = cv2.GaussianBlur(_at_most(image, 64), (0, 0), 0.8)
    _, bright = cv2.threshold(small, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    inside = _inside_of_frame(bright)
    small, bright = np.ascontiguousarray(small[inside]), np.ascontiguousarray(bright[inside])
    dark_strokes, bright_strokes = (
        cv2.sumElems(cv2.morphologyEx(small, kind, _square(THIN_KERNEL * min(small.shape))))[0] + 1
        for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT)
    )
    thinness = float(np.log(dark_strokes / bright_strokes))
    dark, light = (_unlike_strokes(_relief(small, is_dark)) for is_dark in (True, False))
    widths, margin = light - dark
    local = 4.5 * widths + 5.5 * margin
    if max(dark_strokes, bright_strokes) < MIN_THIN * np.ptp(small) * small.size:
        certainty = 0.0
    elif thinness * local > 0 or _is_shaded(small):
        certainty = 1.7 * thinness + local
    else:
        border, area = border_of(bright).mean(), bright.mean()
        if (border >= 0.7 and area >= 0.5) or (border <= 0.3 and area <= 0.5):
            return bool(border > 0.5)
        widths, margin = _unlike_strokes(bright) - _unlike_strokes(1 - bright)
        certainty = thinness + 13 * widths + 15 * margin
    if abs(certainty) < MIN_CERTAINTY:
        raise InputError(
            "cannot tell ink from paper in this image: leave a margin of paper around the character"
        )
    return bool(certainty > 0)


def _relief(image: Uint8, is_dark: bool) -> Uint8:
    """The ink of one polarity, relative to the local paper: a mask of zeros and ones."""
    image = image if is_dark else 255 - image
    paper = _paper(image)
    ink = _relative(cv2.subtract(paper, image), paper if is_dark else 255 - paper)
    return cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]


def _unlike_strokes(mask: Uint8) -> npt.NDArray[np.float64]:
    """How little a mask looks like strokes.

    Returns:
        (2,) the log of the variation of its widths, and the share of the margin that it covers.
    """
    widths = stroke_widths_px(mask)
    is_margin = np.ones(mask.shape, np.bool_)
    zone = max(1, round(MARGIN * min(mask.shape)))
    is_margin[zone:-zone, zone:-zone] = False
    variation = np.std(widths) / max(float(np.mean(widths)), 1e-6)
    return np.array([np.log(variation + 0.1), mask[is_margin].mean()])


def _inside_of_frame(bright: Uint8) -> tuple[slice, slice]:
    """The part inside the uniform rows and columns along the border."""
    inside = []
    for axis in (1, 0):
        profile = bright.mean(axis=axis)
        most = int(MARGIN * len(profile))
        ends = []
        for shares in (profile, profile[::-1]):
            same = shares if shares[0] >= 0.5 else 1 - shares
            other = np.flatnonzero(same[: most + 1] < 0.3)
            ends.append(int(other[0]) if same[0] > 0.9 and len(other) else 0)
        inside.append(slice(ends[0], len(profile) - ends[1]))
    return inside[0], inside[1]


def _is_shaded(small: Uint8) -> bool:
    """Whether both the local maxima and the local minima vary over the image."""
    kernel = _square(0.35 * max(small.shape))
    both = (cv2.morphologyEx(small, kind, kernel) for kind in (cv2.MORPH_CLOSE, cv2.MORPH_OPEN))
    ranges = [np.ptp(np.percentile(image, (5, 95))) for image in both]
    return bool(min(ranges) > 0.25 * np.ptp(np.percentile(small, (1, 99))))


def _without_faint_layer(ink: Uint8) -> Uint8:
    """Set the fainter of two layers to zero, if the ink has two."""
    values = ink[ink > 0].astype(np.float64)
    if _num_faint(ink) <= MAX_FAINT * len(values):
        return ink
    threshold, _ = cv2.threshold(values.astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    is_faint = values <= threshold
    share = is_faint.mean()
    if not 0 < share < 1:
        return ink
    apart = values[~is_faint].mean() - values[is_faint].mean()
    if share * (1 - share) * apart**2 < BIMODAL * values.var():
        return ink
    return cv2.threshold(ink, threshold, 0, cv2.THRESH_TOZERO)[1]


def _without_vignette(ink: Uint8) -> Uint8:
    """Set areas to zero that touch the border and are nowhere dark: light falling off quickly."""
    _, numbers = cv2.connectedComponents(cv2.threshold(ink, 0, 1, cv2.THRESH_BINARY)[1])
    for number in np.unique(border_of(numbers)):
        is_own = numbers == number
        if number and ink[is_own].max() < STRONG:
            ink = np.where(is_own, 0, ink).astype(np.uint8)
    return ink
