"""KanjiVG: the strokes and the components of 6,700 characters, read from the ``kanjivg`` package.

KanjiVG (https://kanjivg.tagaini.net) is (c) Ulrich Apel, CC BY-SA 3.0. None of it is stored in this
module; whatever is drawn from it is an adaptation and carries that licence when published.
"""

import importlib.metadata
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from handwriting.errors import InputError

CANVAS = 109.0  # side of KanjiVG's drawing area, in its units


@dataclass
class Component:
    """A group in a character's tree: what it is, where it is, what it is made of.

    Attributes:
        element: the component as a character, "" if KanjiVG does not name it.
        position: left, right, top, bottom, nyo, tare, kamae ... or "".
        part: the number of this piece of a component that is drawn in several, "" if whole.
        children: its groups, in drawing order.
        strokes: its own strokes and those of its groups as SVG path data, in drawing order.
    """

    element: str
    position: str
    part: str
    children: list["Component"] = field(default_factory=list)
    strokes: list[str] = field(default_factory=list)


@cache
def folder() -> Path:
    """The folder of the package's SVG files.

    Raises:
        InputError: the package is not installed.
    """
    # Not importlib.resources: any folder named "kanji" on the path would shadow the package's.
    try:
        return Path(str(importlib.metadata.distribution("kanjivg").locate_file("kanji")))
    except importlib.metadata.PackageNotFoundError:
        raise InputError("the kanjivg package is not installed: pip install kanjivg") from None


def _path(character: str, variant: str) -> Path:
    return folder() / f"{ord(character):05x}{'-' * bool(variant)}{variant}.svg"


def has_drawing(character: str, variant: str = "") -> bool:
    return _path(character, variant).is_file()


def read(character: str, variant: str = "") -> Component:
    """The component tree of a character, its root being the character itself.

    Args:
        character: one character.
        variant: "" or the name of a variant drawing such as "Kaisho".

    Raises:
        InputError: KanjiVG has no drawing of it, or the file is damaged.
    """
    path = _path(character, variant)
    if not path.is_file():
        raise InputError(f"KanjiVG has no drawing of {character} (U+{ord(character):04X})")
    try:
        groups = ElementTree.parse(path).getroot()
        paths = next(g for g in groups if g.get("id", "").startswith("kvg:StrokePaths"))
        return _component(paths[0])
    except (OSError, ElementTree.ParseError, LookupError, StopIteration) as error:
        raise InputError(
            f"{path} is not a valid KanjiVG drawing ({error}): install the kanjivg package again"
        ) from error


def _component(group: ElementTree.Element) -> Component:
    # The files declare two namespaces for their attributes: compare the local part.
    values = {key.rpartition("}")[2]: value for key, value in group.items()}
    element, position, part = (values.get(name, "") for name in ("element", "position", "part"))
    component = Component(element, position, part)
    for item in group:
        if item.tag.endswith("}path"):
            component.strokes.append(item.get("d", ""))
        else:
            child = _component(item)
            component.children.append(child)
            component.strokes += child.strokes
    return component
