"""The report of the evidence: what generated images gain, with how many people, how surely."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.config import Config
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Picture, Section, write_report
from handwriting.reports.statistics import interval_text, sign_flip_p, verdict
from handwriting.runs.run import run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import write_json
from training_character_classification.report.comparison import NOTHING, STAND_IN
from training_character_classification.report.findings import (
    CharacterGain,
    Confusion,
    Finding,
    Sources,
    best_generated,
    character_gains,
    compare,
    confusions,
    generators_of,
    look_alikes,
    people_text,
    read_cells,
    read_sources,
)
from training_character_classification.report.plots import (
    accuracy_over_people,
    character_gains as draw_character_gains,
    confusion_pairs,
    gains_over_control,
)

COLUMNS = (
    "arm", "accuracy", "95 % interval", "macro F1", "worst tenth", "gain", "95 % interval", "p",
    "corrected p", "gap closed", "probe AUC", "seeds", "writers",
)  # fmt: skip
# The page is not wide enough for all of them.
ON_PAGE = [i for i, name in enumerate(COLUMNS) if name not in ("p", "writers")]


@dataclass(frozen=True)
class Comparison:
    """The best generated arm with a number of people beside the control, character by character."""

    best: Finding
    characters: dict[str, CharacterGain]
    confusions: list[Confusion]
    look_alikes: list[Confusion]


@main_only
def write_evidence_report(config: Config, is_real: bool) -> Path:
    """Gather the cells tested so far into ``report.html``, ``metrics.json`` and ``table.txt``.

    Args:
        config: of the grid.
        is_real: whether people wrote what recognisers are tested on.

    Raises:
        InputError: no cell was tested yet.
    """
    folder, evidence = run_folder(config), config.evidence
    readings, missing = read_cells(config)
    findings = compare(readings, evidence)
    people = sorted({found.people for found in findings})
    sources = {number: read_sources(config, number) for number in people}
    compared: dict[int, Comparison] = {}
    for number in people:
        best = best_generated(findings, number)
        if best:
            arm, control = readings[best.arm, number], readings[evidence.control, number]
            gains = character_gains(arm, control)
            found = confusions(arm, control)
            compared[number] = Comparison(best, gains, found, look_alikes(found, gains))
    write_json(
        folder / "metrics.json",
        {
            "is_real": is_real,
            "control": evidence.control,
            "named_beforehand": evidence.recipe_arm,
            "missing": missing,
            "arms": [asdict(found) for found in findings],
            "best_generated": {number: asdict(each) for number, each in compared.items()},
            "sources": sources,
        },
    )
    text = table(findings, evidence.control, sources)
    print(text)
    write_text(folder / "table.txt", text + "\n")
    sections = [
        _introduction(config, findings, compared, is_real),
        *_overview(config, findings, folder),
        *(_arms(config, findings, number, sources[number]) for number in people),
        *_characters(config, compared, folder),
        *(_sources(of_one, number) for number, of_one in sources.items() if of_one),
        Section("Not tested yet", columns=("cell",), rows=[(cell,) for cell in missing],
                is_text=True) if missing else Section(""),
    ]  # fmt: skip
    return write_report(folder / "report.html", f"Evidence {config.name}", sections)


# What is said -------------------------------------------------------------------------------------


def _introduction(
    config: Config, findings: list[Finding], compared: dict[int, Comparison], is_real: bool
) -> Section:
    """The answer for each number of people, and what it rests on."""
    evidence = config.evidence
    paragraphs = [
        f"Does it help a recogniser to see generated images as well? {evidence.control} is the "
        f"control, and with the most people the ceiling. {evidence.recipe_arm} was named "
        "beforehand; the best arm is chosen after the fact, which flatters it."
    ]
    for number, each in compared.items():
        named = [f for f in findings if (f.arm, f.people) == (evidence.recipe_arm, number)]
        paragraphs.append(
            f"{people_text(number)}: "
            + (_answer(named[0]) if named else f"{evidence.recipe_arm} was not tested yet. ")
            + (
                "No other generated arm gains more."
                if each.best in named
                else f"Chosen after the fact: {_answer(each.best)}"
            )
        )
    return Section("", [*paragraphs, _caveats(findings)], notice="" if is_real else STAND_IN)


def _answer(found: Finding) -> str:
    """One sentence on an arm's gain."""
    gain, gap = found.gain, found.gap
    if gain is None:
        return f"{found.arm} and the control have no seed in common yet. "
    closed = ""
    if gap and gap.closed is not None:
        closed = (
            f", {_share(gap.closed)} of the gap to the ceiling, {gap.size:.3f} "
            f"({interval_text(gap.interval)}, {_seeds(gap.num_seeds)})"
        )
    bounds = interval_text(gain.interval, "+.3f")
    return (
        f"{found.arm} gains {gain.gain:+.3f} (corrected 95 % interval {bounds}, corrected p "
        f"{_p(gain.corrected_p)}, {_seeds(gain.num_seeds)}){closed}: {verdict(gain.interval)}. "
    )


def _caveats(findings: list[Finding]) -> str:
    """What limits the answers."""
    gains = [f.gain for f in findings if f.gain and f.gain.corrected_p is not None]
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


def _number(value: float | None, form: str = ".3f") -> str:
    return NOTHING if value is None else f"{value:{form}}"


def _seeds(number: int) -> str:
    return f"{number} seeds" if number > 1 else "1 seed"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.0f} %"


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _number(value)


# Tables -------------------------------------------------------------------------------------------


def _row(found: Finding, sources: Sources) -> tuple[str, ...]:
    gain = found.gain
    seeds = str(found.num_seeds)
    if gain and gain.num_seeds < found.num_seeds:
        seeds += f", gain {gain.num_seeds}"
    gained = (NOTHING,) * 5
    if gain:
        closed = found.gap.closed if found.gap else None
        gained = (
            f"{gain.gain:+.3f}", interval_text(gain.interval, "+.3f"), _p(gain.p),
            _p(gain.corrected_p), _share(closed),
        )  # fmt: skip
    probes = [sources.get(name, {}).get("domain_auc") for name in generators_of(found.arm)]
    return (
        found.arm,
        f"{found.accuracy:.3f}",
        interval_text(found.interval),
        f"{found.macro_f1:.3f}",
        f"{found.worst_tenth:.3f}",
        *gained,
        " ".join(_number(probe) for probe in probes) or NOTHING,
        seeds,
        str(found.num_writers),
    )


def _rows(findings: list[Finding], people: int, sources: Sources) -> list[tuple[str, ...]]:
    """The arms with a number of people, the best first."""
    order = sorted((f for f in findings if f.people == people), key=lambda f: -f.accuracy)
    return [_row(found, sources) for found in order]


def _gap_text(findings: list[Finding], control: str, people: int) -> str:
    """How far the control is from the ceiling with a number of people."""
    for found in findings:
        if (found.arm, found.people) == (control, people) and found.gap and found.gap.size:
            gap = found.gap
            bounds = interval_text(gap.interval)
            return f"gap to the ceiling {gap.size:.3f} ({bounds}, {_seeds(gap.num_seeds)})"
    return ""


def table(findings: list[Finding], control: str, sources: dict[int, Sources]) -> str:
    """Every arm with every number of people as text."""
    rows = {number: _rows(findings, number, of_one) for number, of_one in sources.items()}
    every = [COLUMNS, *(row for of_one in rows.values() for row in of_one)]
    widths = [max(len(row[i]) for row in every) for i in range(len(COLUMNS))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = (f"{c:{w}}" if not i else f"{c:>{w}}" for i, (c, w) in
                        enumerate(zip(cells, widths, strict=True)))  # fmt: skip
        return "  ".join([first, *rest])

    lines = []
    for number, of_one in rows.items():
        heading = ", ".join(
            filter(None, [people_text(number), _gap_text(findings, control, number)])
        )
        lines += [heading, line(COLUMNS), *map(line, of_one), ""]
    return "\n".join([*lines, f"gains are over {control}, paired by seed and writer"])


def _overview(config: Config, findings: list[Finding], folder: Path) -> list[Section]:
    evidence = config.evidence
    accuracy_over_people(
        [found for found in findings if "@" not in found.arm], evidence.control,
        evidence.recipe_arm, folder / "curve.png",
    )  # fmt: skip
    pictures = [
        Picture(
            folder / "curve.png",
            f"Accuracy on test writers. Black: the control. Red: {evidence.recipe_arm}, named "
            "beforehand. Grey: other arms without generated images.",
        )
    ]
    if any(found.gain for found in findings):
        path = folder / "gains.png"
        gains_over_control(findings, evidence.control, evidence.recipe_arm, path)
        caption = (
            "Gains. Red: named beforehand. Blue: other arms with generated images. Grey: without. "
            "An arrow and its number lie beyond the edge."
        )
        pictures.append(Picture(path, caption))
    return [Section("Accuracy and gain", pictures=pictures)]


def _arms(config: Config, findings: list[Finding], people: int, sources: Sources) -> Section:
    gap = _gap_text(findings, config.evidence.control, people)
    return Section(
        f"Recognisers with {people_text(people)}",
        paragraphs=[f"Gains are over {config.evidence.control}, paired by seed and writer."
                    + (f" Its {gap}." if gap else "")],
        columns=[COLUMNS[i] for i in ON_PAGE],
        rows=[
            [_on_page(row[i], is_name=not i) for i in ON_PAGE]
            for row in _rows(findings, people, sources)
        ],
    )  # fmt: skip


def _on_page(cell: str, is_name: bool) -> str:
    """A cell that is broken after a plus between words, and nowhere in a number or interval."""
    return cell.replace("+", "+\u200b") if is_name else cell.replace(" ", "\u00a0")


# Characters, generators ---------------------------------------------------------------------------


def _characters(config: Config, compared: dict[int, Comparison], folder: Path) -> list[Section]:
    """Winners, losers and confusions of the best generated arm with each number of people."""
    if not compared:
        return []
    control = config.evidence.control
    named = {f"{each.best.arm}, {people_text(n)}": each for n, each in compared.items()}
    draw_character_gains(
        {f"{name}, minus {control}": each.characters for name, each in named.items()},
        folder / "per_character.png",
    )
    confusion_pairs(
        {name: each.confusions for name, each in named.items()}, control, folder / "confusions.png"
    )
    pairs = dict.fromkeys(
        (c.written, c.read) for each in compared.values() for c in each.look_alikes
    )
    found = [{(c.written, c.read): c for c in each.look_alikes} for each in compared.values()]
    rows = [
        (
            f"{a}/{b}",
            *(f"{c[a, b].control} → {c[a, b].arm}" if (a, b) in c else NOTHING for c in found),
        )
        for a, b in pairs
        if any((a, b) in c and c[a, b].control + c[a, b].arm for c in found)
    ]
    return [
        Section(
            "Per character",
            paragraphs=[
                *(
                    f"{name}. Winners: {_listed(each, 1)}. Losers: {_listed(each, -1)}."
                    for name, each in named.items()
                ),
                "Intervals are over seeds and not corrected: of 20 characters that gain nothing, "
                "one lies beyond zero by chance.",
            ],
            pictures=[
                Picture(folder / "per_character.png", "Gain of each character, 95 % over seeds.")
            ],
        ),
        Section(
            "Confusions",
            paragraphs=[
                "Summed over the seeds that both have; of each recogniser the "
                f"{config.evaluation.num_confusions} most frequent are known. The table counts "
                "look-alikes either way: by the control → by the best generated arm."
            ],
            columns=("pair", *(people_text(number) for number in compared)),
            rows=rows,
            pictures=[Picture(folder / "confusions.png", "Written → read as: how often.")],
        ),
    ]


def _listed(each: Comparison, sign: int) -> str:
    """The ten characters that win, or lose, the most."""
    order = sorted(each.characters.items(), key=lambda item: -sign * item[1].gain)
    found = [f"{c} {gain.gain:+.2f}" for c, gain in order[:10] if sign * gain.gain > 0]
    return " ".join(found) or "none"


def _sources(sources: Sources, people: int) -> Section:
    """The judge's measures of every source of images, means over seeds."""
    measures = dict.fromkeys(measure for found in sources.values() for measure in found)
    return Section(
        f"Images beside handwriting, {people_text(people)}",
        paragraphs=["Means over the cells that were judged; seeds counts them."],
        columns=("measure", *sources),
        rows=[
            (
                measure.replace("_", " "),
                *(_measure(found.get(measure)) for found in sources.values()),
            )
            for measure in measures
        ],
    )


def _measure(value: Any) -> str:
    return NOTHING if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
