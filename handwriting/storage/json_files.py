"""JSON files: written whole, read with every fault named."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from handwriting.errors import InputError
from handwriting.storage.atomic import write_text

MAX_JSON_BYTES = 200_000_000  # the writers.json of 3,057 x 1,000 images has 120 million


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


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing, unreadable, no regular file, larger than
            ``MAX_JSON_BYTES``, not UTF-8 or not JSON, or has a key twice or half a character.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = ", ".join(repr(key) for key, count in counts.items() if count > 1)
            raise InputError(f"{path} has a key more than once: {twice}")
        return value

    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device might never end
            raise InputError(f"cannot read {path}: not a regular file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"cannot read {path}: more than {MAX_JSON_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
        value = json.loads(text, object_pairs_hook=unique)
        if re.search(r"\\u[dD][89a-fA-F]", text):  # a surrogate alone could not be written again
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also a number of more than 4,300 digits
        raise InputError(f"{path} is not JSON: {error}") from error
