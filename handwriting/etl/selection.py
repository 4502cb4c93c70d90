"""Selection of the records for each split, from metadata alone: no image is decoded."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from handwriting.characters.classes import letter
from handwriting.config import SPLITS
from handwriting.errors import InputError, report_problems
from handwriting.etl.codes import read_co59
from handwriting.etl.integrity import DataFile
from handwriting.etl.layouts import SETS
from handwriting.etl.records import EtlFile
from handwriting.etl.settings import Etl
from handwriting.images.packed import Int64
from handwriting.parallel.progress import progress

# The split of a record, or why it is in none. If it is "not drawn", its class has enough records,
# or its writer belongs to another split.
FATES = (*SPLITS, "no code", "other character", "printed", "poor", "not drawn")


def select(
    files: Sequence[DataFile], characters: Sequence[str], etl: Etl, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Choose the records of a study; no writer is in two splits.

    Args:
        characters: the classes; the training writers must have written each.
        seed: decides who is in which split, and which samples of too large a class are used.

    Returns:
        The chosen records, a row each in the order of the files: ``file`` its name, ``record`` its
        index in the file, without a dummy first record, ``label`` an index into
        ``characters``, ``writer`` a key, ``fate`` its split; and how many records of each set had
        each of ``FATES``.

    Raises:
        InputError: too few writers, a class without training images, nothing to evaluate on, a
            quality limit for a set without quality marks, ETL2 without its table, or invalid codes.
    """
    _check_limits({file.set_name for file in files}, etl)
    records = _all_records(files, characters, etl)
    usable = records[records["fate"] == "not drawn"]
    split = usable["writer"].map(_split_of_writers(usable["writer"], etl, seed))
    for name, sets in zip(SPLITS, (etl.train_sets, *2 * [etl.evaluation_sets]), strict=True):
        of_split = usable[(split == name) & usable["set"].isin(sets)]
        if name == "train" and etl.samples_per_class is not None:
            of_split = _first_of_each(of_split, etl.samples_per_class, seed)
        records.loc[of_split.index, "fate"] = name
    fates = records.groupby(["set", "fate"], sort=False).size().unstack(fill_value=0)
    chosen = records[records["fate"].isin(SPLITS)]
    _check_splits(chosen, characters, etl)
    return chosen, fates.reindex(columns=FATES, fill_value=0)


def _check_limits(set_names: set[str], etl: Etl) -> None:
    without_quality = sorted(name for name in set_names if SETS[name].family in "KB")
    if etl.max_quality is not None and without_quality:
        raise InputError(
            f"data.etl.max_quality={etl.max_quality}: {', '.join(without_quality)} has no quality "
            "marks; set data.etl.max_quality=null or choose other sets"
        )
    if "ETL2" in set_names and etl.co59 is None:
        raise InputError("ETL2 needs its table of characters: set data.etl.co59=PATH/euc_co59.dat")


def _all_records(files: Sequence[DataFile], characters: Sequence[str], etl: Etl) -> pd.DataFrame:
    """All records; the fate of those that could be selected is "not drawn"."""
    co59 = read_co59(etl.co59) if etl.co59 else None
    label_of = {letter(character): label for label, character in enumerate(characters)}
    parts = []
    for file in progress(files, len(files), "reading metadata"):
        records = file.open(co59)
        # ETL2 has Ａ in full width, the other sets A: one letter.
        labels = {c: label_of.get(letter(c or ""), -1) for c in set(records.characters)}
        label = np.array([labels[c] for c in records.characters])
        parts.append(
            pd.DataFrame(
                {
                    "set": file.set_name, "file": file.name, "record": np.arange(len(records)),
                    "label": label, "writer": records.writers,
                    "fate": _fates(records, label, etl),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _fates(records: EtlFile, label: Int64, etl: Etl) -> npt.NDArray[np.str_]:
    """Why each record of a file (N,) cannot be selected: the first reason counts."""
    reasons: dict[str, Any] = {
        "no code": np.array([character is None for character in records.characters]),
        "other character": label < 0,
        "printed": records.is_model & (not etl.model_sets),
    }
    if etl.max_quality is not None:
        reasons["poor"] = records.metadata["quality"] > etl.max_quality
    return np.select([*reasons.values()], [*reasons], "not drawn")


def _split_of_writers(writers: "pd.Series[str]", etl: Etl, seed: int) -> dict[str, str]:
    """Writer -> split, for those who are in one.

    People are divided family by family: ETL8G and ETL8B2 are the same people, and so are ETL9G and
    ETL9B.
    """
    split_of: dict[str, str] = {}
    for family, names in itertools.groupby(sorted(writers.unique()), key=_family):
        people = np.array([*names])
        counts = _counts_of_people(family, len(people), etl)
        order = np.random.default_rng([seed, *family.encode()]).permutation(len(people))
        split_of |= zip(people[order].tolist(), np.repeat(SPLITS, counts).tolist(), strict=False)
    return split_of


def _family(name: str) -> str:
    """ "ETL9" of the writer "ETL9:007" and of the set "ETL9G"."""
    return name[:4]


def _counts_of_people(family: str, num_people: int, etl: Etl) -> list[int]:
    """How many people are in each of ``SPLITS``; null is an equal share of those left."""
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
    if left < 0 or any(counts[split] < 1 and count != 0 for split, count in wanted.items()):
        raise InputError(
            f"{family} has {num_people} writers of these characters: too few for "
            + ", ".join(f"data.etl.{split}_writers={count}" for split, count in wanted.items())
        )
    return list(counts.values())


def _first_of_each(records: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most ``most`` records of each class: one by every writer before a second by any."""
    shuffled = records.iloc[np.argsort(np.random.default_rng(seed).permutation(len(records)))]
    turn = shuffled.groupby(["label", "writer"]).cumcount().sort_values(kind="stable")
    return shuffled.loc[turn.index].groupby("label").head(most)


def _check_splits(chosen: pd.DataFrame, characters: Sequence[str], etl: Etl) -> None:
    """Check that training has every class, and that every split with writers has an image."""
    trained = set(chosen.loc[chosen["fate"] == "train", "label"])
    absent = [character for label, character in enumerate(characters) if label not in trained]
    report_problems(
        f"the training writers of {', '.join(etl.train_sets)}",
        [f"no image of {character} (U+{ord(character):04X})" for character in absent],
        "Use other sets (data.etl.train_sets), more writers (data.etl.train_writers) or fewer "
        "characters (data.characters).",
    )
    asked_for = {"train": etl.train_writers, "validation": etl.validation_writers}
    asked_for["test"] = etl.test_writers
    if {split for split, count in asked_for.items() if count != 0} - {*chosen["fate"]}:
        raise InputError(
            f"{', '.join(etl.evaluation_sets)}: none of these characters; use other sets "
            "(data.etl.evaluation_sets) or characters (data.characters). Generators need no test "
            "writers: set data.etl.validation_writers=0 data.etl.test_writers=0"
        )
