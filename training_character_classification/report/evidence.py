"""The report of the evidence: all cells of the grid that were tested, here or elsewhere."""

from pathlib import Path
from typing import Any

from handwriting.config import Config, Evidence
from handwriting.corpus.readers.simulated import SimulatedData
from handwriting.parallel.ranks import main_only
from handwriting.reports.page import Section
from handwriting.runs.folder import run_folder
from handwriting.storage.atomic import write_text
from handwriting.storage.json_files import read_own
from training_character_classification.arms import Arm, planned_arms
from training_character_classification.report.comparison import Comparison, gather
from training_character_classification.report.results import (
    Results,
    people_text,
    results_of,
    write_results,
)
from training_character_classification.report.sections import table, write_page


@main_only
def write_evidence_report(config: Config, is_real: bool) -> Path:
    """Gather the cells tested so far; ``is_real`` is whether people wrote the test images.

    Writes ``table.txt`` too, and ``results.json`` with the results of all recognisers.
    """
    folder, evidence = run_folder(config), config.evidence
    recognisers, missing = read_cells(folder, evidence)
    results = results_of(recognisers)
    numbers = sorted({number for _, number in results.places})
    cells = {number: sorted(folder.glob(f"seed_*/people_{number}")) for number in numbers}
    is_drawn_alike = isinstance(config.data, SimulatedData)
    found = compared(evidence, results, folder, cells, is_drawn_alike)
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
    return write_page(
        found, f"Evidence {config.name}", metrics, is_real, question,
        config.evaluation.num_confusions, notes=absent,
    )  # fmt: skip


def compared(
    evidence: Evidence, results: Results, folder: Path, cells: dict[int, list[Path]],
    is_drawn_alike: bool = False,
) -> Comparison:  # fmt: skip
    """Results of a grid beside its control, see :func:`gather`."""
    people = {number for _, number in results.places}
    return gather(
        folder, results, Arm.parse(evidence.control), Arm.parse(evidence.recipe_arm),
        planned=[arm for number in {*evidence.people} for arm in planned_arms(evidence, number)],
        ceiling_people=max(*evidence.people, *people), cells=cells, is_drawn_alike=is_drawn_alike,
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
