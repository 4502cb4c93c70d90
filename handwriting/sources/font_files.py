"""Reads a font file: its faces, how they draw characters, which characters they lack.

Files of unknown origin are read in another process, so this module imports no more than it needs.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from fontTools.ttLib import TTCollection, TTFont, newTable
from PIL import Image, ImageDraw, ImageFont

from handwriting.characters.classes import letter
from handwriting.parallel.limited import OUT_OF_MEMORY, call_limited
from handwriting.storage.stamps import quick_stamp

P = ParamSpec("P")
T = TypeVar("T")

NOT_A_CHARACTER = "\U0010fffe"  # in no font, which draws .notdef for it as for all that it lacks
MAX_INSTANCES = 64  # of a variable font
MAX_EMS = 8  # height and width of a drawing, in font sizes
MAX_SHARING = 3  # kanji and kana that may share a glyph: 剥 and 剝, へ and ヘ
MAX_ALIKE = 8  # letters of all scripts that may share one: A and Α and А
NUM_PROBES = 64  # kanji drawn to find placeholders: a drawing that two of them share is one
_JAPANESE = "あア日"  # what a font must have to count as Japanese
_OTHER_REGION = re.compile(  # in a name: Chinese, Korean shapes
    r"(?<![A-Za-z])(SC|TC|HK|KR|MO|CN|TW)(?![A-Za-z])|(?<=[a-z])(SC|TC|HK|KR|CN|TW)(?![A-Za-z])"
    r"|CJK ?(sc|tc|hk|kr)(?![a-z])|Simplified|Chinese|Korean|Hangul|[简簡繁][体體]"
)
# True homographs, and the small kana, which some fonts draw like the large ones.
_ALIKE = str.maketrans(
    "へべぺり一二八力口囗□夕卜工曰丿匕厶亻ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ",
    "ヘベペリーニハカロロロタトエ日ノヒムイあいうえおつやゆよわアイウエオツヤユヨワカケ",
)


@dataclass(frozen=True)
class FontFace:
    """One face of a font file.

    Attributes:
        index: its number within a collection (.ttc), else 0.
        name: "font:" with family and style, and with the file if others have the same; unique among
            the faces found, and the name as a writer.
        family: the family's name, as a list file may give it.
        problem: why it cannot be opened, "" if it can.
        axes: the coordinates on a variable font's axes; () for the default.
        note: what the user should know about it, "" if nothing.
        is_japanese: whether it has kana and kanji, the latter not in the shapes of another region.
        is_packaged: whether it came with an installed package, which is trusted like its code.
    """

    path: Path
    index: int
    name: str
    family: str = ""
    problem: str = ""
    axes: tuple[float, ...] = ()
    note: str = ""
    is_japanese: bool = False
    is_packaged: bool = False


def call(is_trusted: bool, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that reads a font, within resource limits unless the font is trusted."""
    return function(*args, **kwargs) if is_trusted else call_limited(function, *args, **kwargs)


def read_faces(path: Path) -> tuple[FontFace, ...]:
    """The faces of a file; of a collection only the Japanese ones, if there are any."""
    with path.open("rb") as file:
        is_collection = file.read(4) == b"ttcf"
    if is_collection:
        with TTCollection(path, lazy=True) as collection:
            faces = [f for i, font in enumerate(collection.fonts) for f in _faces(path, i, font)]
        return tuple(face for face in faces if face.is_japanese) or tuple(faces)
    with TTFont(path, lazy=True) as font:
        return tuple(_faces(path, 0, font))


def _faces(path: Path, index: int, font: TTFont) -> list[FontFace]:
    """The face of a font; for a variable font, one for each of its named instances."""
    names = font["name"] if "name" in font else newTable("name")
    family = _clean(names.getBestFamilyName()) or path.stem
    style = _clean(names.getBestSubFamilyName()) or "Regular"
    places: dict[tuple[float, ...], str] = {(): style}
    notes = []
    if "fvar" in font:
        default = tuple(axis.defaultValue for axis in font["fvar"].axes)
        named: dict[tuple[float, ...], str] = {}
        for instance in font["fvar"].instances:
            place = tuple(instance.coordinates[axis.axisTag] for axis in font["fvar"].axes)
            label = _clean(names.getDebugName(instance.subfamilyNameID)) or str(place)
            named[() if place == default else place] = label
        places = dict([*named.items()][:MAX_INSTANCES]) or places
        used = f"used: {', '.join(places.values())}"
        notes.append(f"a variable font with {len(named) or 'no'} named instances; {used}")
    region = _OTHER_REGION.search(f"{family} {style}")
    if region:
        notes.append(f"{region[0]!r} in its name suggests Chinese or Korean shapes; still used")
    opened = _opened(path, index, (), 16, quick_stamp(path))  # FreeType must read it too
    *drawings, missing = (_draw(opened, character) for character in _JAPANESE + NOT_A_CHARACTER)
    is_whole = missing not in drawings and not any(drawing.problem for drawing in drawings)
    faces = [
        FontFace(
            path, index, f"font:{family} {label}", family, "", place, "", is_whole and not region
        )
        for place, label in places.items()
    ]
    return [replace(faces[0], note="; ".join(notes)), *faces[1:]]


def _clean(name: str | None) -> str:
    """A name on one line, without control codes."""
    return " ".join("".join(c if c.isprintable() else " " for c in name or "").split())[:100]


@lru_cache(maxsize=1)
def _opened(
    path: Path, index: int, axes: tuple[float, ...], size_px: int, _stamp: str
) -> ImageFont.FreeTypeFont:
    # Not ImageFont.truetype: instead of a file that it cannot read it takes the system's namesake.
    font = ImageFont.FreeTypeFont(path, size_px, index, layout_engine=ImageFont.Layout.BASIC)
    if axes:
        font.set_variation_by_axes(list(axes))
    return font


class Drawing(NamedTuple):
    """A glyph, bright on dark, with an empty border of one pixel."""

    height: int
    width: int
    pixels: bytes  # (height, width) uint8
    problem: str = ""  # why it cannot be drawn


def draw(face: FontFace, characters: Iterable[str], size_px: int) -> list[Drawing]:
    """Characters as a face draws them, at a font size."""
    font = _opened(face.path, face.index, face.axes, size_px, quick_stamp(face.path))
    return [_draw(font, character) for character in characters]


def _draw(font: ImageFont.FreeTypeFont, character: str) -> Drawing:
    try:
        left, top, right, bottom = (int(side) for side in font.getbbox(character))
        width, height = right - left + 2, bottom - top + 2
        if max(width, height) - 2 > MAX_EMS * font.size:
            raise ValueError(f"a glyph of {width - 2} x {height - 2} px at size {font.size}")
        picture = Image.new("L", (width, height))
        ImageDraw.Draw(picture).text((1 - left, 1 - top), character, fill=255, font=font)
    except (OSError, ValueError) as error:
        if str(error) == OUT_OF_MEMORY:
            raise
        return Drawing(0, 0, b"", str(error))
    return Drawing(height, width, picture.tobytes())


class Survey(NamedTuple):
    """What a font's character map says about the requested characters."""

    mapped: set[str]  # those that have a glyph
    shared: set[str]  # those whose glyph is also that of many other characters
    probes: list[str]  # some other kanji


def survey(face: FontFace, characters: Iterable[str]) -> Survey:
    """Examine the whole character map of a face."""
    asked = set(characters)
    with TTFont(face.path, fontNumber=face.index, lazy=True) as font:
        # Numbers instead of glyph names, which may be missing from the file or damaged.
        font.setGlyphOrder([str(i) for i in range(font["maxp"].numGlyphs)])
        glyphs = {chr(code): glyph for code, glyph in (font.getBestCmap() or {}).items()}
    letters: dict[str, set[str]] = defaultdict(set)
    for character, glyph in glyphs.items():
        if unicodedata.category(character)[0] == "L":
            letters[glyph].add(character)
    many = {glyph: alike for glyph, alike in letters.items() if len(alike) > MAX_SHARING}
    shared = {glyph for glyph, alike in many.items() if differ(alike, MAX_SHARING)}
    others = sorted(c for c in glyphs.keys() - asked if "\u4e00" <= c < "\ua000")
    return Survey(
        asked & glyphs.keys(),
        {c for c in asked & glyphs.keys() if glyphs[c] in shared},
        others[:: max(1, len(others) // NUM_PROBES)],
    )


def differ(characters: Iterable[str], most: int = 1) -> bool:
    """Whether one drawing cannot be right for all characters.

    That is so for more than ``most`` kanji and kana, or ``MAX_ALIKE`` letters. Code points of one
    letter count once, and so do kanji and kana that look the same.
    """
    letters = {letter(c).translate(_ALIKE) for c in characters}
    kinds = ("CJK UNIFIED", "HIRAGANA LETTER", "KATAKANA LETTER")
    written = [c for c in letters if unicodedata.name(c[:1] or " ", "").startswith(kinds)]
    return len(written) > most or len(letters) > MAX_ALIKE
