"""The comparison that a report presents: arms with the control, the best arm, image sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from handwriting.storage.json_files import read_own
from training_character_classification.arms import Arm
from training_character_classification.report.results import (
    Estimate,
    Finding,
    Place,
    Results,
    best_arm,
    character_gains,
    compare,
    confusions,
    corrected,
    group_gains,
    group_shares,
    is_candidate,
    look_alikes,
    per_writer,
    results_of,
)

Sources = dict[str, dict[str, Any]]  # name -> measure -> mean over cells


@dataclass(frozen=True)
class Best:
    """The arm that gains most with a number of people, character by character."""

    finding: Finding
    characters: dict[str, Estimate]  # the gain on each, over the seeds
    confusions: pd.DataFrame  # columns written, read, control, arm
    look_alikes: pd.DataFrame  # of the pairs that people write alike


@dataclass(frozen=True)
class Comparison:
    """Everything that a report presents, and its folder."""

    folder: Path
    control: Arm
    named: Arm | None
    findings: list[Finding]  # every arm with every number of people
    best: dict[int, Best]  # by number of people
    sources: dict[int, Sources]
    writers: dict[Place, dict[str, float]]  # accuracies on each test writer
    groups: dict[Place, dict[str, float]]  # accuracies on groups of characters
    group_gains: dict[Place, dict[str, Estimate]]  # gains on these, of all arms but the control
    outside: dict[int, dict[str, float]]  # the outside judge's accuracies; empty without it
    mistakes: list[Path]  # pictures of misread images, from one study per number of people


def gather(
    folder: Path, results: Results, control: Arm, named: Arm | None, planned: Sequence[Arm],
    ceiling_people: int, cells: dict[int, list[Path]], is_drawn_alike: bool,
) -> Comparison:  # fmt: skip
    """Compare arms with the control; see :func:`compare`.

    Args:
        planned: every arm with every number of people, tested or not, for the correction.
        cells: the folders of the studies with each number of people.
    """
    num_comparisons = sum(is_candidate(arm, named) for arm in planned)
    findings = compare(results, control, named, ceiling_people, num_comparisons, is_drawn_alike)
    best, sources = {}, {}
    for people, folders in cells.items():
        sources[people] = read_sources(folders, [f for f in findings if f.people == people])
        if arm := best_arm(findings, people):
            pair = (arm.arm, people), (control, people)
            of_characters, found = character_gains(results, *pair), confusions(results, *pair)
            best[people] = Best(arm, of_characters, found, look_alikes(found, of_characters))
    confidence = corrected(num_comparisons)
    gains = {
        (arm, people): group_gains(results, (arm, people), (control, people), confidence)
        for arm, people in results.places
        if arm != control
    }
    outside = {people: read_outside(folders) for people, folders in cells.items()}
    shown = [folders[0] / "test" / "mistakes.png" for folders in cells.values() if folders]
    mistakes = [*filter(Path.is_file, shown)]
    return Comparison(
        folder, control, named, findings, best, sources, per_writer(results),
        {place: group_shares(results.by_group, place) for place in results.places}, gains,
        outside, mistakes,
    )  # fmt: skip


def read_outside(cells: Sequence[Path]) -> dict[str, float]:
    """The outside judge's accuracy on the test images of cells, by group of characters."""
    files = [cell / "test" / "outside.json" for cell in cells]
    read = [each for file in files if file.is_file() for each in read_own(file)]
    if not read:
        return {}
    results = results_of(read)
    return group_shares(results.by_group, results.places[0])


def read_sources(cells: Sequence[Path], findings: Sequence[Finding]) -> Sources:
    """The measures, costs and gains of every source of images that was judged.

    Args:
        cells: folders of studies.
        findings: the arms with as many people.

    Returns:
        name -> the judge's measures and a generator's costs, as means over the cells that have
        them; the number of cells as ``seeds``; the best arm with these images, and its gain.
    """
    found: dict[str, list[dict[str, float | None]]] = {}
    for cell in cells:
        judged = cell / "judge" / "metrics.json"
        for name, measures in read_own(judged)["sources"].items() if judged.is_file() else ():
            found.setdefault(name, []).append({**measures, **_costs(cell, name)})
    sources: Sources = {}
    for name, values in found.items():
        means = pd.DataFrame(values, dtype=float).mean()
        sources[name] = {"seeds": len(values), **means.astype(object).where(means.notna(), None)}
        own = [f for f in findings if name in f.arm.generators and f.gain]
        best = max(own, key=lambda f: f.accuracy, default=None)
        if best and best.gain:
            sources[name] |= {"best_arm": str(best.arm), "gain": best.gain.gain,
                              "gain_interval": best.gain.interval}  # fmt: skip
    return sources


def _costs(cell: Path, name: str) -> dict[str, float]:
    """The costs of a generator in training and in use; empty for other sources."""
    generated = cell / "generated" / name / "metrics.json"
    if Path(name).name != name or not generated.is_file():  # sources elsewhere are named by path
        return {}
    training = [read_own(path)["duration_s"] for path in files_left(cell, name, "metrics.json")]
    made = read_own(generated)
    shares = {name: made[f"num_{name}"] / made["num_images"]
              for name in ("misread", "still_misread") if f"num_{name}" in made}  # fmt: skip
    return {"images_per_s": made["images_per_s"], "training_s": sum(training), **shares}


def files_left(study: Path, generator: str, pattern: str) -> list[Path]:
    """Files written by the training of a generator, in order of step."""
    trained = "redrawn" if generator == "morphed" else generator
    homes = study / "style_transfer" / trained, study / trained
    return [path for home in homes for path in sorted(home.rglob(pattern))]
