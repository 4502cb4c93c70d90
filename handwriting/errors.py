"""The one error type for what comes from outside: configs, files, fonts, weights."""

import errno
from pathlib import Path


class InputError(ValueError):
    """Input from the user cannot be used.

    The message says what was expected, what was found, and what to do. Scripts print it without a
    traceback and exit with 1; library callers can catch it as a ``ValueError``.
    """


class WriteError(InputError):
    """A file cannot be written; code that skips unusable input must not swallow this error."""


def report_problems(what: str, problems: list[str], advice: str, most: int = 20) -> None:
    """Raise one ``InputError`` that lists all problems, if there are any."""
    if not problems:
        return
    shown = problems[:most]
    if len(problems) > most:
        shown.append(f"... and {len(problems) - most} more")
    raise InputError(f"{what}: {len(problems)} problem(s)\n  " + "\n  ".join(shown) + f"\n{advice}")


def abridged(text: str, most: int) -> str:
    """A text for a message, cut after ``most`` characters, with dots if it is longer."""
    return text if len(text) <= most else f"{text[:most]}..."


def cannot_write(path: Path, error: OSError) -> WriteError:
    """The error for a failed write that left any previous file in place."""
    # NumPy sets no errno when fewer bytes were written than requested.
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, None)
    advice = "free some disk space" if is_full else "make the folder writable"
    return WriteError(
        f"cannot write {path}: {error.strerror or error}. No existing file was changed: {advice} "
        "or choose another folder (runs_dir=, cache_dir=), then run the same command to resume."
    )
