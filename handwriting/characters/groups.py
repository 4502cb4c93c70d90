"""The groups of characters in which results are reported: scripts, and kanji by stroke count."""

import unicodedata
from functools import cache

from handwriting.characters import kanjivg
from handwriting.characters.classes import is_kanji

KANA = ("hiragana", "katakana")
STROKES = {"1-5": range(1, 6), "6-10": range(6, 11), "11-15": range(11, 16), "16-": range(16, 99)}
OTHERS = "others"
GROUPS = (*KANA, *(f"kanji {span}" for span in STROKES), OTHERS)


def script_of(character: str) -> str:
    """hiragana, katakana, kanji or others."""
    first = unicodedata.name(character, "").split(" ")[0].lower()
    return first if first in KANA else "kanji" if is_kanji(character) else OTHERS


@cache
def group_of(character: str) -> str:
    """One of ``GROUPS``; a kanji without a drawing in KanjiVG is among the others."""
    script = script_of(character)
    if script != "kanji":
        return script
    if not kanjivg.has_drawing(character):
        return OTHERS
    count = len(kanjivg.read(character).strokes)
    return next(f"kanji {name}" for name, span in STROKES.items() if count in span)
