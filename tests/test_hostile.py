"""Hostile and broken input of every kind: it works or ends in an ``InputError`` that names it."""

import io
import json
import os
import resource
import signal
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm  # noqa: F401  networks import it when they are made: no case is to wait for it
from conftest import SMOKE, DrawGlyph
from font_builder import build_font
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from PIL import Image

from handwriting.characters import decomposition as structure, kanjivg
from handwriting.characters.classes import class_list, is_character
from handwriting.characters.decomposition import SPECIAL_TOKENS, read_structure, texts_of
from handwriting.characters.vocabulary import Vocabulary
from handwriting.corpus.splits import split_by_writer
from handwriting.errors import InputError
from handwriting.etl import SETS, EtlFile
from handwriting.etl.codes import read_co59
from handwriting.images.canonical import canonical
from handwriting.images.manifest import read_images, read_manifest
from handwriting.images.packed import PackedImages, open_packed, pack_manifest, save_packed
from handwriting.images.reading import read_canonical, read_grey
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import render_font
from handwriting.storage.json_files import read_json

MAX_SECONDS = 20  # of one case, on a machine that does other things as well
MAX_MB = 1024
Damage = Callable[[bytes], bytes]

# The same cases in every run; a fixture's folder is common to all of a property.
cases = settings(
    deadline=MAX_SECONDS * 1000,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def within_limits() -> Iterator[None]:
    """No test hangs, and none takes more memory than the limit."""

    def stop(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10 * MAX_SECONDS)
    start = peak_mb()
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert peak_mb() - start < MAX_MB


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@contextmanager
def works_or_names(what: object) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if str(what) not in str(error):
            raise AssertionError(f"it does not name {what}") from error


def damaged(whole: bytes) -> st.SearchStrategy[bytes]:
    """The bytes cut anywhere, with some of them changed, or others instead."""
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    places = st.integers(0, len(whole) - 1) | st.integers(0, min(len(whole), 300) - 1)
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)
    return cut | changes.map(lambda pairs: changed(whole, pairs)) | st.binary(max_size=200)


def changed(whole: bytes, pairs: list[tuple[int, int]]) -> bytes:
    content = bytearray(whole)
    for place, value in pairs:
        content[place] = value
    return bytes(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values),
    max_leaves=12,
)


# --- manifests -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_image(tmp_path_factory: pytest.TempPathFactory, draw_glyph: DrawGlyph) -> Path:
    path = tmp_path_factory.mktemp("set") / "木" / "writer_01.png"
    path.parent.mkdir()
    Image.fromarray(draw_glyph("木")).save(path)
    return path


def read_whole(path: Path) -> None:
    """A manifest as a study reads it."""
    manifest = read_manifest(path)
    pack_manifest(manifest, 16, path.parent / "cache")
    split_by_writer(manifest, 1, 0, 0)


paths = st.sampled_from(
    ["木/writer_01.png", "./木/writer_01.png", "木", "", ".", "..", "/", "/dev/zero", "\0", "~",
     "../" * 50 + "etc/passwd", "x" * 5000, "木/writer_01.png/x", "C:\\x.png", "manifest.json"]
) | st.text(max_size=12)  # fmt: skip
manifests = st.dictionaries(
    st.sampled_from(["木", "あ", "ab", "", "\0", "\u3000", "\u3099", "\U0010ffff"])
    | st.text(max_size=2),
    st.lists(paths, max_size=4) | json_values,
    max_size=4,
)


@settings(cases, max_examples=150)
@given(manifests | json_values, st.none() | st.dictionaries(paths, st.text() | json_values))
def test_a_manifest_of_any_form(one_image: Path, value: Any, writers: Any) -> None:
    path = one_image.parents[1] / "manifest.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    path.with_name("writers.json").write_text(json.dumps(writers or {}), encoding="utf-8")
    with works_or_names(path.parent):
        read_whole(path)


@settings(cases, max_examples=150)
@given(damaged('{"木": ["木/writer_01.png", "木/2.png"], "林": [1e9, NaN, -0]}'.encode()))
def test_a_manifest_of_any_bytes(one_image: Path, content: bytes) -> None:
    path = one_image.parents[1] / "manifest.json"
    for name in ("manifest.json", "writers.json"):
        path.write_text('{"木": ["木/writer_01.png"]}', encoding="utf-8")
        path.with_name("writers.json").unlink(missing_ok=True)
        path.with_name(name).write_bytes(content)
        with works_or_names(path.parent):
            read_whole(path)


@pytest.mark.parametrize(
    "file", ["../out.png", "木/../../out.png", "{folder}/../out.png", "/etc/hostname", "..", "."]
)
def test_a_path_that_leaves_the_manifests_folder(file: str, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "out.png")
    path = tmp_path / "own" / "manifest.json"
    path.write_text(json.dumps({"木": [file.format(folder=path.parent)]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"木: .*(outside of the folder|missing image)") as caught:
        read_manifest(path)
    assert "ln -s" in str(caught.value)


def test_a_folder_that_is_linked_into_the_manifests_is_allowed(
    one_image: Path, tmp_path: Path
) -> None:
    (tmp_path / "linked").symlink_to(one_image.parent)
    path = tmp_path / "manifest.json"
    path.write_text('{"木": ["linked/../linked/writer_01.png"]}', encoding="utf-8")
    assert sum(map(len, read_images(read_manifest(path), 16, "reading"))) == 1


@pytest.mark.parametrize("kind", ["loop", "folder", "pipe", "device", "dangling"])
def test_what_is_no_file_is_no_image(kind: str, tmp_path: Path) -> None:
    path = odd(tmp_path / "odd", kind)
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"木": ["odd"]}', encoding="utf-8")
    with pytest.raises(InputError, match=f"missing image {path}"):
        read_manifest(manifest)
    with pytest.raises(InputError, match=f"(missing|unreadable) image: {path}"):
        read_grey(path)


def odd(path: Path, kind: str) -> Path:
    """Something that is no file."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path, "device": Path("/dev/zero")}.get(kind, path / "none"))
    return path


def test_a_large_class_list_is_compared_quickly(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({chr(i): 0 for i in range(0x4E00, 0x9E00)}), encoding="utf-8")
    with pytest.raises(InputError, match="27136 problem"):
        read_manifest(path, map(chr, range(0x3400, 0x9E00)))


@pytest.mark.parametrize(
    "content", ["9" * 5000, '["\\ud800"]', '{"\\udfff": 1}', "[" * 99_999, '{"a": 1, "a": 2}', "\0"]
)
def test_json_that_cannot_be_read_or_written_again(content: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"odd\.json"):
        read_json(path)


@pytest.mark.parametrize("kind", ["loop", "folder", "pipe", "device", "dangling"])
def test_what_is_no_file_is_no_json(kind: str, tmp_path: Path) -> None:
    path = odd(tmp_path / "odd.json", kind)
    with pytest.raises(InputError, match=f"(cannot read|no such file:) {path}"):
        read_json(path)


def test_json_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long.json").touch()
    os.truncate(tmp_path / "long.json", 1 << 30)  # sparse: it takes no space
    with pytest.raises(InputError, match=r"long\.json: more than"):
        read_json(tmp_path / "long.json")


def test_a_key_among_many_is_found_twice_quickly(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = [f'"{number}": 0' for number in range(100_000)]
    path.write_text("{" + ", ".join([*keys, keys[7]]) + "}")
    with pytest.raises(InputError, match="more than once: '7'"):
        read_json(path)


# --- images ----------------------------------------------------------------------------------


def picture(mode: str, size: tuple[int, int]) -> Image.Image:
    image = Image.new(mode, size)
    image.paste(Image.new(mode, (size[0] // 2, 1), 1 if mode in "1PLIFI;16" else "white"))
    return image


def encoded(image: Image.Image, suffix: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, suffix, **options)
    return stream.getvalue()


def glyph(mode: str = "L") -> Image.Image:
    values = np.full((40, 40), 255, np.uint8)
    values[8:30, 10:13] = values[20:23, 5:35] = 0
    return Image.fromarray(values).convert(mode)


IMAGES = {
    "grey.png": encoded(glyph(), "PNG"),
    "palette.png": encoded(glyph("P"), "PNG", transparency=255),
    "cmyk.jpg": encoded(glyph("CMYK"), "JPEG"),
    "turned.jpg": encoded(glyph(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03"
                          b"\0\0\0\x01\0\x06\0\0\0\0\0\0"),
    "deep.tif": encoded(Image.fromarray(np.asarray(glyph(), np.uint16) * 257), "TIFF"),
    "float.tif": encoded(glyph("F"), "TIFF"),
    "packed.tif": encoded(glyph("RGBA"), "TIFF", compression="tiff_lzw"),
    "moving.gif": encoded(glyph(), "GIF", save_all=True, append_images=[glyph(), glyph()]),
    "moving.webp": encoded(glyph("RGB"), "WEBP", save_all=True, append_images=[glyph("RGB")]),
    "plain.bmp": encoded(glyph(), "BMP"),
    "plain.ppm": encoded(glyph(), "PPM"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_any_kind_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(IMAGES[name])
    turned = canonical(np.rot90(np.asarray(glyph()), -1), 16)
    expected = turned if name == "turned.jpg" else canonical(np.asarray(glyph()), 16)
    assert np.abs(read_canonical(path, 16).astype(int) - expected).mean() < 8


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(cases, max_examples=300)
@given(st.data())
def test_an_image_of_any_bytes(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(IMAGES)))
    path = tmp_path / f"image.{data.draw(st.sampled_from(['png', 'jpg', 'txt']))}"
    path.write_bytes(data.draw(damaged(IMAGES[name])))
    with works_or_names(path):
        assert read_canonical(path, 16).shape == (16, 16)


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (2, 2), (0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("ink", [0, 200])
def test_an_array_of_any_shape(size: tuple[int, int], ink: int) -> None:
    image = np.full(size, 255, np.uint8)
    image[: size[0] // 2] = ink
    with works_or_names("blank"):
        assert canonical(image, 16).max() == 255


@settings(cases, max_examples=60)
@given(st.data())
def test_specks_far_apart_are_a_glyph_or_blank(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 900), st.integers(1, 900)))
    image = np.full(size, 255, np.uint8)
    places = st.tuples(st.integers(0, size[0] - 1), st.integers(0, size[1] - 1))
    for place in data.draw(st.lists(places, max_size=4)):
        image[place] = 0
    with works_or_names("blank"):
        assert canonical(image, 16).max() == 255


def png_header(width: int, height: int, kind: int = 6) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize(
    "size", [(8001, 8000), (60_000, 60_000), (1 << 30, 1 << 30), (0x7FFFFFFF, 1)]
)
def test_an_image_that_only_claims_to_be_large(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size) + b"\0\0\0\0IDAT")
    with pytest.raises(InputError, match=r"bomb\.png"):
        read_grey(path)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    chunk = struct.pack(">I", 1 << 31) + b"prVT"
    path.write_bytes(png_header(8, 8) + chunk)
    os.truncate(path, 1 << 31)  # sparse: it takes no space
    with pytest.raises(InputError, match=r"long\.png has 2,147,483,648 bytes"):
        read_grey(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_pixels_that_are_no_levels(bad: float, tmp_path: Path) -> None:
    values = np.zeros((9, 9), np.float32)
    values[4, 4:6] = bad, -3e38
    Image.fromarray(values).save(tmp_path / "bad.tif")
    with pytest.raises(InputError, match=r"bad\.tif \(its pixels go from"):
        read_grey(tmp_path / "bad.tif")


def test_a_format_that_runs_a_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(InputError, match=r"unreadable image: .*page\.png"):
        read_grey(path)


def test_large_images_are_read_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handwriting.images.reading.LARGE_PIXELS", 1)
    at_once: list[int] = []
    inside = []

    def counted(image: Any, size_px: int) -> Any:
        inside.append(1)
        at_once.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return canonical(image, size_px)

    monkeypatch.setattr("handwriting.images.reading.canonical", counted)
    for number in range(8):
        glyph().save(tmp_path / f"{number}.png")
    listing = {"木": [f"{number}.png" for number in range(8)]}
    (tmp_path / "manifest.json").write_text(json.dumps(listing), encoding="utf-8")
    [*read_images(read_manifest(tmp_path / "manifest.json"), 16, "reading")]
    assert at_once == [1] * 8


# --- fonts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_font(tmp_path_factory.mktemp("font") / "whole.ttf", SMOKE).read_bytes()


def use(path: Path) -> None:
    """A font as a study uses it."""
    (face,) = find_fonts(packages=(), folders=[str(path)])
    render_font(face, SMOKE, 16)


@settings(cases, max_examples=250)
@given(st.data())
def test_a_font_of_any_bytes(tmp_path: Path, font: bytes, data: st.DataObject) -> None:
    name = data.draw(st.uuids()).hex  # faces are kept by path
    path = tmp_path / f"{name}{data.draw(st.sampled_from(['.ttf', '.otf', '.ttc', '.bin']))}"
    path.write_bytes(data.draw(damaged(font)))
    with works_or_names(path):
        use(path)
    path.unlink()


def test_a_glyph_as_high_as_a_house(tmp_path: Path) -> None:
    path = build_font(tmp_path / "high.ttf", SMOKE, height=32_000)
    with pytest.raises(InputError, match=r"high\.ttf: cannot be rendered \(a glyph of"):
        use(path)


def test_a_glyph_that_is_blank_when_it_is_small(tmp_path: Path) -> None:
    with TTFont(build_font(tmp_path / "thin.ttf", SMOKE)) as opened:
        pen = TTGlyphPen(None)
        for x, y in ((0, 0), (7000, 7000)):
            pen.moveTo((x, y))
            for point in ((x, y + 9), (x + 9, y + 9), (x + 9, y)):
                pen.lineTo(point)
            pen.closePath()
        opened["glyf"][f"u{ord('木'):04X}"] = pen.glyph()
        opened.save(tmp_path / "thin.ttf")
    (face,) = find_fonts(packages=(), folders=[str(tmp_path / "thin.ttf")])
    _, _, skipped = render_font(face, "木", 16)
    assert skipped == [("木", "blank glyph")]


@pytest.mark.parametrize("kind", ["loop", "folder", "pipe", "device", "dangling"])
def test_what_is_no_file_is_no_font(kind: str, tmp_path: Path) -> None:
    path = odd(tmp_path / "odd.ttf", kind)
    (tmp_path / "list.txt").write_text("odd.ttf\n")
    for place in (path, tmp_path):
        with pytest.raises(InputError, match="no such font or folder"):
            find_fonts(packages=(), folders=[str(place)])
    with pytest.raises(InputError, match=r"list\.txt:1: no font file"):
        find_fonts(packages=(), list_file=str(tmp_path / "list.txt"))
    with pytest.raises(InputError, match="cannot read the font list"):
        find_fonts(packages=(), list_file=str(path))


def test_folders_that_link_to_each_other_are_walked_once(tmp_path: Path) -> None:
    build_font(tmp_path / "own.ttf", SMOKE)
    for number in range(8):
        (tmp_path / f"{number}").symlink_to(tmp_path)
    assert len(find_fonts(packages=(), folders=[str(tmp_path)])) == 1


@settings(cases, max_examples=60)
@given(st.text() | st.sampled_from(["~nobody/x.ttf", "\0", "x" * 9000, "__main__", "os", "../.."]))
def test_a_font_list_of_any_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(line, encoding="utf-8", errors="replace")
    with works_or_names(""):
        find_fonts(packages=(), folders=[str(tmp_path)], list_file=str(path))
    with works_or_names(""):
        find_fonts(packages=[line], folders=[f"x{line}"])


# --- KanjiVG ---------------------------------------------------------------------------------


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str | bytes], Path]:
    """A function that makes a character's drawing the only one, or one more."""
    monkeypatch.setattr(kanjivg, "folder", lambda: tmp_path)

    def write(character: str, content: str | bytes) -> Path:
        for cached in (structure.texts_of, structure._own_tree):
            cached.cache_clear()
        path = tmp_path / f"{ord(character):05x}.svg"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    yield write
    for cached in (structure.texts_of, structure._own_tree):
        cached.cache_clear()


def svg(inside: str, before: str = "") -> str:
    kvg = "http://kanjivg.tagaini.net"
    return (
        f'{before}<svg xmlns="http://www.w3.org/2000/svg" xmlns:kvg="{kvg}">'
        f'<g id="kvg:StrokePaths_0"><g kvg:element="木">{inside}</g></g></svg>'
    )


def parts(*elements: str) -> str:
    """Groups of one stroke each."""
    return "".join(f'<g kvg:element="{e}" id="a">{STROKE}</g>' for e in elements)


STROKE = '<path d="M10,20c1.5,2,3-4,5,6S20,20,30,.5"/>'
ENTITIES = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN = {
    "no end": svg(STROKE)[:-9],
    "entities": svg(f"<g>&i;</g>{STROKE}", f"{ENTITIES}]>"),
    "no strokes": svg(""),
    "no path data": svg("<path/>"),
    "nothing": "",
    "no groups": "<svg/>",
    "an empty group": '<svg><g id="kvg:StrokePaths"/></svg>',
    "not finite": svg('<path d="M10,20c1,nan,3,4,5,6"/>'),
    "far away": svg('<path d="M10,20c1,99999,3,4,5,6"/>'),
    "exponents": svg('<path d="M10,20c1,1e9,3,4,5,6"/>'),
    "too few numbers": svg('<path d="M10,20c1,2,3,4,5"/>'),
    "an arc": svg('<path d="M10,20a1,2,3,4,5,6,7"/>'),
    "digits that are read again and again": svg(f'<path d="M10,20c{"1" * 5000}!"/>'),
    "thousands of strokes": svg(STROKE * 5000),
    "a deep nest": svg("<g>" * 9000 + STROKE + "</g>" * 9000),
    "unknown encoding": b'<?xml version="1.0" encoding="x-none"?><svg/>',
    "not UTF-8": b"\xff\xfe\0",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_drawing_that_is_none(name: str, drawings: Callable[..., Path]) -> None:
    path = drawings("木", BROKEN[name])
    with pytest.raises(InputError) as caught:
        kanjivg.read("木")
    assert str(path) in str(caught.value)


@settings(cases, max_examples=200)
@given(damaged(svg(parts("日", "月") + STROKE).encode()))
def test_a_drawing_of_any_bytes(drawings: Callable[..., Path], content: bytes) -> None:
    path = drawings("木", content)
    with works_or_names(path):
        kanjivg.read("木")
        texts_of("木")


@settings(cases, max_examples=100)
@given(st.lists(st.text("Mc0123456789.-, e", max_size=20), max_size=3))
def test_a_stroke_of_any_text(drawings: Callable[..., Path], texts: list[str]) -> None:
    path = drawings("木", svg(STROKE + "".join(f'<path d="M1,2c{text}"/>' for text in texts)))
    with works_or_names(path):
        component = kanjivg.read("木")
        assert {structure.stroke_class(stroke) for stroke in component.strokes} <= set("一丨丿丶乛")


@pytest.mark.parametrize("width", [1, 2, 40, 600])
def test_components_that_contain_each_other(width: int, drawings: Callable[..., Path]) -> None:
    """木 is made of 林, 林 of 木: every level is ``width`` times as long."""
    drawings("木", svg(parts(*"林" * width)))
    drawings(
        "林",
        svg(parts(*"木" * width)).replace('"木">' + parts("木")[:9], '"林">' + parts("木")[:9]),
    )
    with pytest.raises(InputError, match="components of 木 have no end"):
        texts_of("木")


# --- structure files and class lists ---------------------------------------------------------

lines = (
    st.text("⿰⿱木日 []PADé\0\ud7ff", max_size=12) | st.sampled_from(SPECIAL_TOKENS) | st.text()
)


@settings(cases, max_examples=150)
@given(st.dictionaries(st.sampled_from("木日月"), st.lists(lines) | json_values) | json_values)
def test_a_structure_file_of_any_form(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with works_or_names(path):
        found = read_structure(path, "木日")
        vocabulary = Vocabulary.from_structure(found)
        tokens, _ = vocabulary.encode_alternatives(found, "木日")
        ends = (tokens == 2).argmax(axis=-1)
        assert all((row[1:end] > 2).all() for row, end in zip(
            tokens.reshape(-1, tokens.shape[-1]), ends.ravel(), strict=True))  # fmt: skip


@settings(cases, max_examples=60)
@given(damaged('{"木": ["⿰ 日 月"], "日": ["日"]}'.encode()))
def test_a_structure_file_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(content)
    with works_or_names(path):
        read_structure(path, "木日")


def test_components_that_are_made_of_each_other_are_only_words(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text('{"木": ["⿰ 日 木"], "日": ["⿰ 木 日"]}', encoding="utf-8")
    assert read_structure(path, "木日")["木"] == (("⿰", "日", "木"),)


@settings(cases, max_examples=150)
@given(st.text(), st.binary(max_size=80))
def test_a_class_list_of_any_text_or_bytes(tmp_path: Path, text: str, content: bytes) -> None:
    path = tmp_path / "list.txt"
    for written in (text.encode(errors="replace"), content):
        path.write_bytes(written)
        with works_or_names(path):
            assert all(map(is_character, class_list(str(path))))
    with works_or_names(""):
        assert all(map(is_character, class_list(text)))


@pytest.mark.parametrize("odd", ["\u3000", "\u3099", "\u200b", "\x85", "\udcff", "\ufeff"])
def test_what_is_no_character_is_no_class(odd: str) -> None:
    with pytest.raises(InputError, match=rf"U\+{ord(odd):04X} is not a character"):
        class_list(f"日{odd}本")


def test_a_class_list_of_everything_is_checked_quickly(tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    path.write_text("".join(map(chr, range(0x3400, 0x9FFF))) * 20, encoding="utf-8")
    with pytest.raises(InputError, match="27647 problem"):
        class_list(str(path))


# --- ETL -------------------------------------------------------------------------------------


def read_records(path: Path, set_name: str) -> None:
    """A data file as a study reads it."""
    file = EtlFile(path, set_name)
    assert len(file.images()) == len(file.characters) == len(file.writers) == len(file)
    assert len(file.metadata) == len(file.is_model) == len(file)


@settings(cases, max_examples=250)
@given(st.data())
def test_an_etl_file_of_any_bytes(tmp_path: Path, data: st.DataObject) -> None:
    set_name = data.draw(st.sampled_from(sorted(SETS)))
    form = SETS[set_name]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    records = rng.integers(0, 256, (data.draw(st.integers(0, 4)), form.record_bytes), np.uint8)
    records[:, 4 : 4 + data.draw(st.integers(0, 40))] = data.draw(st.sampled_from([0, 33, 255]))
    if form.dummy_records and len(records) and data.draw(st.booleans()):
        records[0, 2:4] = 0
    content = records.tobytes()
    extra = data.draw(st.sampled_from([0, 0, 0, 1, -1, 100]))
    path = tmp_path / next(iter(form.files))
    path.write_bytes(content[: len(content) + extra] + bytes(max(extra, 0)))
    with works_or_names(path):
        read_records(path, set_name)


@settings(cases, max_examples=100)
@given(damaged("上:4,4\n下:4,5\n".encode("euc_jp")))
def test_a_table_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "euc_co59.dat"
    path.write_bytes(content)
    with works_or_names(path):
        read_co59(path)


@pytest.mark.parametrize("kind", ["loop", "folder", "pipe", "device", "dangling"])
def test_what_is_no_file_is_no_data(kind: str, tmp_path: Path) -> None:
    path = odd(tmp_path / "ETL4C", kind)
    for read in (EtlFile, read_co59, class_list):
        with pytest.raises(InputError, match="ETL4C"):
            read(path if read is not class_list else str(path))


# --- packed images ---------------------------------------------------------------------------


@settings(cases, max_examples=100)
@given(st.data())
def test_packed_images_of_any_bytes(tmp_path: Path, data: st.DataObject) -> None:
    three = np.zeros(3, np.int64)
    save_packed(tmp_path, PackedImages(np.ones((3, 8, 8), np.uint8), three, three, ("木",), ("a",)))
    name = data.draw(st.sampled_from(["images.npy", "labels.npy", "writers.npy", "meta.json"]))
    path = tmp_path / name
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with works_or_names(tmp_path):
        packed = open_packed(tmp_path)
        assert len(packed) == len(packed.of("木"))
        assert packed.present_writers() in ([], list(packed.writer_names))


@pytest.mark.parametrize(
    "value", [[], {}, {"characters": 1}, {"characters": [1], "writer_names": []}]
)
def test_packed_images_of_another_form(value: Any, tmp_path: Path) -> None:
    one = np.zeros(1, np.int64)
    save_packed(tmp_path, PackedImages(np.ones((1, 8, 8), np.uint8), one, one, ("木",), ("a",)))
    (tmp_path / "meta.json").write_text(json.dumps(value))
    with pytest.raises(InputError, match=f"{tmp_path} holds no packed images"):
        open_packed(tmp_path)
