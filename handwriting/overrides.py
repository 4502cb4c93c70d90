"""What was typed on the command line and would change nothing is told before anything runs.

All scripts compose one study, so that the same overrides can be given to each. A key that one stage
does not read is for another one: the stage says so in a line. A whole study (``pipeline.py``,
``evidence.py``) has no other: a key that it sets itself, or that none of its stages reads, is
refused with what to do. The jobs of a sweep must write into folders of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from handwriting.config import Config
from handwriting.errors import InputError, report_problems
from handwriting.storage.places import CONFIG_DIR

COMMON = (
    "name", "seed", "size_px", "runs_dir", "cache_dir", "tracking", "data", "fonts", "structure",
    "runtime",
)  # fmt: skip
_GROUPS = ("data", "fonts", "runtime", "experiment")
_FOLDER = ("name", "runs_dir", "generation.output", "classifier.name")  # what may tell jobs apart


def typed_keys(overrides: Sequence[str]) -> list[str]:
    """The dotted keys that overrides set; not the choices of groups, nor Hydra's own."""
    return [key for one in _parsed(overrides) for key in _keys(one)]


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


def check_sweep(arguments: Sequence[str], folder_keys: Sequence[str]) -> None:
    """Check that each job of a sweep (``-m``) writes into a folder of its own.

    Args:
        arguments: of the command line.
        folder_keys: keys that decide which folder the script writes into, beside name and runs_dir.

    Raises:
        InputError: a key is swept that the name of no folder tells.
    """
    if not {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments):
        return
    overrides = _parsed([argument for argument in arguments if "=" in argument])
    texts = "".join(str(one.value()) for one in overrides if one.key_or_group in _FOLDER
                    and not one.is_sweep_override())  # fmt: skip
    for one in overrides:
        key = one.key_or_group
        is_apart = key in ("name", "runs_dir", "experiment", *folder_keys) or f"${{{key}}}" in texts
        if one.is_sweep_override() and not is_apart:
            raise InputError(
                f"-m {one.input_line}: its jobs would write into one folder, each over the last: "
                f"add 'name=NAME_${{{key}}}' (in single quotes) for a folder of each"
            )


def unknown_keys(node: DictConfig, place: str = "") -> Iterator[str]:
    """Keys that ``+`` has added to what the schema knows, with where they belong."""
    shape = OmegaConf.get_type(node)
    if not is_dataclass(shape):
        return
    known = {field.name for field in fields(shape)}
    for key in map(str, node):
        if key not in known:
            yield f"{place}{key}: no such key{where_read(place + key)}"
        elif not OmegaConf.is_missing(node, key) and isinstance(value := node[key], DictConfig):
            yield from unknown_keys(value, f"{place}{key}.")


def where_read(key: str, chosen: Sequence[str] = ()) -> str:
    """Which choices of ``data=`` have a key, in words; "" if none has, or it is chosen."""
    top, _, rest = key.partition(".")
    name = rest.partition(".")[0]
    readers = _readers()
    of_readers = [schema for schema, names in readers.items() if name in names]
    if len(of_readers) == len(readers):
        return ""
    files = sorted((CONFIG_DIR / "data").glob("*.yaml")) if top == "data" else []
    found = [f.stem for f in files if any(s in f.read_text(encoding="utf-8") for s in of_readers)]
    choices = [f"data={name}" for name in found]
    return f" (add {' or '.join(choices)})" if found and not {*choices} & {*chosen} else ""


def _readers() -> dict[str, set[str]]:
    """The keys of each reader of handwriting, by the name of its schema."""
    group = ConfigStore.instance().repo["data"]
    return {name.removesuffix(".yaml"): set(map(str, node.node)) for name, node in group.items()}


def _within(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _parsed(overrides: Sequence[str]) -> list[Override]:
    """Overrides as Hydra reads them; nothing of what it cannot read, which it names itself."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException:
        return []


def _keys(override: Override) -> Iterator[str]:
    key = override.key_or_group
    if key in _GROUPS or "/" in key or key.startswith("hydra."):
        return
    value = None if override.is_sweep_override() else override.value()
    if isinstance(value, dict):  # generation={output: PATH}
        yield from (f"{key}.{name}" for name in _names(value))
    else:
        yield key


def _names(value: Mapping[Any, Any]) -> Iterator[str]:
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from (f"{name}.{rest}" for rest in _names(item))
        else:
            yield str(name)
