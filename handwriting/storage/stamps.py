"""Stamps: fingerprints of files as they were written, to detect later loss and damage."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handwriting.storage.keys import file_key, sampled_key

LARGE = 2**24  # bytes: larger files are read whole only if their modification time has changed


def stamp(path: Path) -> str:
    """A file's size and hash; for a large one, also its modification time and a sampled hash."""
    stat = path.stat()
    whole = f"{stat.st_size} {file_key(path)}"
    if stat.st_size <= LARGE:
        return whole
    return f"{whole} {stat.st_mtime_ns} {sampled_key(path)}"


def quick_stamp(path: Path) -> str:
    """A file's size, modification time and sampled hash: one of them changes with the file."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {sampled_key(path)}"


def stamps(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """The stamps of files in a folder, by their paths relative to it."""
    return {file.relative_to(folder).as_posix(): stamp(file) for file in files}


def damage(folder: Path, stamped: Mapping[str, Any]) -> str:
    """Describe the first file of :func:`stamps` that is missing or damaged; "" if all are intact.

    Paths that lead out of the folder count as damage, and are not read.
    """
    root = os.path.join(os.path.normpath(folder), "")
    for name, known in stamped.items():
        path = os.path.normpath(os.path.join(root, name))
        if not path.startswith(root) or not os.path.isfile(path):
            return f"{path} is missing"
        if not is_whole(Path(path), known):
            return f"{path} is damaged"
    return ""


def is_whole(path: Path, known: Any) -> bool:
    """Whether a file has the same content as when it was stamped."""
    stat, words = path.stat(), str(known).split()
    if words[:1] != [str(stat.st_size)]:
        return False
    if words[2:3] == [str(stat.st_mtime_ns)]:
        return words[3:] == [sampled_key(path)]
    return words[1:2] == [file_key(path)]


def contents(stamped: Mapping[str, str]) -> dict[str, str]:
    """The content hashes in stamps, which do not depend on modification times."""
    return {name: known.split()[1] for name, known in stamped.items()}
