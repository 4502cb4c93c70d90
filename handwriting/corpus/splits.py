"""Splits: handwriting for training, validation and test. No writer is in two of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np

from handwriting.config import Data, Fonts, Natural
from handwriting.errors import InputError, report_problems
from handwriting.images.manifest import UNKNOWN_WRITER, Manifest
from handwriting.images.packed import PackedImages
from handwriting.images.writers import ONE_NAME, look_alikes

NOBODY_TESTED = "data.train_writers=1 data.validation_writers=0 data.test_writers=0"
MAX_NAMED = 8  # writers listed of a split


@dataclass(frozen=True)
class Splits:
    """Handwriting over the same characters, by different writers."""

    train: PackedImages
    validation: PackedImages
    test: PackedImages
    _: KW_ONLY
    key: str = ""  # of the files of the images, "" if there are none
    names_from: str = "its reader"  # the source of the writers' names
    unused: str = ""  # who is in no split
    has_stand_ins: bool = False  # fonts are tested like people

    @property
    def parts(self) -> dict[str, PackedImages]:
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def people(self) -> list[str]:
        """The writers of each split and the source of their names, in at most three lines."""
        lines = [f"  {split}: {_people(part)}" for split, part in self.parts.items() if part]
        lines[0] += f"; names from {self.names_from}"
        absent = [split for split, part in self.parts.items() if not part]
        lines[-1] += f"; no writers in {' and '.join(absent)}" if absent else ""
        lines[-1] += f"; {self.unused} in no split" if self.unused else ""
        return lines


def image_counts(images: PackedImages) -> dict[str, int]:
    """The number of images of each writer."""
    numbers, counts = np.unique(images.writers, return_counts=True)
    names = (images.writer_names[i] for i in numbers)
    return dict(zip(names, counts.tolist(), strict=True))


def check_apart(*kinds: Mapping[str, Iterable[str | Path]]) -> None:
    """Check that nothing of a kind, such as a writer or a file, is on two sides, such as splits.

    Raises:
        InputError: naming everything that is on two sides, and both.
    """
    problems = [*chain.from_iterable(map(on_two_sides, kinds))]
    report_problems("data leak", problems, "Keep each in only one of the two.")


def on_two_sides(sides: Mapping[str, Iterable[str | Path]]) -> Iterator[str]:
    """A description of everything that is on two sides."""
    first: dict[str | Path, str] = {}
    for side, names in sides.items():
        for name in names:
            if first.setdefault(name, side) != side:
                yield f"{name} is in {first[name]} and in {side}"


def check_splits(splits: Mapping[str, Manifest]) -> None:
    """Check that no file or writer is in two splits, and that no two names look alike."""
    names = sorted({name for one in splits.values() for name in one.writers})
    report_problems("writers of the splits", look_alikes(names), ONE_NAME)
    files = {name: (entry.file for entry in one.entries) for name, one in splits.items()}
    writers = {name: set(one.writers) - {UNKNOWN_WRITER} for name, one in splits.items()}
    check_apart(writers, files)


def _people(images: PackedImages) -> str:
    counts = image_counts(images)
    names, few, many = [*counts], min(counts.values()), max(counts.values())
    each = ", ".join(f"{name or 'unknown'} {count}" for name, count in counts.items())
    if len(names) > MAX_NAMED:
        each = f"{names[0]} to {names[-1]}, {few:,} to {many:,} images each"
    plural = "s" if len(names) > 1 else ""
    return f"{len(names):,} writer{plural}, {len(images):,} images ({each})"


@dataclass
class Reader(Data, ABC):
    """A kind of handwriting: its keys in ``data``, and how its splits are read.

    Each module of ``handwriting/corpus/readers/`` holds one. A file ``conf/data/<name>.yaml`` that
    begins with ``defaults: [<module>_schema, _self_]`` is a choice of ``data=``.
    """

    is_real: ClassVar[bool]  # whether people wrote it

    @abstractmethod
    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        """The splits as packed images, from the cache if they have been packed before.

        Args:
            fonts: the study's fonts, none of which may be in the splits.

        Raises:
            InputError: unusable settings or files.
        """

    def files(self) -> list[Path]:
        """The files that list the images: if one changes, the splits are read again."""
        return []

    def image_names(self, split: str) -> Sequence[str]:
        """The sources of a split's images, in the order of packing; later images have none."""
        return []


@dataclass
class DividedReader(Reader):
    """Writers of one source, divided by counts; the remaining ones are tested."""

    train_writers: Natural = 3  # of all writers
    validation_writers: Natural = 1  # of all writers
    test_writers: Natural | None = None  # of all writers; null: the remaining ones, 0: no test

    def divided(
        self, everyone: PackedImages, seed: int | None, where: str, names_from: str
    ) -> Splits:
        """The images of the training, validation and test writers; see :func:`divide`."""
        names = everyone.present_writers()
        people = divide(
            names, self.train_writers, self.validation_writers, seed, self.rotation, where,
            self.test_writers,
        )  # fmt: skip
        train, validation, test = map(everyone.by, people)
        num_unused = len(names) - sum(map(len, people))
        unused = f"{num_unused} of {len(names)} writers" if num_unused else ""
        return Splits(train, validation, test, names_from=names_from, unused=unused)


def divide(
    writers: Sequence[str], num_train: int, num_validation: int, seed: int | None, rotation: int,
    where: str, num_test: int | None = None,
) -> list[list[str]]:  # fmt: skip
    """The training, validation and test writers.

    Args:
        seed: shuffles them; None keeps their order.
        rotation: rotates their order by this many times the number of test writers: rotations 0, 1,
            2... test everyone in turn, some at most once more often than others.
        where: they come from, for errors.
        num_test: None takes all others, at least one.

    Raises:
        InputError: there are too few writers for the counts.
    """
    num_left = len(writers) - num_train - num_validation
    num_tested = max(num_left, 1) if num_test is None else num_test
    if num_train < 1:
        raise InputError(
            "data.train_writers=0: expected at least 1 (data.people=0 trains without any of them)"
        )
    if num_left < num_tested:
        tested = "at least one" if num_test is None else num_test
        raise InputError(
            f"{where} has {len(writers)} writers: too few for {num_train} to train, "
            f"{num_validation} to validate and {tested} to test "
            "(data.train_writers, data.validation_writers, data.test_writers). Training generators "
            f"and generating need no test writers: set {NOBODY_TESTED}"
        )
    order = np.arange(len(writers))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    turned = np.roll(order, -rotation * num_tested)
    ends = np.cumsum([num_train, num_validation, num_tested])
    return [[writers[i] for i in part] for part in np.split(turned, ends)[:3]]
