"""The reports of a study and of the evidence: one stack of sections on the same results.

A study is a grid of one cell. Both write ``report.html``, ``metrics.json`` and their pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from handwriting.config import Config, Evidence
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Picture, Row, Section, number_text, text_table, write_report
from handwriting.reports.statistics import Bounds, interval_text, sign_flip_p, verdict
from handwriting.runs.run import run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_json, write_json
from training_character_classification.arms import Arm, choose_control, planned_arms
from training_character_classification.measures.table import MEASURES, TITLES
from training_character_classification.report import plots
from training_character_classification.report.results import (
    CharacterGain,
    Finding,
    Gap,
    Results,
    best_arm,
    character_gains,
    compare,
    confusions,
    is_candidate,
    look_alikes,
    people_text,
    read_results,
    results_of,
    write_results,
)

STAND_IN = (
    "Simulated writers or fonts stand in for people here: these numbers show that the pipeline "
    "works. They are not results on handwriting. Bring a manifest (data=manifest) for those."
)
NOTHING = "-"  # where there is no number

Sources = dict[str, dict[str, Any]]  # name -> measure -> mean over cells


@dataclass(frozen=True)
class Best:
    """The arm that gains most with a number of people, character by character.

    Attributes:
        confusions, look_alikes: columns written, read, control, arm.
    """

    arm: Finding
    characters: dict[str, CharacterGain]
    confusions: pd.DataFrame
    look_alikes: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """What a report says.

    Attributes:
        findings: every arm with every number of people.
        best, sources: by number of people.
    """

    folder: Path
    control: Arm
    named: Arm | None
    findings: list[Finding]
    best: dict[int, Best]
    sources: dict[int, Sources]


# Reading ------------------------------------------------------------------------------------------


def gather(
    folder: Path, results: Results, control: Arm, named: Arm | None, ceiling_people: int,
    num_comparisons: int, cells: dict[int, list[Path]],
) -> Comparison:  # fmt: skip
    """Compare arms with the control; see :func:`compare`.

    Args:
        folder: of the report.
        cells: the folders of the studies with each number of people.
    """
    findings = compare(results, control, named, ceiling_people, num_comparisons)
    best = {}
    for people in cells:
        arm = best_arm(findings, people)
        if arm:
            pair = (arm.arm, people), (control, people)
            gains, found = character_gains(results, *pair), confusions(results, *pair)
            best[people] = Best(arm, gains, found, look_alikes(found, gains))
    sources = {
        people: read_sources(folders, [f for f in findings if f.people == people])
        for people, folders in cells.items()
    }
    return Comparison(folder, control, named, findings, best, sources)


def read_sources(cells: Sequence[Path], findings: Sequence[Finding]) -> Sources:
    """What is known of every source of images that was judged.

    Args:
        cells: folders of studies.
        findings: of their arms.

    Returns:
        name -> the judge's measures and the costs of a generator, as means over the cells that have
        them, whose number is ``seeds``; its best arm and what that gains.
    """
    found: dict[str, list[dict[str, float | None]]] = {}
    for cell in cells:
        for name, measures in _read(cell / "judge" / "metrics.json").get("sources", {}).items():
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
    made = _read(cell / "generated" / name / "metrics.json")
    if not made:
        return {}
    steps = [path for home in _homes(cell, name) for path in sorted(home.rglob("metrics.json"))]
    return {"images_per_s": made["images_per_s"],
            "training_s": sum(read_json(path)["duration_s"] for path in steps)}  # fmt: skip


def _homes(study: Path, generator: str) -> list[Path]:
    """Where the training of a generator may have left its files."""
    return [study / "style_transfer" / generator, study / generator]


def _read(path: Path) -> dict[str, Any]:
    """Metrics of a stage that not every study has."""
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found


# The study ----------------------------------------------------------------------------------------


@main_only
def write_study_report(config: Config, captions: Mapping[str, str]) -> Path:
    """Gather the study's results into ``report.html`` and ``metrics.json``.

    Args:
        config: of the study.
        captions: what the rows of each generator's sample sheets show.
    """
    folder = run_folder(config)
    corpus = open_corpus(config)
    results = read_results(folder / "test" / "results.json")
    arms = [arm for arm, _ in results.places]
    (people,) = {number for _, number in results.places}
    control = choose_control(config.pipeline.control, arms)
    num_candidates = sum(is_candidate(arm, None) for arm in arms)
    found = gather(folder, results, control, None, people, num_candidates, {people: [folder]})
    controls = [f for f in found.findings if f.arm.is_control]
    best = found.best.get(people)
    stages = {
        path.parent.relative_to(folder).as_posix(): read_json(path)
        for path in sorted(folder.glob("*/**/metrics.json"))
    }
    durations = {stage: metrics["duration_s"] for stage, metrics in stages.items()}
    warnings = {name: each["warnings"] for name, each in stages.items() if "warnings" in each}
    retrieval = {k: v for k, v in stages.get("clip", {}).items() if k != "duration_s"}
    judge = stages.get("judge", {}).get("judge")
    write_json(
        folder / "metrics.json",
        {
            "is_real": corpus.is_real,
            "seeds": config.pipeline.seeds,
            "control": str(control),
            "best_control": str(max(controls, key=lambda f: f.accuracy).arm),
            "arms": {str(f.arm): _arm_metrics(f) for f in found.findings},
            "gains_per_character": best and {
                "arm": str(best.arm.arm),
                "over": str(control),
                "gains": {c: gain.gain for c, gain in best.characters.items()},
            },
            "judge": judge,
            "sources": found.sources[people],
            "retrieval": retrieval,
            "warnings": warnings,
            "duration_s": durations,
        },
    )  # fmt: skip
    return write_report(
        folder / "report.html",
        f"Study {config.name}",
        [
            _introduction([_data(config, corpus), *_answers(found)], found, corpus.is_real),
            *_warnings(warnings),
            *_results(found, config.evaluation.num_confusions),
            *_samples(folder, captions),
            *_sources(found, judge),
            *_retrieval(retrieval),
            _times(durations),
        ],
    )


def _arm_metrics(found: Finding) -> dict[str, Any]:
    gain = found.gain
    return {
        "accuracy": found.accuracy,
        "interval": found.interval,
        "macro_f1": found.macro_f1,
        "gain": gain and gain.gain,
        "gain_interval": gain and gain.interval,
    }


def _data(config: Config, corpus: Corpus) -> str:
    people = "people" if corpus.is_real else "stand-ins for people"
    train, tested = (len(split.present_writers()) for split in (corpus.train, corpus.test))
    return (
        f"{len(corpus.characters)} characters at {config.size_px} px. Handwriting of {train} "
        f"{people} to train on, of {tested} others to test on, "
        f"{len(corpus.fonts.present_writers())} fonts, {_seeds(len(config.pipeline.seeds))} per "
        "arm, equal numbers of steps."
    )


def _warnings(by_stage: dict[str, list[str]]) -> list[Section]:
    rows = [{"stage": stage, "what": text} for stage, texts in by_stage.items() for text in texts]
    return [Section("Warnings", rows=rows, is_text=True)] if rows else []


def _samples(folder: Path, captions: Mapping[str, str]) -> list[Section]:
    """The last sample sheet of each generator's training, and what it generated."""
    pictures = []
    for name, caption in captions.items():
        homes = [home / step for home in _homes(folder, name) for step in ("", "step_end")]
        sheets = [sheet for home in homes for sheet in sorted(home.glob("samples/step_*.png"))]
        if sheets:
            pictures.append(Picture(sheets[-1], f"{name}, training: {caption}", is_sheet=True))
        sheet = folder / "generated" / name / "samples" / "sheet.png"
        pictures.append(Picture(sheet, f"{name}: generated, a row per character", is_sheet=True))
    return [Section("Generated images", pictures=pictures)] if pictures else []


def _retrieval(measures: dict[str, float]) -> list[Section]:
    rows = [
        {"measure": name.replace("_", " "), "value": f"{value:.3f}"}
        for name, value in measures.items()
    ]
    return [Section("Retrieval by CLIP on validation writers", rows=rows)] if rows else []


def _times(durations: dict[str, float]) -> Section:
    classifiers = [stage for stage in durations if stage.startswith("classifier/")]
    seconds = {stage: s for stage, s in durations.items() if stage not in classifiers}
    seconds[f"{len(classifiers)} classifiers"] = sum(durations[stage] for stage in classifiers)
    rows = [{"stage": stage, "time": f"{s:.0f} s"} for stage, s in seconds.items()]
    return Section("Time per stage", rows=rows)


# The evidence -------------------------------------------------------------------------------------


@main_only
def write_evidence_report(config: Config, is_real: bool) -> Path:
    """Gather the cells tested so far.

    Writes ``report.html``, ``metrics.json``, ``table.txt``, and ``results.json`` with the results
    of all recognisers.

    Args:
        config: of the grid.
        is_real: whether people wrote what recognisers are tested on.

    Raises:
        InputError: no cell was tested yet.
    """
    folder, evidence = run_folder(config), config.evidence
    recognisers, missing = read_cells(folder, evidence)
    results = results_of(recognisers)
    people = sorted({number for _, number in results.places})
    found = gather(
        folder, results, Arm.parse(evidence.control), Arm.parse(evidence.recipe_arm),
        ceiling_people=max(*evidence.people, *people), num_comparisons=num_comparisons(evidence),
        cells={number: sorted(folder.glob(f"seed_*/people_{number}")) for number in people},
    )  # fmt: skip
    write_results(folder / "results.json", recognisers)
    write_json(
        folder / "metrics.json",
        {
            "is_real": is_real,
            "control": evidence.control,
            "named_beforehand": evidence.recipe_arm,
            "missing": missing,
            "arms": [each.as_json() for each in found.findings],
            "best_generated": {number: _best_metrics(best) for number, best in found.best.items()},
            "sources": found.sources,
        },
    )
    text = table(found)
    print(text)
    write_text(folder / "table.txt", text + "\n")
    question = (
        f"Does it help a recogniser to see generated images as well? {found.control} is the "
        f"control, and with the most people the ceiling. {found.named} was named beforehand; the "
        "best arm is chosen after the fact, which flatters it."
    )
    sections = [
        _introduction([question, *_answers(found)], found, is_real),
        *_results(found, config.evaluation.num_confusions),
        *_sources(found),
    ]
    if missing:
        rows = [{"cell": cell} for cell in missing]
        sections.append(Section("Not tested yet", rows=rows, is_text=True))
    return write_report(folder / "report.html", f"Evidence {config.name}", sections)


def num_comparisons(evidence: Evidence) -> int:
    """How many comparisons with the control are planned: candidates times numbers of people."""
    named = Arm.parse(evidence.recipe_arm)
    arms = [arm for people in {*evidence.people} for arm in planned_arms(evidence, people)]
    return sum(is_candidate(arm, named) for arm in arms)


def read_cells(folder: Path, evidence: Evidence) -> tuple[list[dict[str, Any]], list[str]]:
    """The planned recognisers that were tested, with seeds and people of earlier runs.

    Returns:
        Their results, and what is missing.

    Raises:
        InputError: nothing was tested.
    """
    tested = {}
    for path in folder.glob("seed_*/people_*/test/results.json"):
        for each in read_json(path):
            # Other recognisers and other folders were put there by hand.
            if path.parts[-4:-2] == (f"seed_{each['seed']}", f"people_{each['people']}"):
                tested[each["people"], each["seed"], Arm.parse(each["arm"])] = each
    found, missing = [], []
    for people in sorted({*evidence.people, *(number for number, _, _ in tested)}):
        arms = planned_arms(evidence, people)
        for seed in sorted({*evidence.seeds, *(seed for _, seed, _ in tested)}):
            found += [tested[people, seed, arm] for arm in arms if (people, seed, arm) in tested]
            absent = [str(arm) for arm in arms if (people, seed, arm) not in tested]
            if absent:
                what = "all arms" if len(absent) == len(arms) else ", ".join(absent)
                missing.append(f"{people_text(people)}, seed {seed}: {what}")
    if not found:
        raise InputError(
            f"{folder}: no arm of the evidence was tested yet, expected "
            f"seed_{evidence.seeds[0]}/people_{evidence.people[0]}/test/results.json and others; "
            "run evidence.py first"
        )
    return found, missing


def _best_metrics(best: Best) -> dict[str, Any]:
    return {
        "best": best.arm.as_json(),
        "characters": {character: asdict(gain) for character, gain in best.characters.items()},
        "confusions": best.confusions.to_dict("records"),
        "look_alikes": best.look_alikes.to_dict("records"),
    }


# What is said -------------------------------------------------------------------------------------


def _introduction(paragraphs: Sequence[str], found: Comparison, is_real: bool) -> Section:
    return Section("", [*paragraphs, _caveats(found)], notice="" if is_real else STAND_IN)


def _answers(found: Comparison) -> list[str]:
    """The answer for each number of people: of the arm that was named, and of the best."""
    answers = []
    for people, best in found.best.items():
        named = [f for f in found.findings if (f.arm, f.people) == (found.named, people)]
        sentences = [_answer(each, found.control) for each in named]
        if found.named and not named:
            sentences.append(f"{found.named} was not tested yet.")
        if not is_candidate(best.arm.arm, found.named):
            sentences.append("No generator takes part.")
        sentences.append(
            "No other generated arm gains more."
            if best.arm in named
            else f"Chosen after the fact: {_answer(best.arm, found.control)}"
        )
        answers.append(f"{people_text(people)}: {' '.join(sentences)}")
    return answers


def _answer(found: Finding, control: Arm) -> str:
    """One sentence on an arm's gain."""
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
    """What limits the answers."""
    gains = [f.gain for f in found.findings if f.gain and f.gain.corrected_p is not None]
    text = (
        "Caveats: fonts are not handwriting; what they give depends on which are "
        "installed, and with other fonts the control is another. People who test with one seed may "
        "train with another: seeds are not independent."
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


def _results(found: Comparison, num_confusions: int) -> list[Section]:
    """Arms beside the control, over all characters and by character."""
    return [
        _overview(found),
        *(_arms(found, people) for people in found.sources),
        *_characters(found, num_confusions),
    ]


def _overview(found: Comparison) -> Section:
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
    gains = {(f.arm, f.people): (f.gain.gain, f.gain.interval) for f in findings if f.gain}
    if gains:
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
    """The table of arms with a number of people, the best first."""
    order = sorted((f for f in found.findings if f.people == people), key=lambda f: -f.accuracy)
    return [_row(each, found.sources[people]) for each in order]


def _row(found: Finding, sources: Sources) -> Row:
    gain, gap = found.gain, found.gap
    seeds = str(found.num_seeds)
    if gain and gain.num_seeds < found.num_seeds:
        seeds += f", gain {gain.num_seeds}"
    probes = [sources.get(name, {}).get("domain_auc") for name in found.arm.generators]
    return {
        "arm": str(found.arm),
        "accuracy": f"{found.accuracy:.3f}",
        "95 % interval": interval_text(found.interval),
        "macro F1": f"{found.macro_f1:.3f}",
        "worst tenth": f"{found.worst_tenth:.3f}",
        "gain": number_text(gain.gain if gain else None, "+.3f"),
        "corrected 95 % interval": interval_text(gain.interval if gain else None, "+.3f"),
        "p": _p(gain.p if gain else None),
        "corrected p": _p(gain.corrected_p if gain else None),
        "gap closed": number_text(gap.closed if gain and gap else None, ".0%"),
        "AUC": " ".join(map(number_text, probes)) or NOTHING,
        "seeds": seeds,
        "writers": str(found.num_writers),
    }


def table(found: Comparison) -> str:
    """Every arm with every number of people as text."""
    lines = []
    for people in found.sources:
        heading = ", ".join(filter(None, [people_text(people), _gap_text(found, people)]))
        lines += [heading, text_table(_rows(found, people)), ""]
    return "\n".join([*lines, f"gains are over {found.control}, paired by seed and writer"])


# Characters, sources of images --------------------------------------------------------------------


def _characters(found: Comparison, num_confusions: int) -> list[Section]:
    """Winners, losers and confusions of the best arm with each number of people."""
    if not found.best:
        return []
    best = {f"{each.arm.arm}, {people_text(n)}": each for n, each in found.best.items()}
    gains, pairs = found.folder / "per_character.png", found.folder / "confusions.png"
    compared = {f"{name}, minus {found.control}": each.characters for name, each in best.items()}
    plots.gains_per_character(compared, gains)
    plots.confusion_pairs({n: each.confusions for n, each in best.items()}, found.control, pairs)
    alike: dict[str, dict[str, str]] = {}  # pair -> people -> counts
    for people, each in found.best.items():
        for a, b, control, arm in each.look_alikes.itertuples(index=False):
            if control + arm:
                alike.setdefault(f"{a}/{b}", {})[people_text(people)] = f"{control} → {arm}"
    return [
        Section(
            "Per character",
            paragraphs=[
                *(
                    f"{name}. Winners: {_listed(each, 1)}. Losers: {_listed(each, -1)}."
                    for name, each in best.items()
                ),
                "Intervals are over seeds and not corrected: of 20 characters that gain nothing, "
                "one lies beyond zero by chance.",
            ],
            pictures=[Picture(gains, "Gain of each character, 95 % over seeds.")],
        ),
        Section(
            "Confusions",
            paragraphs=[
                f"Summed over the seeds that both have; of each recogniser the {num_confusions} "
                "most frequent are known. The table counts look-alikes either way: by the control "
                "→ by the best arm."
            ],
            rows=[
                {
                    "pair": pair,
                    **{people_text(n): counts.get(people_text(n), NOTHING) for n in found.best},
                }
                for pair, counts in alike.items()
            ],
            pictures=[Picture(pairs, "Written → read as: how often.")],
        ),
    ]


def _listed(best: Best, sign: int) -> str:
    """The ten characters that win, or lose, the most."""
    order = sorted(best.characters.items(), key=lambda item: -sign * item[1].gain)
    found = [f"{c} {gain.gain:+.2f}" for c, gain in order[:10] if sign * gain.gain > 0]
    return " ".join(found) or "none"


COSTS = {  # what a source is known by beside its measures
    "images": "images",
    "seeds": "seeds",
    "images_per_s": "images generated per second",
    "training_s": "seconds of training",
    "best_arm": "best arm with these images",
    "gain": "its gain over the control",
    "gain_interval": "corrected 95 % interval",
}


def _sources(found: Comparison, judge: dict[str, Any] | None = None) -> list[Section]:
    """Every source of images beside handwriting: the judge's measures, costs and gains."""
    trust = "The judge is a recogniser that saw neither the training writers nor a generated image"
    if judge:
        trust += f"; it reads {judge['accuracy']:.3f} of the training writers' images"
        if judge["style_chance"]:
            trust += f", and chance would attribute {judge['style_chance']:.2f} to their writer"
    titles = {measure.name: (measure.title, measure.best) for measure in MEASURES}
    titles |= {name: (title, "") for name, title in COSTS.items()}
    sections = [
        Section(
            f"Images beside handwriting, {people_text(people)}",
            [f"{trust}. Means over the cells that were judged; seeds counts them."],
            rows=[
                {"measure": title, "best": best}
                | {source: _value(values.get(name)) for source, values in sources.items()}
                for name, (title, best) in titles.items()
            ],
        )
        for people, sources in found.sources.items()
        if sources
    ]
    legend = [{"measure": m.title, "unit": m.unit, "what it says": m.meaning} for m in MEASURES]
    what = Section("What the measures say", rows=legend, is_text=True)
    return [*sections, what] if sections else []


def _value(value: float | str | Bounds | None) -> str:
    if isinstance(value, tuple):
        return interval_text(value, "+.3f")
    if value is None or isinstance(value, str):
        return value or NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
