"""The ETL Character Database as prepare_etl.py has prepared it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handwriting.config import Fonts
from handwriting.corpus.splits import Reader, Splits
from handwriting.etl.prepared import open_prepared
from handwriting.etl.settings import Etl, settings_of
from handwriting.storage.keys import content_key


@dataclass
class EtlData(Reader):
    """Prepared sets, whose people the preparation has divided."""

    is_real = True
    characters: str = "all"
    etl: Etl = field(default_factory=Etl)

    def files(self) -> list[Path]:
        return [Path(self.etl.output, "prepared.json")]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        settings = self.settings(size_px)
        splits = open_prepared(Path(self.etl.output), settings)
        return Splits(**splits, key=content_key(settings))

    def settings(self, size_px: int) -> dict[str, Any]:
        """What the prepared arrays depend on."""
        return settings_of(self.etl, self.characters, self.split_seed, size_px)
