"""Content keys: equal contents give equal keys."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def file_key(path: Path) -> str:
    """A key of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


_NUM_SAMPLES, _SAMPLE_SIZE = 16, 2**16


def sampled_key(path: str | Path) -> str:
    """A key of a file's size and evenly spaced samples; up to 1 MB, of all its content."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(_SAMPLE_SIZE)
        if len(head) < _SAMPLE_SIZE:
            return hashlib.sha256(head).hexdigest()[:16]
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(b"%d " % size)
        if size <= _NUM_SAMPLES * _SAMPLE_SIZE:
            digest.update(head + file.read())
        else:
            for i in range(_NUM_SAMPLES):
                file.seek(i * (size - _SAMPLE_SIZE) // (_NUM_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_SIZE))
    return digest.hexdigest()[:16]


def content_key(*parts: Any) -> str:
    """A short hash of JSON-able values; equal contents give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
