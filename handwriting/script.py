"""How a script composes its configuration and runs."""

import argparse
import importlib
import pkgutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from hydra import compose as hydra_compose, initialize_config_dir, main as hydra_main
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from handwriting.arguments import Key, checked, known_keys
from handwriting.config import Config, Data
from handwriting.corpus import readers
from handwriting.errors import InputError, report_problems
from handwriting.parallel import ranks
from handwriting.ranges import problems
from handwriting.storage.places import CONFIG_DIR, INFORMATION_DIR, workspace


@cache
def _register() -> dict[str, Key]:
    """Tell Hydra the keys of a study, and those of each reader as ``data: <module>_schema``.

    Returns:
        All of these keys.
    """
    store = ConfigStore.instance()
    store.store(name="schema", node=Config)
    known = known_keys(Config)
    for _, name, _ in pkgutil.iter_modules(readers.__path__):
        module = importlib.import_module(f"{readers.__name__}.{name}")
        classes = [item for item in vars(module).values() if isinstance(item, type)]
        (own,) = (c for c in classes if issubclass(c, Data) and c.__module__ == module.__name__)
        store.store(group="data", name=f"{name}_schema", node=own)
        known |= known_keys(own, place="data.")
    OmegaConf.register_new_resolver("workspace", lambda: str(workspace()), replace=True)
    OmegaConf.register_new_resolver("information", lambda: str(INFORMATION_DIR), replace=True)
    return known


def typed(composed: DictConfig) -> Config:
    """The composed configuration as dataclasses.

    Raises:
        InputError: values are missing or out of range; all of them are named.
    """
    missing = OmegaConf.missing_keys(composed)
    if missing:
        raise InputError(f"no value for {', '.join(sorted(missing))}: set it in conf/ or by hand")
    config = OmegaConf.to_object(composed)
    assert isinstance(config, Config)
    report_problems(
        "settings",
        list(problems(config, Config)),
        "Change them on the command line or in conf/.",
    )
    return config


def compose(overrides: Sequence[str] = ()) -> Config:
    """The study with overrides, as a script would see it."""
    written = checked(overrides, _register())
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return typed(hydra_compose("study", written))


def run_script(main: Callable[[Config], Any], data: str | None = None) -> None:
    """Run a stage's ``main`` on the study composed from the command line.

    Args:
        main: the stage.
        data: the choice of ``data=`` where the command line makes none; None: the study's.
    """
    known = _register()
    if sys.version_info >= (3, 14):
        # argparse checks every help text when it is added, and Hydra 1.3's for --shell-completion
        # is not a string: https://github.com/facebookresearch/hydra/issues/3121
        argparse.ArgumentParser._check_help = lambda *_: None  # type: ignore[attr-defined]
    try:
        overrides = checked(sys.argv[1:], known)
    except InputError as error:
        sys.exit(f"error: {error}")
    if data and not any(override.startswith("data=") for override in overrides):
        overrides.insert(0, f"data={data}")
    sys.argv[1:] = overrides

    @hydra_main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="study")
    def job(composed: DictConfig) -> None:
        try:
            config = typed(composed)
            ranks.join(config.runtime.device)
            main(config)
        except (InputError, FloatingPointError) as error:
            if not ranks.is_main():
                time.sleep(2)  # by then the first has said the same, and all are being ended
            sys.exit(f"error: {error}")

    job()
