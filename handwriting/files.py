"""Where the project's own files lie, content keys, the one way to write a file, and by whom."""

import hashlib
import json
import os
import platform
import re
import sys
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

from handwriting.errors import InputError, cannot_write

if sys.platform != "win32":
    import fcntl

PATIENCE_S = 10.0  # for another process that writes into the same folder: a step of training
MAX_JSON_BYTES = 200_000_000  # the writers.json of 3,057 x 1,000 images has 120 million

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def _shipped(name: str) -> Path:
    """A data folder: beside the package in a checkout, inside it in an installed wheel."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _CHECKOUT / name


CONFIG_DIR = _shipped("conf")
INFORMATION_DIR = _shipped("information")


def workspace() -> Path:
    """The folder that ``runs/`` and ``cache/`` lie in: the checkout, else the current folder."""
    return _CHECKOUT if (_CHECKOUT / "conf" / "study.yaml").is_file() else Path.cwd()


def content_key(*parts: Any) -> str:
    """A short hash of JSON-able values; equal contents give equal keys."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def content_key_of(items: Iterable[Any]) -> str:
    """The :func:`content_key` of a list, of which one item at a time is in memory."""
    digest = hashlib.sha256(b"[[")
    for i, item in enumerate(items):
        text = json.dumps(item, sort_keys=True, ensure_ascii=False, default=str)
        digest.update((", " * (i > 0) + text).encode())
    digest.update(b"]]")
    return digest.hexdigest()[:16]


def git_commit() -> str | None:
    """The commit that the checkout is at; None outside one, as in an installed package."""
    git = _CHECKOUT / ".git"
    if git.is_file():  # a worktree or submodule: the folder is elsewhere
        git = _CHECKOUT / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    if not (git / "HEAD").is_file():
        return None
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return head
    branch = head.removeprefix("ref: ")
    shared = git / "commondir"  # of a worktree: where the branches are
    if shared.is_file():
        git = git / shared.read_text(encoding="utf-8").strip()
    if (git / branch).is_file():
        return (git / branch).read_text(encoding="utf-8").strip()
    packed = git / "packed-refs"
    lines = packed.read_text(encoding="utf-8").splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {branch}")), None)


# Writing ------------------------------------------------------------------------------------------


def write_atomically(path: Path, write: Callable[[Path], None], flush: bool = True) -> None:
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
    """Wait until all that was written is on the disk, also what was not flushed file by file."""
    if sys.platform != "win32":
        os.sync()


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Add a line to a log.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise cannot_write(path, error) from error


def plain(value: Any) -> Any:
    """Dataclasses and enums as JSON-able values."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing, unreadable, no regular file, larger than
            ``MAX_JSON_BYTES``, not UTF-8 or not JSON, or has a key twice or half a character.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = ", ".join(repr(key) for key, count in counts.items() if count > 1)
            raise InputError(f"{path} has a key more than once: {twice}")
        return value

    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device might never end
            raise InputError(f"cannot read {path}: not a regular file")
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"cannot read {path}: more than {MAX_JSON_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
        value = json.loads(text, object_pairs_hook=unique)
        if re.search(r"\\u[dD][89a-fA-F]", text):  # a surrogate alone could not be written again
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # also a number of more than 4,300 digits
        raise InputError(f"{path} is not JSON: {error}") from error


# Who writes ---------------------------------------------------------------------------------------


class Claim:
    """One process's claim to write into a folder, while this object or its ``with`` lasts.

    A locked file in the folder names the process. The operating system unlocks it when the process
    ends, however that happens, so a file that a killed one left keeps nobody out. Within a process
    the latest claim counts. Windows has no such locks: there two processes are not kept apart.
    What a killed process left half written is removed.

    Args:
        folder: made if it is not there.
        patience_s: how long to wait for another process, such as a worker whose parent was killed
            and which ends its step; None: ``PATIENCE_S``.
        below: whether the folders below are this process's, too.

    Raises:
        InputError: another process has claimed the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, patience_s: float | None = None, below: bool = True) -> None:
        self._path = folder / "lock"
        earlier = _CLAIMS.get(self._path)
        if earlier is not None:
            earlier.release()
        self._file = _lock(self._path, PATIENCE_S if patience_s is None else patience_s)
        self.release: Callable[[], object] = weakref.finalize(self, _unlock, self._path, self._file)
        _CLAIMS[self._path] = self
        _remove_unfinished(folder, below)

    def __enter__(self) -> "Claim":
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


_CLAIMS: weakref.WeakValueDictionary[Path, Claim] = weakref.WeakValueDictionary()


def _lock(path: Path, patience_s: float) -> IO[str]:
    """The file, locked, with this process's name in it."""
    ends, told = time.monotonic() + patience_s, False
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
