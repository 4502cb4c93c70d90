"""The ETL Character Database as prepare_etl.py has prepared it.

``etl.output`` holds ``train/``, ``validation/`` and ``test/`` in the form of :class:`PackedImages`;
in each, a row of ``records.csv`` names the file and the record that an image was.
``prepared.json`` comes last and says with which settings; without it nothing there counts.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from handwriting.characters.classes import class_list
from handwriting.config import Fonts
from handwriting.corpus.splits import Reader, Splits
from handwriting.errors import InputError
from handwriting.etl.settings import SPLITS, Etl
from handwriting.images.packed import FORM, open_packed
from handwriting.storage.json_files import read_json
from handwriting.storage.keys import content_key

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
        splits = {name: open_packed(Path(output, name)) for name in SPLITS}
        return Splits(**splits, key=content_key(settings))

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
        path = self.files()[0]
        return dict(read_json(path)["settings"]) if path.is_file() else None


def _short(value: Any) -> str:
    """A value for an error message; thousands of characters are counted."""
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}... ({len(text)} characters)"
