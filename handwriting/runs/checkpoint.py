"""The checkpoint that a run leaves for itself: written whole or not at all, the one before kept."""

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from handwriting.storage.atomic import write_atomically


def save_checkpoint(path: Path, state: dict[str, Any], before: Path) -> None:
    """Write a checkpoint; the one that was there takes the name ``before``."""

    def write(temporary: Path) -> None:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(
                errno.EIO, f"torch cannot write it, is the disk full? ({error})"
            ) from error
        if path.is_file():
            os.replace(path, before)

    write_atomically(path, write)


def read_checkpoint(path: Path) -> Any:
    """What :func:`save_checkpoint` wrote, on the CPU; no code from the file is run.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch does not look at the check sums
        if damaged is not None:
            raise ValueError(f"{damaged} is not what was written")
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # zipfile and torch raise whatever the broken bytes lead to
        raise ValueError(str(error) or type(error).__name__) from error
