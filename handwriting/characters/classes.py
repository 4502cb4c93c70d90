"""The classes: which characters a study is about.

Lists by name are derived from the JIS X 0208 codec or read from ``information/classes``; a path to
a text file with one character per line (or any white space) works wherever a name does.

A class is one code point in Unicode NFC, and one letter is one class: ア and ｱ are not two. All
outside input, be it a list, a manifest or a structure file, passes through ``composed``.
"""

import logging
import os
import re
import string
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from handwriting.errors import InputError, report_problems
from handwriting.storage.places import INFORMATION_DIR

_NOT_WRITTEN = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me")  # general categories
_NOT_SEEN = "\u115f\u1160\u2800\u3164\uffa0\ufffc\ufffd"  # fillers, and the replacement character
# CP932 maps four characters of JIS X 0208 to other code points than the standard's codec.
_CP932 = str.maketrans("~-—∥", "〜−―‖")
_SELECTOR = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")  # of variants
_SEPARATORS = string.punctuation + "、。・「」『』…‥〜–—‐"
_log = logging.getLogger(__name__)


def is_character(text: str) -> bool:
    """Whether a text is a single character, and not a blank, control code, mark or surrogate."""
    return (
        len(text) == 1 and unicodedata.category(text) not in _NOT_WRITTEN and text not in _NOT_SEEN
    )


@cache
def is_kanji(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK UNIFIED")


@cache
def is_visible(text: str) -> bool:
    """Whether a text consists of characters with their marks, and of nothing invisible."""
    return not _SELECTOR.search(text) and all(is_character(c[0]) for c in divided(text))


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def named(text: str) -> str:
    """A text's code points and their names, for messages on invisible or look-alike characters."""
    names = " + ".join(f"U+{ord(c):04X} {unicodedata.name(c, '')}".strip() for c in text)
    return f"{text} ({names})" if text.isprintable() else names


def letter(text: str) -> str:
    """A canonical form shared by all code points of a letter; circled or squared ones differ."""
    if len(text) == 1 and unicodedata.decomposition(text).startswith(("<circle>", "<square>")):
        return text
    folded = unicodedata.normalize("NFKC", _SELECTOR.sub("", text))
    return folded.strip().translate(_CP932)


def composed(what: str, texts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Texts that each should be one class, and their characters in NFC.

    Args:
        what: where they come from, for a warning about code points that may not be the intended
            ones.
        texts: as they were given.

    Returns:
        Text -> character, and the problems: texts that are not one character or are listed again,
        and two code points of one letter.
    """
    characters: dict[str, str] = {}
    problems: dict[str, None] = {}
    by_letter: dict[str, str] = {}
    unusual: list[str] = []
    for text in texts:
        character = nfc(text)
        first = by_letter.get(letter(character))
        if fault := _fault(character):
            problems[fault] = None
        elif text == first:
            problems[f"{text} (U+{ord(character):04X}) is listed more than once"] = None
        elif first is not None:
            problems[f"{named(first)} and {named(text)} are the same letter: keep one"] = None
        else:
            characters[text], by_letter[letter(character)] = character, text
            if len(text) == 1 and text != character:
                unusual.append(f"{named(text)} is read as {named(character)}")
            elif unicodedata.name(character, "").startswith("HALFWIDTH"):
                unusual.append(f"{named(text)} is a half-width {named(letter(text))}")
            elif unicodedata.name(character, "").startswith("CJK RADICAL"):
                unusual.append(f"{named(text)} is a radical; the character has another code point")
    if unusual:
        more = f" and {len(unusual) - 3} more" if len(unusual) > 3 else ""
        _log.warning("%s: %s%s: is this intended?", what, "; ".join(unusual[:3]), more)
    return characters, [*problems]


def _fault(character: str) -> str:
    """Why a text in NFC is not a class, "" if it is."""
    plain = letter(character)
    name = unicodedata.name(character, "") if len(character) == 1 else ""
    is_radical = name.startswith(("KANGXI RADICAL", "CJK RADICAL")) and plain != character
    if is_character(character) and not is_radical:
        return ""
    if plain != character and is_character(plain):
        how = ", without the variation selector" if _SELECTOR.search(character) else ""
        return f"{named(character)}: use {named(plain)}{how}"
    if len(character) == 1:
        return f"{named(character)} is not a character"
    shown = f"{character!r:.40}" if len(character) > 3 or character.isascii() else named(character)
    has_marks = all(map(_is_mark, character[1:]))
    why = ": a class is one code point, and this combination has none" if has_marks else ""
    return f"{shown} is not a single character{why}"


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def divided(text: str) -> list[str]:
    """The characters of a text, each with the marks and selectors that belong to it."""
    characters: list[str] = []
    for c in text:
        if characters and (
            _is_mark(c) or len(unicodedata.normalize("NFKC", characters[-1] + c)) == 1
        ):
            characters[-1] += c
        else:
            characters.append(c)
    return characters


def _record(line: str) -> str:
    """Why a line is a record or a sequence with separators; "" if it is a list of characters."""
    if any(unicodedata.category(c)[0] in "LN" for c in line):
        for c in line:
            if c in _SEPARATORS or unicodedata.normalize("NFKC", c) in _SEPARATORS:
                return f"the symbol {named(c)} stands beside other characters"
    words = line.split()
    for is_of_kind, kind in ((str.isdigit, "number"), (str.isascii, "Latin word")):
        some = [word for word in words if is_of_kind(word)]
        longest = max(map(len, some), default=0)
        # "0 1 2 A B" is a list, and so is a line of all digits followed by all letters.
        if 0 < len(some) < len(words) and longest <= 6 and (len(some) == 1 or longest > 1):
            return f"the {kind} {max(some, key=len)} stands beside other characters"
    for word in words:
        if re.fullmatch(r"\d{1,4}[^\d\W]|[^\d\W]\d{1,4}", word):
            return f"a number stands beside a character in {word}"
    return ""


def _jis_rows(*rows: int) -> tuple[str, ...]:
    """The characters of rows (ku) of JIS X 0208, through their EUC-JP form."""
    cells = (bytes([0xA0 + row, 0xA0 + cell]) for row in rows for cell in range(1, 95))
    return tuple("".join(cell.decode("euc_jp", "ignore") for cell in cells))


def _read_list(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the class list {path}: {error}") from error
    lines = [line.split("#")[0] for line in text.splitlines()]
    faults = [(i, line, _record(line)) for i, line in enumerate(lines, 1)]
    report_problems(
        f"class list {path}",
        [f"line {i}, {line!r:.40}: {fault}" for i, line, fault in faults if fault],
        "A list is the characters and nothing else, ideally one per line, without numbers, "
        "readings or separators; to use digits, Latin letters or symbols as classes, put each on a "
        "line of its own.",
    )
    return tuple(c for line in lines for word in line.split() for c in divided(word))


@cache
def named_lists() -> dict[str, tuple[str, ...]]:
    """Every named class list."""
    # Small, voiced and obsolete kana are not among the 46.
    basic = (c for c in _jis_rows(4) if len(unicodedata.normalize("NFD", c)) == 1)
    hiragana = tuple(c for c in basic if c not in "ぁぃぅぇぉっゃゅょゎゐゑ")
    katakana = tuple(chr(ord(c) + 0x60) for c in hiragana)
    kanji = _jis_rows(*range(16, 48))  # the 2,965 of level 1
    education = _read_list(INFORMATION_DIR / "classes" / "education_1948.txt")
    lists = {
        "hiragana": hiragana,
        "katakana": katakana,
        "kanji": kanji,
        "all": hiragana + katakana + kanji,
        "evaluation": hiragana + katakana + education,
        "kanji_300": education[:300],
    }
    for path in sorted((INFORMATION_DIR / "classes").glob("*.txt")):
        lists.setdefault(path.stem, _read_list(path))
    # The characters that the weights that ship have seen.
    lists["base"] = tuple(c for c in lists["all"] if c not in lists["held_out"])
    return lists


def class_list(name_or_path: str) -> tuple[str, ...]:
    """The characters of a named list or of a text file, or the given characters, in order.

    Raises:
        InputError: it is none of these, or the list is empty, has numbers or separators, lists a
            letter twice (in whatever code points), or has something that is not a character, such
            as a blank or a mark without its kana.
    """
    lists = named_lists()
    if name_or_path in lists:
        return lists[name_or_path]
    what = f"class list {name_or_path}"
    if os.path.isfile(name_or_path):  # unlike Path.is_file, does not raise if the name is too long
        characters = _read_list(Path(name_or_path))
    elif name_or_path and not any(c.isascii() for c in name_or_path) and not _record(name_or_path):
        characters, what = tuple(divided(name_or_path)), f"class list {name_or_path:.40}"
    else:
        fault = _record(name_or_path) if name_or_path and not name_or_path.isascii() else ""
        raise InputError(
            f"no class list {name_or_path!r:.300} and no such file{fault and f' ({fault})'}: give "
            "a text file with one character per line (digits and Latin letters need one), the "
            f"characters themselves without separators (あいう), or one of {', '.join(lists)}"
        )
    if not characters:
        raise InputError(f"the {what} is empty")
    found, problems = composed(what, characters)
    report_problems(
        what, problems, "A class is one letter, given by one code point and listed once."
    )
    return tuple(found.values())
