"""Constraints on the values of the configuration, in addition to their types.

A field declares its constraint in its type, as in ``dropout: Annotated[float, Within(0, 1)]``, and
its meaning in the comment that follows it. :func:`problems` checks every field of a dataclass and
of the dataclasses in it; a method ``conflicts`` checks what several fields must agree on.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Within:
    """The inclusive bounds of a number; ``but_not`` excludes one value."""

    low: float
    high: float
    but_not: float | None = None
    multiple_of: int = 1

    def __contains__(self, value: float) -> bool:
        is_number = isinstance(value, int | float)
        inside = is_number and self.low <= value <= self.high and value != self.but_not  # not nan
        return inside and (self.multiple_of == 1 or value % self.multiple_of == 0)

    def __str__(self) -> str:
        start = "" if self.multiple_of == 1 else f"a multiple of {self.multiple_of} from "
        end = "" if self.but_not is None else f", but not {self.but_not}"
        return f"{start}{self.low} to {self.high:,}{end}"


@dataclass(frozen=True)
class OneOf:
    """The allowed words, separated by spaces."""

    words: str

    def __contains__(self, value: str) -> bool:
        return value in self.words.split()

    def __str__(self) -> str:
        return f"one of {', '.join(self.words.split())}"


@dataclass(frozen=True)
class FolderName:
    """The name of a folder, or several joined by ``/``, that stays inside its parent folder."""

    def __contains__(self, value: str) -> bool:
        parts = value.split("/")
        return not {"", ".", ".."} & {part.strip() for part in parts} and value.isprintable()

    def __str__(self) -> str:
        return "a name, or names joined by /, none of them empty or .."


@dataclass(frozen=True)
class Items:
    """How many items a list may have, and whether duplicates are allowed."""

    low: int
    high: int
    twice: bool = False

    def __contains__(self, value: list[Any]) -> bool:
        differ = self.twice or not any(item in value[:i] for i, item in enumerate(value))
        return self.low <= len(value) <= self.high and differ

    def __str__(self) -> str:
        number = f"{self.low}" if self.low == self.high else f"{self.low} to {self.high:,}"
        return f"{number} items{'' if self.twice else ' without duplicates'}"


@dataclass(frozen=True)
class Keys:
    """The required keys of a dict, and whether its values may all be 0."""

    names: tuple[str, ...]
    all_zero: bool = True

    def __contains__(self, value: dict[str, float]) -> bool:
        return {*value} == {*self.names} and (self.all_zero or any(value.values()))

    def __str__(self) -> str:
        return f"the keys {', '.join(self.names)}{'' if self.all_zero else ', not all of them 0'}"


def problems(
    value: Any, kind: Any, key: str = "", meaning: Callable[[], str] = str
) -> Iterator[str]:
    """The violated constraints of a value and of everything nested in it, each with its key.

    Args:
        kind: the type, ``Annotated`` with constraints.
        key: the value's dotted key in the configuration.
        meaning: returns a description of the value, "" for none.
    """
    if get_origin(kind) in (Union, UnionType):  # an optional type
        if value is not None:
            yield from problems(value, get_args(kind)[0], key, meaning)
        return
    kind, *ranges = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    shape = get_origin(kind) or kind
    if shape in (list, tuple, dict) or is_dataclass(shape):  # ${...} may refer to anything
        shapes = (list, tuple) if shape in (list, tuple) else shape
        if not isinstance(value, shapes):
            yield f"{key}={value}: expected a {shape.__name__}"
            return
    for within in ranges:
        if value not in within:
            shown = str(value).replace("'", "")
            yield f"{key}={shown}: expected {within}" + (f" ({meaning()})" if meaning() else "")
            return
    parts = get_args(kind) or (Any,)
    if is_dataclass(value):
        found: list[str] = []
        for name, own in get_type_hints(type(value), include_extras=True).items():
            place = f"{key}.{name}" if key else name
            comment = partial(comment_of, type(value), name)
            found += problems(getattr(value, name), own, place, comment)
        conflicts = getattr(value, "conflicts", list)  # a method that lists them
        yield from found or [f"{key}.{conflict}" for conflict in conflicts()]
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from problems(item, parts[i % len(parts)], f"{key}[{i}]", meaning)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from problems(item, parts[-1], f"{key}.{name}", meaning)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{key}={value}: expected a finite number"


def comment_of(shape: type, name: str) -> str:
    """The comment that follows a field, in its class or the nearest base that has one."""
    for base in shape.__mro__[:-1]:
        if found := re.search(rf"^    {name}: .*?  # (.*)$", inspect.getsource(base), re.MULTILINE):
            return found[1]
    return ""
