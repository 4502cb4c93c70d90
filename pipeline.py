"""The whole study, from handwriting to report.

    python pipeline.py experiment=demo                                # 2 CPU cores, 10 minutes
    python pipeline.py experiment=katakana data=manifest data.manifest=PATH
    python pipeline.py experiment=paper runtime=gpu data=manifest data.manifest=PATH
    torchrun --nproc_per_node 8 pipeline.py experiment=paper runtime=gpu            # 8 GPUs

Stages whose inputs have not changed are not run again. Ends with ``runs/<name>/report.html`` and
``metrics.json`` beside it.
"""

from handwriting.script import run_script

# isort: split

import time
from dataclasses import replace
from pathlib import Path

from generators import Generator, Stage, chosen
from handwriting.config import Config, StepType
from handwriting.corpus.audit import audit
from handwriting.corpus.corpus import open_corpus, record_study, require_test_writers
from handwriting.errors import InputError
from handwriting.parallel.workers import run_parallel
from handwriting.runs.run import lock_folder, run_folder
from training_character_classification import judge, test, train as train_classifier
from training_character_classification.arms import (
    Arm,
    arm_config,
    arm_of,
    choose_control,
    judge_arm,
)  # fmt: skip
from training_character_classification.report.sections import write_study_report
from training_clip import train_clip, train_image_encoder, train_text_encoder

Job = tuple[Stage, Config]


def main(config: Config) -> Path:
    started = time.perf_counter()
    if not (config.pipeline.generators or config.pipeline.arms):
        raise InputError("pipeline.generators=[]: nothing to compare, name at least one")
    generators = chosen(config)
    corpus = open_corpus(config)
    require_test_writers(corpus)
    with lock_folder(run_folder(config)):
        report = compare(config, generators)
        record_study(config, corpus)
    print(f"\n{report}\n{time.perf_counter() - started:.0f} s")
    return report


def compare(config: Config, generators: list[Generator]) -> Path:
    """Train all arms, test and report them; a second time only what has changed."""
    # The study's own weights feed its own stages; weights from elsewhere belong to single scripts.
    config = replace(
        config, step_type=StepType.all, gen_weight=None, disc_weight=None, use_gen="", aug=True,
        generation=replace(config.generation, output=None),
    )  # fmt: skip
    arms = study_arms(config)
    num_workers = config.pipeline.num_workers
    generated = [arm for arm in arms if arm.use_gen]
    controls = [arm for arm in arms if not arm.use_gen]
    choose_control(config.pipeline.control, [arm_of(arm) for arm in arms])
    if any(row.needs_clip(config) for row in generators):
        encoders = (train_image_encoder, train_text_encoder)
        run_parallel([(stage.main, config) for stage in encoders], num_workers)
        train_clip.main(config)
    jobs: list[Job] = [(row.train, row.configured(config)) for row in generators]
    # Where nothing is generated there is nothing to judge.
    judges = [judge_arm(config)] if generators else []
    jobs += [(train_classifier.main, arm) for arm in [*judges, *controls]]
    run_parallel(jobs, num_workers)
    manifests = [row.generate(row.configured(config)) / "manifest.json" for row in generators]
    if generators:
        judge.main(replace(config, use_gen=[str(path) for path in manifests]))
    run_parallel([(train_classifier.main, arm) for arm in generated], num_workers)
    recognisers = [
        str(run_folder(config) / "classifier" / str(arm_of(arm)) / f"seed_{arm.seed}")
        for arm in [*controls, *generated]
    ]
    print(audit(config, recognisers), flush=True)  # nothing is tested when something has leaked
    evaluation = replace(config.evaluation, recognisers=recognisers, manifest=None)
    test.main(replace(config, evaluation=evaluation))
    return write_study_report(config, {row.name: row.caption for row in generators})


def study_arms(config: Config) -> list[Config]:
    """The configurations of all arms, for each seed.

    Without a list: controls and generators, each without and with classical augmentation.
    """
    study = config.pipeline
    sees: list[tuple[str, ...]] = [("real",), ("real", "fonts")]
    if config.data.num_simulated_writers:
        sees += [("real", "simulated"), ("real", "fonts", "simulated")]
    sees += [("real", name) for name in study.generators]
    every = [Arm(sources, aug) for sources in sees for aug in study.augmentations]
    arms = [Arm.parse(name) for name in study.arms] if study.arms else every
    return [replace(arm_config(config, arm), seed=seed) for arm in arms for seed in study.seeds]


def cli() -> None:
    run_script(main)


if __name__ == "__main__":
    cli()
