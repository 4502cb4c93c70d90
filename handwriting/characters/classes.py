"""The classes: which characters a study is about.

Lists by name are derived from the JIS X 0208 codec or read from ``information/classes``; a path to
a text file with one character per line (or any white space) works wherever a name does.
"""

import os
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

from handwriting.errors import InputError, report_problems
from handwriting.storage.places import INFORMATION_DIR

_NOT_WRITTEN = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me")  # general categories


def is_character(text: str) -> bool:
    """Whether a text is one character by itself: no blank, control code, mark or surrogate."""
    return len(text) == 1 and unicodedata.category(text) not in _NOT_WRITTEN


def _jis_rows(*rows: int) -> tuple[str, ...]:
    """The characters of rows (ku) of JIS X 0208, through their EUC-JP form."""
    cells = (bytes([0xA0 + row, 0xA0 + cell]) for row in rows for cell in range(1, 95))
    return tuple("".join(cell.decode("euc_jp", "ignore") for cell in cells))


def _read_list(path: Path) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the class list {path}: {error}") from error
    lines = (line.split("#")[0] for line in text.splitlines())
    return tuple(c for line in lines for word in line.split() for c in word)


@cache
def named_lists() -> dict[str, tuple[str, ...]]:
    """Every class list that has a name."""
    # Small kana, voiced kana and the obsolete ones are not among the 46.
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
    return lists


def class_list(name_or_path: str) -> tuple[str, ...]:
    """The characters of a named list, of a text file, or those given themselves, in order.

    Raises:
        InputError: none of these, an empty list, a character listed twice, or what is no
            character, such as a blank or a mark apart from its kana.
    """
    lists = named_lists()
    if name_or_path in lists:
        characters = lists[name_or_path]
    elif os.path.isfile(name_or_path):  # unlike Path, also for what is too long for a name
        characters = _read_list(Path(name_or_path))
    elif name_or_path and not any(c.isascii() for c in name_or_path):
        characters = tuple(name_or_path)
    else:
        raise InputError(
            f"no class list {name_or_path!r}: give a text file, the characters themselves, or one "
            f"of {', '.join(lists)}"
        )
    if not characters:
        raise InputError(f"the class list {name_or_path} is empty")
    counts = Counter(characters)
    problems = [f"U+{ord(c):04X} is not a character" for c in counts if not is_character(c)]
    problems += [
        f"{c} (U+{ord(c):04X}) is listed more than once"
        for c in sorted(c for c in counts if counts[c] > 1 and is_character(c))
    ]
    report_problems(
        f"class list {name_or_path}", problems,
        "Every character is one class: keep one line of each, composed (Unicode NFC).",
    )  # fmt: skip
    return characters
