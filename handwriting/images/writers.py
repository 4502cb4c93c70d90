"""The names of writers in the paths of images: in folders, and in parts of the file's stem.

Separators (``_``, ``-``, dots, blanks) divide the parts. A name is a word of ``PEOPLE`` and what
follows it: ``writer_01``, ``writer01``, ``writerB``, ``person_anna_k``. It ends after its number,
and before the character (itself or its code point), a word of ``NOT_NAMES`` or, in a stem, the next
number: ``writer_anna_あ_2.png`` is by ``writer_anna``. A sheet counts as a person if no path of the
manifest names a person; a page or a session never does, since a person has several.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from handwriting.characters.classes import letter, nfc

PEOPLE = (
    "writer", "author", "scribe", "hand", "person", "subject", "participant", "student", "user",
    "筆者", "書き手", "被験者", "参加者",
)  # fmt: skip
SHEET = "sheet"
_NOT_NAMES = """
page session sheet name names list data dataset image images img sample samples scan scans photo
photos picture pictures copy crop crops file files info label labels set group study folder upload
uploads unknown none anonymous other others all test train training validation val eval drawn
written writing made crafted interface guide notes defined 名 名前 名簿 一覧 不明 画像 ページ
"""
NOT_NAMES = frozenset(_NOT_NAMES.split())
ONE_NAME = "Spell each person's name in one way, and the names of different people differently."
NUMBER_WORDS = ("id", "no", "nr", "number")  # writer_id_07

_SEPARATORS = r"\s\\_.,:=#()\[\]＿－‐-―-"
_PART = re.compile(rf"[^{_SEPARATORS}]+")
_ANY_KEYWORD = re.compile("|".join([*PEOPLE, SHEET]))
_NUMBER = re.compile(r"\d{1,3}")  # of a folder, as in writer_anna_2; a date has more digits
_KEYWORD = re.compile(rf"({'|'.join([*PEOPLE, SHEET])})(.*)", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(rf"\d+|[^\d{_SEPARATORS}]+")


class Found(NamedTuple):
    """A name in a path."""

    name: str  # as written in the path
    is_sheet: bool
    before: str  # the folders, and the words of the stem, before it


@lru_cache(1 << 16)
def plain_name(name: str) -> str:
    """A name as it is stored: NFC, without blanks around it."""
    return nfc(name).strip()


@lru_cache(1 << 16)
def look(name: str) -> str:
    """A name without differences of case, width, normal form and invisible characters."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = (c for c in folded if unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join("".join(visible).split())


def _spelling(name: str) -> str:
    """The same for a name in a path, also without differences of separators and leading zeros."""
    return " ".join(token.lstrip("0") or "0" for token in _TOKEN.findall(look(name)))


def look_alikes(names: Iterable[str], of_paths: bool = False) -> list[str]:
    """A problem for each name that looks like another: probably one person under two names."""
    problems, first = [], dict[str, str]()
    for name in sorted({*names} - {""}):
        other = first.setdefault(_spelling(name) if of_paths else look(name), name)
        if other != name:
            problems.append(f"{other!r} and {name!r} look alike{_code_points(other, name)}")
    return problems


def _code_points(one: str, two: str) -> str:
    """The first characters in which two names differ."""
    for a, b in zip(one, two, strict=False):
        if a != b:
            return f" (U+{ord(a):04X} and U+{ord(b):04X})"
    return ""


def writers_in_paths(images: Sequence[tuple[str, str]]) -> tuple[list[str], list[str], str]:
    """The writers that the paths of images name.

    Args:
        images: the path of each, relative to its manifest, and its character.

    Returns:
        A name for each, "" if the path has none; the problems; and the source of the names.
    """
    found = [named_in(path, character) for path, character in images]
    with_people = any(not one.is_sheet for each in found for one in each)
    names, problems = [], []
    sheets: dict[tuple[str, str], str] = {}
    for (path, character), each in zip(images, found, strict=True):
        chosen = [one for one in each if one.is_sheet != with_people]
        names.append(chosen[0].name if chosen else "")
        if len({_spelling(one.name) for one in chosen}) > 1:
            both = " and ".join(dict.fromkeys(one.name for one in chosen))
            problems.append(f"{path}: names two writers, {both}")
        elif chosen and not with_people:
            name, _, before = chosen[0]
            other = sheets.setdefault((character, _spelling(name)), before)
            if other != before:
                problems.append(f"{path}: is {name} of {other!r} and {before!r} one person?")
    problems += look_alikes(names, of_paths=True)
    return names, problems, ("paths" if with_people else "sheets in paths") if any(names) else ""


def named_in(path: str, character: str) -> tuple[Found, ...]:
    """The people, or else the sheets, that a relative path names.

    Args:
        character: that the image shows.
    """
    if not path.isascii():
        path = nfc(path)
    if not _ANY_KEYWORD.search(_plain(path).lower()):
        return ()
    *folders, file = path.split("/")
    stem = file[: file.rindex(".")] if "." in file[1:] else file
    found = list[Found]()
    for i, component in enumerate((*folders, stem)):
        is_stem = i == len(folders)
        shown = character if _may_show(component, character) else ""
        for start, name, is_sheet in _in_component(component, shown, is_stem):
            words = component[:start]
            if is_sheet and is_stem:
                words = _words(words, character)
            found.append(Found(name, is_sheet, "/".join((*folders[:i], words))))
    people = tuple(one for one in found if not one.is_sheet)
    return people or tuple(found)


def _words(text: str, character: str) -> str:
    """The words of a text, without numbers and the character."""
    words = _PART.findall(text)
    return " ".join(w for w in words if w.isalpha() and not _shows(w, character))


@lru_cache(1 << 16)
def _in_component(text: str, character: str, is_stem: bool) -> tuple[tuple[int, str, bool], ...]:
    """Where names begin in a folder or a stem, the names, and whether they are sheets."""
    if not _ANY_KEYWORD.search(_plain(text).lower()):
        return ()
    return tuple(_names(text, character, is_stem))


def _names(text: str, character: str, is_stem: bool) -> Iterator[tuple[int, str, bool]]:
    spans = [match.span() for match in _PART.finditer(text)]
    words = [_plain(text[start:end]) for start, end in spans]

    def is_name(i: int) -> bool:
        return i < len(words) and not _is_no_name(words[i])

    for i, (start, _) in enumerate(spans):
        kind, first = _keyword(words[i])
        last = i
        if kind and first.casefold() in ("", *NUMBER_WORDS):  # the name is the next part
            is_number_word = (
                not first and is_name(i + 2) and words[i + 1].casefold() in NUMBER_WORDS
            )
            last += 1 + is_number_word
            first = words[last] if is_name(last) else ""
            if is_stem and not first[:1].isdecimal() and _shows(first, character):
                continue
        if not first or _is_no_name(first):
            continue
        if not _has_digit(first):
            while is_name(last + 1) and not (
                _has_digit(words[last + 1]) or _shows(words[last + 1], character)
            ):
                last += 1
            if not is_stem and last + 1 < len(words) and _NUMBER.fullmatch(words[last + 1]):
                last += 1
        name = text[start : spans[last][1]]
        if name[-2].isdecimal() and not name[-1].isascii() and _shows(name[-1], character):
            name = name[:-1]  # person1あ.png
        yield start, name, kind == SHEET


def _is_no_name(word: str) -> bool:
    return bool(_keyword(word)[0]) or word.rstrip("0123456789").casefold() in NOT_NAMES


def _keyword(word: str) -> tuple[str, str]:
    """The word for a person or a sheet that a part begins with, and the name that it ends with."""
    match = _KEYWORD.fullmatch(word)
    if match is None:
        return "", ""
    kind, name = match.groups()
    is_camel = kind[-1].islower() and name[:1].isupper()  # writerB, but not writers
    is_name = not name or name[0].isdecimal() or is_camel or not kind.isascii()
    return (kind.casefold(), name) if is_name else ("", "")


def _plain(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _may_show(text: str, character: str) -> bool:
    return not (text.isascii() and f"{ord(character):x}" not in text.lower()) or character.isascii()


def _has_digit(word: str) -> bool:
    return any(c.isdecimal() for c in word)


def _shows(word: str, character: str) -> bool:
    """Whether a part is the character itself or its code point; False if ``character`` is ""."""
    if not character:
        return False
    if letter(word) == letter(character):
        return True
    return re.fullmatch(rf"(?:u\+?|0x)?0*{ord(character):x}", word, re.IGNORECASE) is not None
