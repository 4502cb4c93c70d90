"""Fonts that look handwritten stand in for people: each file, or folder of files, is one person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Fonts, Natural
from handwriting.corpus.splits import DividedReader, Splits, check_apart
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages, concatenate, pixels_key
from handwriting.sources.fonts import find_fonts, short_paths
from handwriting.sources.glyphs import font_images
from handwriting.storage.keys import content_key, sampled_key


@dataclass
class HandwrittenFontsData(DividedReader):
    """Font files, or folders of one person's fonts each, named by their paths."""

    is_real = False
    characters: str = "kanji_300"
    num_simulated_writers: Natural = 60
    hands: list[str] = field(default_factory=list)

    def files(self) -> list[Path]:
        return [Path(hand) for hand in self.hands]

    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        if not self.hands:
            raise InputError("data.hands=[]: name font files, or folders of one person's fonts")
        names = short_paths([Path(hand).absolute() for hand in self.hands])
        hands = {f"hand:{name}": hand for name, hand in zip(names, self.hands, strict=True)}
        drawn = font_hands(hands, class_list(self.characters), fonts, size_px, cache_dir)
        divided = self.divided(concatenate(drawn), self.split_seed, "data.hands", "data.hands")
        return replace(divided, key=content_key([pixels_key(images) for images in drawn]))


def font_hands(
    hands: Mapping[str, str], characters: Sequence[str], fonts: Fonts, size_px: int, cache_dir: Path
) -> list[PackedImages]:
    """The glyphs of font files or folders, each as one writer.

    Raises:
        InputError: a font belongs to two writers, or to a writer and ``fonts``; no font can be
            used, or a writer lacks a character.
    """
    beside = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system, cache_dir)
    faces = {name: find_fonts([], [hand], cache_dir=cache_dir) for name, hand in hands.items()}
    sides = {f"{name} ({hand})": faces[name] for name, hand in hands.items()}
    first: dict[str, Path] = {}  # the first file of each content, which stands for all of them
    check_apart(
        {
            side: [first.setdefault(_content(face.path), face.path) for face in fonts_of]
            for side, fonts_of in [*sides.items(), ("fonts", beside)]
        }
    )
    drawn = []
    for name, own in faces.items():
        images, told = font_images(own, characters, size_px, cache_dir)
        for line in told:
            print(f"{name}: {line}", flush=True)
        drawn.append(replace(images, writers=0 * images.writers, writer_names=(name,)))
    return drawn


def _content(path: Path) -> str:
    return sampled_key(path) if path.is_file() else str(path)
