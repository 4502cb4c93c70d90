"""The report of a study: a grid of one cell, with its pictures, stages and times."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from handwriting.config import Config
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.readers.simulated import SimulatedData
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import pack_manifest
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Picture, Section
from handwriting.runs.folder import run_folder
from handwriting.storage.json_files import read_own
from training_character_classification.arms import choose_control
from training_character_classification.report import plots
from training_character_classification.report.comparison import files_left, gather
from training_character_classification.report.people import rows_of_people
from training_character_classification.report.results import results_of
from training_character_classification.report.sections import seeds_text, write_page


@main_only
def write_study_report(config: Config, captions: Mapping[str, str]) -> Path:
    """Report the study's results; captions say what the rows of generators' sample sheets show."""
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
            "arm": str(best.finding.arm),
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
    return write_page(
        found, f"Study {config.name}", metrics, corpus.is_real, _data(config, corpus),
        config.evaluation.num_confusions, judge, first=_people(config, corpus, captions),
        notes=Section("Warnings", rows=flat, is_text=True),
        more=[
            sample_sheets(folder, captions),
            _table("Retrieval by CLIP on validation writers", "measure", "value", numbers),
            _table("Time per stage", "stage", "time", {k: f"{s:.0f} s" for k, s in times.items()}),
        ],
    )  # fmt: skip


def _data(config: Config, corpus: Corpus) -> str:
    people = "people" if corpus.is_real else "stand-ins for people"
    train, tested = (len(split.present_writers()) for split in (corpus.train, corpus.test))
    return (
        f"{len(corpus.characters)} characters at {config.size_px} px. Handwriting by {train} "
        f"{people} for training and by {tested} others for testing; "
        f"{len(corpus.fonts.present_writers())} fonts; "
        f"{seeds_text(len(config.pipeline.seeds))} per arm, and the same number of steps for all."
    )


def _people(config: Config, corpus: Corpus, generators: Iterable[str]) -> Section:
    """What people wrote and what generators made in their hands; a line of text in each hand."""
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
        caption = "A line in each hand; characters that the writer did not write are predicted."
        pictures.append(Picture(lines, caption))
    return Section("Handwriting, and images in the same hands", pictures=pictures)


def sample_sheets(folder: Path, captions: Mapping[str, str]) -> Section:
    """The last sample sheet of each generator's training, and a sheet of what it generated."""
    pictures = []
    for name, caption in captions.items():
        for sheet in files_left(folder, name, "samples/step_*.png")[-1:]:
            pictures.append(Picture(sheet, f"{name}, training: {caption}", is_sheet=True))
        sheet = folder / "generated" / name / "samples" / "sheet.png"
        pictures.append(Picture(sheet, f"{name}: generated, a row per character", is_sheet=True))
    return Section("Generated images", pictures=pictures)


def _table(heading: str, key: str, value: str, cells: Mapping[str, str]) -> Section:
    return Section(heading, rows=[{key: name, value: cell} for name, cell in cells.items()])
