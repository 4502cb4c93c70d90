"""Whatever a file holds: its reader works or raises an ``InputError`` that names it, in bounds."""

import io
import itertools
import json
import os
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMOKE
from etl_encoder import LAYOUTS, Fields, encode
from font_builder import build_font
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from PIL import Image

from handwriting.characters.classes import class_list, is_character
from handwriting.characters.decomposition import SPECIAL_TOKENS, read_structure
from handwriting.characters.vocabulary import Vocabulary
from handwriting.errors import InputError
from handwriting.etl import SETS, EtlFile
from handwriting.etl.codes import read_co59
from handwriting.images import reading
from handwriting.images.canonical import canonical
from handwriting.images.manifest import read_images, read_manifest
from handwriting.images.packed import PackedImages, open_packed, pack_manifest, save_packed
from handwriting.images.reading import read_canonical
from handwriting.runs.weights import load_weights, save_weights
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import render_font

HANGS_S = 300  # of one test, far above what any takes on a machine that does other things as well
MAX_MB = 1024

# The same cases in every run; a fixture's folder is common to all of a property.
cases = settings(
    deadline=None,
    derandomize=True,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
numbers = itertools.count()


def fresh(folder: Path) -> Path:
    """A folder for one case: what is read is remembered by its path."""
    own = folder / str(next(numbers))
    own.mkdir()
    return own


@pytest.fixture(autouse=True)
def within_limits() -> Iterator[None]:
    """No test hangs, and none takes more memory than the limit."""

    def stop(*_: object) -> None:
        raise TimeoutError("the test hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_S)
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


def jsons(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    return (values | json_values).map(json.dumps)


# --- whole files ----------------------------------------------------------------------------------


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
    "still.gif": encoded(glyph(), "GIF"),
    "lossy.webp": encoded(glyph("RGB"), "WEBP"),
    "preview.jpg": encoded(glyph("RGB"), "MPO", save_all=True, append_images=[glyph("RGB")]),
    "plain.bmp": encoded(glyph(), "BMP"),
    "plain.ppm": encoded(glyph(), "PPM"),
}  # fmt: skip


@cache
def whole_font(height: int = 800) -> bytes:
    with TemporaryDirectory() as folder:
        return build_font(Path(folder) / "whole.ttf", SMOKE, height=height).read_bytes()


# --- the readers: each writes a whole file, and hands it on with the call that reads it -----------

Prepared = tuple[Path, Callable[[], object]]


def manifest(folder: Path, name: str = "manifest.json") -> Prepared:
    for image_name in ("a.png", "b.png"):
        (folder / image_name).write_bytes(IMAGES["grey.png"])
    path = folder / "manifest.json"
    path.write_text('{"木": ["a.png", "b.png"]}', encoding="utf-8")
    path.with_name("writers.json").write_text('{"a.png": "anna", "b.png": "bert"}')

    def read() -> None:
        found = read_manifest(path)
        pack_manifest(found, 16, folder / "cache")

    return folder / name, read


def image(folder: Path, name: str) -> Prepared:
    path = folder / name
    path.write_bytes(IMAGES[name])

    def read() -> None:
        assert read_canonical(path, 16).shape == (16, 16)

    return path, read


def font(folder: Path) -> Prepared:
    path = folder / "font.ttf"
    path.write_bytes(whole_font())

    def read() -> list[tuple[str, str]]:
        (face,) = find_fonts(packages=(), folders=[str(path)])
        return render_font(face, SMOKE, 16)[2]

    return path, read


def structure(folder: Path) -> Prepared:
    path = folder / "own.json"
    path.write_text('{"木": ["⿰ 日 木"], "日": ["⿰ 木 日"]}', encoding="utf-8")

    def read() -> None:
        found = read_structure(path, "木日", 22)
        tokens, _ = Vocabulary.from_structure(found).encode_alternatives(found, "木日", 24)
        rows = tokens.reshape(-1, tokens.shape[-1])
        for row, end in zip(rows, (rows == 2).argmax(axis=-1), strict=True):
            assert (row[1:end] > 2).all()  # no special token inside of a text

    return path, read


def classes(folder: Path) -> Prepared:
    path = folder / "list.txt"
    path.write_text("日 # sun\n本", encoding="utf-8")

    def read() -> None:
        assert all(map(is_character, class_list(str(path))))

    return path, read


def etl(folder: Path, set_name: str) -> Prepared:
    layout, path = LAYOUTS[set_name], folder / next(iter(SETS[set_name].files))
    code = 0x2422 if "jis" in layout.fields and layout.fields["jis"].num_bits > 8 else 0xB1
    fields: list[Fields] = [{} if set_name == "ETL2" else {"jis": code}] * 3
    images = np.zeros((3, layout.height_px, layout.width_px), np.uint8)
    path.write_bytes(encode(set_name, fields, images))

    def read() -> None:
        file = EtlFile(path)
        columns = (file.images(), file.characters, file.writers, file.metadata, file.is_model)
        assert {len(column) for column in columns} == {len(file)}

    return path, read


def co59_table(folder: Path) -> Prepared:
    path = folder / "euc_co59.dat"
    path.write_bytes("上:4,4\n下:4,5\n".encode("euc_jp"))
    return path, lambda: read_co59(path)


def packed(folder: Path, name: str) -> Prepared:
    three = np.zeros(3, np.int64)
    save_packed(folder, PackedImages(np.ones((3, 8, 8), np.uint8), three, three, ("木",), ("a",)))

    def read() -> None:
        found = open_packed(folder)
        assert {len(column) for column in (found.images[:], found.labels)} == {len(found)}
        assert set(found.present_writers()) <= set(found.writer_names)

    return folder / name, read


def weights(folder: Path) -> Prepared:
    facts = {"characters": list(SMOKE), "seed": 3, "writers_seen": ["anna"]}
    state = {"weight": torch.ones(3, 2)}
    path = save_weights(folder / "own.safetensors", "own", {"size_px": 2}, facts, state)
    return path, lambda: load_weights(path, "own").require_characters(SMOKE)


READERS: dict[str, Callable[[Path], Prepared]] = {
    "manifest": manifest,
    "writers": partial(manifest, name="writers.json"),
    **{name: partial(image, name=name) for name in IMAGES},
    "font": font,
    "structure": structure,
    "classes": classes,
    **{name: partial(etl, set_name=name) for name in ("ETL1", "ETL2", "ETL3", "ETL8B2", "ETL9G")},
    "table of ETL2": co59_table,
    **{name: partial(packed, name=name) for name in ("images.npy", "labels.npy", "meta.json")},
    "weights": weights,
}  # fmt: skip
OF_USERS = [
    "manifest", "grey.png", "font", "structure", "classes", "ETL1", "table of ETL2", "weights"
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", READERS)
@cases
@given(data=st.data())
def test_any_bytes_are_read_or_named(name: str, tmp_path: Path, data: st.DataObject) -> None:
    path, read = READERS[name](fresh(tmp_path))
    read()
    path, read = READERS[name](fresh(tmp_path))
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with works_or_names(path.parent):
        read()


def put_odd(path: Path, kind: str) -> None:
    """Put something that is no file at a path."""
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"loop": path, "device": Path("/dev/zero")}.get(kind, path / "none"))


@pytest.mark.parametrize("kind", ["loop", "folder", "pipe", "device", "dangling"])
@pytest.mark.parametrize("name", OF_USERS)
def test_what_is_no_file_is_named(kind: str, name: str, tmp_path: Path) -> None:
    path, read = READERS[name](tmp_path)
    put_odd(path, kind)
    with pytest.raises(InputError, match=str(path)):
        read()


paths = st.sampled_from(
    ["a.png", "./a.png", "", ".", "..", "/", "/dev/zero", "\0", "~", "../" * 50 + "etc/passwd",
     "x" * 5000, "a.png/x", "C:\\x.png", "manifest.json"]
) | st.text(max_size=12)  # fmt: skip
characters = st.sampled_from(["木", "日", "ab", "", "\0", "\u3000", "\u3099", "\U0010ffff"])
words = (
    st.text("⿰⿱木日 []PADé\0\ud7ff", max_size=12) | st.sampled_from(SPECIAL_TOKENS) | st.text()
)
FORMS: dict[str, st.SearchStrategy[str]] = {
    "manifest": jsons(st.dictionaries(characters, st.lists(paths) | json_values, max_size=4)),
    "writers": jsons(st.dictionaries(paths, st.text() | json_values)),
    "structure": jsons(st.dictionaries(st.sampled_from("木日月"), st.lists(words) | json_values)),
    "meta.json": jsons(st.fixed_dictionaries(dict.fromkeys(["characters", "writer_names"],
                                                           json_values))),
    "classes": st.text(),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
@settings(cases, max_examples=60)
@given(data=st.data())
def test_contents_of_any_form_are_read_or_named(
    name: str, tmp_path: Path, data: st.DataObject
) -> None:
    path, read = READERS[name](fresh(tmp_path))
    path.write_text(data.draw(FORMS[name]), encoding="utf-8", errors="replace")
    with works_or_names(path.parent):
        read()


# --- what once failed -----------------------------------------------------------------------------


def png_that_claims(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    checked = b"\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + checked + b"\0\0\0\0IDAT"


def tiff_of(value: float) -> bytes:
    values = np.zeros((9, 9), np.float32)
    values[4, 4:6] = value, -3e38
    return encoded(Image.fromarray(values), "TIFF")


def frames(suffix: str, count: int) -> bytes:
    others = [Image.new("RGB", (40, 40), (50 * number, 0, 0)) for number in range(1, count)]
    return encoded(glyph("RGB"), suffix, save_all=True, append_images=others)


FAULTY: dict[str, list[bytes | str]] = {
    "manifest": [
        "9" * 5000, '["\\ud800"]', '{"\\udfff": ["a.png"]}', "[" * 99_999, '{"a": [], "a": []}',
        "\0", "{" + "".join(f'"{i}": 0, ' for i in range(100_000)) + '"7": 0}',
        *(json.dumps({"木": [file]}) for file in ("../out.png", "木/../../out.png", "/etc/hostname",
                                                 "..", ".")),
    ],
    "grey.png": [
        *itertools.starmap(png_that_claims, [(8001, 8000), (1 << 30, 1 << 30), (0x7FFFFFFF, 1)]),
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        *(encoded(Image.new("1", (7000, 5000)), suffix, **options) for suffix, options in
          (("WEBP", {"lossless": True}), ("TIFF", {"compression": "group4"}))),
    ],
    "float.tif": [tiff_of(value) for value in (np.nan, np.inf, -np.inf, 3e38)],
    "font": [whole_font(height=32_000)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"), [(name, content) for name, all_ in FAULTY.items() for content in all_]
)
def test_what_once_passed_or_hung_is_named(
    name: str, content: bytes | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    (tmp_path / "out.png").write_bytes(IMAGES["grey.png"])
    path, read = READERS[name](fresh(tmp_path))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=str(path)):
        read()


def test_a_folder_that_is_linked_into_the_manifests_is_allowed(tmp_path: Path) -> None:
    path, _ = manifest(tmp_path)
    path.with_name("writers.json").unlink()
    (tmp_path / "linked").symlink_to(tmp_path)
    path.write_text('{"木": ["linked/../linked/a.png"]}', encoding="utf-8")
    assert sum(map(len, read_images(read_manifest(path), 16, "reading"))) == 1


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_any_kind_is_read(name: str, tmp_path: Path) -> None:
    path, _ = image(tmp_path, name)
    turned = canonical(np.rot90(np.asarray(glyph()), -1), 16)
    expected = turned if name == "turned.jpg" else canonical(np.asarray(glyph()), 16)
    assert np.abs(read_canonical(path, 16).astype(int) - expected).mean() < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 30_000), (30_000, 1), (2, 2), (0, 5), (0, 0)])
@pytest.mark.parametrize("ink", [0, 200])
def test_an_array_of_any_shape(size: tuple[int, int], ink: int) -> None:
    values = np.full(size, 255, np.uint8)
    values[: size[0] // 2] = ink
    with works_or_names("image"):
        assert canonical(values, 16).max() == 255


@pytest.mark.parametrize("suffix", ["TIFF", "GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("count", [2, 5])
def test_a_file_of_several_pages_or_frames_is_refused(
    suffix: str, count: int, tmp_path: Path
) -> None:
    path = tmp_path / "several"
    path.write_bytes(frames(suffix, count))
    with pytest.raises(InputError, match=f"several: it has {count} pages or frames.* save each"):
        read_canonical(path, 16)


def test_large_images_are_read_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_locked = []
    monkeypatch.setattr(reading, "LARGE_PIXELS", 1)
    monkeypatch.setattr(reading, "canonical", lambda *values: (
        is_locked.append(reading._one_large.locked()) or canonical(*values)
    ))  # fmt: skip
    manifest(tmp_path)[1]()
    assert is_locked == [True, True]


@pytest.mark.parametrize("odd", ["\u3000", "\u3099", "\u200b", "\x85", "\udcff", "\ufeff"])
def test_what_is_no_character_is_no_class(odd: str) -> None:
    with pytest.raises(InputError, match=rf"U\+{ord(odd):04X}.* is not a (single )?character"):
        class_list(f"日{odd}本")
