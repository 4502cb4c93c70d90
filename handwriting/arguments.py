"""What is typed behind a script's name: settings as Hydra reads them, or what to type instead.

In Hydra's grammar a path with a space, ``(``, ``=`` or a Japanese character is an error, and
``2024_11`` a number. Where a key takes text, its value is text here, and quoted for Hydra.
"""

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from handwriting.errors import InputError, report_problems
from handwriting.ranges import OneOf
from handwriting.storage.places import CONFIG_DIR

# Hydra's own options: alone, with a value behind them.
ALONE = ["--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m"]
ALONE += ["--shell-completion", "-sc"]
VALUED = ["--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"]
VALUED += ["--config-dir", "-cd", "--experimental-rerun", "--info", "-i"]
OTHERS = re.compile(r"~|hydra\b|[^=]*@")  # overrides that are left to Hydra
CALL = re.compile(
    r"(choice|range|interval|glob|shuffle|sort|tag|str|int|float|bool|json_str)\(.*\)"
)
ESCAPED = re.compile(r"\\[,=()\[\]{}: ]")  # by a user who knows the grammar
QUOTED = re.compile(r"""\s*(['"]).*\1\s*""")


@dataclass(frozen=True)
class Key:
    """What a key takes: its type, and the words to choose from where there are some."""

    kind: Any
    choices: tuple[str, ...] = ()


def known_keys(*shapes: type, place: str = "") -> dict[str, Key]:
    """The keys of dataclasses and of those in them, and the groups of ``conf/``."""
    found: dict[str, Key] = {}
    for shape in shapes:
        for name, annotated in get_type_hints(shape, include_extras=True).items():
            kind = annotated
            choices: tuple[str, ...] = ()
            if get_origin(kind) is Annotated:
                kind, *ranges = get_args(kind)
                choices = tuple(w for r in ranges if isinstance(r, OneOf) for w in r.words.split())
            parts = [part for part in get_args(kind) if part is not type(None)]
            kind = parts[0] if parts and type(None) in get_args(kind) else kind
            if isinstance(kind, type) and issubclass(kind, Enum):
                choices = tuple(kind.__members__)
            found[place + name] = Key(kind, choices)
            if is_dataclass(kind) and isinstance(kind, type):
                found |= known_keys(kind, place=f"{place}{name}.")
    if not place:
        for folder in CONFIG_DIR.iterdir():
            if folder.is_dir():
                choices = tuple(sorted(path.stem for path in folder.glob("*.yaml")))
                found[folder.name] = Key(None, (*choices, "null"))
    return found


def checked(words: Sequence[str], known: dict[str, Key]) -> list[str]:
    """The words behind a script's name as Hydra reads them, text in quotes.

    Args:
        known: see :func:`known_keys`.

    Raises:
        InputError: options that Hydra does not have, unknown keys or choices, values that cannot be
            read: each of them with what to type instead.
    """
    found, problems, left = [], [], list(words)
    sweeps = "-m" in left or "--multirun" in left
    while left:
        word = left.pop(0)
        option, equals, own = word.partition("=")
        if option in ALONE or option in VALUED:
            found += [word, *([left.pop(0)] if word in VALUED and left else [])]
        elif word.startswith("-"):
            if not equals and left and not _is_setting(left[0], known):
                own = left.pop(0)
                word = f"{word} {own}"
            name = option.lstrip("-").replace("-", "_")
            meant = _meant("", name, own, known) or "key=value"
            problems.append(f"{word}: not an option here; type {meant}")
        elif OTHERS.match(word):
            found.append(word)
        else:
            try:
                found.append(_checked(word, known, sweeps))
            except InputError as error:
                problems.append(f"{word}: {error}")
    report_problems("what was typed", problems, "--help shows how this script is used.")
    return found


def quoted(override: str, kind: Any = None, sweeps: bool = False) -> str:
    """An override with its text in quotes, unless it is quoted, null or a function of Hydra's.

    Args:
        kind: the type of the key; text outside of ASCII is quoted whatever it is.
        sweeps: whether a comma in text separates the values of a sweep.
    """
    key, equals, value = override.partition("=")
    text = value.strip()
    if not text or QUOTED.fullmatch(text) or CALL.fullmatch(text) or ESCAPED.search(text):
        return override
    if text.startswith("[") and (kind is Any or _is_list(kind, str)):
        pieces = r"[^,\[\]]+"
    elif kind in (str, Any):
        is_path = re.search(r"[/\\ ]", text)  # may have commas
        pieces = "[^,]+" if "," in text and (sweeps or not is_path) else ".+"
    else:
        pieces = r"[^,\[\]{}]*[^\x00-\x7f,\[\]{}][^,\[\]{}]*"
    if pieces != ".+" and ("'" in text or '"' in text):
        return override
    return key + equals + re.sub(pieces, lambda found: quote(found[0].strip()), text)


def quote(text: str) -> str:
    """Text as Hydra's grammar has it, with quotes around it."""
    if text in ("", "null"):
        return text
    return "'" + re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", r"\'") + "'"


def _is_setting(word: str, known: dict[str, Key]) -> bool:
    return word.startswith("-") or word.lstrip("+").partition("=")[0] in known


def _is_list(kind: Any, item: type) -> bool:
    parts = get_args(kind)
    return get_origin(kind) is list and (parts[0] is item or item in get_args(parts[0]))


def _checked(override: str, known: dict[str, Key], sweeps: bool) -> str:
    """One override for Hydra."""
    name, equals, value = override.lstrip("+").partition("=")
    if not equals:
        raise InputError("expected key=value")
    above = [name.rsplit(".", depth)[0] for depth in (1, 2)]
    is_below = any(get_origin(known[k].kind) in (dict, list) for k in above if k in known)
    if name not in known and not is_below:
        raise InputError(f"there is no key {name}{_meant('; type ', name, value, known)}")
    key = known.get(name, Key(None))
    is_plain = not (QUOTED.fullmatch(value) or CALL.fullmatch(value) or "${" in value)
    if is_plain and value != "null":
        if get_origin(key.kind) in (list, tuple) and not value.startswith("["):
            raise InputError(f"expected a list; type {shlex.quote(f'{name}=[{value}]')}")
        for word in value.split(",") if key.choices else ():
            if word.strip(" []") not in key.choices:
                near = _near(word, key)
                advice = f"; type {name}={near}" if near in key.choices else ""
                raise InputError(f"expected one of {', '.join(key.choices)}{advice}")
    written = quoted(override, key.kind, sweeps)
    try:
        _parser().parse_override(written)
    except HydraException:
        quotes = shlex.quote(f"{name}={quote(value)}")
        raise InputError(f"Hydra cannot read this value; as text: {quotes}") from None
    return written


_parser = cache(OverridesParser.create)


def _meant(start: str, name: str, value: str, known: dict[str, Key]) -> str:
    """The settings that a misspelt key, or an option of another program, may stand for."""
    last = {key: key.rpartition(".")[2] for key in known}
    initials = {key: "".join(word[0] for word in key.split("_")) for key in known if "." not in key}
    if name.startswith("no_") and known.get(name[3:], Key(None)).kind is bool:
        name, value = name[3:], "false"
    near = difflib.get_close_matches(name, known, 3, 0.75)
    near_last = difflib.get_close_matches(name.rpartition(".")[2], last.values(), 1, 0.75)
    keys = (
        [name]
        if name in known
        else []
        or [key for key in known if last[key] == name]
        or [key for key in initials if initials[key] == name and len(name) > 1]
        or near
        or [key for key in known if last[key] in near_last]
    )
    settings = [shlex.quote(f"{key}={_near(value, known[key])}") for key in keys[:6]]
    return start + " or ".join(settings) if settings else ""


def _near(value: str, key: Key) -> str:
    """The choice that a value comes nearest to, or the value where there is nothing to choose."""
    if not value:
        return "true" if key.kind is bool else "VALUE"
    return next(iter(difflib.get_close_matches(value.lower(), key.choices, 1, 0.5)), value)
