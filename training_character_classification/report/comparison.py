"""The report of a study: arms and generators compared, characters, confusions, pictures, times."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Picture, Section, write_report
from handwriting.reports.statistics import corrected, interval, interval_text, verdict
from handwriting.runs.run import run_folder
from handwriting.storage.json_files import read_json, write_json
from training_character_classification.arms import Arm as ArmName, choose_control
from training_character_classification.measures.distances import DISTANCES
from training_character_classification.measures.quality import MEASURES
from training_character_classification.report.plots import arm_intervals, gains_and_losses
from training_character_classification.report.results import Arm, cost_and_gain, read_arms

STAND_IN = (
    "Simulated writers or fonts stand in for people here: these numbers show that the pipeline "
    "works. They are not results on handwriting. Bring a manifest (data=manifest) for those."
)
NOTHING = "-"  # where there is no number


@main_only
def write_study_report(config: Config, captions: Mapping[str, str]) -> Path:
    """Gather the study's results into ``report.html`` and ``metrics.json``.

    Args:
        config: of the study.
        captions: what the rows of each generator's sample sheets show.
    """
    folder = run_folder(config)
    corpus = open_corpus(config)
    tested = read_json(folder / "test" / "metrics.json")
    generators = config.pipeline.generators
    arms = read_arms(tested["recognisers"])
    controls = {arm.name: arm for arm in arms if not arm.is_generated}
    control = controls[
        str(choose_control(config.pipeline.control, [ArmName.parse(n) for n in controls]))
    ]
    best_control = max(controls.values(), key=lambda arm: arm.accuracy)
    generated = [arm for arm in arms if arm.is_generated]
    best = max(generated or arms, key=lambda arm: arm.accuracy)
    confidence = corrected(len(generated))
    table = {
        arm.name: {
            "accuracy": arm.accuracy,
            "interval": interval(arm.per_writer),
            "macro_f1": arm.macro_f1,
            "gain": arm.accuracy - control.accuracy,
            # Paired: the same writers and seeds on both sides.
            "gain_interval": interval(arm.per_writer - control.per_writer, confidence),
        }
        for arm in arms
    }
    gains = {c: best.per_character[c] - control.per_character[c] for c in best.per_character}
    # Only where there is a generator, and only where something needs CLIP.
    judged, retrieval = (_read(folder / stage / "metrics.json") for stage in ("judge", "clip"))
    durations = {
        path.parent.relative_to(folder).as_posix(): read_json(path)["duration_s"]
        for path in sorted(folder.glob("**/metrics.json"))
        if path.parent != folder
    }
    warnings = {
        path.parent.relative_to(folder).as_posix(): read_json(path).get("warnings", [])
        for path in sorted(folder.glob("*/**/metrics.json"))
    }
    costs = {name: cost_and_gain(name, folder, durations, generated, table) for name in generators}
    metrics: dict[str, Any] = {
        "is_real": corpus.is_real,
        "seeds": config.pipeline.seeds,
        "control": control.name,
        "best_control": best_control.name,
        "arms": table,
        "gains_per_character": {"arm": best.name, "over": control.name, "gains": gains},
        "judge": judged.get("judge"),
        "sources": {
            name: {**found, **costs.get(name, {})}
            for name, found in judged.get("sources", {}).items()
        },
        "retrieval": {k: v for k, v in retrieval.items() if k != "duration_s"},
        "warnings": {stage: texts for stage, texts in warnings.items() if texts},
        "duration_s": durations,
    }
    write_json(folder / "metrics.json", metrics)
    arm_intervals(table, list(controls), folder / "arms.png")
    gains_and_losses(gains, f"{best.name} minus {control.name}", folder / "gains.png")
    sections = [
        _introduction(config, corpus, best, control, table),
        *_warnings(metrics["warnings"]),
        _arms(table, control, folder),
        _characters(gains, best, control, tested, folder),
        *([_pictures(folder, captions)] if generators else []),
        *_judged(metrics["judge"], metrics["sources"], control),
        *_retrieval(metrics["retrieval"]),
        _times(durations),
    ]
    return write_report(folder / "report.html", f"Study {config.name}", sections)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found


def _judged(judge: dict[str, Any] | None, sources: dict[str, Any], control: Arm) -> list[Section]:
    return [_sources(judge, sources, control), _distances(sources)] if judge else []


def _introduction(
    config: Config, corpus: Corpus, best: Arm, control: Arm, table: dict[str, Any]
) -> Section:
    """What was compared, on whom, and the answer in a sentence."""
    people = "people" if corpus.is_real else "stand-ins for people"
    train, tested = (len(split.present_writers()) for split in (corpus.train, corpus.test))
    gain, interval_of_gain = table[best.name]["gain"], table[best.name]["gain_interval"]
    return Section(
        "",
        paragraphs=[
            f"{len(corpus.characters)} characters at {config.size_px} px. Handwriting of {train} "
            f"{people} to train on, of {tested} others to test on, "
            f"{len(corpus.fonts.present_writers())} fonts, "
            f"{len(config.pipeline.seeds)} seeds per arm, equal numbers of steps.",
            f"Best arm with generated images: {best.name}, {best.accuracy:.3f}. Control: "
            f"{control.name}, {control.accuracy:.3f}. Difference {gain:+.3f}, corrected "
            f"95 % interval over test writers {interval_text(interval_of_gain, '+.3f')}: "
            f"{verdict(interval_of_gain)}."
            if best.is_generated
            else f"No generator takes part. Best arm: {best.name}, {best.accuracy:.3f}.",
        ],
        notice="" if corpus.is_real else STAND_IN,
    )


def _warnings(by_stage: dict[str, list[str]]) -> list[Section]:
    rows = [(stage, text) for stage, texts in by_stage.items() for text in texts]
    return [Section("Warnings", columns=("stage", "what"), rows=rows, is_text=True)] if rows else []


def _arms(table: dict[str, Any], control: Arm, folder: Path) -> Section:
    order = sorted(table, key=lambda name: -table[name]["accuracy"])
    rows = []
    for name in order:
        arm = table[name]
        scores = [
            f"{arm['accuracy']:.3f}",
            interval_text(arm["interval"]),
            f"{arm['macro_f1']:.3f}",
        ]
        gains = [f"{arm['gain']:+.3f}", interval_text(arm["gain_interval"], "+.3f")]
        rows.append((name, *scores, *gains))
    return Section(
        "Recognisers on test writers",
        paragraphs=[
            f"Gains are over {control.name}, paired by writer and seed; their intervals "
            "are corrected for the number of arms with generated images."
        ],
        columns=("arm", "accuracy", "95 % interval", "macro F1", "gain", "95 % interval"),
        rows=rows,
        pictures=[Picture(folder / "arms.png", "Grey: controls. Red: with generated images.")],
    )


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else f"{value:{form}}"


def _characters(
    gains: dict[str, float], best: Arm, control: Arm, tested: dict[str, Any], folder: Path
) -> Section:
    """Winners, losers, and what is still confused."""
    order = sorted(gains, key=lambda c: -gains[c])
    winners = " ".join(f"{c} {gains[c]:+.2f}" for c in order[:10] if gains[c] > 0) or "none"
    losers = " ".join(f"{c} {gains[c]:+.2f}" for c in order[::-1][:10] if gains[c] < 0) or "none"
    rows = []
    for arm in (control, best):
        counts: dict[str, int] = {}
        for name, result in tested["recognisers"].items():
            if name.rsplit("/", 1)[0] == arm.name:
                for true, read, count in result["confusions"]:
                    counts[f"{true}→{read}"] = counts.get(f"{true}→{read}", 0) + count
        top = sorted(counts, key=lambda pair: -counts[pair])[:8]
        rows.append((arm.name, "  ".join(f"{pair} {counts[pair]}" for pair in top)))
    return Section(
        "Per character",
        paragraphs=[f"Winners: {winners}.", f"Losers: {losers}."],
        columns=("arm", "confusions (written → read), summed over seeds"),
        rows=rows,
        is_text=True,
        pictures=[Picture(folder / "gains.png", f"Accuracy of {best.name} minus {control.name}.")],
    )


def _pictures(folder: Path, captions: Mapping[str, str]) -> Section:
    """The last sample sheet of each generator's training, and what it generated."""
    pictures = []
    for name, caption in captions.items():
        homes = (folder / "style_transfer" / name / "step_end", folder / name)
        sheets = [sheet for home in homes for sheet in sorted(home.glob("samples/step_*.png"))]
        if sheets:
            pictures.append(Picture(sheets[-1], f"{name}, training: {caption}", is_sheet=True))
        sheet = folder / "generated" / name / "samples" / "sheet.png"
        pictures.append(Picture(sheet, f"{name}: generated, a row per character", is_sheet=True))
    return Section("Generated images", pictures=pictures)


def _sources(judge: dict[str, Any], sources: dict[str, Any], control: Arm) -> Section:
    """The generators side by side, with the real images and fonts as references."""
    columns = _meanings(judge["style_chance"], control)
    rows = [
        (
            name,
            *(_number(found[measure], ".3f") for measure in MEASURES),
            _number(found.get("images_per_s"), ".0f"),
            _number(found.get("training_s"), ".0f"),
            _number(found.get("gain"), "+.3f"),
            interval_text(found.get("gain_interval"), "+.3f"),
            str(found["images"]),
        )
        for name, found in sources.items()
    ]
    return Section(
        "Generators beside handwriting and fonts",
        paragraphs=[
            "The judge is a recogniser that saw neither the training writers nor a generated "
            f"image; it reads {judge['accuracy']:.3f} of the training writers' images.",
            *(f"{name}: {meaning}." for name, meaning in columns.items()),
        ],
        columns=("images", *columns, "95 % interval", "number"),
        rows=rows,
    )


def _meanings(style_chance: float | None, control: Arm) -> dict[str, str]:
    """What each column of the generators' table says."""
    by_chance = "nothing to match with one training writer"
    if style_chance is not None:
        by_chance = f"{style_chance:.2f} by chance, the training writers' own images at best"
    return {
        "read as intended": "share that the judge reads as the intended character",
        "diversity": "distance between images of one character, as a multiple of that between "
        "different people's; 1: as diverse as people, 0: all the same",
        "style match": f"share whose hand is told to be the one that it claims; {by_chance}",
        "probe AUC": "how well a linear probe tells the images from handwriting; 0.5: not at all, "
        "1: always",
        "nearest": "distance to the nearest image that generators saw, as a multiple of that of "
        "an unseen person's; 1: as new as another person, 0: copies",
        "per s": "images generated in a second",
        "training": "seconds that the generator was trained for, all its steps together",
        "gain": f"accuracy of the best arm with these images minus {control.name}, with its 95 % "
        "interval over test writers",
    }


def _retrieval(measures: dict[str, float]) -> list[Section]:
    rows = [(name.replace("_", " "), f"{value:.3f}") for name, value in measures.items()]
    title = "Retrieval by CLIP on validation writers"
    return [Section(title, columns=("measure", "value"), rows=rows)] if rows else []


def _distances(sources: dict[str, Any]) -> Section:
    """How far each source is from the people whom no generator saw."""
    columns = {
        "Fréchet": "distance between the means and covariances of the judge's features, in units "
        "of people's own variance; 0: the same",
        "kernel": "distance between the distributions of those features, character by character; "
        "0: the same",
        "precision": "share of the images that are as near to one of people's as the next of "
        "people's is: low where images are unlike handwriting",
        "recall": "share of people's images that are as near to one of these as the next of these "
        "is: low where people's variety is missing",
        "density": "how many of people's images one of these is as near to as the next of people's "
        "is, on average; 1: like other people's",
        "coverage": "share of people's images that have one of these as near as the next of "
        "people's; 0.5: like other people's",
        "stroke width": "distance between the distributions of stroke widths, in deviations of "
        "people's",
        "grey level": "likewise, of the mean level of ink",
        "centroid": "likewise, of where the ink is, across and down",
    }
    rows = [
        (name, *(_number(found[distance], ".3f") for distance in DISTANCES))
        for name, found in sources.items()
    ]
    return Section(
        "Distance from people whom no generator saw",
        paragraphs=[
            "Rows can be compared if they have as many images: all are cut to as many of each "
            "character as the training writers wrote, if those are enough.",
            *(f"{name}: {meaning}." for name, meaning in columns.items()),
        ],
        columns=("images", *columns),
        rows=rows,
    )


def _times(durations: dict[str, float]) -> Section:
    rows = [(stage, f"{seconds:.0f} s") for stage, seconds in durations.items()
            if not stage.startswith("classifier/")]  # fmt: skip
    classifiers = [s for stage, s in durations.items() if stage.startswith("classifier/")]
    rows.append((f"{len(classifiers)} classifiers", f"{sum(classifiers):.0f} s"))
    return Section("Time per stage", columns=("stage", "time"), rows=rows)
