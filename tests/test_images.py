"""The canonical image: one for every position, polarity and border; files are read or named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SMOKE, DrawGlyph
from hypothesis import assume, given, settings, strategies as st
from PIL import Image, ImageDraw

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical, margin_px
from handwriting.images.ink import INK_FLOOR
from handwriting.images.reading import read_canonical, read_grey
from handwriting.images.sheets import sheet


@st.composite
def drawings(draw: st.DrawFn) -> Uint8:
    """Strokes on paper: either polarity, grey paper, noise, a slope of light, one bit."""
    width, height = draw(st.integers(24, 140)), draw(st.integers(24, 140))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    paper = draw(st.integers(150, 255))
    picture = Image.new("L", (width, height), paper)
    pen = ImageDraw.Draw(picture)
    for _ in range(draw(st.integers(1, 6))):
        points = [tuple(p) for p in rng.uniform((2, 2), (width - 3, height - 3), (3, 2)).tolist()]
        pen.line(points, fill=int(rng.integers(0, 90)), width=int(rng.integers(1, 6)))
    pen.rectangle((width // 2, height // 2, width // 2 + 1, height // 2 + 1), fill=0)
    values = np.asarray(picture, np.float64)
    values += rng.normal(0, draw(st.floats(0, 40)), values.shape)
    values += np.linspace(0, draw(st.floats(-20, 20)), width)
    image = np.clip(values, 0, 255).astype(np.uint8)
    if draw(st.booleans()):
        image = np.where(image > 127, 255, 0).astype(np.uint8)
    return 255 - image if draw(st.booleans()) else image


@settings(max_examples=300, deadline=None)
@given(drawings(), st.integers(16, 128))
def test_canonical_form_is_idempotent_and_fills_the_square_up_to_its_margin(
    image: Uint8, size_px: int
) -> None:
    try:
        ink = canonical(image, size_px)
    except InputError as error:
        assume(not any(why in str(error) for why in ("cannot tell", "stands out")))
        raise
    np.testing.assert_array_equal(canonical(ink, size_px), ink)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    margin = margin_px(size_px)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == size_px - 2 * margin
    for found in (rows, columns):
        assert abs(found[0] - (size_px - 1 - found[-1])) <= 1
    assert ink.max() == 255
    assert not ((ink > 0) & (ink < INK_FLOOR)).any()


@pytest.mark.parametrize("size_px", [16, 31, 64, 128])
@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.pad(image, ((9, 3), (0, 17)), constant_values=255),
        lambda image: np.roll(image, (3, -2), axis=(0, 1)),
        lambda image: 255 - image,
    ],
    ids=["border", "offset", "polarity"],
)
def test_canonical_form_does_not_depend_on(
    change: Callable[[Uint8], Uint8], size_px: int, draw_glyph: DrawGlyph
) -> None:
    for character in SMOKE:
        image = draw_glyph(character)
        np.testing.assert_array_equal(canonical(change(image), size_px), canonical(image, size_px))


@pytest.mark.parametrize(("black", "white"), [(90, 255), (0, 180), (60, 200), (200, 30)])
def test_canonical_form_does_not_depend_on_contrast(
    black: int, white: int, draw_glyph: DrawGlyph
) -> None:
    for character in SMOKE:
        image = draw_glyph(character)
        faded = (black + image / 255 * (white - black)).round().astype(np.uint8)
        difference = canonical(faded, 64).astype(int) - canonical(image, 64)
        assert np.abs(difference).mean() < 2  # grey levels are rounded once more


def test_aspect_is_kept() -> None:
    image = np.full((100, 100), 255, np.uint8)
    image[10:90, 40:60] = 0
    ink = canonical(image, 64)
    assert ink.any(axis=1).sum() == 56
    assert ink.any(axis=0).sum() == 14


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("contrast", [0, 20])
def test_blank_images_are_refused(grey: int, contrast: int) -> None:
    image = np.full((40, 40), grey, np.uint8)
    image[20, 20] = grey + contrast if grey < 128 else grey - contrast
    with pytest.raises(InputError, match="blank"):
        canonical(image, 32)


@pytest.mark.parametrize("kind", ["1", "L", "P", "RGB", "CMYK", "LA", "RGBA", "I;16", "F", "clear"])
def test_every_pixel_format_reads_as_the_same_glyph(
    kind: str, tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    image = np.where(draw_glyph("木") > 127, 255, 0).astype(np.uint8)
    path = tmp_path / f"glyph.{'tif' if kind in ('CMYK', 'F') else 'png'}"
    picture = Image.fromarray(image)
    if kind == "I;16":
        Image.fromarray(image.astype(np.uint16) * 257).save(path)
    elif kind == "clear":  # ink in the transparency alone, all pixels black
        black = np.zeros_like(image)
        Image.fromarray(np.stack([black, black, black, 255 - image], axis=2)).save(path)
    else:
        picture.convert(kind).save(path)
    np.testing.assert_array_equal(read_grey(path), image)
    np.testing.assert_array_equal(read_canonical(path, 32), canonical(image, 32))


def test_a_transparent_palette_colour_is_paper(tmp_path: Path) -> None:
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([0, 0, 0, 10, 10, 10])
    picture.paste(1, (5, 5, 15, 15))
    picture.save(tmp_path / "palette.png", transparency=0)
    grey = read_grey(tmp_path / "palette.png")
    assert grey[0, 0] == 255
    assert grey[10, 10] == 10


@pytest.mark.parametrize("ink", [0, 60, 200, 255])
@pytest.mark.parametrize("colour", ["LA", "RGBA"])
def test_ink_on_transparency_stands_on_what_contrasts_with_it(
    ink: int, colour: str, tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    image = draw_glyph("木")
    drawn = Image.fromarray(np.full_like(image, ink))
    drawn.putalpha(Image.fromarray(255 - image))
    drawn.convert(colour).save(tmp_path / "clear.png")
    difference = read_canonical(tmp_path / "clear.png", 64).astype(int) - canonical(image, 64)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("change", [lambda image: image, lambda image: 255 - image])
def test_a_picture_with_transparent_corners_stands_on_its_own_paper(
    change: Callable[[Uint8], Uint8], tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    image = draw_glyph("木")
    board = Image.fromarray(change(np.clip(image, 40, 220)))
    corners = Image.new("L", board.size)
    ImageDraw.Draw(corners).ellipse((0, 0, *board.size), fill=255)
    board.putalpha(corners)
    board.save(tmp_path / "round.png")
    difference = read_canonical(tmp_path / "round.png", 64).astype(int) - canonical(image, 64)
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("kind", ["I;16", "F"])
@pytest.mark.parametrize("stray", [[60_000], [60_000, 60_000, 0]])
def test_hot_and_dead_pixels_of_deep_images_do_not_set_the_range(
    kind: str, stray: list[int], tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    image = draw_glyph("木")
    values = 2000 + image.astype(np.float32) * 8
    values.ravel()[[13 * image.shape[1] + 7 + i for i in range(len(stray))]] = stray
    path = tmp_path / "deep.tif"
    Image.fromarray(values.astype(np.uint16) if kind == "I;16" else values).save(path)
    assert np.abs(read_canonical(path, 64).astype(int) - canonical(image, 64)).mean() < 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.png", "unreadable image"),
        ("text.png", "unreadable image"),
        ("absent.png", "missing image"),
        (".", "missing image"),
        ("blank.png", "the image is blank"),
        ("poster.png", "has 9000 x 9000 px"),
    ],
)
def test_what_cannot_be_read_is_named(
    name: str, message: str, tmp_path: Path, draw_glyph: DrawGlyph
) -> None:
    Image.fromarray(draw_glyph("木")).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    (tmp_path / "text.png").write_bytes(b"not an image")
    Image.new("L", (30, 30), 255).save(tmp_path / "blank.png")
    Image.new("1", (9000, 9000)).save(tmp_path / "poster.png")
    with pytest.raises(InputError, match=message) as caught:
        read_canonical(tmp_path / name, 32)
    assert str(tmp_path / name) in str(caught.value)


def test_a_sheet_shows_every_image_in_its_cell() -> None:
    first = np.arange(1, 4, dtype=np.uint8)[:, None, None] * np.ones((3, 5, 6), np.uint8)
    second = first[:2] + 100
    picture = sheet([first, second])
    assert picture.shape == (2 * 7 + 2, 3 * 8 + 2)
    assert [int(picture[4, 4 + 8 * i]) for i in range(3)] == [1, 2, 3]
    assert [int(picture[11, 4 + 8 * i]) for i in range(3)] == [101, 102, 64]
