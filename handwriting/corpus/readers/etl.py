"""The ETL Character Database as prepared by prepare_etl.py.

``etl.output`` holds ``train/``, ``validation/`` and ``test/`` in the form of :class:`PackedImages`;
in each, a row of ``records.csv`` names the file and the record of an image. ``prepared.json``,
which is written last, lists the settings, the source files and what was written; without it the
folder does not count as prepared.
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
    """Prepared sets, which the preparation has split by writer."""

    is_real = True
    characters: str = "all"
    etl: Etl = field(default_factory=Etl)

    def files(self) -> list[Path]:
        return [Path(self.etl.output, "prepared.json")]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        output, settings, found = self.etl.output, self.settings(size_px), self.prepared_settings()
        if found is None:
            raise InputError(f"nothing is prepared in {output}: {_COMMAND} first")
        differing = [
            f"{key}: prepared with {_short(found.get(key))}, requested {_short(value)}"
            for key, value in settings.items()
            if found.get(key) != value
        ]
        if differing:
            raise InputError(
                "\n  ".join([f"{output} was prepared with different settings:", *differing])
                + f"\n{_COMMAND}, or choose another data.etl.output"
            )
        if others := self.changed_files():
            raise InputError(
                "\n  ".join([f"{output} was prepared before these files changed:", *others[:5]])
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
        """The settings that the prepared arrays depend on, JSON-able."""
        etl = asdict(self.etl)
        return {
            "form": FORM,
            "size_px": size_px,
            "split_seed": self.split_seed,
            "characters": "".join(class_list(self.characters)),
            **{key: value for key, value in etl.items() if key not in _NOT_IN_THE_ARRAYS},
        }

    def prepared_settings(self) -> dict[str, Any] | None:
        """The settings of the prepared arrays; None if there are none, or only a part."""
        return self._prepared().get("settings")

    def changed_files(self) -> list[str]:
        """The source files that have changed since the preparation, without missing ones."""
        folder, sources = Path(self.etl.folder), self._prepared().get("sources", {})
        files = inspect(folder, self.set_names) if folder.is_dir() else []
        return changed(files, self.etl.co59, sources)

    def is_prepared(self, size_px: int) -> bool:
        """Whether everything is prepared for these settings and files; prints what is not."""
        prepared = self._prepared()
        if prepared.get("settings") != self.settings(size_px):
            return False
        if not Path(self.etl.folder).is_dir():
            print(f"  no folder {self.etl.folder}: the source files are not checked", flush=True)
        if problem := self._problem(prepared["files"]):
            print(f"  {problem}: preparing again", flush=True)
        return not problem

    def _problem(self, stamped: Mapping[str, Any]) -> str:
        """Describe the first thing that has changed since the preparation; "" if nothing has."""
        if found := damage(Path(self.etl.output), stamped):
            return found
        if others := self.changed_files():
            return f"{others[0]} has changed since it was prepared"
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
        """The contents of ``prepared.json``; empty if it is missing or damaged."""
        found = read_or_empty(self.files()[0])
        names = ("settings", "sources", "files")
        return found if all(isinstance(found.get(name), dict) for name in names) else {}


def _short(value: Any) -> str:
    """A value for an error message; thousands of characters are counted."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"
