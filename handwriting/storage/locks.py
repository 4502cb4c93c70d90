"""Who may write into a folder."""

import os
import platform
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from handwriting.errors import InputError, cannot_write

if sys.platform != "win32":
    import fcntl


LOCK_TIMEOUT_S = 10.0  # for another process that writes into the same folder: a step of training


class FolderLock:
    """One process's claim to write into a folder, while this object or its ``with`` lasts.

    A locked file in the folder names the process. The operating system unlocks it when the process
    ends, however that happens, so a file that a killed one left keeps nobody out. Within a process
    the latest claim counts. Windows has no such locks: there two processes are not kept apart.
    What a killed process left half written is removed.

    Args:
        folder: made if it is not there.
        timeout_s: how long to wait for another process, such as a worker whose parent was killed
            and which ends its step; None: ``LOCK_TIMEOUT_S``.
        below: whether the folders below are this process's, too.

    Raises:
        InputError: another process has claimed the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, timeout_s: float | None = None, below: bool = True) -> None:
        self._path = folder / "lock"
        earlier = _CLAIMS.get(self._path)
        if earlier is not None:
            earlier.release()
        self._file = _lock(self._path, LOCK_TIMEOUT_S if timeout_s is None else timeout_s)
        self.release: Callable[[], object] = weakref.finalize(self, _unlock, self._path, self._file)
        _CLAIMS[self._path] = self
        _remove_unfinished(folder, below)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """Check that the folder is still the one that was claimed.

        Raises:
            InputError: it was removed.
        """
        if self._file.closed or not _is_at(self._file, self._path):
            raise InputError(
                f"{self._path.parent} was removed, moved or made anew while this run was writing "
                "into it. Start it again; what was in the folder is needed to go on from there."
            )


_CLAIMS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def _lock(path: Path, timeout_s: float) -> IO[str]:
    """The file, locked, with this process's name in it."""
    ends, told = time.monotonic() + timeout_s, False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            file = path.open("a+", encoding="utf-8")
            if _has_locked(file) and _is_at(file, path):  # not one that its holder just removed
                break
            with file:
                file.seek(0)
                holder = file.read()
            if time.monotonic() >= ends:
                raise InputError(
                    f"{path.parent} is being written by another run, process {holder}: wait for "
                    "it, stop it, or choose another name="
                )
            if holder and not told:
                print(f"  waiting for process {holder}, which writes {path.parent}", flush=True)
                told = True
            time.sleep(0.05)
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        return file
    except OSError as error:
        raise cannot_write(path, error) from error


def _has_locked(file: IO[str]) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_unfinished(folder: Path, below: bool) -> None:
    pattern = ".*.unfinished-*"
    for path in list(folder.rglob(pattern) if below else folder.glob(pattern)):
        path.unlink(missing_ok=True)


def _unlock(path: Path, file: IO[str]) -> None:
    with suppress(OSError):  # removed folders have nothing to remove in them
        if _is_at(file, path):
            path.unlink()
    file.close()


def _is_at(file: IO[str], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
