"""Small fonts for tests."""

from collections.abc import Sequence
from pathlib import Path

from fontTools.cffLib import SubrsIndex
from fontTools.fontBuilder import FontBuilder
from fontTools.misc.psCharStrings import T2CharString
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.DefaultTable import DefaultTable
from fontTools.ttLib.tables.TupleVariation import TupleVariation

EMPTY = dict.fromkeys(("xMin", "yMin", "xMax", "yMax"), 0)


def rectangle(width: int, height: int):  # type: ignore[no-untyped-def]
    """A glyph; nothing at all if it has no width."""
    pen = TTGlyphPen(None)
    if width:
        pen.moveTo((100, 0))
        pen.lineTo((100, height))
        pen.lineTo((100 + width, height))
        pen.lineTo((100 + width, 0))
        pen.closePath()
    return pen.glyph()


def build_font(
    path: Path,
    characters: str,
    blank: str = "",
    tofu: str = "",
    shared: str = "",
    copies: str = "",
    nested: int = 0,
    weights: Sequence[str] = (),
    family: str = "Test",
    style: str = "Regular",
    height: int = 800,
) -> Path:
    """A font whose glyphs are rectangles, one kind for each way in which a glyph can be missing.

    Args:
        copies: characters with a glyph each, all drawn the same.
        nested: levels of glyphs that refer to the one below twice; the last character is the top.
        weights: the names of instances, which makes it a variable font.
    """
    glyphs = {".notdef": rectangle(500, 700), "tofu": rectangle(500, 700)}
    glyphs |= {"blank": rectangle(0, 0), "shared": rectangle(300, 900)}
    character_glyphs = {}
    for i, character in enumerate(characters):
        name = f"u{ord(character):04X}"
        for kind, members in (("blank", blank), ("tofu", tofu), ("shared", shared)):
            name = kind if character in members else name
        size = (310, 910) if character in copies else (200 + 10 * i, height)
        glyphs.setdefault(name, rectangle(*size))
        character_glyphs[ord(character)] = name
    for level in range(nested):
        pen = TTGlyphPen(glyphs)
        for _ in range(2):
            pen.addComponent(f"level{level - 1}" if level else "blank", (1, 0, 0, 1, 0, 0))
        glyphs |= {"blank": rectangle(0, 0), f"level{level}": pen.glyph()}
        character_glyphs[ord(characters[-1])] = f"level{level}"
    for glyph in glyphs.values():
        glyph.recalcBounds(None) if not glyph.isComposite() else glyph.__dict__.update(EMPTY)
    builder = FontBuilder(1000, isTTF=True)
    builder.font.recalcBBoxes = not nested  # it would not end either
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(character_glyphs)
    builder.setupGlyf(glyphs, calcGlyphBounds=False)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": style})
    if weights:
        places = [{"location": {"wght": 100 * i}, "stylename": s} for i, s in enumerate(weights, 1)]
        builder.setupFvar([("wght", 100, 100, 900, "Weight")], places)
        moves = [(0, 0)] * 2 + [(300, 0)] * 2 + [(0, 0)] * 4  # points, and four of the metrics
        wider = TupleVariation({"wght": (0, 1, 1)}, moves)
        builder.setupGvar({name: [wider] for name in character_glyphs.values()})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def nested_subroutines(path: Path, characters: str) -> Path:
    """A CFF font whose characters are drawn by subroutines that call the next a hundred times."""
    subrs = SubrsIndex()
    for level in range(9):
        calls = [level + 1 - 107, "callsubr"] * 100 if level < 8 else [1, "hmoveto"]
        subrs.append(T2CharString(program=[*calls, "return"]))
    names = [f"u{ord(character):04X}" for character in characters]
    builder = FontBuilder(1000, isTTF=False)
    builder.setupGlyphOrder([".notdef", *names])
    builder.setupCharacterMap({ord(c): name for c, name in zip(characters, names, strict=True)})
    glyphs = {name: T2CharString(program=[-107, "callsubr", "endchar"]) for name in names}
    builder.setupCFF("Deep", {}, {".notdef": T2CharString(program=["endchar"]), **glyphs}, {})
    builder.font["CFF "].cff[0].Private.Subrs = subrs
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *names], (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Deep", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.font.recalcBBoxes = False
    builder.save(path)
    return path


def with_table(font: Path, tag: str, content: bytes, flavor: str | None = None) -> Path:
    """A font with other bytes as one of its tables."""
    with TTFont(font) as opened:
        opened[tag] = DefaultTable(tag)
        opened[tag].data = content
        opened.flavor = flavor
        opened.save(font, reorderTables=None)
    return font
