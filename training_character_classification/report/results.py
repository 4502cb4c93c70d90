"""What recognisers read correctly: one tidy table, and every statistic computed from it.

A row of the table is a recogniser (an arm, trained on a number of people with a seed), a test
writer and a character: how many images it was shown, how many of them it read correctly among all
characters and among those of the same script, and how often the correct one was among its first
five guesses. A study is a grid with a single number of people.

The sample is people: an accuracy is the mean over writers of each writer's mean over the seeds in
which they were tested. Arms are compared on the seeds and writers that both have, so that missing
cells cause no bias.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handwriting.characters.groups import GROUPS, KANA, group_of
from handwriting.errors import InputError
from handwriting.reports.scores import worst_tenth
from handwriting.reports.statistics import (
    ALPHA,
    Bounds,
    Float64,
    accuracy_interval,
    holm,
    interval,
    sign_flip_p,
)
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_json
from training_character_classification.arms import Arm

KEYS = ["arm", "people", "seed"]  # of a recogniser
COUNTS = ["right", "in_script", "in_five", "shown"]
COLUMNS = [*KEYS, "writer", "character", *COUNTS]
# Pairs that people write alike, among kana and among kanji.
LOOK_ALIKES = (
    "シツ ソン シミ ンリ ツソ クワ ワウ ウフ クタ クケ コユ コロ スヌ チテ チナ ナメ ノメ マム "
    "アマ ルレ ラヲ はほ ぬめ るろ れわ さき いり 未末 土士 日曰 人入 大犬 千干 牛午 "
    "力カ 口ロ 二ニ 工エ 八ハ へヘ りリ"
)

KANJI = "kanji"  # the group of all, whatever their number of strokes
Place = tuple[Arm, int]  # an arm and its number of people
Estimate = tuple[float, Bounds | None]


@dataclass(frozen=True)
class Results:
    """The test results of recognisers."""

    by_writer: pd.DataFrame  # accuracies: rows (seed, writer), a column per arm and people
    by_character: pd.DataFrame  # accuracies: rows (seed, character), columns as above
    by_group: dict[str, pd.DataFrame]  # for each group of characters, the same as by_writer
    macro_f1: dict[Place, list[float]]  # a value per seed
    confusions: pd.DataFrame  # arm, people, seed, written, read, count: the most frequent of each

    @property
    def places(self) -> list[Place]:
        """The arms that were tested with each number of people, the fewest first."""
        return sorted(self.macro_f1, key=lambda place: place[1])


def write_results(path: Path, recognisers: Sequence[Mapping[str, Any]]) -> None:
    """Write the :func:`recogniser_result` of each recogniser: the table, nested."""
    text = ",\n".join(json.dumps(each, ensure_ascii=False) for each in recognisers)
    write_text(path, f"[{text}]\n")


def read_results(path: Path) -> list[dict[str, Any]]:
    """What :func:`write_results` wrote.

    Raises:
        InputError: there is no such file, or it is of another form.
    """
    found = read_json(path)
    fields = {"arm", "people", "seed", "macro_f1", "confusions", "writers"}
    is_list = isinstance(found, list)
    if not is_list or not all(isinstance(each, dict) and fields <= each.keys() for each in found):
        raise InputError(
            f"{path}: expected the results.json of a run, a list of objects with "
            f"{', '.join(sorted(fields))}"
        )
    return found


def recogniser_result(
    arm: Arm, people: int, seed: int, read: pd.DataFrame, macro_f1: float,
    confusions: Sequence[tuple[str, str, int]],
) -> dict[str, Any]:  # fmt: skip
    """A recogniser's part of ``results.json``.

    Args:
        read: for each image, whether it was read ``right``, also if the script is known
            (``in_script``) or within five guesses (``in_five``), indexed by writer and character.
        confusions: (written, read as, count).
    """
    counts = read.assign(shown=1).groupby(level=[0, 1], sort=False).sum()
    writers = {
        writer: {
            "characters": "".join(own.index.get_level_values(1)),
            **{name: own[name].tolist() for name in COUNTS},
        }
        for writer, own in counts.groupby(level=0, sort=False)
    }
    return {"arm": str(arm), "people": people, "seed": seed, "macro_f1": macro_f1,
            "confusions": confusions, "writers": writers}  # fmt: skip


def result_table(recognisers: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The tidy table, with the columns ``COLUMNS``, of the recognisers of a ``results.json``."""
    rows = [
        (arm, each["people"], each["seed"], writer, *count)
        for each in recognisers
        for arm in [Arm.parse(each["arm"])]
        for writer, own in each["writers"].items()
        for count in zip(*(own[name] for name in ("characters", *COUNTS)), strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def results_of(recognisers: Sequence[Mapping[str, Any]]) -> Results:
    """The results of the recognisers of a ``results.json``."""
    table = result_table(recognisers)
    confusions = []
    macro_f1: dict[Place, list[float]] = {}
    for each in recognisers:
        place = Arm.parse(each["arm"]), each["people"]
        macro_f1.setdefault(place, []).append(each["macro_f1"])
        confusions += [(*place, each["seed"], *confusion) for confusion in each["confusions"]]
    confused = pd.DataFrame(confusions, columns=[*KEYS, "written", "read", "count"])
    by_writer, by_character = _by(table, "writer"), _by(table, "character")
    return Results(by_writer, by_character, by_group(table), macro_f1, confused)


def _by(table: pd.DataFrame, rows: str, what: str = "right") -> pd.DataFrame:
    sums = table.groupby(["arm", "people", "seed", rows])[[what, "shown"]].sum()
    return (sums[what] / sums["shown"]).unstack(["arm", "people"])


def per_writer(results: Results) -> dict[Place, dict[str, float]]:
    """The accuracy of every arm on each writer it was tested on, the mean over seeds."""
    means = results.by_writer.groupby(level="writer").mean()
    found: Any = {place: means[place].dropna().to_dict() for place in results.places}
    return found  # pandas calls its labels hashable, and these are names


def by_group(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The shares read correctly of each of the ``GROUPS`` that is present, and of all kanji.

    Kana, which look like each other and like kanji, are also scored with the script known. The last
    one, ``first five``, is the share of all images whose character was among the first five.
    """
    names = {character: group_of(character) for character in table["character"].unique()}
    groups = table["character"].map(names)
    found = {}
    for group in GROUPS:
        own = table[groups == group]
        if own.empty:
            continue
        if group.startswith(KANJI) and KANJI not in found:
            found[KANJI] = _by(table[groups.str.startswith(KANJI)], "writer")
        found[group] = _by(own, "writer")
        if group in KANA and not own["in_script"].equals(own["right"]):
            found[f"{group}, script known"] = _by(own, "writer", "in_script")
    found["first five"] = _by(table, "writer", "in_five")
    return found


def group_shares(groups: Mapping[str, pd.DataFrame], place: Place) -> dict[str, float]:
    """The accuracy of an arm on each group, the mean over writers."""
    return {
        group: float(means(paired(shares, place))[:, 0].mean())
        for group, shares in groups.items()
        if place in shares
    }


def _estimate(values: Float64, confidence: float = 1 - ALPHA) -> Estimate:
    """The mean with its interval."""
    return float(values.mean()), interval(values, confidence)


def corrected(num_comparisons: int) -> float:
    """The confidence of each interval such that all cover in 95 % of studies (Bonferroni)."""
    return 1 - ALPHA / max(1, num_comparisons)


def group_gains(
    results: Results, arm: Place, control: Place, confidence: float = 1 - ALPHA
) -> dict[str, Estimate]:
    """What an arm gains on each group, with its interval over writers."""
    found = {}
    for group, shares in results.by_group.items():
        both = paired(shares, arm, control)
        if not both.empty:
            found[group] = _estimate(np.subtract(*means(both).T), confidence)
    return found


def people_text(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"


# Arms ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gain:
    """What an arm gains over the control with the same people, paired by seed and writer."""

    gain: float  # mean over writers
    interval: Bounds | None  # over writers, 95 % corrected for the candidates; None for one writer
    p: float  # of a permutation test over writers, uncorrected
    corrected_p: float | None  # for all candidates at all numbers of people; None for other arms
    num_seeds: int  # that both arms have
    num_writers: int


@dataclass(frozen=True)
class Gap:
    """How far the control falls short of the ceiling: the control with the most people."""

    size: float  # the ceiling's accuracy minus the control's, mean over writers
    interval: Bounds | None  # 95 %, over writers
    closed: float | None  # share that an arm closes; None unless the interval is above zero
    num_seeds: int  # that the arm, the control and the ceiling have in common


@dataclass(frozen=True)
class Finding:
    """An arm with a number of people."""

    arm: Arm
    people: int
    is_ranked: bool  # False if it sees simulated writers and the test writers are simulated too
    accuracy: float  # mean over writers
    interval: Bounds | None  # 95 %, over writers; None for one writer
    macro_f1: float  # mean over seeds
    worst_tenth: float  # mean accuracy of the worst tenth of the characters
    num_seeds: int
    num_writers: int
    gain: Gain | None  # None for the control, if that is untested, and if not ranked
    gap: Gap | None  # None if the control or the ceiling is untested

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "arm": str(self.arm)}


def is_candidate(arm: Arm, named: Arm | None) -> bool:
    """Whether an arm's gain is a claim: it sees generated images, or was named beforehand."""
    return not arm.is_control or arm == named


def compare(
    results: Results, control: Arm, named: Arm | None, ceiling_people: int, num_comparisons: int,
    is_drawn_alike: bool = False,
) -> list[Finding]:  # fmt: skip
    """Compare every arm, with every number of people, with the control with as many.

    Args:
        control: the arm that gains are over; with ``ceiling_people`` it is the ceiling.
        named: the arm that was named beforehand, if any.
        ceiling_people: the largest number of people.
        num_comparisons: planned candidates, times the numbers of people.
        is_drawn_alike: whether the test writers are simulated; arms that see simulated writers then
            get no gain, since it would say nothing.
    """
    confidence = corrected(num_comparisons)
    findings = []
    for place in results.places:
        arm, people = place
        is_ranked = not (is_drawn_alike and "simulated" in arm.sources)
        beside, ceiling = (control, people), (control, ceiling_people)
        own = paired(results.by_writer, place)
        per_writer = means(own)[:, 0]
        both = paired(results.by_writer, place, beside)
        findings.append(
            Finding(
                arm,
                people,
                is_ranked,
                accuracy=float(per_writer.mean()),
                interval=accuracy_interval(per_writer),
                macro_f1=float(np.mean(results.macro_f1[place])),
                worst_tenth=worst_tenth(means(paired(results.by_character, place))[:, 0]),
                num_seeds=_num_seeds(own),
                num_writers=len(per_writer),
                gain=_gain(both, confidence) if is_ranked and arm != control else None,
                gap=_gap(paired(results.by_writer, place, beside, ceiling)),
            )
        )
    gains = {i: f.gain for i, f in enumerate(findings) if f.gain and is_candidate(f.arm, named)}
    corrected_p = holm([gain.p for gain in gains.values()])
    for (i, gain), p in zip(gains.items(), corrected_p, strict=True):
        findings[i] = replace(findings[i], gain=replace(gain, corrected_p=p))
    return findings


def paired(accuracies: pd.DataFrame, *places: Place) -> pd.DataFrame:
    """The accuracies of arms side by side, on the rows that all of them have."""
    return accuracies.reindex(columns=pd.MultiIndex.from_tuples(places)).dropna()


def means(accuracies: pd.DataFrame) -> Float64:
    """The means over seeds, (writers or characters, columns)."""
    return accuracies.groupby(level=1).mean().to_numpy()


def _num_seeds(paired: pd.DataFrame) -> int:
    return paired.index.get_level_values("seed").nunique()


def _gain(both: pd.DataFrame, confidence: float) -> Gain | None:
    if both.empty:
        return None
    gains = np.subtract(*means(both).T)
    return Gain(
        float(gains.mean()), interval(gains, confidence), sign_flip_p(gains), corrected_p=None,
        num_seeds=_num_seeds(both), num_writers=len(gains),
    )  # fmt: skip


def _gap(all_three: pd.DataFrame) -> Gap | None:
    if all_three.empty:
        return None
    own, control, ceiling = means(all_three).T
    size, bounds = _estimate(ceiling - control)
    is_there = bounds is not None and bounds[0] > 0  # a share of no gap means nothing
    closed = float((own - control).mean()) / size if is_there else None
    return Gap(size, bounds, closed, _num_seeds(all_three))


def best_arm(findings: Sequence[Finding], people: int) -> Finding | None:
    """The candidate that gains most or, if there is none, another arm.

    It is chosen after the fact, on the very writers that it is tested on.
    """
    gains = [(f.gain, f) for f in findings if f.people == people and f.gain]
    best = max(gains, key=lambda g: (g[0].corrected_p is not None, g[0].gain), default=None)
    return best[1] if best else None


# Characters ---------------------------------------------------------------------------------------


def character_gains(results: Results, arm: Place, control: Place) -> dict[str, Estimate]:
    """The gain of an arm on each character: mean and 95 % interval over the seeds both have."""
    both = paired(results.by_character, arm, control)
    gains = (both.iloc[:, 0] - both.iloc[:, 1]).groupby(level="character", sort=False)
    return {str(name): _estimate(own.to_numpy()) for name, own in gains}


def confusions(results: Results, arm: Place, control: Place) -> pd.DataFrame:
    """Which characters were read as which, summed over the seeds both have, most frequent first.

    Returns:
        Columns written, read, and the counts of the control and of the arm.
    """
    seeds = paired(results.by_writer, arm, control).index.get_level_values("seed")
    found = results.confusions
    found = found[found["seed"].isin(seeds) & (found["people"] == arm[1])]
    counts = [
        found[found["arm"] == side].groupby(["written", "read"])["count"].sum()
        for side, _ in (control, arm)
    ]
    both = pd.concat(counts, axis=1, keys=["control", "arm"]).fillna(0).astype(int)
    order = both.sum(axis=1).sort_values(ascending=False, kind="stable").index
    return both.loc[order].reset_index()


def look_alikes(confusions: pd.DataFrame, characters: Collection[str]) -> pd.DataFrame:
    """The confusions, in either direction, of pairs that people write alike and are classes."""
    pairs = [pair for pair in LOOK_ALIKES.split() if set(pair) <= set(characters)]
    either_way = confusions["written"].combine(confusions["read"], lambda a, b: {a, b})
    counts = [confusions[either_way == set(pair)][["control", "arm"]].sum() for pair in pairs]
    return pd.DataFrame(
        [{"written": p[0], "read": p[1], **c} for p, c in zip(pairs, counts, strict=True)],
        columns=["written", "read", "control", "arm"],
    )
