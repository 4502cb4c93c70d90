"""Readers: each gives the splits of one kind of source."""

from dataclasses import replace
from pathlib import Path

from handwriting.characters.classes import class_list
from handwriting.config import Data, Fonts
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import (
    Manifest,
    check_disjoint,
    divide,
    read_manifest,
    split_by_writer,
)
from handwriting.images.packed import PackedImages, concatenate, files_key, pack_manifest
from handwriting.sources import simulated_writers as strokes
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images


def from_strokes(data: Data, size_px: int, cache_dir: Path) -> dict[str, PackedImages]:
    """Simulated people: the first ones train, the next validate, the rest test."""
    if data.characters is None:
        raise InputError("data=simulated needs data.characters, such as data.characters=demo")
    everyone = strokes.simulated(
        class_list(data.characters), data.num_writers, data.samples_per_writer, data.split_seed,
        size_px, cache_dir,
    )  # fmt: skip
    return _split(everyone, data, None, "data.num_writers")


def from_fonts(data: Data, fonts: Fonts, size_px: int, cache_dir: Path) -> dict[str, PackedImages]:
    """Fonts that look handwritten stand in for people: every file or folder of them is one hand.

    Raises:
        InputError: no classes, a hand that lacks one, or a hand that is among the fonts.
    """
    if data.characters is None:
        raise InputError("data=handwritten_fonts needs data.characters, such as kanji_300")
    characters = class_list(data.characters)
    beside = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system)
    problems, hands = [], []
    for hand in data.hands:
        faces = find_fonts([], [hand])
        twice = {face.path for face in faces} & {face.path for face in beside}
        problems += [f"{path} is a hand and a font" for path in sorted(twice)]
        images, _ = font_images(faces, characters, size_px, cache_dir)
        name = f"hand:{Path(hand).stem}"
        hands.append(replace(images, writers=0 * images.writers, writer_names=(name,)))
    report_problems("data.hands", problems, "Leave it out of fonts.* or of data.hands.")
    return _split(concatenate(hands), data, data.split_seed, "data.hands")


def _split(
    everyone: PackedImages, data: Data, seed: int | None, where: str
) -> dict[str, PackedImages]:
    names = everyone.present_writers()
    people = divide(names, data.train_writers, data.validation_writers, seed, data.rotation, where)
    return {split: everyone.by(members) for split, members in people.items()}


def from_manifests(
    data: Data, size_px: int, cache_dir: Path
) -> tuple[dict[str, PackedImages], list[str]]:
    """The splits of the user's manifests, and the keys of the files behind them."""
    if not data.manifest:
        raise InputError("data=manifest needs data.manifest=path/to/manifest.json")
    wanted = class_list(data.characters) if data.characters else None
    first = read_manifest(data.manifest, wanted)
    if data.test_manifest and data.validation_manifest:
        splits = {"train": first}
        for name, path in (("validation", data.validation_manifest), ("test", data.test_manifest)):
            splits[name] = _within(read_manifest(path), first.characters, chosen=bool(wanted))
    elif data.test_manifest or data.validation_manifest:
        raise InputError("give both data.validation_manifest and data.test_manifest, or neither")
    else:
        splits = split_by_writer(
            first, data.train_writers, data.validation_writers, data.split_seed, data.rotation
        )
    check_disjoint(splits)
    characters = wanted or first.characters
    packed = {
        name: pack_manifest(manifest, size_px, cache_dir).of(characters)
        for name, manifest in splits.items()
    }
    return packed, [files_key(manifest) for manifest in splits.values()]


def _within(manifest: Manifest, characters: tuple[str, ...], chosen: bool) -> Manifest:
    """A test manifest's images of the training characters.

    Args:
        chosen: the user named the characters; others are then left out rather than refused.
    """
    unknown = [c for c in manifest.characters if c not in characters]
    report_problems(
        str(manifest.path),
        [] if chosen else [f"unknown character {c} (U+{ord(c):04X})" for c in unknown],
        "A recogniser cannot name a class that is not in the training manifest: remove them, or "
        "choose the classes with data.characters.",
    )
    return manifest.only(entry for entry in manifest.entries if entry.character in characters)
