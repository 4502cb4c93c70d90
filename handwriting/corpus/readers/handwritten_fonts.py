"""Fonts that look handwritten stand in for people: every file or folder of them is one person."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Fonts, Natural
from handwriting.corpus.splits import DividedReader, Splits, check_apart
from handwriting.images.packed import concatenate
from handwriting.sources.fonts import find_fonts, short_paths
from handwriting.sources.glyphs import font_images
from handwriting.storage.keys import sampled_key


@dataclass
class HandwrittenFontsData(DividedReader):
    """Font files, or folders of one person's fonts each, named by their paths."""

    is_real = False
    characters: str = "kanji_300"
    num_simulated_writers: Natural = 60
    hands: list[str] = field(default_factory=list)

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        characters = class_list(self.characters)
        beside = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system, cache_dir)
        faces = [find_fonts([], [hand], cache_dir=cache_dir) for hand in self.hands]
        sides = {f"hand {i} ({hand})": faces[i - 1] for i, hand in enumerate(self.hands, 1)}
        first: dict[str, Path] = {}  # of the files of equal content; all are called like it
        check_apart(
            {
                side: [first.setdefault(_content(face.path), face.path) for face in fonts_of]
                for side, fonts_of in [*sides.items(), ("fonts", beside)]
            }
        )
        names = short_paths([Path(hand).absolute() for hand in self.hands])
        hands = []
        for name, own in zip(names, faces, strict=True):
            images, told = font_images(own, characters, size_px, cache_dir)
            for line in told:
                print(f"hand {name}: {line}", flush=True)
            hand = (f"hand:{name}",)
            hands.append(replace(images, writers=0 * images.writers, writer_names=hand))
        return self.divided(concatenate(hands), self.split_seed, "data.hands", "data.hands")


def _content(path: Path) -> str:
    return sampled_key(path) if path.is_file() else str(path)
