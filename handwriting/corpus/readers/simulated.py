"""Simulated writers stand in for people: the first ones train, the next validate, the rest test."""

from dataclasses import dataclass
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Count, Fonts, Natural
from handwriting.corpus.splits import DividedReader, Splits
from handwriting.sources.simulated_writers import simulated


@dataclass
class SimulatedData(DividedReader):
    """Writers simulated from KanjiVG's strokes."""

    is_real = False
    characters: str = "demo"
    validation_writers: Natural = 5
    num_writers: Count = 28  # in all splits
    samples_per_writer: Count = 1  # of each character

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        everyone = simulated(
            class_list(self.characters), self.num_writers, self.samples_per_writer,
            self.split_seed, size_px, cache_dir,
        )  # fmt: skip
        return self.divided(everyone, None, "data.num_writers", "simulation")
