"""How a script composes its configuration and runs.

A script imports it first, so that ``--help`` and ``--version`` are answered, and unknown keys
rejected, before torch is loaded.
"""

import argparse
import importlib
import importlib.metadata
import os
import pkgutil
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from itertools import product
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra import compose as hydra_compose, initialize_config_dir, main as hydra_main
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from handwriting import overrides
from handwriting.arguments import Key, checked, known_groups, known_keys, parser
from handwriting.config import AddCharacters, Config, Data, Read
from handwriting.corpus import readers
from handwriting.errors import InputError, report_problems
from handwriting.parallel.starter import following_starter
from handwriting.ranges import problems
from handwriting.storage.places import CONFIG_DIR, INFORMATION_DIR, git_commit, workspace

Ignored = Callable[[Config], Mapping[str, str]]
STUDY = "study"
# The primary configurations, conf/<name>.yaml, of scripts of that name; others compose the study.
PRIMARY: dict[str, type] = {STUDY: Config, "read": Read, "add_characters": AddCharacters}

USAGE = """
Settings are given as key=value. conf/{primary}.yaml and handwriting/config.py list all of them with
their meaning, default and range.

    {command} --cfg job                     # print the settings, run nothing"""
STUDY_USAGE = """
Settings are given as key=value; with -m, key=a,b runs a job for each value. conf/study.yaml and
handwriting/config.py list all of them with their meaning, default and range; conf/experiment/ has
complete studies.

    {command} --cfg job                     # print the settings, run nothing
    {command} --cfg job experiment=paper    # print those of another study"""


@cache
def _register(primary: str = STUDY) -> dict[str, Key]:
    """Register the schema of a primary configuration with Hydra, as ``<primary>_schema``.

    For a study, the schema of each data reader is registered, too, as ``data: <module>_schema``.

    Returns:
        The keys of all these schemas.
    """
    store = ConfigStore.instance()
    OmegaConf.register_new_resolver("workspace", lambda: str(workspace()), replace=True)
    OmegaConf.register_new_resolver("information", lambda: str(INFORMATION_DIR), replace=True)
    store.store(name=f"{primary}_schema", node=PRIMARY[primary])
    known = known_keys(PRIMARY[primary]) | known_groups(primary)
    for _, name, _ in pkgutil.iter_modules(readers.__path__) if primary == STUDY else ():
        module = importlib.import_module(f"{readers.__name__}.{name}")
        classes = [item for item in vars(module).values() if isinstance(item, type)]
        (own,) = (c for c in classes if issubclass(c, Data) and c.__module__ == module.__name__)
        store.store(group="data", name=f"{name}_schema", node=own)
        known |= known_keys(own, place="data.")
    return known


# Resolvers that read the environment, or text that may: a third party's file could leak secrets.
_READS_ENVIRONMENT = re.compile(r"\$\{\s*oc\.(?:env|decode)\s*:[^}\n]*")


def typed(composed: DictConfig, written: Sequence[str] = (), kind: type = Config) -> Any:
    """The composed configuration as dataclasses.

    Args:
        written: the overrides of the command line, which alone may read the environment.
        kind: its dataclass.

    Raises:
        InputError: values that are missing or out of range, all of them listed; a value that refers
            to an unknown key; a file that reads the environment.
    """
    for found in _READS_ENVIRONMENT.findall(OmegaConf.to_yaml(composed)):
        if not any(found in override for override in written):
            raise InputError(
                f"a configuration file reads the environment: {found}}}. The environment may hold "
                "secrets, and all settings are stored with the results: set the value on the "
                "command line instead"
            )
    try:
        missing = OmegaConf.missing_keys(composed)
        config = None if missing else OmegaConf.to_object(composed)
    except OmegaConfBaseException as error:  # such as a reference to an unknown key
        raise InputError(" ".join(str(error).split())) from error
    if missing:
        raise InputError(
            f"no value for {', '.join(sorted(missing))}: set it in conf/ or on the command line"
        )
    assert isinstance(config, kind)
    report_problems(
        "settings",
        list(problems(config, kind)),
        "Change them on the command line or in conf/.",
    )
    return config


def compose(typed_in: Sequence[str] = (), primary: str = STUDY) -> Any:
    """The study, or another primary configuration, with overrides, as a script would see it."""
    _, settings = checked(typed_in, _register(primary))
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return typed(hydra_compose(primary, settings), settings, PRIMARY[primary])


def check_sweep(settings: Sequence[str], folder_keys: Sequence[str]) -> None:
    """Check that each job of a sweep (``-m``) writes into a folder of its own.

    Args:
        settings: overrides, some with several values.
        folder_keys: keys that, with name and runs_dir, decide which folder the script writes to.

    Raises:
        InputError: two jobs would write into the same folder, or Hydra's records would go into a
            folder that holds other files.
    """
    parsed = parser().parse_overrides(list(settings))
    swept = [one for one in parsed if one.is_sweep_override()]
    fixed = [str(one.input_line) for one in parsed if one not in swept]
    choices = [[f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
               for one in swept]  # fmt: skip
    jobs = sorted({*product(*choices)})
    folders = set()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        for number, job in enumerate(jobs):
            own = [*fixed, *job, f"hydra.job.num={number}", f"hydra.job.id={number}"]
            composed = hydra_compose("study", own, return_hydra_config=True)
            HydraConfig.instance().set_config(composed)  # for names such as ${hydra:job.num}
            records = Path(composed.hydra.sweep.dir)
            with open_dict(composed):
                del composed["hydra"]
            config = typed(composed, own)
            folders.add(
                str([attrgetter(key)(config) for key in ("runs_dir", "name", *folder_keys)])
            )
    if len(folders) < len(jobs):
        name = "_".join(f"${{{_reference(one.key_or_group)}}}" for one in swept)
        raise InputError(
            f"-m {' '.join(str(one.input_line) for one in swept)}: several jobs would write into "
            "the same folder and overwrite each other's results: add "
            f"'name=NAME_{name}' (in single quotes) to give each job its own folder"
        )
    is_own = not records.exists() or (records / "multirun.yaml").is_file()
    if not is_own and not (records.is_dir() and all(p.name.isdigit() for p in records.iterdir())):
        raise InputError(f"hydra.sweep.dir={records}: expected a new folder, or one of a sweep")


def _reference(key: str) -> str:
    """What to write in ``${...}`` to refer to a key, or to the choice of a group."""
    return f"hydra:runtime.choices.{key}" if _register()[key].kind is None else key


def run_script(
    main: Callable[[Any], Any], *, data: str | None = None, reads: Sequence[str] = (),
    folder_keys: Sequence[str] = (), ignored: Ignored | None = None,
) -> None:  # fmt: skip
    """Run a script's ``main`` with the configuration composed from the command line.

    Args:
        main: the script's main function.
        data: the choice of ``data=`` if the command line makes none; None: the study's.
        reads: the keys and sections that the stage reads, in addition to the common ones.
        folder_keys: the keys that decide which folder it writes to, so that a sweep may vary them.
        ignored: for a whole study, the keys that it ignores, with what to do instead.
    """
    from handwriting.parallel import ranks  # it imports torch, too slow for --help

    _answer(sys.modules.get(main.__module__ or "", _started))  # for an installed command
    if sys.version_info >= (3, 14):
        # argparse checks every help text when it is added, and Hydra 1.3's for --shell-completion
        # is not a string: https://github.com/facebookresearch/hydra/issues/3121
        argparse.ArgumentParser._check_help = lambda *_: None  # type: ignore[attr-defined]
    is_begun = False
    primary = _primary(sys.modules.get(main.__module__ or "", _started))

    @hydra_main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=primary)
    def job(composed: DictConfig) -> None:
        nonlocal is_begun
        is_begun = True
        try:
            with following_starter():
                config = typed(composed, sys.argv[1:], PRIMARY[primary])
                keys = overrides.typed_keys(HydraConfig.get().overrides.task)
                if ignored:
                    overrides.refuse(keys, ignored(config))
                ranks.join(config.runtime.device)
                if primary == STUDY and not ignored and ranks.is_main():
                    overrides.note_unread(keys, reads)
                main(config)
        except (InputError, FloatingPointError) as error:
            if not ranks.is_main():
                time.sleep(2)  # by then rank 0 has printed it, and torchrun is ending all
            sys.exit(f"error: {error}")
        except RuntimeError as error:
            if not ranks.is_loss(error):
                raise
            sys.exit(
                f"error: another of the {ranks.world_size()} processes has ended. Either it has "
                "printed an error, or it was killed, perhaps for lack of memory: then run the same "
                "command to resume"
            )

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra raises errors, not prints them
    try:
        options, settings = checked(sys.argv[1:], _register(primary))
        if data and not any(setting.startswith("data=") for setting in settings):
            settings.insert(0, f"data={data}")
        if {"-m", "--multirun", "hydra.mode=MULTIRUN"} & {*options, *settings}:
            if primary != STUDY:
                raise InputError("-m: this script does not support sweeps")
            check_sweep(settings, folder_keys)
        sys.argv[1:] = [*options, *settings]
        _run(job)
    except (InputError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {_explained(error)}")
    except Exception as error:  # Hydra raises various types for unexpected values
        if is_begun or error.__cause__:  # in a job, here or in a worker
            raise
        sys.exit(f"error: Hydra cannot compose the configuration: {error}")


def _run(job: Callable[[], None]) -> None:
    """Run a job or a sweep, whose workers may be killed."""
    try:
        job()
    except BrokenProcessPool:
        sys.exit(
            "error: a worker was killed, perhaps for lack of memory: run the same command to "
            "resume; hydra.launcher.n_jobs=1 needs less memory"
        )


def _explained(error: Exception) -> str:
    """The text of a composition error; for a key of other data, the choices that have it."""
    readers = ConfigStore.instance().repo["data"]
    for key, name in re.findall(r"Could not override '(data\.(\w+).*)'", str(error)):
        schemas = [
            schema.removesuffix(".yaml") for schema in readers if name in readers[schema].node
        ]
        files = {path.stem: path.read_text("utf-8") for path in CONFIG_DIR.glob("data/*.yaml")}
        choices = [name for name in sorted(files) if any(one in files[name] for one in schemas)]
        if choices:
            return f"the chosen data has no key {key}: add data={' or data='.join(choices)}"
    return f"{error}\n{error.__cause__ or ''}".strip()


def _answer(script: ModuleType) -> None:
    """Print a script's help or version and exit, if the command line asks for it."""
    command = f"python {_place(script)}"
    if {"--help", "-h"} & {*sys.argv[1:]}:
        primary = _primary(script)
        usage = STUDY_USAGE if primary == STUDY else USAGE
        print(f"{(script.__doc__ or '').strip()}\n{usage.format(command=command, primary=primary)}")
        sys.exit()
    if "--version" in sys.argv[1:]:
        try:
            version = importlib.metadata.version("handwriting-augmentation")
        except importlib.metadata.PackageNotFoundError:
            version = "(not installed)"
        print(f"handwriting-augmentation {version}, commit {git_commit()}, {HOME}")
        sys.exit()


def _refuse_early() -> None:
    """Exit with an error if the command line has unknown keys."""
    try:
        checked(sys.argv[1:], _register(_primary(_started)))
    except InputError as error:
        sys.exit(f"error: {error}")


def _primary(script: ModuleType) -> str:
    """The primary configuration of a script."""
    name = Path(getattr(script, "__file__", None) or "").stem
    return name if name in PRIMARY else STUDY


def _place(script: ModuleType) -> str:
    """A script's path in the checkout, or its name if it is elsewhere."""
    path = Path(getattr(script, "__file__", None) or "").resolve()
    return path.relative_to(HOME).as_posix() if path.is_relative_to(HOME) else path.name


def _composes(script: ModuleType) -> bool:
    """Whether a script of this project takes settings; benchmarks parse their own arguments."""
    place = _place(script)
    is_ours = f"python {place} " in f"{script.__doc__} ".replace("\n", " ")
    return is_ours and not place.startswith("benchmarks/")


HOME = Path(__file__).resolve().parents[1]
_started = sys.modules["__main__"]
if _composes(_started):
    _answer(_started)
    _refuse_early()
