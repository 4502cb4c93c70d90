"""Locks on folders: one process at a time writes into a folder."""

import os
import platform
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from handwriting.errors import InputError, cannot_write

HOLDER_FILE = "lock"  # names the process that holds the lock
LOCK_FILE = ".lock"  # empty, never removed: removing it could let two processes in
# Names that do not make a folder foreign: of this project, Hydra, file managers and systems.
_INCIDENTAL = (HOLDER_FILE, "sweep", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
_BELOW = (LOCK_FILE, f"*/{LOCK_FILE}", f"*/*/{LOCK_FILE}")  # in the folders of a study
LOCK_TIMEOUT_S = 10.0  # for another process to finish its training step and release the folder


class FolderLock:
    """One process's exclusive lock on a folder, for the lifetime of this object or its ``with``.

    The operating system releases it when the process ends, however that happens. Meanwhile the file
    ``lock`` names the process; one left behind by a killed process locks nobody out. Within a
    process, the latest lock on a folder replaces earlier ones. Partial files of a killed process
    are removed. A folder must be new, empty or locked before, so that no foreign files are
    overwritten.

    Args:
        timeout_s: how long to wait for another process, such as a worker that finishes its step
            after its parent was killed; None: ``LOCK_TIMEOUT_S``.
        below: whether partial files are removed from its subfolders, too.

    Raises:
        InputError: another process holds the lock, the folder holds foreign files, or it cannot be
            written to.
    """

    def __init__(self, folder: Path, timeout_s: float | None = None, below: bool = True) -> None:
        self._holder = folder / HOLDER_FILE
        if (earlier := _LOCKS.get(folder)) is not None:
            earlier.release()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _require_own(folder)
            lock = FileLock(folder / LOCK_FILE, thread_local=False)
            _acquire(lock, self._holder, LOCK_TIMEOUT_S if timeout_s is None else timeout_s)
            self._holder.write_text(_this_process(), encoding="utf-8")
        except OSError as error:
            raise cannot_write(self._holder, error) from error
        self.release: Callable[[], object] = weakref.finalize(self, _release, lock, self._holder)
        _LOCKS[folder] = self
        for path in list((folder.rglob if below else folder.glob)(".*.unfinished-*")):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """Check that the folder is still the one that was locked.

        Raises:
            InputError: it was removed.
        """
        if _named_in(self._holder) != _this_process():
            raise InputError(
                f"{self._holder.parent} was removed, moved or recreated while this run was writing "
                "into it. Run the same command again; to resume, first restore its contents."
            )


_LOCKS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def is_vacant(folder: Path) -> bool:
    """Whether a folder holds nothing but lock files, and partial files of a killed process."""
    return all(path.name == LOCK_FILE or _is_incidental(path) for path in folder.iterdir())


def _is_incidental(path: Path) -> bool:
    return path.name in _INCIDENTAL or ".unfinished-" in path.name


def _require_own(folder: Path) -> None:
    if (folder / LOCK_FILE).exists():
        return
    for path in folder.iterdir():
        if not (_is_incidental(path) or any(any(path.glob(pattern)) for pattern in _BELOW)):
            raise InputError(
                f"{folder} holds {path.name}, which was not written by this project: choose a new "
                "or empty folder"
            )


def _acquire(lock: FileLock, holder: Path, timeout_s: float) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"  waiting for {_named_in(holder)}, which is writing to {holder.parent}", flush=True)
        try:
            lock.acquire(timeout_s)
        except Timeout:
            raise InputError(
                f"{holder.parent} is being written by another run, {_named_in(holder)}: wait "
                "for it, stop it, or choose another name="
            ) from None


def _release(lock: FileLock, holder: Path) -> None:
    if _named_in(holder) == _this_process():
        holder.unlink()
    lock.release()


def _this_process() -> str:
    return f"process {os.getpid()} on {platform.node()}"


def _named_in(holder: Path) -> str:
    with suppress(OSError):
        return holder.read_text(encoding="utf-8", errors="replace")
    return "another process"  # that has not written its name yet
