"""KanjiVG: the strokes and the components of 6,700 characters, read from the ``kanjivg`` package.

KanjiVG (https://kanjivg.tagaini.net) is (c) Ulrich Apel, CC BY-SA 3.0. Nothing of it is stored in
this project; what is drawn from it is an adaptation and carries that licence when published.
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
    """A group of a character's tree: what it is, where it stands, what it is made of.

    Attributes:
        element: the component as a character, "" where KanjiVG names none.
        position: left, right, top, bottom, nyo, tare, kamae ... or "".
        part: the number of this piece of a component that is drawn in several, "" if whole.
        children: its groups, in drawing order.
        strokes: its own strokes and its groups' strokes as SVG path data, in drawing order.
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


def has_drawing(character: str) -> bool:
    return (folder() / f"{ord(character):05x}.svg").is_file()


def read(character: str, variant: str = "") -> Component:
    """The component tree of a character, its root being the character itself.

    Args:
        character: one character.
        variant: "" or the name of a variant drawing such as "Kaisho".

    Raises:
        InputError: KanjiVG has no drawing of it, or the file is damaged.
    """
    name = f"{ord(character):05x}" + (f"-{variant}" if variant else "")
    path = folder() / f"{name}.svg"
    if not path.is_file():
        raise InputError(f"KanjiVG has no drawing of {character} (U+{ord(character):04X})")
    try:
        groups = ElementTree.parse(path).getroot()
        paths = next(g for g in groups if g.get("id", "").startswith("kvg:StrokePaths"))
        return _component(paths[0])
    except (OSError, ElementTree.ParseError, LookupError, StopIteration) as error:
        raise InputError(
            f"{path} is not a drawing of KanjiVG ({error}): install the kanjivg package again"
        ) from error


def variants(character: str) -> list[str]:
    """The names of the variant drawings of a character."""
    stem = f"{ord(character):05x}"
    return sorted(path.stem[len(stem) + 1 :] for path in folder().glob(f"{stem}-*.svg"))


def _component(group: ElementTree.Element) -> Component:
    # Attribute names carry one of two namespaces, depending on the parser: compare the local part.
    values = {key.rsplit("}", 1)[-1].split(":")[-1]: value for key, value in group.items()}
    component = Component(
        values.get("element", ""), values.get("position", ""), values.get("part", "")
    )
    for item in group:
        tag = item.tag.rsplit("}", 1)[-1]
        if tag == "path":
            component.strokes.append(item.get("d", ""))
        elif tag == "g":
            child = _component(item)
            component.children.append(child)
            component.strokes += child.strokes
    return component
