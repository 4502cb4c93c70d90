"""Who may write into a folder."""

import os
import platform
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from handwriting.errors import InputError, cannot_write

HOLDER_FILE = "lock"  # names the process that holds the claim
LOCK_FILE = ".lock"  # empty, and stays: to remove it would let two processes in
# What does not make a folder somebody else's: of this project, of Hydra, of file managers.
_INCIDENTAL = (HOLDER_FILE, "sweep", ".DS_Store", "Thumbs.db", "desktop.ini", "lost+found")
_BELOW = (LOCK_FILE, f"*/{LOCK_FILE}", f"*/*/{LOCK_FILE}")  # of a study's folders
LOCK_TIMEOUT_S = 10.0  # for another process that writes into the same folder: a step of training


class FolderLock:
    """One process's claim to write into a folder, while this object or its ``with`` lasts.

    The operating system ends it with the process, however that happens; the file ``lock`` names the
    process meanwhile, and one that a killed process left keeps nobody out. Within a process the
    latest claim counts. What a killed process left half written is removed. Only a folder that is
    new, empty or claimed before can be claimed: nothing of somebody else's is written over.

    Args:
        timeout_s: how long to wait for another process, such as a worker whose parent was killed
            and which ends its step; None: ``LOCK_TIMEOUT_S``.
        below: whether the folders below are this process's, too.

    Raises:
        InputError: another process has claimed the folder, it holds somebody else's files, or it
            cannot be written.
    """

    def __init__(self, folder: Path, timeout_s: float | None = None, below: bool = True) -> None:
        self._holder = folder / HOLDER_FILE
        if (earlier := _CLAIMS.get(folder)) is not None:
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
        _CLAIMS[folder] = self
        for path in list((folder.rglob if below else folder.glob)(".*.unfinished-*")):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """Check that the folder is still the one that was claimed.

        Raises:
            InputError: it was removed.
        """
        if _named_in(self._holder) != _this_process():
            raise InputError(
                f"{self._holder.parent} was removed, moved or made anew while this run was writing "
                "into it. Start it again; what was in the folder is needed to go on from there."
            )


_CLAIMS: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def is_vacant(folder: Path) -> bool:
    """Whether a folder holds nothing but a claim, and what a killed process left half written."""
    return all(path.name == LOCK_FILE or _is_incidental(path) for path in folder.iterdir())


def _is_incidental(path: Path) -> bool:
    return path.name in _INCIDENTAL or ".unfinished-" in path.name


def _require_own(folder: Path) -> None:
    if (folder / LOCK_FILE).exists():
        return
    for path in folder.iterdir():
        if not (_is_incidental(path) or any(any(path.glob(pattern)) for pattern in _BELOW)):
            raise InputError(
                f"{folder} holds {path.name}, which no run of this project has written: name a "
                "folder that is new or empty"
            )


def _acquire(lock: FileLock, holder: Path, timeout_s: float) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"  waiting for {_named_in(holder)}, which writes {holder.parent}", flush=True)
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
    return "another process"  # it has not yet said who it is
