"""What prepare_etl.py leaves for a study: an output folder and the settings it was made with.

The folder holds ``train/``, ``validation/`` and ``test/`` in the form of :class:`PackedImages`.
``prepared.json`` comes last and says with which settings; without it nothing there counts.
"""

import shutil
from pathlib import Path
from typing import Any

from handwriting.errors import InputError
from handwriting.etl.selection import SPLITS
from handwriting.images.packed import PackedImages, open_packed
from handwriting.storage.json_files import read_json, write_json


def is_prepared(output: Path, settings: dict[str, Any]) -> bool:
    path = output / "prepared.json"
    return path.is_file() and read_json(path)["settings"] == settings


def open_prepared(output: Path, settings: dict[str, Any]) -> dict[str, PackedImages]:
    """The splits that prepare_etl.py made, memory-mapped.

    Raises:
        InputError: not prepared, or with other settings.
    """
    command = "run python prepare_etl.py with the same data=, size_px= and other options"
    if not (output / "prepared.json").is_file():
        raise InputError(f"nothing was prepared in {output}: {command} first")
    found = read_json(output / "prepared.json")["settings"]
    differing = [key for key in settings if found.get(key) != settings[key]]
    if differing:
        raise InputError(
            f"{output} was prepared with other settings:\n  "
            + "\n  ".join(
                f"{key}: {_short(found.get(key))} there, {_short(settings[key])} asked for"
                for key in differing
            )
            + f"\n{command}, or choose another data.etl.output"
        )
    return {name: open_packed(output / name) for name in SPLITS}


def _short(value: Any) -> str:
    """A value for an error message; thousands of characters are counted."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"


def unmark(output: Path) -> None:
    """What is prepared in a folder counts no longer."""
    for name in ("prepared.json", *(f"png/{split}/manifest.json" for split in SPLITS)):
        (output / name).unlink(missing_ok=True)


def mark(output: Path, settings: dict[str, Any]) -> None:
    """Everything is prepared."""
    write_json(output / "prepared.json", {"settings": settings})


def remove_parts(output: Path) -> None:
    """What was left to go on from is not needed any more."""
    shutil.rmtree(output / "unfinished", ignore_errors=True)


def is_left_over(output: Path) -> bool:
    """Whether a process was killed before it had tidied up."""
    return (output / "lock").exists() or (output / "unfinished").exists()
