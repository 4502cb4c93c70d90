"""The whole study, from handwriting to report.

    python pipeline.py experiment=demo                                # 2 CPU cores, 10 minutes
    python pipeline.py experiment=katakana data=manifest data.manifest=PATH
    python pipeline.py experiment=paper runtime=gpu data=manifest data.manifest=PATH

Stages whose inputs have not changed are not run again. Ends with ``runs/<name>/report.html`` and
``metrics.json`` beside it.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from handwriting.config import Config, StepType, run_script
from handwriting.run import run_folder
from training_character_classification import judge, test, train as train_classifier
from training_character_classification.arms import arm_name, judge_arm
from training_character_classification.comparison import write_study_report
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import generate_images, train as train_generator


def main(config: Config) -> Path:
    started = time.perf_counter()
    # The study's own weights feed its own stages; weights from elsewhere belong to single scripts.
    config = replace(
        config, step_type=StepType.all, gen_weight=None, disc_weight=None, use_gen="", aug=True
    )
    train_image_encoder.main(config)
    train_text_encoder.main(config)
    train_clip.main(config)
    manifests = {}
    for mode in config.pipeline.model_modes:
        of_mode = replace(config, model_mode=mode)
        train_generator.main(of_mode)
        manifests[mode.value] = generate_images.main(of_mode) / "manifest.json"
    train_classifier.main(judge_arm(config))
    judge.main(replace(config, use_gen=[str(path) for path in manifests.values()]))

    arms = all_arms(config, manifests)
    for arm in arms:
        train_classifier.main(arm)
    recognisers = [
        str(run_folder(config) / "classifier" / arm_name(arm) / f"seed_{arm.seed}") for arm in arms
    ]
    test.main(replace(config, evaluation=replace(config.evaluation, recognisers=recognisers)))
    report = write_study_report(config)
    print(f"\n{report}\n{time.perf_counter() - started:.0f} s")
    return report


def all_arms(config: Config, manifests: dict[str, Path]) -> list[Config]:
    """The configurations of every arm: controls and generators, augmentation, seeds.

    Args:
        manifests: of generated images, by the name of their generator.
    """
    sees: list[tuple[dict[str, Any], str]] = [({}, ""), ({"use_fonts": True}, "")]
    if config.data.helper_writers:
        sees += [({"use_helpers": True}, ""), ({"use_fonts": True, "use_helpers": True}, "")]
    sees += [({}, str(path)) for path in manifests.values()]
    return [
        replace(config, classifier=replace(config.classifier, **sources), use_gen=use_gen,
                aug=aug, seed=seed)
        for sources, use_gen in sees
        for aug in config.pipeline.augmentations
        for seed in config.pipeline.seeds
    ]  # fmt: skip


def cli() -> None:
    run_script(main)


if __name__ == "__main__":
    cli()
