"""What was typed and a script would not honour is told before anything runs.

All scripts compose one study, so that the same overrides can be given to each. A key that one stage
does not read is for another one: the stage says so in a line. A whole study (``pipeline.py``,
``evidence.py``) has no other: a key that it sets itself, or that none of its stages reads, is
refused with what to do.
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
    """The dotted keys that overrides set, also by ``generation={output: PATH}``."""
    parsed = parser().parse_overrides(list(overrides))
    values = [None if one.is_sweep_override() else one.value() for one in parsed]
    return [key for one, value in zip(parsed, values, strict=True)
            for key in leaves(value, one.key_or_group)]  # fmt: skip


def refuse(keys: Sequence[str], ignored: Mapping[str, str]) -> None:
    """Check that no key is one that the script ignores.

    Args:
        keys: that were given.
        ignored: keys or whole sections, with what to do instead.

    Raises:
        InputError: naming each.
    """
    whys = {key: [why for name, why in ignored.items() if _within(key, name)] for key in keys}
    problems = [f"{key}: {why[0]}" for key, why in whys.items() if why]
    report_problems("would change nothing", problems, "Leave them out, or do as it says here.")


def refuse_values(config: Config, ignored: Mapping[str, str]) -> None:
    """Check that ignored keys have the values of the schema, whoever has set them.

    Raises:
        InputError: naming each that has another, as from an experiment.
    """
    default = Config(data=type(config.data)())
    refuse([key for key in ignored if attrgetter(key)(config) != attrgetter(key)(default)], ignored)


def note_unread(keys: Sequence[str], read: Sequence[str]) -> None:
    """Say which of the keys that were given this stage does not read."""
    unread = [key for key in keys if not any(_within(key, name) for name in (*COMMON, *read))]
    if unread:
        print(f"  not read by this stage: {', '.join(unread)}", flush=True)


def _within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")
