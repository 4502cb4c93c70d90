"""Content keys: equal contents give equal keys."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def file_key(path: Path) -> str:
    """The content of a file, as a key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


_NUM_SAMPLES, _SAMPLE_SIZE = 16, 2**16


def sampled_key(path: str | Path) -> str:
    """A key of a file's size and of samples from its begin to its end: all of it up to 1 MB."""
    with open(path, "rb", buffering=0) as file:
        begin = file.read(_SAMPLE_SIZE)
        if len(begin) < _SAMPLE_SIZE:
            return hashlib.sha256(begin).hexdigest()[:16]
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(b"%d " % size)
        if size <= _NUM_SAMPLES * _SAMPLE_SIZE:
            digest.update(begin + file.read())
        else:
            for i in range(_NUM_SAMPLES):
                file.seek(i * (size - _SAMPLE_SIZE) // (_NUM_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_SIZE))
    return digest.hexdigest()[:16]


def content_key(*parts: Any) -> str:
    """A short hash of JSON-able values; equal contents give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
