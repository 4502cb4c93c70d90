"""The report of the evidence: all tested cells of the grid, from this run or from others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handwriting.config import Config, Evidence
from handwriting.corpus.readers.simulated import SimulatedData
from handwriting.errors import InputError
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Row, Section
from handwriting.runs.folder import changes, run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import leaves, plain, read_own
from training_character_classification.arms import Arm, planned_arms
from training_character_classification.report.comparison import Comparison, gather
from training_character_classification.report.results import (
    Results,
    people_text,
    read_results,
    results_of,
    write_results,
)
from training_character_classification.report.sections import table, write_page

# Settings that differ from cell to cell, and those that change no result.
OF_CELLS = {"name", "seed", "data.people", "data.rotation", "pipeline", "evidence",
            "runs_dir", "cache_dir", "runtime", "tracking"}  # fmt: skip


@main_only
def write_evidence_report(config: Config, is_real: bool) -> Path:
    """Report the cells tested so far; also writes ``table.txt`` and ``results.json``.

    Args:
        is_real: whether people wrote the test images.

    Raises:
        InputError: no cell has been tested.
    """
    folder, evidence = run_folder(config), config.evidence
    recognisers, missing = read_cells(folder, evidence)
    if not recognisers:
        raise InputError(
            f"no recogniser of evidence.arms has been tested: {', '.join(evidence.arms)}"
        )
    results = results_of(recognisers)
    numbers = sorted({number for _, number in results.places})
    cells = {number: sorted(folder.glob(f"seed_*/people_{number}")) for number in numbers}
    is_drawn_alike = isinstance(config.data, SimulatedData)
    found = compared(evidence, results, folder, cells, is_drawn_alike)
    write_results(folder / "results.json", recognisers)
    metrics = {
        "named_beforehand": evidence.named_arm,
        "missing": missing,
        "arms": [each.as_json() for each in found.findings],
        "best_generated": {
            number: {
                "best": best.finding.as_json(),
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
    beforehand = f"{found.named} was named beforehand; the" if found.named else "The"
    question = (
        f"Does a recogniser improve if it also sees generated images? {found.control} is the "
        f"control; trained on the most people, it is the ceiling. {beforehand} "
        "best arm is chosen after the fact, which flatters it."
    )
    absent = Section("Not tested yet", rows=[{"cell": cell} for cell in missing], is_text=True)
    others = cells_of_other_settings(folder, config)
    for row in others:
        print(f"{row['cell']} was made with other settings: {row['before -> now']}")
    return write_page(
        found, f"Evidence {config.name}", metrics, is_real, question,
        config.evaluation.num_confusions, notes=absent,
        first=Section("Made with other settings", rows=others, is_text=True),
    )  # fmt: skip


def cells_of_other_settings(folder: Path, config: Config) -> list[Row]:
    """The cells of earlier runs that were made with other settings than these."""

    def settings(study: Mapping[str, Any]) -> dict[str, Any]:
        own = leaves({key: value for key, value in study.items() if key not in OF_CELLS})
        return {key: value for key, value in own.items() if key not in OF_CELLS}

    now = settings(plain(config))
    rows: list[Row] = []
    for path in sorted(folder.glob("seed_*/people_*/study.json")):
        before = settings(read_own(path)["config"])
        if before != now:
            cell = path.parent.relative_to(folder).as_posix()
            rows.append({"cell": cell, "before -> now": changes(before, now)})
    return rows


def compared(
    evidence: Evidence, results: Results, folder: Path, cells: dict[int, list[Path]],
    is_drawn_alike: bool = False,
) -> Comparison:  # fmt: skip
    """Compare the results of a grid with its control, see :func:`gather`."""
    people = {number for _, number in results.places}
    named = Arm.parse(evidence.named_arm) if evidence.named_arm else None
    planned = [
        arm for number in {*evidence.people, *people} for arm in planned_arms(evidence, number)
    ]
    return gather(
        folder, results, Arm.parse(evidence.control), named, planned,
        ceiling_people=max({*evidence.people, *people}), cells=cells, is_drawn_alike=is_drawn_alike,
    )  # fmt: skip


def read_cells(folder: Path, evidence: Evidence) -> tuple[list[dict[str, Any]], list[str]]:
    """The planned recognisers that were tested, those of earlier seeds too; what is missing."""
    tested = {}
    for path in folder.glob("seed_*/people_*/test/results.json"):
        for each in read_own(path):
            # Skip recognisers and folders that were put there by hand.
            if path.parts[-4:-2] == (f"seed_{each['seed']}", f"people_{each['people']}"):
                tested[each["people"], each["seed"], Arm.parse(each["arm"])] = each
    for file in evidence.results:
        for each in read_results(Path(file)):
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
