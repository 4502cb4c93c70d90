"""The arms of a study compared: means over seeds, intervals over writers, gains over a control."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from handwriting.config import Config
from handwriting.corpus import Corpus, open_corpus
from handwriting.files import read_json, write_json
from handwriting.metrics import Float64, interval
from handwriting.report import Picture, Section, write_report
from handwriting.run import run_folder
from training_character_classification.plots import arm_intervals, gains_and_losses

STAND_IN = (
    "Simulated writers stand in for people here: these numbers show that the pipeline works. They "
    "are not results on handwriting. Bring a manifest (data=manifest) for those."
)


@dataclass(frozen=True)
class Arm:
    """A recogniser's results over its seeds.

    Attributes:
        accuracy, macro_f1: means over seeds.
        per_writer: accuracy on each test writer, mean over seeds, (W,).
        per_character: accuracy of each character, mean over seeds.
        is_generated: whether it sees generated images.
    """

    name: str
    accuracy: float
    macro_f1: float
    per_writer: Float64
    per_character: dict[str, float]
    is_generated: bool


def read_arms(recognisers: dict[str, Any], generators: list[str]) -> list[Arm]:
    """The arms of ``test/metrics.json``: recognisers are named ``arm/seed_n`` there."""
    of_arm: dict[str, list[dict[str, Any]]] = {}
    for name, result in recognisers.items():
        of_arm.setdefault(name.rsplit("/", 1)[0], []).append(result)
    return [
        Arm(
            name,
            accuracy=float(np.mean([r["accuracy"] for r in results])),
            macro_f1=float(np.mean([r["macro_f1"] for r in results])),
            per_writer=np.mean([r["per_writer"] for r in results], axis=0),
            per_character={
                c: float(np.mean([r["per_character"][c]["accuracy"] for r in results]))
                for c in results[0]["per_character"]
            },
            is_generated=any(part in generators for part in name.split("+")),
        )
        for name, results in of_arm.items()
    ]


def write_study_report(config: Config) -> Path:
    """Gather the study's results into ``report.html`` and ``metrics.json``."""
    folder = run_folder(config)
    corpus = open_corpus(config)
    tested = read_json(folder / "test" / "metrics.json")
    generators = [mode.value for mode in config.pipeline.model_modes]
    arms = read_arms(tested["recognisers"], generators)
    control = max((a for a in arms if not a.is_generated), key=lambda arm: arm.accuracy)
    generated = [arm for arm in arms if arm.is_generated]
    best = max(generated, key=lambda arm: arm.accuracy)
    num_resamples = config.evaluation.num_resamples
    table = {
        arm.name: {
            "accuracy": arm.accuracy,
            "interval": interval(arm.per_writer, num_resamples),
            "macro_f1": arm.macro_f1,
            "gain": arm.accuracy - control.accuracy,
            # Paired: the same writers and seeds on both sides.
            "gain_interval": interval(arm.per_writer - control.per_writer, num_resamples),
        }
        for arm in arms
    }
    gains = {c: best.per_character[c] - control.per_character[c] for c in best.per_character}
    judged = read_json(folder / "judge" / "metrics.json")["sources"]
    retrieval = read_json(folder / "clip" / "metrics.json")
    durations = {
        path.parent.relative_to(folder).as_posix(): read_json(path)["duration_s"]
        for path in sorted(folder.glob("**/metrics.json"))
        if path.parent != folder
    }
    metrics = {
        "is_real": corpus.is_real,
        "seeds": config.pipeline.seeds,
        "best_control": control.name,
        "arms": table,
        "gains_per_character": {"arm": best.name, "over": control.name, "gains": gains},
        "sources": judged,
        "retrieval": {k: v for k, v in retrieval.items() if k != "duration_s"},
        "duration_s": durations,
    }
    write_json(folder / "metrics.json", metrics)
    controls = [arm.name for arm in arms if not arm.is_generated]
    arm_intervals(table, controls, folder / "arms.png")
    gains_and_losses(gains, f"{best.name} minus {control.name}", folder / "gains.png")
    sections = [
        _introduction(config, corpus, best, control, table),
        _arms(table, control, folder),
        _characters(gains, best, control, tested, folder),
        _pictures(folder, generators),
        _sources(judged),
        Section("Retrieval by CLIP on validation writers", columns=("measure", "value"),
                rows=[(k.replace("_", " "), f"{v:.3f}") for k, v in metrics["retrieval"].items()]),
        _times(durations),
    ]  # fmt: skip
    return write_report(folder / "report.html", f"Study {config.name}", sections)


def _introduction(
    config: Config, corpus: Corpus, best: Arm, control: Arm, table: dict[str, Any]
) -> Section:
    """What was compared, on whom, and the answer in a sentence."""
    people = "people" if corpus.is_real else "simulated writers"
    train, tested = (len(split.present_writers()) for split in (corpus.train, corpus.test))
    low, high = table[best.name]["gain_interval"]
    gain = table[best.name]["gain"]
    verdict = "the interval holds zero: no difference is shown"
    if low > 0:
        verdict = "a gain"
    elif high < 0:
        verdict = "a loss"
    elif np.isnan(low):
        verdict = "one writer is no sample, nothing is shown"
    return Section(
        "",
        paragraphs=[
            f"{len(corpus.characters)} characters at {config.size_px} px. Handwriting of {train} "
            f"{people} to train on, of {tested} others to test on, "
            f"{len(corpus.fonts.present_writers())} fonts, "
            f"{len(config.pipeline.seeds)} seeds per arm, equal numbers of steps.",
            f"Best arm with generated images: {best.name}, {best.accuracy:.3f}. Best control: "
            f"{control.name}, {control.accuracy:.3f}. Difference {gain:+.3f}, 95 % interval over "
            f"test writers {low:+.3f} to {high:+.3f}: {verdict}.",
        ],
        notice="" if corpus.is_real else STAND_IN,
    )


def _arms(table: dict[str, Any], control: Arm, folder: Path) -> Section:
    order = sorted(table, key=lambda name: -table[name]["accuracy"])
    rows = []
    for name in order:
        arm = table[name]
        scores = [
            f"{arm['accuracy']:.3f}",
            _range(arm["interval"], ".3f"),
            f"{arm['macro_f1']:.3f}",
        ]
        gains = [f"{arm['gain']:+.3f}", _range(arm["gain_interval"], "+.3f")]
        rows.append((name, *scores, *gains))
    return Section(
        "Recognisers on test writers",
        paragraphs=[f"Gains are over {control.name}, paired by writer and seed."],
        columns=("arm", "accuracy", "95 % interval", "macro F1", "gain", "95 % interval"),
        rows=rows,
        pictures=[Picture(folder / "arms.png", "Grey: controls. Red: with generated images.")],
    )


def _range(bounds: tuple[float, float], form: str) -> str:
    return f"{bounds[0]:{form}} .. {bounds[1]:{form}}"


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


def _pictures(folder: Path, generators: list[str]) -> Section:
    pictures = []
    for mode in generators:
        last = sorted((folder / "style_transfer" / mode / "step_end" / "samples").glob("*.png"))
        if last:
            caption = f"{mode}, training: content, style, output, target from top to bottom"
            pictures.append(Picture(last[-1], caption, is_sheet=True))
        sheet = folder / "generated" / mode / "samples" / "sheet.png"
        pictures.append(Picture(sheet, f"{mode}: generated, a row per character", is_sheet=True))
    return Section("Generated images", pictures=pictures)


def _sources(judged: dict[str, Any]) -> Section:
    rows = [
        (
            name,
            f"{found['content_accuracy']:.3f}",
            f"{found['domain_auc']:.3f}",
            str(found["images"]),
        )
        for name, found in judged.items()
    ]
    return Section(
        "Are the images readable, and do they look real?",
        paragraphs=[
            "A recogniser that never saw a generated image reads them as the intended character; "
            "a linear probe on its features tells them from handwriting (0.5: it cannot). The "
            "training writers' own images are the reference."
        ],
        columns=("images", "read as intended", "probe AUC", "number"),
        rows=rows,
    )


def _times(durations: dict[str, float]) -> Section:
    rows = [(stage, f"{seconds:.0f} s") for stage, seconds in durations.items()
            if not stage.startswith("classifier/")]  # fmt: skip
    classifiers = [s for stage, s in durations.items() if stage.startswith("classifier/")]
    rows.append((f"{len(classifiers)} classifiers", f"{sum(classifiers):.0f} s"))
    return Section("Time per stage", columns=("stage", "time"), rows=rows)
