"""The ETL Character Database as prepare_etl.py has prepared it.

``etl.output`` holds ``train/``, ``validation/`` and ``test/`` in the form of :class:`PackedImages`;
in each, a row of ``records.csv`` names the file and the record that an image was.
``prepared.json`` comes last and says with which settings, from which files, and what was written;
without it nothing there counts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from handwriting.characters.classes import class_list
from handwriting.config import SPLITS, Fonts
from handwriting.corpus.splits import Reader, Splits
from handwriting.errors import InputError
from handwriting.etl.integrity import changed, inspect
from handwriting.etl.settings import Etl
from handwriting.images.packed import FORM, PackedImages, open_packed, packed_key
from handwriting.storage.json_files import read_or_empty
from handwriting.storage.keys import content_key
from handwriting.storage.stamps import damage

_NOT_IN_THE_ARRAYS = ("folder", "output", "png")
_COMMAND = "run python prepare_etl.py with the same data=, size_px= and other options"


@dataclass
class EtlData(Reader):
    """Prepared sets, whose people the preparation has divided."""

    is_real = True
    characters: str = "all"
    etl: Etl = field(default_factory=Etl)

    def files(self) -> list[Path]:
        return [Path(self.etl.output, "prepared.json")]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        output, settings, found = self.etl.output, self.settings(size_px), self.prepared_settings()
        if found is None:
            raise InputError(f"nothing was prepared in {output}: {_COMMAND} first")
        differing = [
            f"{key}: {_short(found.get(key))} there, {_short(value)} asked for"
            for key, value in settings.items()
            if found.get(key) != value
        ]
        if differing:
            raise InputError(
                "\n  ".join([f"{output} was prepared with other settings:", *differing])
                + f"\n{_COMMAND}, or choose another data.etl.output"
            )
        if others := self.changed_files():
            raise InputError(
                "\n  ".join([f"{output} was prepared from other files than these:", *others[:5]])
                + f"\n{_COMMAND}"
            )
        try:
            splits = self._open()
        except InputError as error:
            raise InputError(f"{error}: {_COMMAND}") from error
        keys = [packed_key(Path(output, name)) for name in SPLITS]
        key = content_key(settings, keys)
        return Splits(*splits.values(), key=key, names_from="the ETL files' records")

    def image_names(self, split: str) -> list[str]:
        records = pd.read_csv(Path(self.etl.output, split, "records.csv"))
        return (records["file"] + ", record " + records["record"].astype(str)).to_list()

    def settings(self, size_px: int) -> dict[str, Any]:
        """What the prepared arrays depend on, JSON-able."""
        etl = asdict(self.etl)
        return {
            "form": FORM,
            "size_px": size_px,
            "split_seed": self.split_seed,
            "characters": "".join(class_list(self.characters)),
            **{key: value for key, value in etl.items() if key not in _NOT_IN_THE_ARRAYS},
        }

    def prepared_settings(self) -> dict[str, Any] | None:
        """The settings of what is prepared; None if nothing is, or not to the end."""
        return self._prepared().get("settings")

    def changed_files(self) -> list[str]:
        """The files that are not as they were when they were prepared; not those that are away."""
        folder, sources = Path(self.etl.folder), self._prepared().get("sources", {})
        files = inspect(folder, self.set_names) if folder.is_dir() else []
        return changed(files, self.etl.co59, sources)

    def is_prepared(self, size_px: int) -> bool:
        """Whether all is there as these settings and files ask for; says what is not."""
        prepared = self._prepared()
        if prepared.get("settings") != self.settings(size_px):
            return False
        if not Path(self.etl.folder).is_dir():
            print(f"  no folder {self.etl.folder}: its files are not looked at", flush=True)
        if problem := self._problem(prepared["files"]):
            print(f"  {problem}: prepared again", flush=True)
        return not problem

    def _problem(self, stamped: Mapping[str, Any]) -> str:
        """The first thing that is not as it was when it was prepared, in words."""
        if found := damage(Path(self.etl.output), stamped):
            return found
        if others := self.changed_files():
            return f"{others[0]} is another file than was prepared"
        try:
            self._open()
        except InputError as error:
            return str(error)
        return ""

    @property
    def set_names(self) -> list[str]:
        return [*self.etl.train_sets, *self.etl.evaluation_sets]

    def _open(self) -> dict[str, PackedImages]:
        return {name: open_packed(Path(self.etl.output, name)) for name in SPLITS}

    def _prepared(self) -> dict[str, Any]:
        """What ``prepared.json`` says; nothing if it is missing or damaged."""
        found = read_or_empty(self.files()[0])
        names = ("settings", "sources", "files")
        return found if all(isinstance(found.get(name), dict) for name in names) else {}


def _short(value: Any) -> str:
    """A value for an error message; thousands of characters are counted."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"
