"""The whole study, from handwriting to report.

    python pipeline.py experiment=demo                                # 2 CPU cores, 10 minutes
    python pipeline.py experiment=katakana data=manifest data.manifest=PATH
    python pipeline.py experiment=paper runtime=gpu data=manifest data.manifest=PATH
    torchrun --nproc_per_node 8 pipeline.py experiment=paper runtime=gpu            # 8 GPUs

Stages whose inputs have not changed are not run again. ``image_weight``, ``text_weight`` and
``clip_weight`` replace encoders that would be trained. A key that a study sets itself, or that none
of its stages reads, is refused (``ignored``). Writes ``runs/<name>/report.html`` and
``metrics.json`` beside it.
"""

from handwriting.script import run_script

# isort: split

import time
from dataclasses import fields, replace
from pathlib import Path

from generators import GENERATORS, Generator, Stage, chosen
from handwriting.config import Config, Evidence
from handwriting.corpus.audit import audit, check_given, redraw_arm
from handwriting.corpus.corpus import open_corpus, record_study, require_test_writers
from handwriting.errors import InputError
from handwriting.overrides import refuse_values
from handwriting.parallel import ranks
from handwriting.parallel.workers import run_parallel
from handwriting.runs.folder import changes, date_of, lock_folder, run_folder
from handwriting.storage.json_files import plain, read_or_empty
from training_character_classification import judge, test, train as train_classifier
from training_character_classification.arms import (
    Arm,
    arm_config,
    arm_of,
    choose_control,
    judge_arm,
)  # fmt: skip
from training_character_classification.report.study import write_study_report
from training_clip import train_clip, train_image_encoder, train_text_encoder

Job = tuple[Stage, Config]
WEIGHTS = ("image_weight", "text_weight", "clip_weight")
SET_HERE = {  # what single scripts take, and a study sets for each of its stages
    "model_mode": "name the modes in pipeline.generators, such as [adain_clip]",
    "step_type": "a study trains every step; training_style_transfer/train.py trains one",
    "use_gen": "a study's recognisers see the images of pipeline.generators; "
    "training_character_classification/train.py takes others",
    "gen_weight": "a study trains its generators; generate_images.py of each takes weights",
    "disc_weight": "a study trains its discriminators; training_style_transfer/train.py takes one",
    "generation.hands": "a study's generators draw in the hands of its own training writers; "
    "generate_images.py of each takes files",
    "generation.output": "a study generates into generated/; generate_images.py takes a folder",
    "evaluation.recognisers": "a study tests all its arms; "
    "training_character_classification/test.py takes a list",
    "evaluation.manifest": "a study reads its test writers; "
    "training_character_classification/test.py takes a manifest",
    **dict.fromkeys(
        [f"classifier.{key}" for key in ("name", "splits", "use_real", "use_fonts",
                                         "use_simulated")],
        "arms say what a study's recognisers see: pipeline.arms=[real+fonts+classical]",
    ),
}  # fmt: skip


def main(config: Config) -> Path:
    started = time.perf_counter()
    if not (config.pipeline.generators or config.pipeline.arms):
        raise InputError("pipeline.generators=[]: nothing to compare, name at least one")
    refuse_values(config, SET_HERE)
    generators = chosen(config)
    corpus = open_corpus(config)
    require_test_writers(corpus)
    check_given(config, corpus)
    with lock_folder(run_folder(config)):
        tell_replaced(config)
        report = compare(config, generators)
        record_study(config, corpus)
    print(f"\n{report}\n{time.perf_counter() - started:.0f} s")
    return report


def tell_replaced(config: Config) -> None:
    """Say which settings differ from those of the study's report, which will be replaced."""
    report, study = (run_folder(config) / name for name in ("report.html", "study.json"))
    before, now = read_or_empty(study).get("config", {}), plain(config)
    if ranks.is_main() and report.is_file() and before not in ({}, now):
        differing = changes(before, now)
        print(f"[{config.name}] {differing}: replaces the report of {date_of(report)}", flush=True)


def compare(config: Config, generators: list[Generator]) -> Path:
    """Train all arms, test and report them; a second time only what has changed."""
    arms = study_arms(config)
    num_workers = config.pipeline.num_workers
    generated = [arm for arm in arms if arm.use_gen]
    controls = [arm for arm in arms if not arm.use_gen]
    choose_control(config.pipeline.control, [arm_of(arm) for arm in arms])
    check_redraw(config, controls)
    trained = encoders(config, generators)
    first: list[Stage] = [trained[name] for name in trained if name != "clip"]
    run_parallel([(stage, config) for stage in first], num_workers)
    if "clip" in trained:
        train_clip.main(config)
    every: list[Job] = [(row.train, row.configured(config)) for row in generators]
    jobs = [job for i, job in enumerate(every) if job not in every[:i]]  # hands are learnt once
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
    evaluation = replace(config.evaluation, recognisers=recognisers)
    test.main(replace(config, evaluation=evaluation))
    return write_study_report(config, {row.name: row.caption for row in generators})


def check_redraw(config: Config, controls: list[Config]) -> None:
    """Check that the recogniser of ``generation.redraw`` is there when images are generated.

    Raises:
        InputError: neither weights nor a control, which are trained before.
    """
    named, trained = redraw_arm(config), [str(arm_of(c)) for c in controls if c.seed == config.seed]
    if named and named not in trained:
        raise InputError(
            f"generation.redraw={named}: expected weights, a run folder, or an arm of seed "
            f"{config.seed} without generated images (there are: {', '.join(trained) or 'none'})"
        )


def encoders(config: Config, generators: list[Generator]) -> dict[str, Stage]:
    """The encoders that the generators need and no weights are given for, in order."""
    needs_clip = any(row.needs_clip(config) for row in generators) and not config.clip_weight
    needs_text = needs_clip and not (config.text_weight or train_clip.starts_from_base(config))
    needs_image = needs_clip or any(row.mode for row in generators)  # for the perceptual loss
    needed = {
        "image_encoder": (needs_image and not config.image_weight, train_image_encoder.main),
        "text_encoder": (needs_text, train_text_encoder.main),
        "clip": (needs_clip, train_clip.main),
    }
    return {name: stage for name, (is_needed, stage) in needed.items() if is_needed}


def ignored(config: Config) -> dict[str, str]:
    """The keys that this study does not honour, with what to do instead."""
    study, generators = config.pipeline, chosen(config)
    trained = encoders(config, generators)
    idle = f"no stage of this study reads it (pipeline.generators=[{','.join(study.generators)}]"
    idle += "".join(f", {key}=..." for key in WEIGHTS if getattr(config, key)) + ")"
    uses_text = any(row.needs_clip(config) for row in generators)
    unread = {
        **{row.name: row.name not in study.generators for row in GENERATORS.values()
           if not row.mode},
        "redrawn": not any(row.is_drawn for row in generators),
        "style_transfer": not any(row.mode for row in generators),
        **{name: name not in trained for name in ("image_encoder", "text_encoder", "clip")},
        "aug": not {"image_encoder", "clip"} & trained.keys(),
        "structure": not uses_text,
        "clip_weight": not uses_text,
        "text_weight": "clip" not in trained,
        "image_weight": "clip" not in trained and not any(row.mode for row in generators),
        "weights": not trained and not any(row.mode for row in generators),
        "generation": not generators,
        "evaluation.judge_steps": not generators,
    }  # fmt: skip
    others = {key.name for key in fields(Evidence)} - {"recipes", "control"}
    return {
        **SET_HERE,
        **{name: idle for name, is_unread in unread.items() if is_unread},
        **({"pipeline.augmentations": "pipeline.arms names the arms"} if study.arms else {}),
        **dict.fromkeys((f"evidence.{name}" for name in sorted(others)), "evidence.py reads it"),
    }


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
    run_script(main, ignored=ignored)


if __name__ == "__main__":
    cli()
