"""The corpus of a study: handwriting split by writer, fonts, and simulated hands beside them."""

import unicodedata
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from handwriting import strokes
from handwriting.characters import class_list
from handwriting.config import Config, Data, Fonts
from handwriting.errors import InputError, report_problems
from handwriting.etl.prepared import open_prepared
from handwriting.files import content_key
from handwriting.fonts import find_fonts, font_images, skipped_table
from handwriting.manifest import Manifest, check_disjoint, divide, read_manifest, split_by_writer
from handwriting.packed import FORM, PackedImages, concatenate, files_key, pack_manifest

HELPER_SEED = 1_000_003  # helpers are other people than the simulated writers of any split


@dataclass(frozen=True)
class Corpus:
    """What a study trains and tests on, all over the same characters.

    Attributes:
        characters: the classes.
        unseen: the kanji among them that encoders and generators never see.
        train, validation, test: handwriting, by different writers.
        fonts: renders of every font; a font is a writer.
        helpers: simulated hands beside real ones, None without.
        is_real: whether people wrote it.
        key: of the files behind it; the configuration is not part of it.
    """

    characters: tuple[str, ...]
    unseen: tuple[str, ...]
    train: PackedImages
    validation: PackedImages
    test: PackedImages
    fonts: PackedImages
    helpers: PackedImages | None
    is_real: bool
    key: str

    @property
    def seen(self) -> tuple[str, ...]:
        """The characters that encoders and generators are trained on."""
        return tuple(c for c in self.characters if c not in self.unseen)

    @property
    def sources(self) -> dict[str, PackedImages]:
        """The hands that encoders and generators may learn from, by kind."""
        found = {"writers": self.train, "fonts": self.fonts, "helpers": self.helpers}
        return {
            kind: images for kind, images in found.items() if images is not None and len(images)
        }

    def without_unseen(self, packed: PackedImages) -> PackedImages:
        """The images of seen characters, labelled as before."""
        if not self.unseen:
            return packed
        hidden = [self.characters.index(c) for c in self.unseen]
        return packed.select(np.flatnonzero(~np.isin(packed.labels, hidden)))


_opened: dict[str, Corpus] = {}  # a pipeline opens the same corpus for each of its stages


def open_corpus(config: Config) -> Corpus:
    """The corpus that a configuration names, from the cache where it was made before.

    Raises:
        InputError: unusable manifests, splits, class lists or fonts.
    """
    data = config.data
    paths = [Path(p) for p in (data.manifest, data.validation_manifest, data.test_manifest) if p]
    paths += [Path(data.etl.output, "prepared.json")] if data.etl else []
    stats = [path.stat() if path.is_file() else None for path in paths]
    stamps = [stat and (stat.st_size, stat.st_mtime_ns) for stat in stats]
    key = content_key(asdict(data), asdict(config.fonts), config.size_px, config.cache_dir, stamps)
    if key not in _opened:
        _opened[key] = _open(data, config.fonts, config.size_px, Path(config.cache_dir).absolute())
    return _opened[key]


def _open(data: Data, fonts: Fonts, size_px: int, cache_dir: Path) -> Corpus:
    if data.source == "manifest":
        splits, files = _from_manifests(data, size_px, cache_dir)
    elif data.source == "simulated":
        splits, files = _from_strokes(data, size_px, cache_dir), []
    elif data.source == "fonts":
        splits, files = _from_fonts(data, fonts, size_px, cache_dir), []
    elif data.source == "etl":
        splits, files = open_prepared(data, size_px)
    else:
        raise InputError(f"data.source={data.source}: expected simulated, manifest, fonts or etl")
    characters = splits["train"].characters
    splits["train"] = _limited(splits["train"], data)

    faces = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system)
    renders, skipped = font_images(faces, characters, size_px, cache_dir, fonts.min_coverage)
    if skipped:
        print(skipped_table(skipped), flush=True)
    helpers = None
    if data.helper_writers:
        helpers = strokes.simulated(
            characters, data.helper_writers, 1, HELPER_SEED + data.split_seed, size_px, cache_dir
        )
        # Other people than the writers of the same number in a simulated study.
        names = tuple(f"helper:{name}" for name in helpers.writer_names)
        helpers = replace(helpers, writer_names=names)
    unseen = _choose_unseen(characters, data)
    stats = [(face.name, face.path.stat()) for face in faces]
    key = content_key(
        FORM,
        strokes.VERSION,
        files,
        [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats],
    )
    is_real = data.source in ("manifest", "etl")
    return Corpus(
        characters, unseen, **splits, fonts=renders, helpers=helpers, is_real=is_real, key=key
    )


def _limited(train: PackedImages, data: Data) -> PackedImages:
    """The images of ``data.people`` training writers: those of fewer are among those of more.

    Raises:
        InputError: more people than there are, or a character that none of them wrote.
    """
    names = train.present_writers()
    if data.people == 0:
        return train.select([])
    if data.people is not None:
        if not 0 <= data.people <= len(names):
            raise InputError(f"data.people={data.people}: the training writers are {len(names)}")
        order = np.random.default_rng([data.split_seed, data.rotation]).permutation(len(names))
        train = train.by([names[i] for i in order[: data.people]])
    report_problems(
        data.manifest or data.source,
        [f"{c}: the training writers have no image of it (empty class)" for c in train.absent()],
        "Take more training writers (data.train_writers, data.people) or fewer characters "
        "(data.characters).",
    )
    return train


def _choose_unseen(characters: tuple[str, ...], data: Data) -> tuple[str, ...]:
    """Random kanji, the same for a seed; kana have no components to be composed from."""
    kanji = [c for c in characters if unicodedata.name(c, "").startswith("CJK UNIFIED")]
    if data.unseen_characters > len(kanji) // 2:
        raise InputError(
            f"data.unseen_characters={data.unseen_characters}: at most half of the "
            f"{len(kanji)} kanji of this study"
        )
    chosen = np.random.default_rng(data.split_seed).permutation(len(kanji))
    return tuple(kanji[i] for i in sorted(chosen[: data.unseen_characters]))


def _from_strokes(data: Data, size_px: int, cache_dir: Path) -> dict[str, PackedImages]:
    """Simulated people: the first ones train, the next validate, the rest test."""
    if data.characters is None:
        raise InputError("data=simulated needs data.characters, such as data.characters=demo")
    everyone = strokes.simulated(
        class_list(data.characters), data.num_writers, data.samples_per_writer, data.split_seed,
        size_px, cache_dir,
    )  # fmt: skip
    return _split(everyone, data, None, "data.num_writers")


def _from_fonts(data: Data, fonts: Fonts, size_px: int, cache_dir: Path) -> dict[str, PackedImages]:
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


def _from_manifests(
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


def matching(packed: PackedImages, parts: list[str]) -> list[str]:
    """The writers, or fonts, whose names hold one of the parts; all of them if there are no parts.

    Raises:
        InputError: a part that nobody's name holds.
    """
    names = packed.present_writers()
    for part in parts:
        if not any(part in name for name in names):
            raise InputError(f"nobody is named like {part!r}: there are {', '.join(names)}")
    return [name for name in names if not parts or any(part in name for part in parts)]
