"""Small fonts for tests."""

from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen


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
    family: str = "Test",
    style: str = "Regular",
    height: int = 800,
) -> Path:
    """A font whose glyphs are rectangles, one kind for each way in which a glyph can be missing."""
    glyphs = {".notdef": rectangle(500, 700), "tofu": rectangle(500, 700)}
    glyphs |= {"blank": rectangle(0, 0), "shared": rectangle(300, 900)}
    character_glyphs = {}
    for i, character in enumerate(characters):
        name = f"u{ord(character):04X}"
        for kind, members in (("blank", blank), ("tofu", tofu), ("shared", shared)):
            name = kind if character in members else name
        glyphs.setdefault(name, rectangle(200 + 10 * i, height))
        character_glyphs[ord(character)] = name
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(character_glyphs)
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 100)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path
