"""Content keys: equal contents give equal keys."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def file_key(path: Path) -> str:
    """The content of a file, as a key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def content_key(*parts: Any) -> str:
    """A short hash of JSON-able values; equal contents give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_key_of(items: Iterable[Any]) -> str:
    """The :func:`content_key` of a list, of which one item at a time is in memory."""
    digest = hashlib.sha256(b"[[")
    for i, item in enumerate(items):
        text = json.dumps(item, sort_keys=True, ensure_ascii=False, default=str)
        digest.update((", " * (i > 0) + text).encode())
    digest.update(b"]]")
    return digest.hexdigest()[:16]
