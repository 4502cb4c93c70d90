"""Stamps: what files held when they were written, so that later loss and damage are noticed."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from handwriting.storage.keys import file_key, sampled_key

LARGE = 2**24  # bytes: larger files are read whole only when their time of change is another


def stamp(path: Path) -> str:
    """A file's size and hash; of a large one its time of change and the hash of samples, too."""
    stat = path.stat()
    whole = f"{stat.st_size} {file_key(path)}"
    if stat.st_size <= LARGE:
        return whole
    return f"{whole} {stat.st_mtime_ns} {sampled_key(path)}"


def quick_stamp(path: Path) -> str:
    """What changes with a file: its size, time of change, and a sampled hash."""
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {sampled_key(path)}"


def stamps(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """The stamps of files in a folder, by their names in it."""
    return {file.relative_to(folder).as_posix(): stamp(file) for file in files}


def damage(folder: Path, stamped: Mapping[str, Any]) -> str:
    """The first file of :func:`stamps` that is missing or damaged, in words; "" if all are whole.

    Names that lead out of the folder are damage, too, and are not read.
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
    """Whether a file holds what it held when it was stamped."""
    stat, words = path.stat(), str(known).split()
    if words[:1] != [str(stat.st_size)]:
        return False
    if words[2:3] == [str(stat.st_mtime_ns)]:
        return words[3:] == [sampled_key(path)]
    return words[1:2] == [file_key(path)]


def contents(stamped: Mapping[str, str]) -> dict[str, str]:
    """What stamps say of the contents alone: the same for equal files of any time."""
    return {name: known.split()[1] for name, known in stamped.items()}
