"""The text of a character: its components as an ideographic description sequence.

日 next to 月 is ("⿰", "日", "月"). The sequences come from KanjiVG's component tree at every
depth, so that an unseen character is still described by components that were seen:

- kana, and characters that are not divided, are one token: themselves;
- the pieces of a component that is drawn in several are joined; a piece without the others next to
  it counts as loose strokes;
- a group without a name is replaced by its parts;
- strokes outside every named group are written by class, 一 丨 丿 丶 乛, as KanjiVG itself names
  its one-stroke groups; a component of which at least half is such strokes stays whole;
- a component is divided as KanjiVG divides it as a character of its own, so that it has the same
  parts everywhere;
- a sequence that several characters share goes to the one that has no other; if several have no
  other, each appends its own token.
"""

import itertools
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import dist
from pathlib import Path

from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path

from handwriting.characters import kanjivg
from handwriting.characters.classes import (
    class_list,
    composed,
    divided,
    is_visible,
    letter,
    named,
    nfc,
)
from handwriting.errors import InputError, report_problems
from handwriting.storage.json_files import read_json

Text = tuple[str, ...]
Structure = dict[str, tuple[Text, ...]]

SPECIAL_TOKENS = ("[PAD]", "[BOS]", "[EOS]", "[UNK]")
# The ideographic description characters, and 〾, which IDS databases use like them.
ARITY = dict.fromkeys("⿰⿱⿴⿵⿶⿷⿸⿹⿺⿻\u2ffc\u2ffd\u31ef", 2)
ARITY |= dict.fromkeys("⿲⿳", 3) | dict.fromkeys("\u2ffe\u2fff〾", 1)

_ENCLOSING = {"tare": "⿸", "nyo": "⿺", "⿶1": "⿶", "⿵A": "⿵"}
_KAMAE = {
    **dict.fromkeys("囗行", "⿴"),
    **dict.fromkeys("門冂几", "⿵"),
    **dict.fromkeys("凵臼", "⿶"),
    **dict.fromkeys("匚匸", "⿷"),
    **dict.fromkeys("厂厓", "⿸"),
    **dict.fromkeys("勹气弋戈𢦏", "⿹"),
}
_BENT = 1.25  # ratio of a stroke's length to the distance of its ends, above which it is bent

_log = logging.getLogger(__name__)


@dataclass
class _Part:
    """A component with its pieces joined; ``strokes`` are the loose ones."""

    element: str
    position: str
    num_strokes: int = 0
    parts: list["_Part"] = field(default_factory=list)
    strokes: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether it stays one token at every depth."""
        return bool(self.element) and 2 * self.num_unnamed >= self.num_strokes

    @property
    def num_unnamed(self) -> int:
        """The number of strokes that are in no named component below this one."""
        below = sum(part.num_unnamed for part in self.parts if not part.element)
        return len(self.strokes) + below


def structure_of(characters: Sequence[str], max_tokens: int) -> Structure:
    """The default texts of characters, shallow ones first; no two characters share a text.

    Shared texts are looked for among all 3,057 classes as well, so that the texts of a character do
    not depend on which others a study has.

    Args:
        characters: single characters; one without a drawing in KanjiVG is its own token.
        max_tokens: longer alternatives are left out.
    """
    known = dict.fromkeys((*class_list("all"), *characters))
    # A lone token is the text of the character that it is, and of no other.
    texts = {
        c: [t for t in texts_of(c) if len(t) > 1 or t == (c,) or t[0] not in known] for c in known
    }
    texts = {c: [t for t in own if len(t) <= max_tokens] for c, own in texts.items()}
    owners = Counter(text for own in texts.values() for text in own)
    unshared = {c: [t for t in own if owners[t] == 1] for c, own in texts.items()}
    claims = Counter(text for c in known if not unshared[c] for text in texts[c])
    kept = {c: unshared[c] or [t for t in texts[c] if claims[t] == 1] for c in characters}
    return {c: tuple(own) or (_marked(c, max_tokens),) for c, own in kept.items()}


def _marked(character: str, max_tokens: int) -> Text:
    """A shared text made unique by appending the character's token, or that alone if too long."""
    marked = ("⿻", *texts_of(character)[0], character)
    return marked if len(marked) <= max_tokens else (character,)


@cache
def texts_of(character: str) -> tuple[Text, ...]:
    """Every text of a character, by depth from one level, whether or not others share it."""
    is_kana = unicodedata.name(character, "").startswith(("HIRAGANA", "KATAKANA"))
    root = None if is_kana else _own_tree(character)
    if root is None or root.is_whole:
        return ((character,),)
    texts: list[Text] = []
    while not texts or _text(root, len(texts) + 1) != texts[-1]:
        texts.append(_text(root, len(texts) + 1))
    return tuple(dict.fromkeys(texts))


@cache
def _own_tree(element: str) -> _Part | None:
    """The tree of a component as a character of its own; None if KanjiVG has no drawing of it."""
    if len(element) != 1 or not kanjivg.has_drawing(element):
        return None
    return _joined([kanjivg.read(element)], "")


def _joined(pieces: list[kanjivg.Component], position: str) -> _Part:
    """One part from the pieces of a component, with everything below it."""
    part = _Part(pieces[0].element, position)
    part.num_strokes = sum(len(piece.strokes) for piece in pieces)
    runs: list[list[kanjivg.Component]] = []
    open_run: dict[str, list[kanjivg.Component]] = {}
    for child in (child for piece in pieces for child in piece.children):
        if child.part in ("", "1") or child.element not in open_run:
            runs.append([child])
        else:
            open_run[child.element].append(child)
        if child.part == "1":
            open_run[child.element] = runs[-1]
    grouped: Counter[str] = Counter()
    for run in runs:
        if len(run) == 1 and run[0].part:
            continue  # a piece alone: its strokes are loose
        part.parts.append(_joined(run, run[0].position))
        grouped.update(stroke for child in run for stroke in child.strokes)
    for stroke in (stroke for piece in pieces for stroke in piece.strokes):
        if grouped[stroke]:
            grouped[stroke] -= 1
        else:
            part.strokes.append(stroke)
    return part


def _text(part: _Part, depth: int) -> Text:
    """The text of a part with its named parts divided ``depth`` times."""
    part = _own_tree(part.element) or part
    if part.is_whole or (part.element and depth == 0):
        return (part.element,)
    below = depth - 1 if part.element else depth
    texts: list[Text] = [(stroke_class(stroke),) for stroke in part.strokes]
    if part.parts:
        texts.insert(0, _arranged(part.parts, below))
    return _nested(texts, "⿻")


def _arranged(parts: list[_Part], depth: int) -> Text:
    """The text of one group's parts, composed by their positions."""
    if len(parts) == 1:
        return _text(parts[0], depth)
    for i, part in enumerate(parts):
        operator = _ENCLOSING.get(part.position)
        if part.position == "kamae":
            operator = _KAMAE.get(part.element, "⿻")
        if operator:
            rest = parts[:i] + parts[i + 1 :]
            return (operator, *_text(part, depth), *_arranged(rest, depth))
    for first, last, two, three in (
        ("top", "bottom", "⿱", "⿳"),
        ("left", "right", "⿰", "⿲"),
    ):
        rest = [part for part in parts if part.position not in (first, last)]
        if len(rest) == len(parts):
            continue
        ordered = [_text(part, depth) for part in parts if part.position == first]
        ordered += [_arranged(rest, depth)] if rest else []
        ordered += [_text(part, depth) for part in parts if part.position == last]
        return _nested(ordered, two, three)
    return _nested([_text(part, depth) for part in parts], "⿻")


def _nested(texts: list[Text], two: str, three: str = "") -> Text:
    """Texts under nested binary operators, or a ternary one if it is given and they are three."""
    if len(texts) == 1:
        return texts[0]
    if len(texts) == 3 and three:
        return (three, *texts[0], *texts[1], *texts[2])
    return (two, *texts[0], *_nested(texts[1:], two, three))


@cache
def stroke_class(path_data: str) -> str:
    """The class of a stroke by its shape: 一 level or rising, 丨 upright, 丿 丶 falling, 乛 bent.

    Args:
        path_data: SVG path data, y pointing down.
    """
    pen = RecordingPen()
    parse_path(path_data, pen)
    points = [point for _, group in pen.value for point in group]
    (x_0, y_0), (x_1, y_1) = points[0], points[-1]
    right, down = x_1 - x_0, y_1 - y_0
    length = sum(dist(a, b) for a, b in itertools.pairwise(points))
    if length > _BENT * dist(points[0], points[-1]):
        return "乛"
    if right > 0 and down < right / 2:
        return "一"
    if abs(right) < down / 3:
        return "丨"
    return "丿" if right < 0 else "丶"


def read_structure(path: Path, characters: Sequence[str], max_tokens: int) -> Structure:
    """A user's own texts, ``{"河": ["⿰ 氵 可", "氵 可"], ...}``: sequences, or only components.

    Other characters in the file are ignored; "⿰氵可" is accepted, too. Entities such as
    ``&CDP-8BC4;`` and ``{01}`` are one token.

    Raises:
        InputError: the file is not JSON, or characters are missing or without texts, with an empty
            or too long text, a reserved token such as [PAD], a sequence with too few or too many
            components, a component in two code points, or the texts of another character; all
            problems are listed.
    """
    value = read_json(path)
    form = 'The format is {"河": ["⿰ 氵 可", ...], ...}, a list of texts for every character.'
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected an object, found {type(value).__name__}. {form}")
    letters = set(map(letter, characters))
    of_key, problems = composed(str(path), [key for key in value if letter(key) in letters])
    lines_of = {character: value[key] for key, character in of_key.items()}
    structure: Structure = {}
    same: dict[frozenset[Text], str] = {}
    for character in characters:
        lines = lines_of.get(character)
        if not (isinstance(lines, list) and lines and all(isinstance(line, str) for line in lines)):
            found = f"expected a list of texts, found {lines!r:.60}"
            problems.append(f"{character} (U+{ord(character):04X}): {found}")
            continue
        texts = tuple(dict.fromkeys(map(tokens_of, lines)))
        for number, line in enumerate(lines, 1):
            if fault := fault_of(tokens_of(line), max_tokens):
                problems.append(f"{character}, text {number}: {fault}: {line:.60}")
        first = same.setdefault(frozenset(texts), character)
        if first != character:
            problems.append(f"{character}: the same texts as {first}")
        structure[character] = texts
    used = dict.fromkeys(t for texts in structure.values() for text in texts for t in text)
    one_letter: dict[str, str] = {}
    for token in used:
        first = one_letter.setdefault(letter(token), token)
        if first != token:
            problems.append(
                f"components {named(first)} and {named(token)} are the same: use one of the two"
            )
    report_problems(str(path), problems, form)
    if words := [token for token in used if len(token) > 1 and all(map(_is_ideograph, token))]:
        _log.warning(
            "%s: read as one component each, as there are no spaces between characters: %s (%d)",
            path, " ".join(words[:20]), len(words),
        )  # fmt: skip
    return structure


def _is_ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK")


_UNENCODED = r"&[^&;\s]+;|CDP-[0-9A-F]{4}|\{[^{}\s]+\}"
_IDS = re.compile(f"[{''.join(ARITY)}]|{_UNENCODED}")
_PIECE = re.compile(rf"({_UNENCODED}|\[[^\[\]\s]*\]|\([^()\s]*\))")


@cache
def tokens_of(line: str) -> Text:
    """The tokens of a text: its words, with description sequences divided into components."""
    words = nfc(line).split()
    text = [token for word in words for token in (_pieces(word) if _IDS.search(word) else [word])]
    if ARITY.keys() & {*text} and _unbalanced(text):
        # "⿰ 氵可" has two components then, not one component 氵可.
        pieces = [piece for word in words for piece in _pieces(word)]
        text = text if _unbalanced(pieces) else pieces
    return tuple(text)


def _pieces(word: str) -> list[str]:
    parts = _PIECE.split(word)  # matches of the pattern are at odd indices
    return [token for i, part in enumerate(parts) for token in ([part] if i % 2 else divided(part))]


def _unbalanced(text: Sequence[str]) -> str:
    """Where a sequence has too few or too many components, "" if it is one complete sequence."""
    open_operators: list[list[int]] = []  # index, number of components still missing
    for i, token in enumerate(text):
        if i and not open_operators:
            return f"surplus from token {i + 1}, {token}: the sequence ends before it"
        if token in ARITY:
            open_operators.append([i, ARITY[token]])
            continue
        while open_operators:
            open_operators[-1][1] -= 1
            if open_operators[-1][1]:
                break
            open_operators.pop()
    if open_operators:
        i, missing = open_operators[-1]
        arity = ARITY[text[i]]
        return f"token {i + 1}, {text[i]}, takes {arity} components, found {arity - missing}"
    return ""


def fault_of(text: Text, max_tokens: int) -> str:
    """Why a text cannot be used, "" if it can."""
    if not text:
        return "an empty text"
    if reserved := set(SPECIAL_TOKENS) & set(text):
        return f"{', '.join(sorted(reserved))} is reserved"
    is_sequence = bool(ARITY.keys() & {*text})
    marks = "？?^$*&;{}" if is_sequence else ""  # of IDS databases
    if odd := [token for token in text if token in marks or not is_visible(token)]:
        return f"not a component: {', '.join(map(named, odd))}; remove it or give it a name"
    if is_sequence and (fault := _unbalanced(text)):
        tags = [token for token in text if token[0] in "[("]
        return f"{fault} ({tags[0]} is a database's tag: remove it)" if tags else fault
    return f"{len(text)} tokens, expected at most {max_tokens}" if len(text) > max_tokens else ""
