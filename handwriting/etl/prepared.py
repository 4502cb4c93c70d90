"""What prepare_etl.py leaves for a study: an output folder and the settings it was made with.

The folder holds ``train/``, ``validation/`` and ``test/`` in the form of :class:`PackedImages`; in
each, a row of ``records.csv`` names the file and the record that an image was. ``prepared.json``
comes last and says with which settings; without it nothing there counts.
"""

from pathlib import Path
from typing import Any

from handwriting.errors import InputError
from handwriting.images.packed import PackedImages, open_packed
from handwriting.storage.json_files import read_json

SPLITS = ("train", "validation", "test")


def prepared_settings(output: Path) -> dict[str, Any] | None:
    """The settings that a folder was prepared with; None if it was not, or not to the end."""
    path = output / "prepared.json"
    return dict(read_json(path)["settings"]) if path.is_file() else None


def open_prepared(output: Path, settings: dict[str, Any]) -> dict[str, PackedImages]:
    """The splits that prepare_etl.py made, memory-mapped.

    Raises:
        InputError: not prepared, or with other settings.
    """
    command = "run python prepare_etl.py with the same data=, size_px= and other options"
    found = prepared_settings(output)
    if found is None:
        raise InputError(f"nothing was prepared in {output}: {command} first")
    differing = [
        f"{key}: {_short(found.get(key))} there, {_short(value)} asked for"
        for key, value in settings.items()
        if found.get(key) != value
    ]
    if differing:
        raise InputError(
            "\n  ".join([f"{output} was prepared with other settings:", *differing])
            + f"\n{command}, or choose another data.etl.output"
        )
    return {name: open_packed(output / name) for name in SPLITS}


def _short(value: Any) -> str:
    """A value for an error message; thousands of characters are counted."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"
