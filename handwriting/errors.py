"""The one error type for what comes from outside: configs, files, fonts, weights."""

import errno
from pathlib import Path


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message says what was expected, what was found, and what to do. Scripts print it without a
    traceback and exit with 1; library callers can catch it as a ``ValueError``.
    """


class WriteError(InputError):
    """A file cannot be written: never a reason to leave out what was to be written."""


def report_problems(what: str, problems: list[str], advice: str, most: int = 20) -> None:
    """Raise one ``InputError`` that lists every problem found, if there is any."""
    if not problems:
        return
    shown = problems[:most]
    if len(problems) > most:
        shown.append(f"... and {len(problems) - most} more")
    raise InputError(f"{what}: {len(problems)} problem(s)\n  " + "\n  ".join(shown) + f"\n{advice}")


def cannot_write(path: Path, error: OSError) -> WriteError:
    """The error for a failed write that left the previous file in place."""
    # NumPy gives no number when fewer bytes were written than it asked for.
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, None)
    advice = "make space on the disk" if is_full else "make the folder writable or choose another"
    return WriteError(
        f"cannot write {path}: {error.strerror or error}. Nothing was replaced: {advice} "
        "(runs_dir=, cache_dir=), then run the same command to resume."
    )
