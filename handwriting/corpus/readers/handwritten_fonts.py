"""Fonts that look handwritten stand in for people: every file or folder of them is one person."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Fonts, Natural
from handwriting.corpus.audit import check_apart
from handwriting.corpus.splits import DividedReader, Splits
from handwriting.images.packed import concatenate
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images


@dataclass
class HandwrittenFontsData(DividedReader):
    """Font files, or folders of one person's fonts each."""

    is_real = False
    characters: str = "kanji_300"
    num_simulated_writers: Natural = 60
    hands: list[str] = field(default_factory=list)

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        characters = class_list(self.characters)
        beside = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system)
        hands = []
        for hand in self.hands:
            faces = find_fonts([], [hand])
            check_apart({hand: (f.path for f in faces), "fonts": (f.path for f in beside)})
            images, _ = font_images(faces, characters, size_px, cache_dir)
            name = f"hand:{Path(hand).stem}"
            hands.append(replace(images, writers=0 * images.writers, writer_names=(name,)))
        return self.divided(concatenate(hands), self.split_seed, "data.hands", "data.hands")
