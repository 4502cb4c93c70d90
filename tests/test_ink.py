"""What is ink: hostile scans of clean glyphs come out as the clean glyph does, or are refused."""

from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.ink import ink_of
from handwriting.sources.fonts import find_fonts
from handwriting.sources.simulated_writers import simulate

Cover = npt.NDArray[np.float64]  # (H, W) the share of each pixel that ink covers
Scan = Callable[[Cover, np.random.Generator], Cover]
WRITTEN = "一二三十口日王木あがツーン゛永"
PRINTED = "口国日田回王木上が゛"


@cache
def written() -> dict[str, Cover]:
    """Glyphs in a person's hand, with a margin."""
    images = np.concatenate([*simulate(WRITTEN, 1, 1, 7, 112).images]) / 255
    return dict(zip(WRITTEN, images, strict=True))


def printed(character: str, size_px: int = 128) -> Cover:
    font = ImageFont.truetype(find_fonts()[0].path, size_px * 3 // 4)
    page = Image.new("L", (size_px, size_px))
    middle = size_px / 2, size_px / 2
    ImageDraw.Draw(page).text(middle, character, fill=255, font=font, anchor="mm")
    return np.asarray(page) / 255


def grey(levels: Cover) -> Uint8:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def on(paper: float, ink: float, margin_px: int = 8, noise: float = 0) -> Scan:
    """Ink of one level on paper of another."""

    def scan(cover: Cover, rng: np.random.Generator) -> Cover:
        cover = np.pad(cover, margin_px)
        return paper + (ink - paper) * cover + rng.normal(0, noise, cover.shape)

    return scan


def framed(inset_px: int, thickness_px: int, sides: str = "lrtb", dark: float = 0) -> Scan:
    """Lines at some sides: a closed frame, or from border to border."""

    def scan(cover: Cover, rng: np.random.Generator) -> Cover:
        page = on(255, 0, margin_px=10 + thickness_px)(cover, rng)
        along = slice(inset_px, len(page) - inset_px) if sides == "lrtb" else slice(None)
        for side in sides:
            turned = page.T if side in "lr" else page
            turned = turned[::-1] if side in "rb" else turned
            turned[inset_px : inset_px + thickness_px, along] = dark
        return page

    return scan


def lit(
    light: Callable[[Cover, Cover], Cover], paper: float = 235, ink: float = 40, noise: float = 2
) -> Scan:
    """In a light that depends on the place (y, x from -1 to 1)."""

    def scan(cover: Cover, rng: np.random.Generator) -> Cover:
        page = on(paper, ink, noise=noise)(cover, rng)
        y, x = np.mgrid[-1 : 1 : len(page) * 1j, -1 : 1 : len(page) * 1j]
        return page * light(y, x)

    return scan


def ruled(level: float, every_px: int) -> Scan:
    def scan(cover: Cover, rng: np.random.Generator) -> Cover:
        page = on(245, 40, noise=2)(cover, rng)
        page[8::every_px] = np.minimum(page[8::every_px], level)
        page[:, 5::every_px] = np.minimum(page[:, 5::every_px], level)
        return page

    return scan


def bled(cover: Cover, rng: np.random.Generator) -> Cover:
    behind = np.roll(cover[:, ::-1], (6, 4), (0, 1))
    return np.minimum(on(240, 30, noise=2)(cover, rng), on(240, 180)(behind, rng))


def speckled(level: float) -> Scan:
    def scan(cover: Cover, rng: np.random.Generator) -> Cover:
        page = on(255, 0)(cover, rng)
        page.ravel()[rng.choice(page.size, 25, replace=False)] = level
        return page

    return scan


def hot(cover: Cover, rng: np.random.Generator) -> Cover:
    page = on(140, 90, noise=1)(cover, rng)
    page[5, 9], page[-4, -7] = 0, 255
    return page


def jpeg(cover: Cover, rng: np.random.Generator) -> Cover:
    stream = BytesIO()
    Image.fromarray(grey(on(240, 20)(cover, rng))).save(stream, "JPEG", quality=25)
    return np.asarray(Image.open(stream), np.float64)


SCANS: dict[str, tuple[Scan, float]] = {  # and the least overlap with the clean glyph
    "frame at the edge, 1 px": (framed(0, 1), 0.97),
    "frame at the edge, 2 px": (framed(0, 2), 0.85),
    "frame inside, 1 px": (framed(4, 1), 0.97),
    "frame inside, 2 px": (framed(6, 2), 0.97),
    "grey frame": (framed(4, 3, dark=140), 0.75),
    "lines left and below": (framed(3, 2, "lb"), 0.97),
    "lines above and below": (framed(3, 1, "tb"), 0.97),
    "one line at the edge": (framed(0, 2, "b"), 0.97),
    "scanner's edge, left": (framed(0, 16, "l", dark=4), 0.97),
    "scanner's edges, three": (framed(0, 17, "lrb", dark=4), 0.97),
    "shadow": (lit(lambda y, x: 1 - 0.3 * (x + 1)), 0.7),
    "shadow's edge": (lit(lambda y, x: 1 - 0.5 / (1 + np.exp(-12 * (x + y)))), 0.65),
    "vignette": (lit(lambda y, x: 1 - 0.25 * (x * x + y * y)), 0.7),
    "dark and noisy": (on(80, 30, noise=8), 0.55),
    "chalk": (on(55, 200, noise=8), 0.7),
    "dark paper": (on(110, 10), 0.97),
    "blue paper": (on(150, 50, noise=4), 0.7),
    "grid paper": (ruled(165, 12), 0.65),
    "bleed-through": (bled, 0.7),
    "specks": (speckled(0), 0.6),
    "grey specks": (speckled(120), 0.6),
    "hot pixels": (hot, 0.7),
    "JPEG": (jpeg, 0.6),
}  # fmt: skip


def overlap(one: Uint8, other: Uint8) -> float:
    """The soft intersection over union of two images' ink."""
    return float(np.minimum(one, other).sum() / np.maximum(one, other).sum(dtype=np.float64))


LIT = ("shadow", "shadow's edge", "vignette")  # no light makes a board's ink darker than the board
CASES = [
    (kind, is_inverted) for kind in SCANS for is_inverted in (False, True)[: 2 - (kind in LIT)]
]


@pytest.mark.parametrize(("kind", "is_inverted"), CASES)
def test_only_the_ink_of_a_scan_is_kept(kind: str, is_inverted: bool) -> None:
    scan, least = SCANS[kind]
    rng = np.random.default_rng(0)
    found = {}
    for character, cover in written().items():
        image = grey(scan(cover, rng))
        clean = canonical(grey(255 - 255 * cover), 64)
        found[character] = overlap(canonical(255 - image if is_inverted else image, 64), clean)
    assert min(found.values()) > least - 0.04 * is_inverted, found


LIGHTS: dict[str, Callable[[Cover, Cover], Cover]] = {
    "slope": lambda y, x: 0.6 + 0.4 * (x + y) / 2,
    "steep slope": lambda y, x: 0.6 - 0.4 * x,
    "vignette": lambda y, x: 1 - 0.25 * (x * x + y * y),
    "shadow's edge": lambda y, x: 1 - 0.35 / (1 + np.exp(-12 * (x - 0.3 * y))),
    "lamp": lambda y, x: 0.4 + 0.6 * np.exp(-((x - 0.5) ** 2 + (y + 0.5) ** 2)),
}


@pytest.mark.parametrize("light", LIGHTS)
@pytest.mark.parametrize(("paper", "ink"), [(230, 40), (200, 90), (40, 220)])
def test_dense_kanji_in_bad_light_are_found_and_seldom_refused(
    light: str, paper: float, ink: float
) -> None:
    rng = np.random.default_rng(0)
    characters, num_refused = "愛国語議", 0
    covers = np.concatenate([*simulate(characters, 1, 1, 7, 112).images]) / 255
    for character, cover in zip(characters, covers, strict=True):
        image = grey(lit(LIGHTS[light], paper, ink, noise=4)(cover, rng))
        try:
            found = canonical(image, 64)
        except InputError:
            num_refused += 1
            continue
        assert overlap(found, canonical(grey(255 - 255 * cover), 64)) > 0.6, character
    assert num_refused <= 1


@pytest.mark.parametrize("noise", [0, 5])
@pytest.mark.parametrize("is_inverted", [False, True], ids=["dark ink", "bright ink"])
@pytest.mark.parametrize("cut_px", [0, 5])
def test_ink_along_the_border_stays_ink(noise: float, is_inverted: bool, cut_px: int) -> None:
    rng = np.random.default_rng(0)
    for cover in map(printed, PRINTED):
        rows, columns = (np.flatnonzero((cover > 0.2).any(axis)) for axis in (1, 0))
        tight = cover[rows[0] : rows[-1] + 1 + cut_px, columns[0] : columns[-1] + 1 + cut_px]
        image = grey(on(225, 30, 0, noise)(tight, rng))
        clean = canonical(grey(255 - 255 * cover), 64)
        assert overlap(canonical(255 - image if is_inverted else image, 64), clean) > 0.65


@pytest.mark.parametrize("character", "国回日田目王三川゛がー一")
def test_a_characters_own_straight_strokes_and_dots_are_kept(character: str) -> None:
    for cover in (printed(character), printed(character, 60)):
        image = grey(255 - 255 * cover)
        assert (ink_of(image) > 127).sum() >= (image < 127).sum()


@pytest.mark.parametrize("pen_px", [2, 3])
def test_a_thin_pen_beside_a_blot_is_kept(pen_px: int) -> None:
    page = Image.new("L", (2048, 2048), 255)
    pen = ImageDraw.Draw(page)
    pen.line([(200, 300), (1800, 350), (900, 1000), (300, 1850), (1700, 1700)], 0, pen_px)
    without = canonical(np.asarray(page), 64) > 0
    pen.ellipse((980, 1380, 1020, 1420), fill=0)
    with_blot = canonical(np.asarray(page), 64) > 0
    assert (with_blot & without).sum() > 0.95 * without.sum()


@pytest.mark.parametrize("shape", [(64, 64), (40, 90)])
@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_ink_and_paper_alike_is_refused(shape: tuple[int, int], axis: int) -> None:
    halves = np.full(shape, 230, np.uint8)
    halves.swapaxes(0, axis)[: shape[axis] // 2] = 20
    with pytest.raises(InputError, match="cannot tell ink from paper|blank"):
        canonical(halves, 32)
