"""Command-line arguments: checked, with a suggestion for each mistake, and quoted for Hydra.

In Hydra's grammar a path with a space, ``(``, ``=`` or a Japanese character is an error, and
``2024_11`` is a number. Here, the value of a key that takes text is always text.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from handwriting.errors import InputError, report_problems
from handwriting.ranges import OneOf
from handwriting.storage.places import CONFIG_DIR

# Hydra's own options: flags, and those that take a value.
ALONE = ["--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m"]
VALUED = ["--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"]
VALUED += ["--config-dir", "-cd", "--info", "-i"]
OTHERS = re.compile(r"~|\+*hydra\b|[^=]*@")  # overrides that are passed on unchanged
AS_TYPED = re.compile(  # values that are passed on unchanged: quoted, escaped, Hydra functions
    r"""\s*(['"]).*\1\s*|.*\\[,=()\[\]{}: ].*"""
    r"|(choice|range|interval|glob|shuffle|sort|tag|str|int|float|bool|json_str)\(.*\)"
)
parser = cache(OverridesParser.create)


@dataclass(frozen=True)
class Key:
    """The type of a key's value, and its allowed words, if it is restricted to some."""

    kind: Any = None
    choices: tuple[str, ...] = ()


def known_keys(shape: type, place: str = "") -> dict[str, Key]:
    """The keys of a dataclass and of the dataclasses in it, by dotted name."""
    found: dict[str, Key] = {}
    kinds = get_type_hints(shape)
    for name, annotated in get_type_hints(shape, include_extras=True).items():
        kind = kinds[name]
        if type(None) in get_args(kind):
            kind = get_args(kind)[0]
        ranges = getattr(annotated, "__metadata__", ())
        choices = tuple(w for r in ranges if isinstance(r, OneOf) for w in r.words.split())
        if isinstance(kind, type) and issubclass(kind, Enum):
            choices = tuple(kind.__members__)
        found[place + name] = Key(kind, choices)
        if is_dataclass(kind) and isinstance(kind, type):
            found |= known_keys(kind, place=f"{place}{name}.")
    return found


def known_groups(primary: str = "study") -> dict[str, Key]:
    """The groups that a primary file of ``conf/`` chooses from, with their options."""
    defaults = OmegaConf.load(CONFIG_DIR / f"{primary}.yaml").defaults
    chosen = [name for one in defaults if isinstance(one, DictConfig) for name in one]
    found = {name: sorted(file.stem for file in (CONFIG_DIR / str(name)).glob("*.yaml"))
             for name in chosen if not str(name).startswith("override ")}  # fmt: skip
    if "experiment" in found:
        found["experiment"].append("null")
    return {str(name): Key(choices=tuple(choices)) for name, choices in found.items()}


def checked(words: Sequence[str], known: dict[str, Key]) -> tuple[list[str], list[str]]:
    """Check a script's command-line words, and quote the text in them for Hydra.

    Args:
        known: see :func:`known_keys` and :func:`known_groups`.

    Returns:
        Hydra's options, and the overrides.

    Raises:
        InputError: unknown options, keys or choices, or values that cannot be parsed; each of them
            with a suggestion.
    """
    options: list[str] = []
    overrides, problems, left = [], [], list(words)
    sweeps = "-m" in left or "--multirun" in left
    while left:
        word = left.pop(0)
        option, equals, own = word.partition("=")
        if option in ALONE or option in VALUED:
            options += [word, *([left.pop(0)] if word in VALUED and left else [])]
        elif word.startswith("-"):
            following = left[0].lstrip("+").partition("=")[0] if left else "-"
            if not equals and not following.startswith("-") and following not in known:
                own = left.pop(0)
                word = f"{word} {own}"
            hint = _suggested(option.lstrip("-").replace("-", "_"), own, known) or "key=value"
            problems.append(f"{word}: unknown option; type {hint}")
        elif OTHERS.match(word):
            overrides.append(word)
        else:
            try:
                overrides.append(_checked(word, known, sweeps))
            except InputError as error:
                problems.append(f"{word}: {error}")
    report_problems("command line", problems, "--help shows how to use this script.")
    return options, overrides


def quoted(override: str, kind: Any = None, sweeps: bool = False) -> str:
    """An override with its text quoted, unless it is already quoted, null or a Hydra function.

    Args:
        kind: the type of the key; text with non-ASCII characters is quoted for every type.
        sweeps: whether a comma in text separates the values of a sweep.
    """
    key, equals, value = override.partition("=")
    text = value.strip()
    if not text or AS_TYPED.fullmatch(text):
        return override
    if kind in (list[str], Any) and text.startswith("["):
        pieces = r"[^,\[\]]+"
    elif kind in (str, Any):
        is_path = re.search(r"[/\\ ]", text)  # may have commas
        pieces = "[^,]+" if "," in text and (sweeps or not is_path) else ".+"
    else:
        pieces = r"[^,:\[\]{}]*[^\x00-\x7f,:\[\]{}][^,:\[\]{}]*"
    if pieces != ".+" and ("'" in text or '"' in text):
        return override
    return key + equals + re.sub(pieces, lambda found: quote(found[0].strip()), text)


def quote(text: str) -> str:
    """Text in quotes, escaped for Hydra's grammar."""
    if text in ("", "null"):
        return text
    return "'" + re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", r"\'") + "'"


def _checked(override: str, known: dict[str, Key], sweeps: bool) -> str:
    """Check one override, and quote it for Hydra."""
    name, equals, value = override.lstrip("+").partition("=")
    if not equals:
        raise InputError("expected key=value")
    above = [known.get(name.rsplit(".", depth)[0], Key()).kind for depth in range(3)]
    if not any(get_origin(kind) in (dict, list) for kind in above):
        if name not in known:
            hint = _suggested(name, value, known)
            raise InputError(f"there is no key {name}" + (f"; type {hint}" if hint else ""))
        override = f"{name}={value}"  # + can add nothing to a fixed set of keys
    key = known.get(name, Key())
    is_list = get_origin(key.kind) in (list, tuple)
    if not AS_TYPED.fullmatch(value) and "${" not in value:
        if is_list and not value.startswith("[") and value != "null":
            raise InputError(f"expected a list; type {shlex.quote(f'{name}=[{value}]')}")
        for word in value.split(",") if key.choices else ():
            if word.strip(" []") not in key.choices:
                near = _near(word, key)
                advice = f"; type {name}={near}" if near in key.choices else ""
                raise InputError(f"expected one of {', '.join(key.choices)}{advice}")
    written = quoted(override, key.kind, sweeps)
    try:
        parser().parse_override(written)
    except HydraException:
        kind = "a list such as [a,'b, c']" if is_list else getattr(key.kind, "__name__", "text")
        raise InputError(f"Hydra cannot parse this value: expected {kind}") from None
    return written


def _suggested(name: str, value: str, known: dict[str, Key]) -> str:
    """Suggestions for a misspelt key, or for an option in the style of other programs."""
    if name.startswith("no_") and known.get(name[3:], Key()).kind is bool:
        name, value = name[3:], "false"
    names = defaultdict(list)  # what a key may be called -> keys
    for key in known:
        initials = "".join(word[0] for word in key.split("_")) if "_" in key else key
        for called in {key, key.rpartition(".")[2], key if "." in key else initials}:
            names[called].append(key)
    near = [name] if name in known or name in names else get_close_matches(name, names, 3, 0.75)
    keys = dict.fromkeys(key for called in near for key in names[called])
    settings = [shlex.quote(f"{key}={_near(value, known[key])}") for key in keys]
    return " or ".join(settings[:6])


def _near(value: str, key: Key) -> str:
    """The choice closest to a value, or the value itself if none is close."""
    if not value:
        return "true" if key.kind is bool else "VALUE"
    return next(iter(get_close_matches(value.lower(), key.choices, 1, 0.5)), value)
