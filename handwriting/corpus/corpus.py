"""The corpus of a study: handwriting split by writer, fonts, and simulated writers."""

import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from handwriting.characters.classes import is_kanji
from handwriting.config import Config, Data, Fonts
from handwriting.corpus.copies import check_copies
from handwriting.corpus.overview import write_overview
from handwriting.corpus.splits import DividedReader, Reader, Splits, image_counts
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import Manifest
from handwriting.images.packed import FORM, PackedImages, files_key, pixels_key
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder, versions
from handwriting.sources import simulated_writers
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import DRAWING, font_images
from handwriting.sources.hands import Hand, inks_of
from handwriting.storage.json_files import plain, write_json
from handwriting.storage.keys import content_key, sampled_key
from handwriting.storage.places import git_commit

SIMULATED_SEED = 1_000_003  # so that these writers are in no simulated split


@dataclass(frozen=True)
class Corpus:
    """What a study trains and tests on, all over the same characters.

    Handwriting of the three splits is by different writers; a font is a writer.
    """

    characters: tuple[str, ...]
    unseen: tuple[str, ...]  # kanji that encoders and generators never see
    train: PackedImages
    validation: PackedImages
    test: PackedImages
    fonts: PackedImages
    simulated: PackedImages | None  # in addition to real ones
    is_real: bool  # whether people wrote all of it
    names_from: str  # the source of the writers' names
    key: str  # of its files; the configuration is not part of it
    hands: tuple[Hand, ...] = ()  # from hand files, which replace a study's writers

    @property
    def splits(self) -> dict[str, PackedImages]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def seen(self) -> tuple[str, ...]:
        """The characters that encoders and generators are trained on."""
        return tuple(c for c in self.characters if c not in self.unseen)

    @property
    def sources(self) -> dict[str, PackedImages]:
        """The images that encoders and generators may learn from, by kind of writer."""
        found = {"writers": self.train, "fonts": self.fonts, "simulated": self.simulated}
        return {kind: images for kind, images in found.items() if images}

    def without_unseen(self, packed: PackedImages) -> PackedImages:
        """The images of seen characters, labelled as before."""
        if not self.unseen:
            return packed
        hidden = [self.characters.index(c) for c in self.unseen]
        return packed.select(np.flatnonzero(~np.isin(packed.labels, hidden)))


_printed: set[str] = set()
_opened: dict[str, Corpus] = {}  # a pipeline opens the same corpus for each of its stages


def open_corpus(config: Config) -> Corpus:
    """The corpus that a configuration names, from the cache if it has been built before.

    Raises:
        InputError: unusable manifests, splits, class lists or fonts; copies across the splits.
    """
    data = config.data
    assert isinstance(data, Reader)
    stats = [path.stat() if path.is_file() else None for path in data.files()]
    stamps = [stat and (stat.st_size, stat.st_mtime_ns) for stat in stats]
    settings = [type(data).__name__, asdict(data), asdict(config.fonts)]
    key = content_key(settings, config.size_px, config.cache_dir, stamps)
    if key not in _opened:
        _opened[key] = _open(data, config.fonts, config.size_px, Path(config.cache_dir).absolute())
    return _opened[key]


def _open(data: Reader, fonts: Fonts, size_px: int, cache_dir: Path) -> Corpus:
    splits = data.read(fonts, size_px, cache_dir)
    _print_splits(splits)
    characters = splits.train.characters
    train = _limited(splits.train, data)
    faces = find_fonts(fonts.packages, fonts.folders, fonts.list_file, fonts.system, cache_dir)
    renders, skipped = font_images(faces, characters, size_px, cache_dir, fonts.min_coverage)
    if skipped:
        print("\n".join(skipped), flush=True)
    simulated = None
    if data.num_simulated_writers:
        simulated = simulated_writers.simulated(
            characters, data.num_simulated_writers, 1, SIMULATED_SEED + data.split_seed, size_px,
            cache_dir,
        )  # fmt: skip
        simulated = simulated_writers.beside_others(simulated)
    if data.is_real and isinstance(data, DividedReader):  # ETL's preparation writes its sheets
        for name, images in splits.parts.items():
            sheet = cache_dir / "sheets" / content_key(FORM, splits.key, asdict(data), size_px)
            write_overview(sheet / f"{name}.png", images, partial(data.image_names, name), renders)
    unseen = _choose_unseen(characters, data)
    files = [(face.name, face.path.is_file() and sampled_key(face.path)) for face in faces]
    corpus = Corpus(
        characters, unseen, train, splits.validation, splits.test, renders, simulated,
        data.is_real and not splits.has_stand_ins, splits.names_from,
        key=content_key(FORM, DRAWING, simulated_writers.VERSION, splits.key, files),
    )  # fmt: skip
    parts = corpus.splits | ({"simulated": simulated} if simulated else {})
    key = type(data).__name__, asdict(data), size_px, corpus.key
    check_copies(parts, corpus.is_real, data.image_names, cache_dir, *key)
    return corpus


def corpus_of_hands(
    hands: Sequence[Hand], key: str, characters: Sequence[str], size_px: int
) -> Corpus:
    """Hands in place of a study: their writers train, and there are no others.

    Args:
        key: of their files.
        characters: that may be asked for.

    Raises:
        InputError: a hand has no images of its ink.
    """
    inks = inks_of(hands, size_px)
    known = {*characters}
    inks = inks.of([*characters, *(c for c in inks.characters if c not in known)])
    nobody = inks.select([])
    return Corpus(
        tuple(characters), (), inks, nobody, nobody, nobody, None, is_real=True,
        names_from="files of hands", key=key, hands=tuple(hands),
    )  # fmt: skip


def check_new_images(
    config: Config, corpus: Corpus, name: str, images: PackedImages, manifest: Manifest
) -> None:
    """Check that no image of a manifest is a copy of one in the study.

    Args:
        name: ``generated`` images must not be in validation or test, ``evaluation`` images not in
            training or validation.

    Raises:
        InputError: there are copies, all of them listed.
    """
    data = config.data
    assert isinstance(data, Reader)
    others = ("validation", "test") if name == "generated" else ("train", "validation")
    files = {name: [entry.file for entry in manifest.entries]}
    check_copies(
        {other: corpus.splits[other] for other in others} | {name: images},
        corpus.is_real, lambda part: files.get(part) or data.image_names(part),
        Path(config.cache_dir).absolute(),
        name, type(data).__name__, asdict(data), config.size_px, corpus.key, files_key(manifest),
    )  # fmt: skip


def _print_splits(splits: Splits) -> None:
    """Print the writers of each split, only once for several studies of the same writers."""
    counts = [each for part in splits.parts.values() for each in image_counts(part).items()]
    _print_once(content_key(splits.names_from, sorted(counts)), "\n".join(splits.people()))


def _print_once(what: str, text: str) -> None:
    if what not in _printed and multiprocessing.parent_process() is None:  # not in workers
        print(text, flush=True)
        _printed.add(what)


def _limited(train: PackedImages, data: Data) -> PackedImages:
    """The images of ``data.people`` training writers; fewer writers are a subset of more.

    Raises:
        InputError: there are fewer training writers, or none of them wrote a character.
    """
    names = train.present_writers()
    if data.people == 0:
        return train.select([])
    if data.people is not None:
        if data.people > len(names):
            raise InputError(
                f"data.people={data.people}: expected at most the {len(names)} training writers"
            )
        order = np.random.default_rng([data.split_seed, data.rotation]).permutation(len(names))
        train = train.by([names[i] for i in order[: data.people]])
    absent = train.absent()
    if data.partial and absent:
        num_all = len(train.characters)
        text = f"  the training writers wrote {num_all - len(absent):,} of {num_all:,} characters: "
        text += "the others come only from other sources"
        _print_once(text, text)
        return train
    report_problems(
        "the training writers",
        [f"{c}: no image (empty class)" for c in absent],
        "Use more training writers (data.train_writers, data.people) or fewer characters "
        "(data.characters), or set data.partial=true if fonts, simulated writers or generators "
        "supply what is missing.",
    )
    return train


def _choose_unseen(characters: tuple[str, ...], data: Data) -> tuple[str, ...]:
    """Random kanji, the same for equal seeds; kana have no components to be composed from."""
    kanji = [*filter(is_kanji, characters)]
    if data.unseen_characters > len(kanji) // 2:
        raise InputError(
            f"data.unseen_characters={data.unseen_characters}: expected at most half of this "
            f"study's {len(kanji)} kanji"
        )
    chosen = np.random.default_rng(data.split_seed).permutation(len(kanji))
    return tuple(kanji[i] for i in sorted(chosen[: data.unseen_characters]))


def require_test_writers(corpus: Corpus) -> None:
    """Check that there are test writers.

    Raises:
        InputError: there are none.
    """
    if not corpus.test:
        raise InputError(
            "no test writers: recognisers are compared on writers that nothing was trained on. Set "
            "data.test_writers (data.etl.test_writers) to null, for all who are left, or above 0, "
            "or set data.test_manifest. Encoders, generators, generation and the judge need no "
            "test writers"
        )


def matching(packed: PackedImages, parts: list[str]) -> list[str]:
    """The writers, or fonts, whose names contain one of the parts; without parts, all of them.

    Raises:
        InputError: no name contains one of the parts.
    """
    names = packed.present_writers()
    for part in parts:
        if not any(part in name for name in names):
            raise InputError(
                f"no writer or font contains {part!r}; expected one of {', '.join(names)}"
            )
    return [name for name in names if any(part in name for part in parts or [""])]


@main_only
def record_study(config: Config, corpus: Corpus) -> None:
    """Write ``study.json`` into the study's folder, which the caller has locked.

    It holds the resolved configuration, versions, the commit and hashes of all input images.
    """
    parts = {**corpus.splits, **corpus.sources}
    # The training writers are there twice, and are hashed once.
    hashes = {key: pixels_key(images) for key, images in {id(p): p for p in parts.values()}.items()}
    data = {name: hashes[id(images)] for name, images in parts.items()}
    made_of = {"config": plain(config), "versions": versions(), "commit": git_commit()}
    write_json(run_folder(config) / "study.json", {**made_of, "data": data})
