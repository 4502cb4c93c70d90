"""What the evidence says: arms x people x seeds gathered, compared with the control, corrected.

People are the sample. A writer who is tested with several seeds is one unit, the mean over them.
Arms are compared on the seeds and writers that both have: a cell that is missing biases nothing.
"""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.config import Config, Evidence
from handwriting.errors import InputError
from handwriting.reports.scores import worst_tenth
from handwriting.reports.statistics import Bounds, Float64, corrected, holm, interval, sign_flip_p
from handwriting.runs.run import run_folder
from handwriting.storage.json_files import read_json
from training_character_classification.arms import Arm, planned_arms

# Pairs that people write alike, among kana and among kanji.
LOOK_ALIKES = (
    "シツ ソン シミ ンリ ツソ クワ ワウ ウフ クタ クケ コユ コロ スヌ チテ チナ ナメ ノメ マム "
    "アマ ルレ ラヲ はほ ぬめ るろ れわ さき いり 未末 土士 日曰 人入 大犬 千干 牛午 "
    "力カ 口ロ 二ニ 工エ 八ハ へヘ りリ"
)

Seeds = dict[int, "Reading"]
Readings = dict[tuple[str, int], Seeds]  # by arm and people
Sources = dict[str, dict[str, float | None]]  # name -> measure -> mean over seeds


@dataclass(frozen=True)
class Reading:
    """A recogniser on the test writers of one cell.

    Attributes:
        per_writer, per_character: accuracies by name.
        confusions: (written, read as) -> how often, the most frequent of them.
    """

    per_writer: dict[str, float]
    per_character: dict[str, float]
    macro_f1: float
    confusions: dict[tuple[str, str], int]


@dataclass(frozen=True)
class Gain:
    """What an arm gains over the control with as many people, paired by seed and writer.

    Attributes:
        gain: mean over writers.
        interval: 95 % over writers, corrected for the arms that were named, times the numbers of
            people; None for one writer.
        p: of a permutation test over writers, for itself.
        corrected_p: among all generated arms at all numbers of people; None for a control.
        num_seeds, num_writers: that both arms have.
    """

    gain: float
    interval: Bounds | None
    p: float
    corrected_p: float | None
    num_seeds: int
    num_writers: int


@dataclass(frozen=True)
class Gap:
    """How far the control stays behind the ceiling: itself with the most people.

    Attributes:
        size: the ceiling's accuracy minus the control's, mean over writers.
        interval: 95 %, over writers.
        closed: share of it that an arm gains; None where the interval is not above zero, for a
            share of nothing says nothing.
        num_seeds: that the arm, the control and the ceiling have.
    """

    size: float
    interval: Bounds | None
    closed: float | None
    num_seeds: int


@dataclass(frozen=True)
class Finding:
    """An arm with a number of people.

    Attributes:
        accuracy: mean over writers, each the mean over the seeds that it is tested with.
        interval: 95 %, over writers; None for one writer.
        macro_f1: mean over seeds.
        worst_tenth: mean accuracy of the worst tenth of the characters.
        gain: over the control; None for the control, and where it was not tested yet.
        gap: None where the control or the ceiling was not tested yet.
    """

    arm: str
    people: int
    accuracy: float
    interval: Bounds | None
    macro_f1: float
    worst_tenth: float
    num_seeds: int
    num_writers: int
    gain: Gain | None
    gap: Gap | None


@dataclass(frozen=True)
class CharacterGain:
    """The gain of one character, mean over seeds, with a 95 % interval over them."""

    gain: float
    interval: Bounds | None


@dataclass(frozen=True)
class Confusion:
    """How often a character was read as another, by the control and by an arm."""

    written: str
    read: str
    control: int
    arm: int


# The grid -----------------------------------------------------------------------------------------


def generators_of(arm: str) -> tuple[str, ...]:
    return Arm.parse(arm).generators


def planned(evidence: Evidence, people: int) -> list[str]:
    return [str(arm) for arm in planned_arms(evidence, people)]


def num_named(evidence: Evidence) -> int:
    """How many comparisons with the control are planned: arms times numbers of people."""
    arms = (arm for people in set(evidence.people) for arm in planned(evidence, people))
    return sum(arm != evidence.control and bool(generators_of(arm)) for arm in arms)


def read_cells(config: Config) -> tuple[Readings, list[str]]:
    """What was tested so far, with seeds and people of earlier runs, and what is missing.

    Raises:
        InputError: nothing was tested, or by an older version that did not name the writers.
    """
    evidence = config.evidence
    tested: dict[tuple[int, int], Path] = {}  # by people and seed
    for path in run_folder(config).glob("seed_*/people_*/test/metrics.json"):
        of_seed, of_people = (part.partition("_")[2] for part in path.parts[-4:-2])
        if of_seed.isdecimal() and of_people.isdecimal():  # others were put there by hand
            tested[int(of_people), int(of_seed)] = path
    readings: Readings = {}
    missing = []
    for people in sorted({*evidence.people, *(number for number, _ in tested)}):
        arms = planned(evidence, people)
        for seed in sorted({*evidence.seeds, *(number for _, number in tested)}):
            cell = tested.get((people, seed))
            results = read_json(cell)["recognisers"] if cell else {}
            absent = [arm for arm in arms if f"{arm}/seed_{seed}" not in results]
            if absent:
                what = "all arms" if absent == arms else ", ".join(absent)
                missing.append(f"{people_text(people)}, seed {seed}: {what}")
            for arm in arms:
                if cell and arm not in absent:
                    reading = _reading(results[f"{arm}/seed_{seed}"], cell)
                    readings.setdefault((arm, people), {})[seed] = reading
    if not readings:
        raise InputError(
            f"{run_folder(config)}: no arm of the evidence was tested yet, expected "
            f"seed_{evidence.seeds[0]}/people_{evidence.people[0]}/test/metrics.json and others; "
            "run evidence.py first"
        )
    return readings, missing


def people_text(number: int) -> str:
    return f"{number} people" if number > 1 else "1 person"


def _reading(result: dict[str, Any], path: Path) -> Reading:
    if "writers" not in result:
        raise InputError(f"{path} does not name the writers: remove its folder and test again")
    characters = result["per_character"].items()
    return Reading(
        per_writer=dict(zip(result["writers"], result["per_writer"], strict=True)),
        per_character={c: scores["accuracy"] for c, scores in characters},
        macro_f1=result["macro_f1"],
        confusions={(written, read): count for written, read, count in result["confusions"]},
    )


def read_sources(config: Config, people: int) -> Sources:
    """The judge's measures of every source, whichever there are, as means over seeds.

    Returns:
        name -> measure -> mean over the cells that have it; ``seeds`` counts the cells.
    """
    found: dict[str, list[dict[str, float | None]]] = {}
    for path in sorted(run_folder(config).glob(f"seed_*/people_{people}/judge/metrics.json")):
        for name, measures in read_json(path)["sources"].items():
            made = path.parents[1] / "generated" / name / "metrics.json"
            speed = {"images_per_s": read_json(made)["images_per_s"]} if made.is_file() else {}
            found.setdefault(name, []).append({**measures, **speed})
    return {name: _means(cells) for name, cells in found.items()}


def _means(cells: list[dict[str, float | None]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {"seeds": len(cells)}
    for measure in dict.fromkeys(measure for cell in cells for measure in cell):
        values = [value for cell in cells if (value := cell.get(measure)) is not None]
        means[measure] = float(np.mean(values)) if values else None
    return means


# Arms ---------------------------------------------------------------------------------------------


def shared_seeds(arms: Sequence[Seeds]) -> list[int]:
    """The seeds that all arms were tested with."""
    return sorted(set.intersection(*(set(seeds) for seeds in arms)))


def paired(arms: Sequence[Seeds]) -> Float64:
    """The accuracies of A arms on each of W writers, over the seeds and writers that all have.

    Returns:
        (A, W): means over the seeds that a writer is tested with.
    """
    values: dict[str, list[list[float]]] = {}
    for seed in shared_seeds(arms):
        each = [seeds[seed].per_writer for seeds in arms]
        for writer in set.intersection(*(set(of_arm) for of_arm in each)):
            values.setdefault(writer, []).append([of_arm[writer] for of_arm in each])
    means = [np.mean(values[writer], axis=0) for writer in sorted(values)]  # W of (A,)
    return np.array(means, np.float64).reshape(-1, len(arms)).T


def compare(readings: Readings, evidence: Evidence) -> list[Finding]:
    """Every arm with every number of people, beside the control with as many.

    Args:
        readings: what was tested.
        evidence: which arm is the control; with most people, planned or tested, it is the ceiling.
    """
    most = max(*evidence.people, *(people for _, people in readings))
    ceiling = readings.get((evidence.control, most), {})
    confidence = corrected(num_named(evidence))
    findings = []
    for (arm, people), seeds in readings.items():
        control = readings.get((evidence.control, people), {})
        (per_writer,) = paired([seeds])
        findings.append(
            Finding(
                arm,
                people,
                accuracy=float(per_writer.mean()),
                interval=interval(per_writer),
                macro_f1=float(np.mean([reading.macro_f1 for reading in seeds.values()])),
                worst_tenth=worst_tenth(list(_per_character(seeds).values())),
                num_seeds=len(seeds),
                num_writers=len(per_writer),
                gain=None if arm == evidence.control else _gain(seeds, control, confidence),
                gap=_gap(seeds, control, ceiling),
            )
        )
    return _corrected(findings)


def _per_character(seeds: Seeds) -> dict[str, float]:
    """The accuracy of each character, mean over the seeds that test it."""
    found: dict[str, list[float]] = {}
    for reading in seeds.values():
        for character, accuracy in reading.per_character.items():
            found.setdefault(character, []).append(accuracy)
    return {character: float(np.mean(values)) for character, values in found.items()}


def _gain(arm: Seeds, control: Seeds, confidence: float) -> Gain | None:
    own, others = paired([arm, control])
    if not own.size:
        return None
    gains = own - others
    return Gain(
        gain=float(gains.mean()),
        interval=interval(gains, confidence),
        p=sign_flip_p(gains),
        corrected_p=None,
        num_seeds=len(shared_seeds([arm, control])),
        num_writers=len(gains),
    )


def _gap(arm: Seeds, control: Seeds, ceiling: Seeds) -> Gap | None:
    own, others, highest = paired([arm, control, ceiling])
    if not own.size:
        return None
    gaps = highest - others
    size, bounds = float(gaps.mean()), interval(gaps)
    is_there = bounds is not None and bounds[0] > 0  # of no gap no share can be closed
    closed = float((own - others).mean()) / size if is_there else None
    return Gap(size, bounds, closed, num_seeds=len(shared_seeds([arm, control, ceiling])))


def _corrected(findings: list[Finding]) -> list[Finding]:
    """The findings with the p of generated arms corrected for how many of them there are."""
    gains = {i: f.gain for i, f in enumerate(findings) if f.gain and generators_of(f.arm)}
    corrected = dict(zip(gains, holm([gain.p for gain in gains.values()]), strict=True))
    return [
        replace(f, gain=replace(gains[i], corrected_p=corrected[i])) if i in gains else f
        for i, f in enumerate(findings)
    ]


def best_generated(findings: Sequence[Finding], people: int) -> Finding | None:
    """The generated arm that gains most: chosen after the fact, on the writers it is tested on."""
    gains = [
        (found.gain.gain, found)
        for found in findings
        if found.people == people and found.gain and generators_of(found.arm)
    ]
    return max(gains, key=lambda pair: pair[0])[1] if gains else None


# Characters ---------------------------------------------------------------------------------------


def character_gains(arm: Seeds, control: Seeds) -> dict[str, CharacterGain]:
    """What an arm gains over the control on each character, over the seeds that both have."""
    gains: dict[str, list[float]] = {}
    for seed in shared_seeds([arm, control]):
        own, others = arm[seed].per_character, control[seed].per_character
        for character in own:
            if character in others:
                gains.setdefault(character, []).append(own[character] - others[character])
    return {
        character: CharacterGain(float(np.mean(values)), interval(np.array(values)))
        for character, values in gains.items()
    }


def confusions(arm: Seeds, control: Seeds) -> list[Confusion]:
    """Who was read as whom, summed over the seeds that both have, most frequent first."""
    seeds = shared_seeds([arm, control])
    of_control, of_arm = (
        sum((Counter(side[seed].confusions) for seed in seeds), Counter())
        for side in (control, arm)
    )
    return [
        Confusion(*pair, of_control[pair], of_arm[pair])
        for pair, _ in (of_control + of_arm).most_common()
    ]


def look_alikes(found: Sequence[Confusion], characters: Container[str]) -> list[Confusion]:
    """The confusions of the pairs that people write alike, either way, where both are classes."""
    return [
        Confusion(
            pair[0],
            pair[1],
            sum(each.control for each in found if {each.written, each.read} == set(pair)),
            sum(each.arm for each in found if {each.written, each.read} == set(pair)),
        )
        for pair in LOOK_ALIKES.split()
        if pair[0] in characters and pair[1] in characters
    ]
