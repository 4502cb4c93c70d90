"""The one way to write a file: whole or not at all."""

import os
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from handwriting.errors import cannot_write


def write_atomically(path: Path, write: Callable[[Path], object], flush: bool = True) -> None:
    """Call ``write`` on a temporary name beside ``path``, flush it to disk, rename it.

    A reader sees the old file or the new one, never half of one. Thousands of images need no flush
    each: the manifest, written last after :func:`flush_all`, is what makes them count.

    Raises:
        InputError: the disk is full or the folder cannot be written; ``path`` is as it was before.
    """
    # The suffix stays: Pillow and numpy choose the format by it.
    temporary = path.with_name(f".{path.stem}.unfinished-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if flush:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def flush_all() -> None:
    """Wait until everything written is on disk, including files that were not flushed."""
    if sys.platform != "win32":
        os.sync()


def write_bytes(path: Path, content: bytes) -> None:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())
