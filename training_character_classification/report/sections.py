"""The reports of a study and of the evidence: one stack of sections on the same results.

A study is a grid of one cell. Both write ``report.html``, ``metrics.json`` and their pictures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handwriting.config import Config, Evidence
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.readers.simulated import SimulatedData
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import pack_manifest
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Picture, Row, Section, number_text, text_table, write_report
from handwriting.reports.statistics import Bounds, interval_text, sign_flip_p, verdict
from handwriting.runs.folder import run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_own, write_json
from training_character_classification.arms import Arm, choose_control, planned_arms
from training_character_classification.measures import outside_judge
from training_character_classification.measures.table import MEASURES, TITLES
from training_character_classification.report import plots
from training_character_classification.report.people import rows_of_people
from training_character_classification.report.results import (
    Estimate,
    Finding,
    Gap,
    Place,
    Results,
    best_arm,
    by_group,
    character_gains,
    compare,
    confusions,
    is_candidate,
    look_alikes,
    people_text,
    per_writer,
    result_table,
    results_of,
    write_results,
)  # fmt: skip

STAND_IN = (
    "Simulated writers or fonts stand in for people here: these numbers show that the pipeline "
    "works. They are not results on handwriting. Bring a manifest (data=manifest) for those."
)
NOTHING = "-"  # where there is no number
MAX_WRITERS = 12  # columns of a table
EMPTY = Section("")

Sources = dict[str, dict[str, Any]]  # name -> measure -> mean over cells


@dataclass(frozen=True)
class Best:
    """The arm that gains most with a number of people, character by character."""

    arm: Finding
    characters: dict[str, Estimate]  # the gain of each, over the seeds
    confusions: pd.DataFrame  # columns written, read, control, arm
    look_alikes: pd.DataFrame  # of the pairs that people write alike


@dataclass(frozen=True)
class Comparison:
    """What a report says, in its folder."""

    folder: Path
    control: Arm
    named: Arm | None
    findings: list[Finding]  # every arm with every number of people
    best: dict[int, Best]  # by number of people
    sources: dict[int, Sources]
    writers: dict[Place, dict[str, float]]  # accuracies on each of the people
    groups: dict[Place, dict[str, float]]  # accuracies on groups of characters
    outside: dict[int, dict[str, float]]  # those of the judge from outside; empty without it
    mistakes: list[Path]  # pictures of misread images, of one study for each number of people


# Reading ------------------------------------------------------------------------------------------


def gather(
    folder: Path, results: Results, control: Arm, named: Arm | None, planned: Sequence[Arm],
    ceiling_people: int, cells: dict[int, list[Path]], is_drawn_alike: bool,
) -> Comparison:  # fmt: skip
    """Compare arms with the control, of which all are ``planned``; see :func:`compare`.

    Args:
        cells: the folders of the studies with each number of people.
    """
    num_comparisons = sum(is_candidate(arm, named) for arm in planned)
    findings = compare(results, control, named, ceiling_people, num_comparisons, is_drawn_alike)
    best, sources = {}, {}
    for people, folders in cells.items():
        sources[people] = read_sources(folders, [f for f in findings if f.people == people])
        if arm := best_arm(findings, people):
            pair = (arm.arm, people), (control, people)
            gains, found = character_gains(results, *pair), confusions(results, *pair)
            best[people] = Best(arm, gains, found, look_alikes(found, gains))
    outside = {people: read_outside(folders) for people, folders in cells.items()}
    shown = [folders[0] / "test" / "mistakes.png" for folders in cells.values() if folders]
    mistakes = [*filter(Path.is_file, shown)]
    return Comparison(
        folder, control, named, findings, best, sources, per_writer(results), results.by_group,
        outside, mistakes,
    )  # fmt: skip


def read_outside(cells: Sequence[Path]) -> dict[str, float]:
    """What the judge from outside reads of the test images of cells, by groups of characters."""
    files = [cell / "test" / "outside.json" for cell in cells]
    read = [each for file in files if file.is_file() for each in read_own(file)]
    return next(iter(by_group(result_table(read)).values())) if read else {}


def read_sources(cells: Sequence[Path], findings: Sequence[Finding]) -> Sources:
    """What is known of every source of images that was judged in cells, folders of studies.

    Returns:
        name -> the judge's measures and the costs of a generator, as means over the cells that have
        them, whose number is ``seeds``; its best arm of the findings and what that gains.
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
    """What a generator costs in training and in use; nothing for other sources."""
    generated = cell / "generated" / name / "metrics.json"
    if Path(name).name != name or not generated.is_file():  # a source elsewhere has its path
        return {}
    training = [read_own(path)["duration_s"] for path in _left(cell, name, "metrics.json")]
    made = read_own(generated)
    shares = {name: made[f"num_{name}"] / made["num_images"]
              for name in ("misread", "still_misread") if f"num_{name}" in made}  # fmt: skip
    return {"images_per_s": made["images_per_s"], "training_s": sum(training), **shares}


def _left(study: Path, generator: str, pattern: str) -> list[Path]:
    """Files that the training of a generator left, by step."""
    homes = study / "style_transfer" / generator, study / generator
    return [path for home in homes for path in sorted(home.rglob(pattern))]


# The study ----------------------------------------------------------------------------------------


@main_only
def write_study_report(config: Config, captions: Mapping[str, str]) -> Path:
    """Gather the study's results; captions say what rows of generators' sample sheets show."""
    folder, corpus = run_folder(config), open_corpus(config)
    results = results_of(read_own(folder / "test" / "results.json"))
    arms = [arm for arm, _ in results.places]
    (people,) = {number for _, number in results.places}
    control = choose_control(config.pipeline.control, arms)
    is_drawn_alike = isinstance(config.data, SimulatedData)
    found = gather(folder, results, control, None, arms, people, {people: [folder]}, is_drawn_alike)
    controls = [f for f in found.findings if f.arm.is_control]
    best = found.best.get(people)
    stages = {
        path.parent.relative_to(folder).as_posix(): read_own(path)
        for path in sorted(folder.glob("*/**/metrics.json"))
    }
    durations = {stage: metrics.pop("duration_s", 0.0) for stage, metrics in stages.items()}
    warnings = {name: each["warnings"] for name, each in stages.items() if "warnings" in each}
    retrieval = stages.get("clip", {})
    judge = stages.get("judge", {}).get("judge")
    metrics = {
        "seeds": config.pipeline.seeds,
        "best_control": str(max(controls, key=lambda f: f.accuracy).arm),
        "arms": {
            str(f.arm): {
                "accuracy": f.accuracy, "interval": f.interval, "macro_f1": f.macro_f1,
                "gain": f.gain and f.gain.gain, "gain_interval": f.gain and f.gain.interval,
            }
            for f in found.findings
        },
        "gains_per_character": best and {
            "arm": str(best.arm.arm),
            "over": str(control),
            "gains": {c: gain for c, (gain, _) in best.characters.items()},
        },
        "judge": judge,
        "sources": found.sources[people],
        "retrieval": retrieval,
        "warnings": warnings,
        "duration_s": durations,
    }  # fmt: skip
    times = {name: s for name, s in durations.items() if not name.startswith("classifier/")}
    num_classifiers = len(durations) - len(times)
    times[f"{num_classifiers} classifiers"] = sum(durations.values()) - sum(times.values())
    flat = [{"stage": stage, "what": what} for stage, each in warnings.items() for what in each]
    numbers = {name.replace("_", " "): f"{value:.3f}" for name, value in retrieval.items()}
    return _write(
        found, f"Study {config.name}", metrics, corpus.is_real, _data(config, corpus),
        config.evaluation.num_confusions, judge, first=_people(config, corpus, captions),
        notes=Section("Warnings", rows=flat, is_text=True),
        more=[
            _samples(folder, captions),
            _table("Retrieval by CLIP on validation writers", "measure", "value", numbers),
            _table("Time per stage", "stage", "time", {k: f"{s:.0f} s" for k, s in times.items()}),
        ],
    )  # fmt: skip


def _data(config: Config, corpus: Corpus) -> str:
    people = "people" if corpus.is_real else "stand-ins for people"
    train, tested = (len(split.present_writers()) for split in (corpus.train, corpus.test))
    return (
        f"{len(corpus.characters)} characters at {config.size_px} px. Handwriting of {train} "
        f"{people} to train on, of {tested} others to test on, "
        f"{len(corpus.fonts.present_writers())} fonts, {_seeds(len(config.pipeline.seeds))} per "
        "arm, equal numbers of steps."
    )


def _people(config: Config, corpus: Corpus, generators: Iterable[str]) -> Section:
    """What people wrote and what generators made in their hands; a line in the hand of each."""
    folder, pictures = run_folder(config), list[Picture]()
    cache_dir = Path(config.cache_dir).absolute()
    manifests = {name: folder / "generated" / name / "manifest.json" for name in generators}
    generated = {
        name: pack_manifest(read_manifest(path), config.size_px, cache_dir)
        for name, path in manifests.items()
        if path.is_file()
    }
    if blocks := rows_of_people(corpus.train, generated):
        plots.rows_of_images(blocks, folder / "people.png")
        whose = "Handwriting" if corpus.is_real else "Simulated handwriting (given)"
        caption = f"{whose}, KanjiVG's drawing, and what each generator made in the same hand."
        pictures.append(Picture(folder / "people.png", caption))
    lines = folder / "redrawn" / "samples" / "lines.png"
    if lines.is_file():
        caption = "A line in the hand of each; what they did not write is predicted."
        pictures.append(Picture(lines, caption))
    return Section("In their hands", pictures=pictures)


def _samples(folder: Path, captions: Mapping[str, str]) -> Section:
    """The last sample sheet of each generator's training, and what it generated."""
    pictures = []
    for name, caption in captions.items():
        for sheet in _left(folder, name, "samples/step_*.png")[-1:]:
            pictures.append(Picture(sheet, f"{name}, training: {caption}", is_sheet=True))
        sheet = folder / "generated" / name / "samples" / "sheet.png"
        pictures.append(Picture(sheet, f"{name}: generated, a row per character", is_sheet=True))
    return Section("Generated images", pictures=pictures)


def _table(heading: str, key: str, value: str, cells: Mapping[str, str]) -> Section:
    return Section(heading, rows=[{key: name, value: cell} for name, cell in cells.items()])


# The evidence -------------------------------------------------------------------------------------


@main_only
def write_evidence_report(config: Config, is_real: bool) -> Path:
    """Gather the cells tested so far; ``is_real`` is whether people wrote the test images.

    Writes ``table.txt`` too, and ``results.json`` with the results of all recognisers.
    """
    folder, evidence = run_folder(config), config.evidence
    recognisers, missing = read_cells(folder, evidence)
    results = results_of(recognisers)
    people = sorted({number for _, number in results.places})
    found = gather(
        folder, results, Arm.parse(evidence.control), Arm.parse(evidence.recipe_arm),
        planned=[arm for number in {*evidence.people} for arm in planned_arms(evidence, number)],
        ceiling_people=max(*evidence.people, *people),
        cells={number: sorted(folder.glob(f"seed_*/people_{number}")) for number in people},
        is_drawn_alike=isinstance(config.data, SimulatedData),
    )  # fmt: skip
    write_results(folder / "results.json", recognisers)
    metrics = {
        "named_beforehand": evidence.recipe_arm,
        "missing": missing,
        "arms": [each.as_json() for each in found.findings],
        "best_generated": {
            number: {
                "best": best.arm.as_json(),
                "characters": {
                    c: {"gain": gain, "interval": bounds}
                    for c, (gain, bounds) in best.characters.items()
                },
                "confusions": best.confusions.to_dict("records"),
                "look_alikes": best.look_alikes.to_dict("records"),
            }
            for number, best in found.best.items()
        },
        "sources": found.sources,
    }
    text = table(found)
    print(text)
    write_text(folder / "table.txt", text + "\n")
    question = (
        f"Does it help a recogniser to see generated images as well? {found.control} is the "
        f"control, and with the most people the ceiling. {found.named} was named beforehand; the "
        "best arm is chosen after the fact, which flatters it."
    )
    absent = Section("Not tested yet", rows=[{"cell": cell} for cell in missing], is_text=True)
    return _write(
        found, f"Evidence {config.name}", metrics, is_real, question,
        config.evaluation.num_confusions, notes=absent,
    )  # fmt: skip


def read_cells(folder: Path, evidence: Evidence) -> tuple[list[dict[str, Any]], list[str]]:
    """The planned recognisers that were tested, earlier seeds and people too; what is missing."""
    tested = {}
    for path in folder.glob("seed_*/people_*/test/results.json"):
        for each in read_own(path):
            # Other recognisers and other folders were put there by hand.
            if path.parts[-4:-2] == (f"seed_{each['seed']}", f"people_{each['people']}"):
                tested[each["people"], each["seed"], Arm.parse(each["arm"])] = each
    for file in evidence.results:
        for each in read_own(Path(file)):
            tested.setdefault((each["people"], each["seed"], Arm.parse(each["arm"])), each)
    found, missing = [], []
    for people in sorted({*evidence.people, *(number for number, _, _ in tested)}):
        arms = planned_arms(evidence, people)
        for seed in sorted({*evidence.seeds, *(seed for _, seed, _ in tested)}):
            found += [tested[people, seed, arm] for arm in arms if (people, seed, arm) in tested]
            absent = [str(arm) for arm in arms if (people, seed, arm) not in tested]
            if absent:
                what = "all arms" if len(absent) == len(arms) else ", ".join(absent)
                missing.append(f"{people_text(people)}, seed {seed}: {what}")
    return found, missing


# What is said -------------------------------------------------------------------------------------


def _write(
    found: Comparison, title: str, metrics: dict[str, Any], is_real: bool, about: str,
    num_confusions: int, judge: dict[str, Any] | None = None, *, notes: Section,
    first: Section = EMPTY, more: Sequence[Section] = (),
) -> Path:  # fmt: skip
    """Write ``metrics.json`` and the page of either report."""
    shared = {"is_real": is_real, "control": str(found.control)}
    write_json(found.folder / "metrics.json", {**shared, **metrics})
    paragraphs = [about, *_answers(found), _caveats(found)]
    sections = [
        Section("", paragraphs, notice="" if is_real else STAND_IN),
        notes,
        first,
        _overview(found),
        *(_arms(found, people) for people in found.sources),
        *_writers(found),
        *_groups(found),
        *_characters(found, num_confusions),
        *_sources(found, judge),
        *more,
    ]
    return write_report(found.folder / "report.html", title, sections)


def _answers(found: Comparison) -> list[str]:
    """The answer for each number of people: of the arm that was named, and of the best."""
    answers = []
    for people in found.sources:
        best = found.best.get(people)
        if best is None:
            answers.append(f"{people_text(people)}: No generator takes part.")
            continue
        named = [f for f in found.findings if (f.arm, f.people) == (found.named, people)]
        sentences = [f"{people_text(people)}:", *(_answer(each, found.control) for each in named)]
        if found.named and not named:
            sentences.append(f"{found.named} was not tested yet.")
        if not is_candidate(best.arm.arm, found.named):
            sentences.append("No generator takes part.")
        if best.arm in named:
            sentences.append("No other generated arm gains more.")
        else:
            sentences.append(f"Chosen after the fact: {_answer(best.arm, found.control)}")
        answers.append(" ".join(sentences))
    return answers


def _answer(found: Finding, control: Arm) -> str:
    gain, gap = found.gain, found.gap
    if gain is None:
        return f"{found.arm} and the control have no seed in common yet."
    closed = ""
    if gap and gap.closed is not None:
        closed = f", {gap.closed:.0%} of the gap to the ceiling, {_gap(gap)}"
    return (
        f"{found.arm}, {found.accuracy:.3f}, gains {gain.gain:+.3f} over {control} (corrected 95 % "
        f"interval {interval_text(gain.interval, '+.3f')}, corrected p {_p(gain.corrected_p)}, "
        f"{_seeds(gain.num_seeds)}){closed}: {verdict(gain.interval)}."
    )


def _caveats(found: Comparison) -> str:
    gains = [f.gain for f in found.findings if f.gain and f.gain.corrected_p is not None]
    text = (
        "Caveats: fonts are not handwriting; what they give depends on which are "
        "installed, and with other fonts the control is another. People who test with one seed may "
        "train with another: seeds are not independent."
    )
    if not all(f.is_ranked for f in found.findings):
        text += (
            " Arms that see simulated writers are not ranked: the people who are tested here are "
            "simulated, too."
        )
    if not gains:
        return text
    writers = max(gain.num_writers for gain in gains)
    least = min(1.0, len(gains) * sign_flip_p(np.ones(writers)))
    return (
        f"{text} Intervals and p are over the {writers} people who were tested, so that with "
        f"{len(gains)} comparisons no p is below {least:.2g} after Holm's correction."
    )


def _seeds(number: int) -> str:
    return f"{number} seeds" if number > 1 else "1 seed"


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number_text(value)


# Arms ---------------------------------------------------------------------------------------------


def _overview(found: Comparison) -> Section:
    """The accuracy of every arm, over the number of people where there are several, and gains."""
    findings, control, named = found.findings, found.control, found.named
    colors = "Black: the control. Grey: others without generated images. In colour: with them."
    if named:
        colors += " Red: named beforehand."
    if len(found.sources) > 1:
        path = found.folder / "curve.png"
        plain = [f for f in findings if not f.arm.recipe]
        plots.accuracy_over_people(plain, control, named, path)
    else:
        path = found.folder / "arms.png"
        points = {(f.arm, f.people): (f.accuracy, f.interval) for f in findings}
        label = "accuracy on test writers, 95 % interval over writers"
        plots.arm_intervals(points, control, named, label, path)
    pictures = [Picture(path, f"Accuracy on test writers. {colors}")]
    if gains := {(f.arm, f.people): (f.gain.gain, f.gain.interval) for f in findings if f.gain}:
        path = found.folder / "gains.png"
        label = f"gain over {control}, corrected 95 % interval over writers"
        plots.arm_intervals(gains, control, named, label, path, are_gains=True)
        caption = f"Gains. {colors} Beyond {plots.LINEAR_GAIN} the scale is logarithmic."
        pictures.append(Picture(path, caption))
    return Section("Accuracy and gain", pictures=pictures)


def _arms(found: Comparison, people: int) -> Section:
    gap = _gap_text(found, people)
    about = (
        f"Gains are over {found.control}, paired by seed and writer."
        f"{f' Its {gap}.' if gap else ''} Their intervals are corrected for the number of arms "
        f"that are compared. AUC is the {TITLES['domain_auc']} of the generators' images."
    )
    return Section(f"Recognisers with {people_text(people)}", [about], rows=_rows(found, people))


def _gap_text(found: Comparison, people: int) -> str:
    """How far the control is from the ceiling with a number of people."""
    for each in found.findings:
        if (each.arm, each.people) == (found.control, people) and each.gap and each.gap.size:
            return f"gap to the ceiling {_gap(each.gap)}"
    return ""


def _gap(gap: Gap) -> str:
    return f"{gap.size:.3f} ({interval_text(gap.interval)}, {_seeds(gap.num_seeds)})"


def _rows(found: Comparison, people: int) -> list[Row]:
    """The table of arms with a number of people, the best first, those not ranked last."""
    rows: list[Row] = []
    for each in sorted(found.findings, key=lambda f: (not f.is_ranked, -f.accuracy)):
        if each.people != people:
            continue
        gain, gap, sources = each.gain, each.gap, found.sources[people]
        fewer = f", gain {gain.num_seeds}" if gain and gain.num_seeds < each.num_seeds else ""
        probes = [sources.get(name, {}).get("domain_auc") for name in each.arm.generators]
        rows.append(
            {
                "arm": f"{each.arm}{'' if each.is_ranked else ' (not ranked)'}",
                "accuracy": f"{each.accuracy:.3f}",
                "95 % interval": interval_text(each.interval),
                "macro F1": f"{each.macro_f1:.3f}",
                "worst tenth": f"{each.worst_tenth:.3f}",
                "gain": number_text(gain.gain if gain else None, "+.3f"),
                "corrected 95 % interval": interval_text(gain.interval if gain else None, "+.3f"),
                "p": _p(gain.p if gain else None),
                "corrected p": _p(gain.corrected_p if gain else None),
                "gap closed": number_text(gap.closed if gain and gap else None, ".0%"),
                "AUC": " ".join(map(number_text, probes)) or NOTHING,
                "seeds": f"{each.num_seeds}{fewer}",
                "writers": str(each.num_writers),
            }
        )
    return rows


def table(found: Comparison) -> str:
    """Every arm with every number of people as text."""
    lines = []
    for people in found.sources:
        heading = ", ".join(filter(None, [people_text(people), _gap_text(found, people)]))
        lines += [heading, text_table(_rows(found, people)), ""]
    return "\n".join([*lines, f"gains are over {found.control}, paired by seed and writer"])


# Characters, sources of images --------------------------------------------------------------------


def _writers(found: Comparison) -> list[Section]:
    """What every arm reads of each of the people, the hardest first."""
    sections = []
    for people in found.sources:
        shares = found.writers.get((found.control, people), {})
        if not 1 < len(shares) <= MAX_WRITERS:
            continue
        hardest = sorted(shares, key=lambda writer: shares[writer])
        order = sorted(found.findings, key=lambda f: -f.accuracy)
        rows = [
            {"read by": str(f.arm)}
            | {w: number_text(found.writers[f.arm, people].get(w)) for w in hardest}
            for f in order
            if f.people == people
        ]
        sections.append(Section(f"Each of the people, {people_text(people)}", rows=rows))
    return sections


def _groups(found: Comparison) -> list[Section]:
    """What arms read of each script and of kanji by strokes; what they misread, as pictures."""
    about = (
        "Shares read right, means over writers; of kanji by their number of strokes. First five: "
        "the right character is among the five likeliest. The judge from outside, which saw none "
        "of this project's data, reads the same images as one of the same characters, those that "
        "it does not know left out."
    )
    sections = []
    for people in found.sources:
        order = sorted(found.findings, key=lambda f: -f.accuracy)
        shares = {str(f.arm): found.groups[f.arm, people] for f in order if f.people == people}
        groups = next(iter(shares.values()))
        if outside := found.outside[people]:
            shares[f"{outside_judge.NAME}, from outside"] = outside
        rows = [
            {"read by": name, **{group: number_text(own.get(group)) for group in groups}}
            for name, own in shares.items()
        ]
        sections.append(Section(f"What is read, {people_text(people)}", [about], rows=rows))
    caption = "The first images that each recogniser misreads: written → read."
    pictures = [Picture(path, caption) for path in found.mistakes]
    return [*sections, Section("Mistakes", pictures=pictures)]


def _characters(found: Comparison, num_confusions: int) -> list[Section]:
    """Winners, losers and confusions of the best arm with each number of people."""
    if not found.best:
        return []
    best = {f"{each.arm.arm}, {people_text(n)}": each for n, each in found.best.items()}
    gains, pairs = found.folder / "per_character.png", found.folder / "confusions.png"
    compared = {f"{name}, minus {found.control}": each.characters for name, each in best.items()}
    plots.gains_per_character(compared, gains)
    plots.confusion_pairs({n: each.confusions for n, each in best.items()}, found.control, pairs)
    winners = [f"{name}. Winners: {_listed(each, 1)}. Losers: {_listed(each, -1)}."
               for name, each in best.items()]  # fmt: skip
    uncorrected = (
        "Intervals are over seeds and not corrected: of 20 characters that gain nothing, one lies "
        "beyond zero by chance."
    )
    counted = (
        f"Summed over the seeds that both have; of each recogniser the {num_confusions} most "
        "frequent are known. The table counts look-alikes either way: by the control → by the best "
        "arm."
    )
    alike: dict[str, dict[str, str]] = {}  # pair -> row
    for people, each in found.best.items():
        for a, b, control, arm in each.look_alikes.itertuples(index=False):
            if control + arm:
                empty = {"pair": f"{a}/{b}", **dict.fromkeys(map(people_text, found.best), NOTHING)}
                alike.setdefault(f"{a}/{b}", empty)[people_text(people)] = f"{control} → {arm}"
    bars = Picture(gains, "Gain of each character, 95 % over seeds.")
    often = Picture(pairs, "Written → read as: how often.")
    return [
        Section("Per character", [*winners, uncorrected], pictures=[bars]),
        Section("Confusions", [counted], rows=list(alike.values()), pictures=[often]),
    ]


def _listed(best: Best, sign: int) -> str:
    """The ten characters that win, or lose, the most."""
    gains = {character: sign * gain for character, (gain, _) in best.characters.items()}
    order = sorted(gains, key=lambda c: -gains[c])[:10]
    return " ".join(f"{c} {sign * gains[c]:+.2f}" for c in order if gains[c] > 0) or "none"


COSTS = {  # what a source is known by beside its measures
    "images": "images",
    "seeds": "seeds",
    "images_per_s": "images generated per second",
    "training_s": "seconds of training",
    "misread": "misread by the recogniser of generation.redraw, so drawn again",
    "still_misread": "misread by it still",
    "best_arm": "best arm with these images",
    "gain": "its gain over the control",
    "gain_interval": "corrected 95 % interval",
}


def _sources(found: Comparison, judge: dict[str, Any] | None) -> list[Section]:
    """Every source of images beside handwriting: the judge's measures, costs and gains."""
    trust = "The judge is a recogniser that saw neither the training writers nor a generated image"
    if judge:
        trust += f"; it reads {judge['accuracy']:.3f} of the training writers' images"
        if judge["style_chance"]:
            trust += f", and chance would attribute {judge['style_chance']:.2f} to their writer"
    trust += ". Means over the cells that were judged; seeds counts them."
    known = {name for each in found.sources.values() for values in each.values() for name in values}
    shown = [measure for measure in MEASURES if measure.name in known]
    titles = [(m.name, m.title, m.best) for m in shown]
    titles += [(name, title, "") for name, title in COSTS.items() if name in known]
    sections = []
    for people, sources in found.sources.items():
        rows = [
            {"measure": title, "best": best}
            | {source: _value(values.get(name)) for source, values in sources.items()}
            for name, title, best in titles
        ]
        if sources:
            heading = f"Images beside handwriting, {people_text(people)}"
            sections.append(Section(heading, [trust], rows=rows))
    legend = [{"measure": m.title, "unit": m.unit, "what it says": m.meaning} for m in shown]
    what = Section("What the measures say", rows=legend, is_text=True)
    return [*sections, what] if sections else []


def _value(value: float | str | Bounds | None) -> str:
    if isinstance(value, tuple):
        return interval_text(value, "+.3f")
    if value is None or isinstance(value, str):
        return value or NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
