"""Which record of which file goes to which split, from metadata alone: no image is decoded."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.errors import InputError, report_problems
from handwriting.etl.codes import read_co59
from handwriting.etl.integrity import DataFile
from handwriting.etl.layouts import SETS
from handwriting.etl.records import EtlFile
from handwriting.etl.settings import Etl
from handwriting.parallel.progress import progress

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

SPLITS = ("train", "validation", "test")
FATES = (*SPLITS, "no code", "other character", "printed", "poor", "not drawn")  # of a record
_NO_CODE, _OTHER_CHARACTER, _NO_SPLIT = -1, -2, -1


@dataclass(frozen=True, eq=False)
class Selection:
    """Some records, one entry (n,) for each, in the order of the files.

    Attributes:
        files: that were looked through.
        file: indices into ``files``.
        record: places in the file, from 0, a dummy first record not counted.
        label: indices into ``characters``.
        writer: indices into ``writer_names``.
        split: indices into ``SPLITS``.
        counts: set -> one of ``FATES`` -> how many of its records: in a split, or left out because
            they have no code, show another character, were printed, are of poor quality, or were
            not drawn (the class has enough, or the writer belongs to another split).
    """

    files: tuple[DataFile, ...]
    characters: tuple[str, ...]
    writer_names: tuple[str, ...]
    file: Int64
    record: Int64
    label: Int64
    writer: Int64
    split: Int64
    counts: dict[str, Counter[str]]

    def only(self, keep: Bool) -> "Selection":
        """The records that a mask names."""
        columns = ("file", "record", "label", "writer", "split")
        return replace(self, **{name: getattr(self, name)[keep] for name in columns})


def select(files: Sequence[DataFile], characters: Sequence[str], etl: Etl, seed: int) -> Selection:
    """Choose the records of a study; nobody's hand is in two splits.

    Args:
        files: of the training and evaluation sets, checked.
        characters: the classes; the training writers must have written each.
        etl: sets, counts of writers, limits.
        seed: who is in which split, and which samples of a class that has too many.

    Raises:
        InputError: too few writers, a class without training images, nothing to evaluate on, a
            limit that a set knows nothing of, ETL2 without its table, or impossible codes.
    """
    _check_limits(files, etl)
    usable = _usable(files, tuple(characters), etl)
    split = _splits(usable, etl, seed)
    if etl.samples_per_class is not None:
        train = np.flatnonzero(split == SPLITS.index("train"))
        label, writer = usable.label[train], usable.writer[train]
        split[train[~_first_of_each(label, writer, etl.samples_per_class, seed)]] = _NO_SPLIT
    for number, file in enumerate(files):
        found = Counter(split[usable.file == number].tolist())
        for i, name in [*enumerate(SPLITS), (_NO_SPLIT, "not drawn")]:
            usable.counts[file.set_name][name] += found[i]
    chosen = replace(usable, split=split).only(split != _NO_SPLIT)
    _check_splits(chosen, etl)
    return chosen


def _check_limits(files: Sequence[DataFile], etl: Etl) -> None:
    names = sorted({file.set_name for file in files})
    without_quality = [name for name in names if SETS[name].family in "KB"]
    if etl.max_quality is not None and without_quality:
        raise InputError(
            f"data.etl.max_quality={etl.max_quality}: {', '.join(without_quality)} says nothing of "
            "quality; set data.etl.max_quality=null or take other sets"
        )
    if "ETL2" in names and etl.co59 is None:
        raise InputError("ETL2 needs its table of characters: data.etl.co59=PATH/euc_co59.dat")


def _usable(files: Sequence[DataFile], characters: tuple[str, ...], etl: Etl) -> Selection:
    """All records that could be taken, without a split yet."""
    co59 = read_co59(etl.co59) if etl.co59 else None
    label_of: dict[str | None, int] = {None: _NO_CODE}
    label_of |= {character: i for i, character in enumerate(characters)}
    counts: dict[str, Counter[str]] = {file.set_name: Counter() for file in files}
    columns: list[tuple[npt.NDArray[Any], ...]] = []
    for number, file in enumerate(progress(files, len(files), "reading metadata")):
        assert file.path is not None
        records = EtlFile(file.path, file.set_name, co59)
        label = np.array([label_of.get(c, _OTHER_CHARACTER) for c in records.characters])
        record = np.flatnonzero(_count_left_out(records, label, etl, counts[file.set_name]))
        in_file = np.full(len(record), number)
        columns.append((in_file, record, label[record], records.writers[record]))
    in_file, record, label, writers = map(np.concatenate, zip(*columns, strict=True))
    names, writer = np.unique(writers, return_inverse=True)
    no_split = np.full(len(record), _NO_SPLIT)
    return Selection(
        tuple(files), characters, tuple(names.tolist()),
        in_file, record, label, writer, no_split, counts,
    )  # fmt: skip


def _count_left_out(records: EtlFile, label: Int64, etl: Etl, counts: Counter[str]) -> Bool:
    """Which records of a file (N,) could be taken; the others are counted by the first reason."""
    reasons = {
        "no code": label == _NO_CODE,
        "other character": label == _OTHER_CHARACTER,
        "printed": records.is_model & (not etl.model_sets),
    }
    if etl.max_quality is not None:
        reasons["poor"] = records.metadata["quality"] > etl.max_quality
    usable = np.ones(len(records), np.bool_)
    for reason, has_it in reasons.items():
        counts[reason] += int((usable & has_it).sum())
        usable &= ~has_it
    return usable


def _splits(usable: Selection, etl: Etl, seed: int) -> Int64:
    """The split of every record (n,): that of its writer, if its set is one of that split.

    People are divided family by family: ETL8G and ETL8B2 are the same people, and so are ETL9G and
    ETL9B.
    """
    families = np.array([_family(name) for name in usable.writer_names])
    split_of_person = np.full(len(families), _NO_SPLIT)
    for family in np.unique(families).tolist():
        people = np.flatnonzero(families == family)
        counts = _counts_of_people(family, len(people), etl)
        people = np.random.default_rng([seed, *family.encode()]).permutation(people)
        split_of_person[people[: sum(counts)]] = np.repeat(range(len(SPLITS)), counts)
    sets = (etl.train_sets, etl.evaluation_sets, etl.evaluation_sets)
    allowed = np.array([[file.set_name in names for names in sets] for file in usable.files])
    split = split_of_person[usable.writer]
    return np.where(allowed[usable.file, split], split, _NO_SPLIT)


def _family(name: str) -> str:
    """ "ETL9" of the writer "ETL9:007" and of the set "ETL9G"."""
    return name[:4]


def _counts_of_people(family: str, num_people: int, etl: Etl) -> list[int]:
    """How many people are in each of ``SPLITS``; null is an equal share of who is left."""
    wanted: dict[str, int | None] = {}
    if family in map(_family, etl.train_sets):
        wanted["train"] = etl.train_writers
    if family in map(_family, etl.evaluation_sets):
        wanted |= {"validation": etl.validation_writers, "test": etl.test_writers}
    left = num_people - sum(count or 0 for count in wanted.values())
    num_shares = list(wanted.values()).count(None)
    counts = dict.fromkeys(SPLITS, 0)
    for split, count in wanted.items():
        counts[split] = left // num_shares if count is None else count
        if count is None:
            left, num_shares = left - counts[split], num_shares - 1
    if left < 0 or min(counts[split] for split in wanted) < 1:
        raise InputError(
            f"{family} has {num_people} writers of these characters: too few for "
            + ", ".join(f"data.etl.{split}_writers={count}" for split, count in wanted.items())
        )
    return list(counts.values())


def _first_of_each(label: Int64, writer: Int64, most: int, seed: int) -> Bool:
    """At most so many of each class (n,): one by every writer before a second by anybody."""
    chance = np.random.default_rng(seed).permutation(len(label))
    turn = _place_in_group(label * (writer.max(initial=0) + 1) + writer, chance)
    return _place_in_group(label, turn * len(label) + chance) < most


def _place_in_group(group: Int64, rank: Int64) -> Int64:
    """The place (n,) of each among those of its group, from 0, in the order of ``rank``."""
    order = np.lexsort((rank, group))
    sorted_group = group[order]
    starts = np.flatnonzero(np.append(True, sorted_group[1:] != sorted_group[:-1]))
    lengths = np.diff(np.append(starts, len(group)))
    place = np.empty_like(group)
    place[order] = np.arange(len(group)) - np.repeat(starts, lengths)
    return place


def _check_splits(chosen: Selection, etl: Etl) -> None:
    """Every class must be in training, and somebody in each split."""
    trained = np.unique(chosen.label[chosen.split == SPLITS.index("train")])
    absent = np.setdiff1d(np.arange(len(chosen.characters)), trained)
    report_problems(
        f"the training writers of {', '.join(etl.train_sets)}",
        [f"no image of {chosen.characters[i]} (U+{ord(chosen.characters[i]):04X})" for i in absent],
        "Take other sets (data.etl.train_sets), more writers (data.etl.train_writers) or fewer "
        "characters (data.characters).",
    )
    if len(np.unique(chosen.split)) < len(SPLITS):
        raise InputError(
            f"{', '.join(etl.evaluation_sets)}: none of these characters; take other sets "
            "(data.etl.evaluation_sets) or characters (data.characters)"
        )
