"""Folders of studies and stages: whose a folder is, whether it is intact, and what has changed."""

import importlib.metadata
import platform
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import files_key
from handwriting.parallel import ranks
from handwriting.storage.json_files import leaves, read_or_empty
from handwriting.storage.locks import LOCK_FILE, FolderLock, is_vacant
from handwriting.storage.stamps import damage

MAX_REPEATED_S = 600.0  # a longer stage is not re-run just for a lost record: the user decides
MAX_CHANGES = 5  # listed when a result is replaced


def run_folder(config: Config) -> Path:
    """The folder of the study."""
    return Path(config.runs_dir).absolute() / config.name


def require_kind(folder: Path, kind: str) -> None:
    """Check that a folder is empty except for locks, or belongs to a stage with this section.

    Raises:
        InputError: it belongs to another stage or a study, or holds something else.
    """
    if not (folder / LOCK_FILE).exists():
        return  # FolderLock checks what it holds
    config = read_or_empty(folder / "config.json")
    is_run = (folder / "config.json").exists() or (folder / "done.json").exists()
    if not (is_run or is_vacant(folder)) or ("inputs" in config and kind not in config):
        raise InputError(f"{folder} holds results of another kind: choose another folder")


def damage_of(folder: Path, done: Mapping[str, Any]) -> str:
    """Describe what is missing or damaged in a finished run; "" if it is intact.

    Raises:
        InputError: only a record, which no later stage needs, and the run took long.
    """
    outputs, records = done.get("outputs"), done.get("records")
    if not isinstance(outputs, dict) or not isinstance(records, dict):
        problem = f"{folder / 'done.json'} is damaged"
    elif lost := damage(folder, outputs):
        return lost
    elif done.get("images") != images_key(folder):
        return f"an image in {folder} is missing or damaged"
    else:
        problem = damage(folder, records)
    metrics = read_or_empty(folder / "metrics.json")
    times = [found.get("duration_s") for found in (done, metrics)]
    took_s = max((time for time in times if isinstance(time, int | float)), default=0.0)
    if problem and took_s > MAX_REPEATED_S:
        raise InputError(
            f"{problem}. Restore it, or delete {folder / 'done.json'} to re-run this stage, "
            f"which took {took_s:.0f} s"
        )
    return problem


def images_key(folder: Path) -> str | None:
    """A key of the content of a run's images; None if it has none, or if one is missing."""
    try:
        return files_key(read_manifest(folder / "manifest.json"))
    except (InputError, OSError):
        return None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two configurations, in a line: ``clip.num_steps 10 -> 20``."""
    old, new = leaves(before), leaves(after)
    names = [
        name
        for name in {**new, **old}
        if old.get(name) != new.get(name)
        and name.split(".")[0] not in ("key", "versions", "commit")
    ]  # they are not settings
    found = [
        f"changed {name.removeprefix('inputs.')}" if name.startswith("inputs.")
        else f"{name} {_short(old.get(name))} -> {_short(new.get(name))}" for name in names
    ]  # fmt: skip
    if len(found) > MAX_CHANGES:
        found[MAX_CHANGES:] = [f"{len(found) - MAX_CHANGES} more"]
    return ", ".join(found) or "changed project version"


def date_of(path: Path) -> str:
    """When a file was written."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}..."


def lock_folder(folder: Path) -> AbstractContextManager[object]:
    """Rank 0's :class:`FolderLock` on a study's folder; stages may lock its subfolders.

    Raises:
        InputError: it is the folder of a stage; and those of :class:`FolderLock`.
    """
    if ranks.is_main():
        if (folder / "config.json").exists():
            raise InputError(
                f"{folder} is the folder of a stage: choose another name= or runs_dir="
            )
        return FolderLock(folder, below=False)
    return nullcontext()


def versions() -> dict[str, str]:
    names = ("torch", "timm", "open_clip_torch", "numpy", "pillow", "kanjivg", "hydra-core")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}
