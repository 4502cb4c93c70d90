"""The one error type for what comes from outside: configs, files, fonts, weights."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message says what was expected, what was found, and what to do. Scripts print it without a
    traceback and exit with 1; library callers can catch it as a ``ValueError``.
    """


def report_problems(what: str, problems: list[str], advice: str, most: int = 20) -> None:
    """Raise one ``InputError`` that lists every problem found, if there is any."""
    if not problems:
        return
    shown = problems[:most]
    if len(problems) > most:
        shown.append(f"... and {len(problems) - most} more")
    raise InputError(f"{what}: {len(problems)} problem(s)\n  " + "\n  ".join(shown) + f"\n{advice}")
