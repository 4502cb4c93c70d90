"""Splits: whose handwriting trains, validates and is tested. Nobody's is in two of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from handwriting.config import Data, Fonts, Natural
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages


@dataclass(frozen=True)
class Splits:
    """Handwriting over the same characters, by different writers."""

    train: PackedImages
    validation: PackedImages
    test: PackedImages
    key: str = ""  # of the files behind the images, "" where there are none


@dataclass
class Reader(Data, ABC):
    """A kind of handwriting: its keys of ``data``, and how its splits are read.

    Each module of ``handwriting/corpus/readers/`` holds one. A file ``conf/data/<name>.yaml`` that
    begins with ``defaults: [<module>_schema, _self_]`` is a choice of ``data=``.
    """

    is_real: ClassVar[bool]  # whether people wrote it

    @abstractmethod
    def read(self, fonts: Fonts, size_px: int, cache_dir: Path) -> Splits:
        """The splits as packed images, from the cache where they were made before.

        Args:
            fonts: what the study has beside the handwriting; none of it may be in the splits.

        Raises:
            InputError: settings or files that cannot be used.
        """

    def files(self) -> list[Path]:
        """The files that say which images there are: when they change, they are read again."""
        return []


@dataclass
class DividedReader(Reader):
    """People of one source, divided by counts; those that remain are tested."""

    train_writers: Natural = 3  # of all
    validation_writers: Natural = 1  # of all; those that remain are tested

    def divided(self, everyone: PackedImages, seed: int | None, where: str) -> Splits:
        """The images of those who train, who validate and who are tested; see :func:`divide`."""
        counts = self.train_writers, self.validation_writers
        people = divide(everyone.present_writers(), *counts, seed, self.rotation, where)
        train, validation, test = map(everyone.by, people)
        return Splits(train, validation, test)


def divide(
    writers: Sequence[str], num_train: int, num_validation: int, seed: int | None, rotation: int,
    where: str,
) -> list[list[str]]:  # fmt: skip
    """The people who train, who validate and, all others, who are tested.

    Args:
        seed: shuffles them; None leaves their order.
        rotation: turns their order by as many as are tested: rotations 0, 1, 2... test everyone in
            turn, some at most once more often than others.
        where: they come from, for the error.

    Raises:
        InputError: too few writers for the counts.
    """
    num_tested = len(writers) - num_train - num_validation
    if num_train < 1 or num_tested < 1:
        raise InputError(
            f"{where} has {len(writers)} writers: too few for {num_train} to train, "
            f"{num_validation} to validate and at least one to test "
            "(data.train_writers, data.validation_writers)"
        )
    order = np.arange(len(writers))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(order)
    turned = np.roll(order, -rotation * num_tested)
    parts = np.split(turned, [num_train, num_train + num_validation])
    return [[writers[i] for i in part] for part in parts]
