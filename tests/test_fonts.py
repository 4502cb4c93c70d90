"""Fonts: found by every kind of name, used only for glyphs that they really have."""

import itertools
import os
import re
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from font_builder import build_font, nested_subroutines, with_table
from fontTools.ttLib import TTCollection, TTFont
from PIL import Image, ImageDraw, ImageFont

from handwriting.characters.classes import class_list
from handwriting.config import Fonts
from handwriting.corpus.readers.handwritten_fonts import HandwrittenFontsData
from handwriting.errors import InputError
from handwriting.images.canonical import canonical
from handwriting.parallel import limited
from handwriting.parallel.limited import call_limited
from handwriting.sources import fonts, glyphs
from handwriting.sources.font_files import FontFace
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images, render_font
from handwriting.storage.places import INFORMATION_DIR

KANA = "".join(class_list("hiragana"))


def names(faces: Sequence[FontFace]) -> list[str]:
    return [face.name.removeprefix("font:") for face in faces]


@pytest.fixture
def no_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A system whose only font folder is this one."""
    folder = tmp_path / "system" / "fonts"
    folder.mkdir(parents=True)
    monkeypatch.setattr(fonts, "system_files", lambda: sorted(folder.rglob("*.*")))
    return folder


def only_face(path: Path) -> FontFace:
    (face,) = find_fonts(packages=(), folders=[str(path)])
    return face


# --- finding ---------------------------------------------------------------------------------


def test_packaged_fonts_are_found_without_importing_them() -> None:
    before = set(sys.modules)
    faces = find_fonts()
    assert set(names(faces)) >= {"Noto Sans JP Regular", "Noto Serif JP Regular"}
    assert len({face.name for face in faces}) == len(faces) == 4
    assert not {"pylopdf_fonts_jp", "matplotlib_fontja"} & (set(sys.modules) - before)


def test_the_shipped_list_names_the_packaged_fonts() -> None:
    listed = find_fonts(packages=(), list_file=str(INFORMATION_DIR / "use_font.txt"))
    assert set(listed) == set(find_fonts())


def test_folders_are_searched_below_and_a_face_is_used_once(tmp_path: Path) -> None:
    build_font(tmp_path / "a.ttf", KANA)
    build_font(tmp_path / "deep" / "same.ttf", KANA)
    build_font(tmp_path / "deep" / "bold.TTF", KANA, style="Bold")
    (tmp_path / "readme.txt").write_text("not a font")
    assert names(find_fonts(packages=(), folders=[str(tmp_path)])) == ["Test Regular", "Test Bold"]


def test_a_collection_gives_its_japanese_faces(tmp_path: Path) -> None:
    parts = [
        build_font(tmp_path / "jp.ttf", "あア日", family="Test JP"),
        build_font(tmp_path / "sc.ttf", "あア日", family="Test SC"),
        build_font(tmp_path / "latin.ttf", "ABC", family="Test Latin"),
        build_font(tmp_path / "jp2.ttf", "あア日", family="Other JP"),
    ]
    collection = TTCollection()
    collection.fonts = [TTFont(part) for part in parts]
    collection.save(tmp_path / "all.ttc")
    faces = find_fonts(packages=(), folders=[str(tmp_path / "all.ttc")])
    assert [(face.name, face.index) for face in faces] == [
        ("font:Test JP Regular", 0),
        ("font:Other JP Regular", 3),
    ]


def test_system_fonts_are_japanese_ones(no_system: Path) -> None:
    build_font(no_system / "jp.ttf", "あア日", family="Brush")
    build_font(no_system / "latin.ttf", "ABC", family="Latin")
    build_font(no_system / "cn.otf", "あア日", family="Sans SC")
    (no_system / "broken.ttf").write_bytes(b"no font")
    assert names(find_fonts(packages=(), system=True)) == ["Brush Regular"]


def test_every_form_of_a_list_line(tmp_path: Path, no_system: Path) -> None:
    build_font(tmp_path / "here" / "path.ttf", KANA, family="By Path")
    build_font(tmp_path / "else" / "absolute.ttf", KANA, family="By Absolute Path")
    build_font(tmp_path / "folder" / "deep" / "name.ttf", KANA, family="By Name")
    build_font(no_system / "x" / "family.ttf", KANA, family="By Family", style="Bold")
    build_font(no_system / "x" / "family2.ttf", KANA, family="By Family", style="Light")
    build_font(no_system / "x" / "face.ttf", KANA, family="By Face", style="Light")
    build_font(no_system / "x" / "face2.ttf", KANA, family="By Face", style="Thin")
    list_file = tmp_path / "list.txt"
    list_file.write_text(
        "# fonts\n\nhere/path.ttf  # a path\n"
        f"{tmp_path / 'else' / 'absolute.ttf'}\n"
        "name.ttf\nby family\nBy Face Light\npylopdf_fonts_jp\n",
        encoding="utf-8-sig",
    )
    found = find_fonts(packages=(), folders=[str(tmp_path / "folder")], list_file=str(list_file))
    assert sorted(names(found)) == [
        "By Absolute Path Regular",
        "By Face Light",
        "By Family Bold",
        "By Family Light",
        "By Name Regular",
        "By Path Regular",
        "Noto Sans JP Regular",
        "Noto Serif JP Regular",
    ]


def test_every_bad_line_of_a_list_is_told(tmp_path: Path, no_system: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"this is no font")
    (tmp_path / "list.txt").write_text("broken.ttf\n# comment\nNo Such Family\nnone.otf\n")
    with pytest.raises(InputError) as error:
        find_fonts(packages=["no_such_package"], list_file=str(tmp_path / "list.txt"))
    message = str(error.value)
    assert "list.txt:1" in message
    assert "broken.ttf: not a readable font" in message
    assert "list.txt:3: no font file, family or package 'No Such Family'" in message
    assert "list.txt:4" in message
    assert "package no_such_package: not installed" in message


def test_no_font_at_all_says_what_to_do(no_system: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pip install pylopdf-fonts-jp"):
        find_fonts(packages=(), system=True)
    with pytest.raises(InputError, match="cannot read the font list"):
        find_fonts(packages=(), list_file=str(tmp_path / "none.txt"))
    with pytest.raises(InputError, match="empty: no such font or folder"):
        find_fonts(packages=(), folders=[str(tmp_path / "empty")])


def test_a_named_file_must_be_a_font_but_a_folder_may_hold_others(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"\0\1\0\0 damaged")
    with pytest.raises(InputError, match=r"broken\.ttf: not a readable font"):
        find_fonts(packages=(), folders=[str(broken)])
    build_font(tmp_path / "good.ttf", KANA)
    faces = find_fonts(packages=(), folders=[str(tmp_path)])
    packed, skipped = font_images(faces, KANA, 32, tmp_path / "cache")
    assert packed.writer_names == ("font:Test Regular",)
    (line,) = skipped
    assert f"{broken}: not a readable font" in line


def told(faces: Sequence[FontFace], cache: Path) -> str:
    return "\n".join(font_images(faces, KANA, 16, cache)[1])


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["anna/font.ttf", "ben/font.ttf", "c/carl.ttf"], ["anna/font", "ben/font", "c/carl"]),
        (["x/a.ttf", "x/b.ttf"], ["a", "b"]),
        (["a/x/f.ttf", "b/x/f.ttf"], ["a/x/f", "b/x/f"]),
        (["f.otf", "f.ttf"], ["f.otf", "f.ttf"]),
    ],
)
def test_people_whose_fonts_have_one_name_are_told_apart(
    files: list[str], expected: list[str], tmp_path: Path
) -> None:
    for i, file in enumerate(files):
        build_font(tmp_path / "f" / file, KANA, family="MyHand", height=705 + 10 * i)
    (tmp_path / "f" / "z.ttf").write_bytes((tmp_path / "f" / files[0]).read_bytes())
    faces = find_fonts(packages=(), folders=[str(tmp_path / "f")])
    assert names(faces) == [f"MyHand Regular ({label})" for label in expected]
    line = f"{len(files)} different fonts have this name: "
    assert told(faces, tmp_path / "cache").count(line) == 1


def test_a_font_without_names_is_called_like_its_file(tmp_path: Path) -> None:
    with TTFont(build_font(tmp_path / "web.ttf", KANA)) as font:
        del font["name"]
        font.save(tmp_path / "web.ttf")
    assert names([only_face(tmp_path / "web.ttf")]) == ["web Regular"]


def test_a_packaged_font_keeps_its_name(tmp_path: Path) -> None:
    build_font(tmp_path / "mine.ttf", KANA, family="Noto Sans JP")
    (tmp_path / "the packaged one.ttf").symlink_to(find_fonts()[0].path)
    found = names(find_fonts(folders=[str(tmp_path)]))
    assert found == [*names(find_fonts()), "Noto Sans JP Regular (mine)"]


@pytest.mark.parametrize("flavor", ["woff", "woff2"])
def test_web_fonts_and_collections_are_read_whatever_their_suffix(
    flavor: str, tmp_path: Path
) -> None:
    font = TTFont(build_font(tmp_path / "a.ttf", KANA), recalcTimestamp=False)
    font.flavor = flavor
    font.save(tmp_path / f"b.{flavor}")
    font.flavor = None
    collection = TTCollection()
    collection.fonts = [font, TTFont(build_font(tmp_path / "c.ttf", KANA, family="Other"))]
    collection.save(tmp_path / "c.ttf")
    faces = find_fonts(packages=(), folders=[str(tmp_path)])
    expected = ["Test Regular (a)", "Test Regular (b)", "Test Regular (c)", "Other Regular"]
    assert names(faces) == expected
    images = [render_font(face, KANA, 16)[0].tobytes() for face in faces]
    assert len(set(images)) == 1


def test_hands_are_named_by_their_paths_and_are_different_people(tmp_path: Path) -> None:
    hands = [tmp_path / person / "font.ttf" for person in ("anna", "ben", "carl")]
    for i, hand in enumerate(hands):
        build_font(hand, KANA, family="MyHand", height=605 + 50 * i)
    data = HandwrittenFontsData(
        characters=KANA, hands=[*map(str, hands)], train_writers=1, split_seed=0
    )
    splits = data.read(Fonts(), 16, tmp_path / "cache")
    found = {name for split in (splits.train, splits.validation, splits.test) for name in
             split.present_writers()}  # fmt: skip
    assert found == {"hand:anna/font", "hand:ben/font", "hand:carl/font"}
    hands[2].write_bytes(hands[0].read_bytes())
    with pytest.raises(InputError, match=r"a leak.*\n.*anna/font.ttf is in .*anna.* and in .*carl"):
        data.read(Fonts(), 16, tmp_path / "cache")


def test_each_named_instance_of_a_variable_font_is_a_face(tmp_path: Path) -> None:
    path = build_font(tmp_path / "v.ttf", KANA, style="Thin", weights=["Thin", "Black", "Heavy"])
    faces = find_fonts(packages=(), folders=[str(path)])
    assert names(faces) == ["Test Thin", "Test Black", "Test Heavy"]
    images = [render_font(face, KANA, 16)[0] for face in faces]
    assert len({image.tobytes() for image in images}) == 3
    line = "a variable font with 3 named instances; used: Thin, Black, Heavy"
    assert told(faces, tmp_path / "cache").count(line) == 1


@pytest.mark.parametrize(
    ("family", "region"),
    [("Hand SC", "SC"), ("HandCN", "CN"), ("Hand CJK kr", "CJK kr"), ("Hand TW", "TW"),
     ("Simplified Hand", "Simplified"), ("手書き简体", "简体"), ("Hand JP", ""), ("SCHOOL", "")],
)  # fmt: skip
def test_shapes_of_another_region_are_told(family: str, region: str, tmp_path: Path) -> None:
    face = only_face(build_font(tmp_path / "f.ttf", KANA, family=family))
    line = f"{region!r} in its name suggests Chinese or Korean shapes" if region else ""
    assert line in told([face], tmp_path / "cache")
    assert bool(face.note) == bool(region)


@pytest.mark.parametrize("file", ["a.woff2", "a.PFB", "a.dfont", "a.eot", "wOF2.ttf", "empty.ttf"])
def test_what_looks_like_a_font_and_is_not_read_is_told(file: str, tmp_path: Path) -> None:
    build_font(tmp_path / "good.ttf", KANA)
    (tmp_path / file).write_bytes(b"" if "empty" in file else b"wOF2" * ("2" in file) + bytes(99))
    faces = find_fonts(packages=(), folders=[str(tmp_path)])
    assert f"{file}: not a readable font" in told(faces, tmp_path / "cache")
    with pytest.raises(InputError, match=f"{file}: not a readable font"):
        find_fonts(packages=(), folders=[str(tmp_path / file)])


# --- rendering -------------------------------------------------------------------------------


def test_glyphs_that_are_not_there_are_not_rendered(tmp_path: Path) -> None:
    path = build_font(
        tmp_path / "f.ttf", "あいうえおかきく", blank="い", tofu="う", shared="えおかき"
    )
    images, rendered, skipped = render_font(only_face(path), "あいうえおかきくけ", 32)
    assert rendered == [0, 7]
    assert images.shape == (2, 32, 32)
    assert skipped == [
        ("い", "blank glyph"),
        ("う", "not in the font"),
        *((c, "drawn as a placeholder") for c in "えおかき"),
        ("け", "not in the font"),
    ]


def test_a_few_characters_may_look_the_same(tmp_path: Path) -> None:
    """へ and ヘ are one drawing in many fonts."""
    path = build_font(tmp_path / "f.ttf", "あへヘ", shared="へヘ")
    images, rendered, skipped = render_font(only_face(path), "あへヘ", 32)
    assert rendered == [0, 1, 2]
    assert (images[1] == images[2]).all()
    assert not skipped


MANY = "".join(map(chr, range(0x4E00, 0x5E00)))


@pytest.mark.parametrize(
    ("font", "asked", "lacking"),
    [
        ({"characters": "あ鬱" + MANY, "shared": "鬱" + MANY}, "あ鬱", "鬱"),
        ({"characters": "あ鬱" + MANY[:99], "copies": "鬱" + MANY[:99]}, "あ鬱", "鬱"),
        ({"characters": "あ鬱麤", "copies": "鬱麤"}, "あ鬱麤", "鬱麤"),
        ({"characters": "あ剥剝", "shared": "剥剝"}, "あ剥", ""),
        ({"characters": "あアイ", "shared": "あア"}, "あアイ", "あア"),
        ({"characters": "あ鬱〓", "copies": "鬱〓"}, "あ鬱", "鬱"),
        ({"characters": "あ鬱\ufffd", "copies": "鬱\ufffd"}, "あ鬱", "鬱"),
        ({"characters": "あ鬱□", "shared": "鬱□"}, "あ鬱", "鬱"),
        ({"characters": "あ口□ロ", "copies": "口□ロ"}, "あ口□ロ", ""),
        ({"characters": "あ口□ロ", "tofu": "口ロ"}, "あ口ロ", ""),
        ({"characters": "あ口鬱", "tofu": "口鬱"}, "あ口鬱", "口鬱"),
        ({"characters": "へヘ一ー八ハ神\ufa19", "shared": "一ー", "copies": "神\ufa19"},
         "へヘ一ー八ハ神\ufa19", ""),
        ({"characters": "あー一-‐–—―−", "shared": "ー一-‐–—―−"}, "あー", ""),
    ],
)  # fmt: skip
def test_placeholders_are_not_glyphs_and_homographs_are(
    font: dict[str, str], asked: str, lacking: str, tmp_path: Path
) -> None:
    path = build_font(tmp_path / "f.ttf", **font)
    assert "".join(c for c, _ in render_font(only_face(path), asked, 16)[2]) == lacking


def test_a_glyph_is_the_canonical_form_of_the_whole_drawing() -> None:
    """Drawn anywhere on a large page, nothing is cut off and nothing is different."""
    face = find_fonts()[1]
    characters = "あン一鬱"
    images, rendered, _ = render_font(face, characters, 64)
    font = ImageFont.truetype(face.path, 256)
    for image, position in zip(images, rendered, strict=True):
        page = Image.new("L", (900, 900), 255)
        ImageDraw.Draw(page).text((311, 287), characters[position], fill=0, font=font)
        assert (image == canonical(np.asarray(page), 64)).all()
        assert (image == canonical(image, 64)).all()


def test_packaged_fonts_have_the_evaluation_characters(tmp_path: Path) -> None:
    characters = class_list("evaluation")
    faces = find_fonts()[:2]
    packed, skipped = font_images(faces, characters, 32, tmp_path)
    assert len(packed) == 2 * len(characters) == 2 * 973
    assert packed.writer_names == ("font:Noto Sans JP Regular", "font:Noto Serif JP Regular")
    assert (packed.labels == np.tile(np.arange(973), 2)).all()
    assert (packed.writers == np.repeat([0, 1], 973)).all()
    assert not skipped


def test_a_poor_font_is_skipped_whole_and_told(tmp_path: Path) -> None:
    half = build_font(tmp_path / "f" / "half.ttf", KANA[:23], family="Half")
    most = build_font(tmp_path / "f" / "most.ttf", KANA[:44], blank=KANA[0], family="Most")
    full = build_font(tmp_path / "f" / "full.ttf", KANA, family="Full")
    faces = [only_face(path) for path in (half, most, full)]
    packed, skipped = font_images(faces, KANA, 32, tmp_path / "cache")
    assert packed.writer_names == ("font:Most Regular", "font:Full Regular")
    assert len(packed) == 43 + 46
    half_line, most_line = skipped
    assert half_line.startswith("skipped  font:Half Regular: lacks 23 of 46: 23 not in the font")
    assert most_line.startswith("partly used  font:Most Regular: lacks 3 of 46: 1 blank glyph (あ)")
    every, _ = font_images(faces, KANA, 32, tmp_path / "cache", min_coverage=0.5)
    assert len(every) == 23 + 43 + 46


def test_a_character_without_any_glyph_is_named(tmp_path: Path) -> None:
    face = only_face(build_font(tmp_path / "f.ttf", KANA[:-1]))
    with pytest.raises(InputError, match=r"none of the fonts.*\n.*ん \(U\+3093\)"):
        font_images([face], KANA, 32, tmp_path / "cache")
    with pytest.raises(InputError, match="no font can be used"):
        font_images([face], class_list("katakana"), 32, tmp_path / "cache")


def test_a_font_is_rendered_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_font(tmp_path / "f.ttf", KANA, blank=KANA[5])
    faces = [only_face(path), only_face(build_font(tmp_path / "full.ttf", KANA, family="Full"))]
    calls: list[str] = []
    render = glyphs.render_font

    monkeypatch.setattr(
        glyphs, "render_font", lambda face, *rest: calls.append(face.name) or render(face, *rest)
    )
    first, lacks = font_images(faces, KANA[:20], 32, tmp_path / "cache")
    again, lacks_again = font_images(faces, KANA[:20], 32, tmp_path / "cache")
    assert len(calls) == 2
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.labels == again.labels).all()
    assert lacks == lacks_again
    assert "blank glyph" in lacks[0]
    font_images(faces, KANA[:21], 32, tmp_path / "cache")
    font_images(faces, KANA[:20], 40, tmp_path / "cache")
    assert len(calls) == 6
    os.utime(path, ns=(1, 1))
    font_images(faces, KANA[:20], 32, tmp_path / "cache")
    assert calls[6:] == ["font:Test Regular"]


def test_a_font_damaged_after_it_was_found_is_skipped(tmp_path: Path) -> None:
    good = only_face(build_font(tmp_path / "a.ttf", KANA, family="Good"))
    bad = only_face(build_font(tmp_path / "b.ttf", KANA, family="Bad"))
    bad.path.write_bytes(bad.path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"b\.ttf"):
        render_font(bad, KANA, 32)
    gone = only_face(build_font(tmp_path / "c.ttf", KANA, family="Gone"))
    gone.path.unlink()
    packed, skipped = font_images([good, bad, gone], KANA, 32, tmp_path / "cache")
    assert packed.writer_names == ("font:Good Regular",)
    assert [line.split(": ")[0] for line in skipped] == [
        "skipped  font:Bad Regular", "skipped  font:Gone Regular",
    ]  # fmt: skip


# --- within limits ---------------------------------------------------------------------------


def overlapping_names(path: Path) -> Path:
    records = b"".join(struct.pack(">6H", 3, 1, 0x409, 1, 65534, i % 9) for i in range(30_000))
    content = struct.pack(">3H", 0, 30_000, 6) + records
    return with_table(build_font(path, KANA), "name", content)


def endless_character_map(path: Path) -> Path:
    content = struct.pack(">4HI", 0, 1, 3, 10, 12)
    content += struct.pack(">2H6I", 12, 0, 28, 0, 1, 0x20, 0x7FFF_FFFF, 1)
    return with_table(build_font(path, KANA), "cmap", content)


BOMBS: dict[str, Callable[[Path], Path]] = {
    "nested composites": lambda path: build_font(path, KANA, nested=40),
    "nested subroutines": lambda path: nested_subroutines(path, KANA),
    "overlapping names": overlapping_names,
    "an endless character map": endless_character_map,
    "WOFF": lambda path: with_table(build_font(path, KANA), "junk", bytes(2**28), "woff"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_font_that_would_never_end_is_left_out_and_told(
    bomb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited, "MAX_CPU_S", 1)
    monkeypatch.setattr(limited, "MAX_BYTES", 2**28)
    path = BOMBS[bomb](tmp_path / "bomb.ttf")
    assert path.stat().st_size < 2**20
    build_font(tmp_path / "good.ttf", KANA, family="Good")
    faces = find_fonts(packages=(), folders=[str(tmp_path)])
    packed, skipped = font_images(faces, KANA, 32, tmp_path / "cache")
    assert packed.writer_names == ("font:Good Regular",)
    (line,) = skipped
    assert f"{path}: " in line
    assert re.search("takes more than 1 s of|needs more than 0.25 GB|broken file", line)


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        (sum, itertools.repeat(1), "takes more than 1 s of CPU time"),
        (bytes, 2**33, "needs more than 1 GB of memory"),
        (signal.raise_signal, signal.SIGSEGV, "crashes the process that reads it .SIGSEGV"),
        (signal.raise_signal, signal.SIGKILL, "crashes the process that reads it .SIGKILL"),
        (os._exit, 3, "exit status 3"),
        (int, "x", "invalid literal"),
    ],
)
def test_whatever_a_call_does_is_told_and_the_next_is_answered(
    function: Callable[..., object], argument: object, expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(limited, "MAX_CPU_S", 1)
    with pytest.raises(InputError, match=expected):
        call_limited(function, argument)
    assert call_limited(print, "is no answer") is None
    assert call_limited(divmod, 7, 2) == (3, 1)


def test_what_is_in_the_cache_needs_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build_font(tmp_path / "f" / "a.ttf", KANA, weights=["Thin", "Black"])

    def read() -> tuple[list[FontFace], bytes]:
        fonts._described.cache_clear()  # as in another process
        cache_dir = tmp_path / "cache"
        faces = find_fonts(folders=[str(path.parent)], cache_dir=cache_dir)
        return faces, font_images(faces, KANA, 16, cache_dir)[0].images[:].tobytes()

    first = read()
    with monkeypatch.context() as patch:
        patch.setattr(fonts, "call", lambda is_packaged, *call: call[0](*call[1:]) if is_packaged
                      else pytest.fail("it was read again"))  # fmt: skip
        assert read() == first
    (kept,) = (tmp_path / "cache" / "faces").iterdir()
    kept.write_text(kept.read_text().replace("Test", "Tent"))
    assert read() == first
