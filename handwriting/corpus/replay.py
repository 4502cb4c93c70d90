"""A study again, from what its folder recorded, and whether the outcome is the same bit for bit.

``study.json`` holds the whole resolved configuration, versions, commit and hashes of the images
that go in. Times differ from run to run, and so do paths in configurations: they are not compared.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages, in_parts
from handwriting.parallel.ranks import main_only
from handwriting.runs.run import run_folder, versions
from handwriting.runs.script import typed
from handwriting.storage.json_files import plain, read_json, write_json
from handwriting.storage.keys import file_key
from handwriting.storage.places import git_commit

STUDY = "study.json"
OF_THIS_RUN = {STUDY, "config.json", "done.json", "replay.json", "lock"}
OUTCOMES = {".pt", ".png", ".gif", ".json", ".jsonl", ".txt"}
TIMES = {"duration_s", "images_per_s", "training_s"}


@dataclass(frozen=True)
class Study:
    """What a study's folder says of it.

    Attributes:
        config: all of it.
        facts: versions, commit and data, by name.
    """

    config: Config
    facts: dict[str, Any]


def facts_of(corpus: Corpus) -> dict[str, Any]:
    """What a study depends on beside its configuration."""
    splits = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
    parts = {**splits, **corpus.sources}
    # The training writers stand there twice, and are read once.
    hashes = {key: _hash(images) for key, images in {id(p): p for p in parts.values()}.items()}
    data = {name: hashes[id(images)] for name, images in parts.items()}
    return {"versions": versions(), "commit": git_commit(), "data": data}


def _hash(images: PackedImages) -> str:
    digest = hashlib.sha256()
    for array in (images.labels, *in_parts(images.images)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


@main_only
def record_study(config: Config, corpus: Corpus) -> None:
    """Write what it takes to run the study again into its folder."""
    write_json(run_folder(config) / STUDY, {"config": plain(config), **facts_of(corpus)})


def read_study(folder: str | Path) -> Study:
    """What :func:`record_study` wrote.

    Raises:
        InputError: nothing, or not the configuration of this version.
    """
    path = Path(folder) / STUDY
    found = read_json(path)
    if not isinstance(found, dict) or "config" not in found:
        raise InputError(f"{path} holds no study: name the folder of one, such as runs/demo")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Config), found.pop("config"))
    except (OmegaConfBaseException, ValueError) as error:
        raise InputError(f"{path} is not of this version: {error}") from error
    assert isinstance(merged, DictConfig)
    return Study(typed(merged), found)


def changes(before: dict[str, Any], now: dict[str, Any], name: str = "") -> Iterator[str]:
    """What differs between facts, a line each."""
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changes(old, new, f"{name}{key} ")
        elif old != new:
            yield f"{name}{key}: {old} then, {new} now"


def compare(first: Path, second: Path) -> tuple[int, list[str]]:
    """How many files hold the outcome of either study, and those that are not the same in both."""
    names = sorted(_outcomes(first) | _outcomes(second))
    return len(names), [name for name in names if not _is_same(first / name, second / name)]


def _outcomes(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix in OUTCOMES and path.name not in OF_THIS_RUN and "wandb" not in path.parts
    }


def _is_same(first: Path, second: Path) -> bool:
    if not (first.is_file() and second.is_file()):
        return False
    if first.name == "metrics.json":
        return bool(_without_times(read_json(first)) == _without_times(read_json(second)))
    return file_key(first) == file_key(second)


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in TIMES}
    return value
