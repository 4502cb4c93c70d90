"""The experiment: whether generated handwriting helps a recogniser, and by how much.

    python evidence.py experiment=evidence data=manifest data.manifest=PATH
    python evidence.py experiment=evidence data=manifest data.manifest=PATH evidence.seeds=[5,6,7]
    python evidence.py experiment=evidence data=manifest evidence.seeds=[] evidence.results=[PATH]
    python evidence.py -m experiment=evidence data=manifest data.manifest=PATH \
        evidence.seeds=[0],[1],[2] hydra/launcher=joblib

With the extra ``slurm``, ``hydra/launcher=submitit_slurm`` makes an array job of the seeds; with
``hydra.launcher.tasks_per_node=8``, eight processes with one GPU each share every cell.

A grid of arms x people x seeds. Each pair of a seed and a number of training people is a study of
its own in ``runs/<name>/seed_<seed>/people_<n>/``: the seed rotates who trains, who validates and
who is tested, and everything that learns is trained on these people alone. Finished cells are not
run again, so the same command resumes a killed run; seeds, people and arms can be added, and
results of other runs (``evidence.results``, their ``results.json``) join the report. Writes
``runs/<name>/report.html``, ``table.txt`` and ``metrics.json`` over all finished cells.
"""

from handwriting.script import run_script

# isort: split

import time
from dataclasses import replace
from pathlib import Path

import pipeline
from generators import GENERATORS
from handwriting.config import Config
from handwriting.corpus.audit import check_given
from handwriting.corpus.corpus import open_corpus, require_test_writers
from handwriting.corpus.splits import Reader
from handwriting.errors import InputError
from handwriting.overrides import refuse_values
from handwriting.parallel.workers import run_parallel
from handwriting.runs.folder import lock_folder, run_folder
from training_character_classification.arms import planned_arms
from training_character_classification.report.evidence import write_evidence_report

SET_HERE = {  # what the grid sets for each of its cells
    "data.people": "evidence.people=[1,2] names the numbers of training people",
    "data.rotation": "evidence.seeds turns who trains and who is tested",
}
GRID = "the grid sets it: evidence.{arms,control,people,seeds}"


def main(config: Config) -> Path:
    started = time.perf_counter()
    refuse_values(config, {**pipeline.SET_HERE, **SET_HERE})
    grid = config.evidence
    if grid.control not in grid.arms:
        raise InputError(f"evidence.control={grid.control}: not among evidence.arms")
    if grid.named_arm not in (None, *grid.arms):
        raise InputError(
            f"evidence.named_arm={grid.named_arm}: not among evidence.arms. Name the one that is "
            "to answer the question, or null"
        )
    if not grid.seeds and not grid.results:
        raise InputError(
            "evidence.seeds=[]: nothing runs, so name what to report: evidence.results"
        )
    cells = [cell(config, seed, people) for seed in grid.seeds for people in grid.people]
    corpora = [open_corpus(one) for one in cells]  # wrong data stop here, not in the last cell
    for one, corpus in zip(cells, corpora, strict=True):
        require_test_writers(corpus)
        check_given(one, corpus)
    run_parallel([(pipeline.main, one) for one in cells], config.pipeline.num_workers)
    assert isinstance(config.data, Reader)
    is_real = corpora[0].is_real if corpora else config.data.is_real
    with lock_folder(run_folder(config)):
        report = write_evidence_report(config, is_real)
    print(f"\n{report}\n{time.perf_counter() - started:.0f} s")
    return report


def ignored(config: Config) -> dict[str, str]:
    """The keys that no cell honours, with what to do instead."""
    grid = config.evidence
    of_cells = [pipeline.ignored(cell(config, 0, people)) for people in grid.people] or [{}]
    in_all = {key: why for key, why in of_cells[0].items() if all(key in one for one in of_cells)}
    found = {key: why for key, why in in_all.items() if not key.startswith("evidence.")}
    own = ("generators", "seeds", "arms", "control", "augmentations")
    seed = {
        "seed": "evidence.seeds=[3] names the cells' seeds, data.split_seed the order of people"
    }
    return {
        **found, **SET_HERE, **seed,
        **dict.fromkeys((f"pipeline.{key}" for key in own), GRID),
    }  # fmt: skip


def cell(config: Config, seed: int, people: int) -> Config:
    """The study of one seed and one number of training people."""
    grid = config.evidence
    arms = planned_arms(grid, people)
    seen = {generator for arm in arms for generator in arm.generators}
    study = replace(
        config.pipeline, control=grid.control, arms=[str(arm) for arm in arms], seeds=[seed],
        generators=[name for name in GENERATORS if name in seen], num_workers=1,
    )  # fmt: skip
    data = replace(config.data, people=people, rotation=seed)
    name = f"{config.name}/seed_{seed}/people_{people}"
    return replace(config, name=name, seed=seed, data=data, pipeline=study)


def cli() -> None:
    run_script(main, ignored=ignored, folder_keys=["evidence.seeds", "evidence.people"])


if __name__ == "__main__":
    cli()
