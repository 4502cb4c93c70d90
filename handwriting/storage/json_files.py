"""JSON files: written atomically, read with an error for every fault."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from handwriting.errors import InputError
from handwriting.storage.atomic import write_text


def plain(value: Any) -> Any:
    """Dataclasses and enums as JSON-able values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """The values of nested mappings, by dotted name."""
    if not isinstance(value, Mapping) or (place and not value):
        return {place: value}
    parts = [leaves(item, f"{place}.{key}".lstrip(".")) for key, item in value.items()]
    return {name: leaf for part in parts for name, leaf in part.items()}


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing, unreadable, not UTF-8 or not JSON, or has duplicate keys.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = ", ".join(repr(key) for key, count in counts.items() if count > 1)
            raise InputError(f"{path} has duplicate keys: {twice}")
        return value

    if not path.is_file():  # reading a pipe or a device might never end
        raise InputError(f"no such file: {path}")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also a number of more than 4,300 digits
        raise InputError(f"{path} is not valid JSON: {error}") from error


def read_own(path: Path) -> Any:
    """The value in a file that this project wrote.

    Raises:
        InputError: it is missing or damaged; the message says how to recreate it.
    """
    try:
        return read_json(path)
    except InputError as error:
        raise InputError(
            f"{error}. Delete {path.parent}, then run the same command to recreate it"
        ) from error


def read_or_empty(path: Path) -> dict[str, Any]:
    """The object in a file that this project wrote; empty where it is missing or damaged."""
    try:
        value = read_json(path)
    except InputError:
        return {}
    return value if isinstance(value, dict) else {}
