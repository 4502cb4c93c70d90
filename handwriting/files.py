"""Where the project's own files lie, content keys, and the one way to write a file."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handwriting.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def _shipped(name: str) -> Path:
    """A data folder: beside the package in a checkout, inside it in an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _CHECKOUT / name


CONFIG_DIR = _shipped("conf")
INFORMATION_DIR = _shipped("information")


def workspace() -> Path:
    """The folder that ``runs/`` and ``cache/`` lie in: the checkout, else the current folder."""
    return _CHECKOUT if (_CHECKOUT / "conf" / "study.yaml").is_file() else Path.cwd()


def content_key(*parts: Any) -> str:
    """A short hash of JSON-able values; equal contents give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_atomically(path: Path, write: Callable[[Path], None], flush: bool = True) -> None:
    """Call ``write`` on a temporary name beside ``path``, flush it to disk, rename it.

    A reader sees the old file or the new one, never half of one. Thousands of images need no flush
    each: the manifest, written last, is what makes them count.

    Raises:
        InputError: the disk is full or the folder cannot be written; ``path`` is as it was before.
    """
    # The suffix stays: Pillow and numpy choose the format by it.
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if flush:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}. Nothing was replaced.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Add a line to a log.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing, unreadable, not UTF-8 or not JSON, or has a key twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = ", ".join(repr(key) for key in value if keys.count(key) > 1)
            raise InputError(f"{path} has a key more than once: {twice}")
        return value

    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
