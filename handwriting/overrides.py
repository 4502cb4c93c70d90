"""Overrides that a script would ignore are reported before anything runs.

All scripts compose the same study, so that the same overrides can be given to each. A key that a
stage does not read is meant for another one, so the stage only prints it. For a whole study
(``pipeline.py``, ``evidence.py``) there is no other: a key that it sets itself, or that none of its
stages reads, is an error that says what to do instead.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from handwriting.arguments import parser
from handwriting.config import Config
from handwriting.errors import report_problems
from handwriting.storage.json_files import leaves

COMMON = (
    "name", "seed", "size_px", "runs_dir", "cache_dir", "tracking", "data", "fonts", "structure",
    "runtime", "experiment",
)  # fmt: skip


def typed_keys(overrides: Sequence[str]) -> list[str]:
    """The dotted keys that overrides set, including those in ``generation={output: PATH}``."""
    parsed = parser().parse_overrides(list(overrides))
    values = [None if one.is_sweep_override() else one.value() for one in parsed]
    return [key for one, value in zip(parsed, values, strict=True)
            for key in leaves(value, one.key_or_group)]  # fmt: skip


def refuse(keys: Sequence[str], ignored: Mapping[str, str]) -> None:
    """Check that the script ignores none of the given keys.

    Args:
        keys: the given keys.
        ignored: the keys or whole sections that it ignores, with what to do instead.

    Raises:
        InputError: keys that it ignores, all of them listed.
    """
    whys = {key: [why for name, why in ignored.items() if _within(key, name)] for key in keys}
    problems = [f"{key}: {why[0]}" for key, why in whys.items() if why]
    report_problems("settings without effect", problems, "Remove them, or follow the advice above.")


def refuse_values(config: Config, ignored: Mapping[str, str]) -> None:
    """Check that ignored keys have their default values, wherever they might be set.

    Raises:
        InputError: keys that have other values, for example those of an experiment.
    """
    default = Config(data=type(config.data)())
    refuse([key for key in ignored if attrgetter(key)(config) != attrgetter(key)(default)], ignored)


def note_unread(keys: Sequence[str], read: Sequence[str]) -> None:
    """Print which of the given keys this stage does not read."""
    unread = [key for key in keys if not any(_within(key, name) for name in (*COMMON, *read))]
    if unread:
        print(f"  not read by this stage: {', '.join(unread)}", flush=True)


def _within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")
