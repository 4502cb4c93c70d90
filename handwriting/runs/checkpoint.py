"""A run's checkpoints, written atomically; the previous one is kept."""

import errno
import os
import zipfile
from pathlib import Path
from typing import Any

import torch

from handwriting.storage.atomic import write_atomically


class Checkpoints:
    """The last checkpoint in a run's folder, and the previous one."""

    def __init__(self, folder: Path) -> None:
        self._last = folder / "checkpoint.pt"
        self._before = folder / "checkpoint.pt.before"

    def __bool__(self) -> bool:
        return self._last.is_file() or self._before.is_file()

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the last one becomes the previous one.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """

        def write(temporary: Path) -> None:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:  # torch's error on a full disk
                message = f"torch cannot write it, is the disk full? ({error})"
                raise OSError(errno.EIO, message) from error
            if self._last.is_file():
                os.replace(self._last, self._before)

        write_atomically(self._last, write)

    def last(self) -> Path | None:
        """The last readable checkpoint; unreadable ones are removed."""
        for path in (self._last, self._before):
            if not path.is_file():
                continue
            try:
                read_checkpoint(path)
                return path
            except ValueError as error:
                text = f"{path} is damaged ({error}), resuming from an earlier state"
                print(f"  warning: {text}", flush=True)
                path.unlink()
        return None

    def remove(self) -> None:
        for path in (self._last, self._before):
            path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> Any:
    """A checkpoint's state, on the CPU; no code from the file is run.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # torch does not compress: a file that grows on reading was not written by torch.
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("its contents are larger than the file")
            damaged = archive.testzip()  # torch does not verify the checksums
        if damaged is not None:
            raise ValueError(f"{damaged} does not match its checksum")
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # zipfile and torch raise whatever the broken bytes lead to
        raise ValueError(str(error) or type(error).__name__) from error
