"""The page of a report: the sections on a comparison, whether a study's or the evidence's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.reports.page import Picture, Row, Section, number_text, text_table, write_report
from handwriting.reports.statistics import Bounds, interval_text, sign_flip_p, verdict
from handwriting.storage.json_files import write_json
from training_character_classification.arms import Arm
from training_character_classification.measures import outside_judge
from training_character_classification.measures.table import MEASURES, TITLES
from training_character_classification.report import plots
from training_character_classification.report.comparison import Best, Comparison
from training_character_classification.report.results import (
    Estimate,
    Finding,
    Gap,
    is_candidate,
    people_text,
)

STAND_IN = (
    "Simulated writers or fonts stand in for people here: these numbers show that the pipeline "
    "works and are not results on handwriting. For those, provide a manifest (data=manifest)."
)
NOTHING = "-"  # where there is no number
MAX_WRITERS = 12  # columns of a table
EMPTY = Section("")


def write_page(
    found: Comparison, title: str, metrics: dict[str, Any], is_real: bool, about: str,
    num_confusions: int, judge: dict[str, Any] | None = None, *, notes: Section,
    first: Section = EMPTY, more: Sequence[Section] = (),
) -> Path:  # fmt: skip
    """Write ``metrics.json`` and the page of a report."""
    groups = [
        {"arm": str(arm), "people": people, "read": shares,
         "gains": found.group_gains.get((arm, people), {})}
        for (arm, people), shares in found.groups.items()
    ]  # fmt: skip
    shared = {"is_real": is_real, "control": str(found.control), "groups": groups}
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
            is_there = any((f.arm, f.people) == (found.control, people) for f in found.findings)
            why = "No generator takes part." if is_there else "The control was not tested."
            answers.append(f"{people_text(people)}: {why}")
            continue
        named = [f for f in found.findings if (f.arm, f.people) == (found.named, people)]
        sentences = [f"{people_text(people)}:", *(_answer(each, found.control) for each in named)]
        if found.named and not named:
            sentences.append(f"{found.named} has not been tested yet.")
        if not is_candidate(best.finding.arm, found.named):
            sentences.append("No generator takes part.")
        if best.finding in named:
            sentences.append("No other generated arm gains more.")
        else:
            sentences.append(f"Chosen after the fact: {_answer(best.finding, found.control)}")
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
        f"{seeds_text(gain.num_seeds)}){closed}: {verdict(gain.interval)}."
    )


def _caveats(found: Comparison) -> str:
    gains = [f.gain for f in found.findings if f.gain and f.gain.corrected_p is not None]
    text = (
        "Caveats: fonts are not handwriting; what they contribute depends on which are installed, "
        "and so does the control. A person may be a test writer with one seed and a training "
        "writer with another, so that seeds are not independent."
    )
    if not all(f.is_ranked for f in found.findings):
        text += (
            " Arms that see simulated writers are not ranked, since the test writers here are "
            "simulated, too."
        )
    if not gains:
        return text
    writers = max(gain.num_writers for gain in gains)
    least = min(1.0, len(gains) * sign_flip_p(np.ones(writers)))
    return (
        f"{text} Intervals and p are over the {writers} test writers, so that with "
        f"{len(gains)} comparisons no p can be below {least:.2g} after Holm's correction."
    )


def seeds_text(number: int) -> str:
    return f"{number} seeds" if number > 1 else "1 seed"


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number_text(value)


# Arms ---------------------------------------------------------------------------------------------


def _overview(found: Comparison) -> Section:
    """The accuracy of every arm, against the number of people if it varies, and the gains."""
    findings, control, named = found.findings, found.control, found.named
    colors = "Black: the control. Grey: other arms without generated images. Coloured: with them."
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
        caption = (
            f"Gains over the control. {colors} Beyond {plots.LINEAR_GAIN} the scale is logarithmic."
        )
        pictures.append(Picture(path, caption))
    return Section("Accuracy and gain", pictures=pictures)


def _arms(found: Comparison, people: int) -> Section:
    gap = _gap_text(found, people)
    about = (
        f"Gains are over {found.control}, paired by seed and writer; their intervals are corrected "
        "for the number of arms compared."
        f"{f' The gap between the control and the ceiling is {gap}.' if gap else ''} "
        f"AUC is the {TITLES['domain_auc']} of the generators' images."
    )
    heading = f"Recognisers trained on {people_text(people)}"
    return Section(heading, [about], rows=_rows(found, people))


def _gap_text(found: Comparison, people: int) -> str:
    """How far the control is from the ceiling with a number of people."""
    for each in found.findings:
        if (each.arm, each.people) == (found.control, people) and each.gap and each.gap.size:
            return _gap(each.gap)
    return ""


def _gap(gap: Gap) -> str:
    return f"{gap.size:.3f} ({interval_text(gap.interval)}, {seeds_text(gap.num_seeds)})"


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
        gap = _gap_text(found, people)
        heading = f"{people_text(people)}{f', gap to the ceiling {gap}' if gap else ''}"
        lines += [heading, text_table(_rows(found, people)), ""]
    return "\n".join([*lines, f"gains are over {found.control}, paired by seed and writer"])


# Characters, sources of images --------------------------------------------------------------------


def _writers(found: Comparison) -> list[Section]:
    """The accuracy of every arm on each test writer, the hardest writer first."""
    sections = []
    for people in found.sources:
        shares = found.writers.get((found.control, people), {})
        if not 1 < len(shares) <= MAX_WRITERS:
            continue
        hardest = sorted(shares, key=lambda writer: shares[writer])
        order = sorted(found.findings, key=lambda f: -f.accuracy)
        rows = [
            {"arm": str(f.arm)}
            | {w: number_text(found.writers[f.arm, people].get(w)) for w in hardest}
            for f in order
            if f.people == people
        ]
        heading = f"Accuracy on each test writer, trained on {people_text(people)}"
        sections.append(Section(heading, rows=rows))
    return sections


def _groups(found: Comparison) -> list[Section]:
    """Accuracies by script and by number of strokes; what arms misread, as pictures."""
    about = (
        "Shares of images read correctly, as means over writers; kanji by number of strokes. First "
        "five: the correct character is among the five likeliest."
    )
    by_outside = (
        "The outside judge, which saw none of this project's data, reads the same images and "
        "chooses among the same characters; those that it does not know are left out."
    )
    paired = (
        f"Gains are over {found.control}, paired by seed and writer, with corrected 95 % intervals "
        "over writers; one writer gives no interval."
    )
    sections = []
    for people in found.sources:
        order = sorted(found.findings, key=lambda f: -f.accuracy)
        shares = {str(f.arm): found.groups[f.arm, people] for f in order if f.people == people}
        groups = next(iter(shares.values()))
        texts = [about]
        if outside := found.outside[people]:
            shares[f"{outside_judge.NAME}, the outside judge"] = outside
            texts.append(by_outside)
        rows = [
            {"arm": name, **{group: number_text(own.get(group)) for group in groups}}
            for name, own in shares.items()
        ]
        heading = f"Accuracy by group of characters, trained on {people_text(people)}"
        sections.append(Section(heading, texts, rows=rows))
        shown = found.named, found.best[people].finding.arm if people in found.best else None
        gains = {arm: own for (arm, number), own in sorted(found.group_gains.items())
                 if number == people and arm in shown}  # fmt: skip
        rows = [
            {
                "group": group,
                **{str(arm): _estimate_text(own.get(group)) for arm, own in gains.items()},
            }
            for group in groups
        ]
        if gains:
            heading = f"Gain by group of characters, trained on {people_text(people)}"
            sections.append(Section(heading, [paired], rows=rows))
    caption = "Up to ten images that each recogniser misreads, evenly chosen: written → read."
    pictures = [Picture(path, caption) for path in found.mistakes]
    return [*sections, Section("Mistakes", pictures=pictures)]


def _estimate_text(found: Estimate | None) -> str:
    if found is None:
        return NOTHING
    gain, bounds = found
    return f"{gain:+.3f}" + (f" ({interval_text(bounds, '+.3f')})" if bounds else "")


def _characters(found: Comparison, num_confusions: int) -> list[Section]:
    """Winners, losers and confusions of the best arm with each number of people."""
    if not found.best:
        return []
    best = {f"{each.finding.arm}, {people_text(n)}": each for n, each in found.best.items()}
    gains, pairs = found.folder / "per_character.png", found.folder / "confusions.png"
    compared = {f"{name}, minus {found.control}": each.characters for name, each in best.items()}
    plots.gains_per_character(compared, gains)
    plots.confusion_pairs({n: each.confusions for n, each in best.items()}, found.control, pairs)
    winners = [f"{name}. Winners: {_listed(each, 1)}. Losers: {_listed(each, -1)}."
               for name, each in best.items()]  # fmt: skip
    uncorrected = (
        "Intervals are over seeds and not corrected: of every 20 characters without a gain, one "
        "interval excludes zero by chance."
    )
    counted = (
        "Counts are summed over the seeds that both arms have; of each recogniser only the "
        f"{num_confusions} most frequent confusions are recorded. The table counts confusions of "
        "look-alikes in either direction: by the control → by the best arm."
    )
    alike: dict[str, dict[str, str]] = {}  # pair -> row
    for people, each in found.best.items():
        for a, b, control, arm in each.look_alikes.itertuples(index=False):
            if control + arm:
                empty = {"pair": f"{a}/{b}", **dict.fromkeys(map(people_text, found.best), NOTHING)}
                alike.setdefault(f"{a}/{b}", empty)[people_text(people)] = f"{control} → {arm}"
    bars = Picture(gains, "Gain on each character, with 95 % intervals over seeds.")
    often = Picture(pairs, "The most frequent confusions: written → read as.")
    return [
        Section("Per character", [*winners, uncorrected], pictures=[bars]),
        Section("Confusions", [counted], rows=list(alike.values()), pictures=[often]),
    ]


def _listed(best: Best, sign: int) -> str:
    """The ten characters that gain, or lose, the most."""
    gains = {character: sign * gain for character, (gain, _) in best.characters.items()}
    order = sorted(gains, key=lambda c: -gains[c])[:10]
    return " ".join(f"{c} {sign * gains[c]:+.2f}" for c in order if gains[c] > 0) or "none"


COSTS = {  # what is reported of a source besides its measures
    "images": "images",
    "seeds": "seeds",
    "images_per_s": "images generated per second",
    "training_s": "seconds of training",
    "misread": "share misread by the recogniser of generation.redraw, and drawn again",
    "still_misread": "share that it still misreads after redrawing",
    "best_arm": "best arm with these images",
    "gain": "its gain over the control",
    "gain_interval": "corrected 95 % interval",
}


def _sources(found: Comparison, judge: dict[str, Any] | None) -> list[Section]:
    """Every source of images compared with handwriting: the judge's measures, costs and gains."""
    trust = "The judge is a recogniser that saw neither the training writers nor a generated image"
    if judge:
        trust += f"; it reads {judge['accuracy']:.3f} of the training writers' images correctly"
        if judge["style_chance"]:
            trust += f", and chance would attribute {judge['style_chance']:.2f} to their writers"
    trust += ". Values are means over the cells that were judged, whose number is given as seeds."
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
            heading = f"Image sources compared with handwriting, {people_text(people)}"
            sections.append(Section(heading, [trust], rows=rows))
    legend = [{"measure": m.title, "unit": m.unit, "meaning": m.meaning} for m in shown]
    what = Section("What the measures mean", rows=legend, is_text=True)
    return [*sections, what] if sections else []


def _value(value: float | str | Bounds | None) -> str:
    if isinstance(value, tuple):
        return interval_text(value, "+.3f")
    if value is None or isinstance(value, str):
        return value or NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
