"""The whole study, from handwriting to report.

    python pipeline.py experiment=demo                                # 2 CPU cores, 10 minutes
    python pipeline.py experiment=katakana data=manifest data.manifest=PATH
    python pipeline.py experiment=paper runtime=gpu data=manifest data.manifest=PATH

Stages whose inputs have not changed are not run again. Ends with ``runs/<name>/report.html`` and
``metrics.json`` beside it.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from joblib import Parallel, delayed

from handwriting.config import Condition, Config, GeneratorName, ModelMode, StepType, run_script
from handwriting.errors import InputError
from handwriting.run import run_folder
from training_cdiffusion_model import (
    generate_images as generate_cdiffusion,
    train as train_cdiffusion,
)
from training_character_classification import judge, test, train as train_classifier
from training_character_classification.arms import arm_name, judge_arm
from training_character_classification.comparison import write_study_report
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_dcgan import generate_images as generate_dcgan, train as train_dcgan
from training_style_transfer import (
    generate_images as generate_style_transfer,
    train as train_style_transfer,
)
from training_vae import generate_images as generate_vae, train as train_vae

Stage = Callable[[Config], Path]
Job = tuple[Stage, Config]
Sources = tuple[dict[str, bool], str]  # fields of config.classifier, and use_gen

OTHER_GENERATORS = {
    GeneratorName.dcgan: (train_dcgan, generate_dcgan),
    GeneratorName.vae: (train_vae, generate_vae),
    GeneratorName.cdiffusion: (train_cdiffusion, generate_cdiffusion),
}


def main(config: Config) -> Path:
    started = time.perf_counter()
    for key in ("generators", "seeds", "augmentations"):
        if not getattr(config.pipeline, key):
            raise InputError(f"pipeline.{key}=[]: nothing to compare, name at least one")
    check_unseen(config)
    # The study's own weights feed its own stages; weights from elsewhere belong to single scripts.
    config = replace(
        config, step_type=StepType.all, gen_weight=None, disc_weight=None, use_gen="", aug=True,
        generation=replace(config.generation, output=None),
    )  # fmt: skip
    side_by_side([(train_image_encoder.main, config), (train_text_encoder.main, config)])
    train_clip.main(config)
    controls = arms(config, control_sources(config))
    generators = [stages_of(name, config) for name in config.pipeline.generators]
    jobs: list[Job] = [(train, of_one) for train, _, of_one in generators]
    jobs += [(train_classifier.main, arm) for arm in [judge_arm(config), *controls]]
    side_by_side(jobs)
    manifests = [generate(of_one) / "manifest.json" for _, generate, of_one in generators]
    judge.main(replace(config, use_gen=[str(path) for path in manifests]))
    sources: list[Sources] = [({}, str(path)) for path in manifests]
    generated = arms(config, sources)
    side_by_side([(train_classifier.main, arm) for arm in generated])
    recognisers = [
        str(run_folder(config) / "classifier" / arm_name(arm) / f"seed_{arm.seed}")
        for arm in [*controls, *generated]
    ]
    evaluation = replace(config.evaluation, recognisers=recognisers, manifest=None)
    test.main(replace(config, evaluation=evaluation))
    report = write_study_report(config)
    print(f"\n{report}\n{time.perf_counter() - started:.0f} s")
    return report


def check_unseen(config: Config) -> None:
    """Check that every generator can draw the characters that none is to see.

    Raises:
        InputError: one of them knows a character by its number alone.
    """
    by_number = {GeneratorName.adain_mlp, GeneratorName.dcgan, GeneratorName.vae}
    if config.cdiffusion.condition is Condition.character:
        by_number.add(GeneratorName.cdiffusion)
    unable = [name.value for name in config.pipeline.generators if name in by_number]
    if config.data.unseen_characters and unable:
        raise InputError(
            f"data.unseen_characters={config.data.unseen_characters}: {', '.join(unable)} can draw "
            "only what they were trained on; leave them out of pipeline.generators (cdiffusion can "
            "with cdiffusion.condition=text)"
        )


def stages_of(name: GeneratorName, config: Config) -> tuple[Stage, Stage, Config]:
    """What trains a generator, what generates with it, and the configuration for both."""
    if name in OTHER_GENERATORS:
        train, generate = OTHER_GENERATORS[name]
        return train.main, generate.main, config
    mode = replace(config, model_mode=ModelMode(name.value))
    return train_style_transfer.main, generate_style_transfer.main, mode


def side_by_side(jobs: list[Job]) -> None:
    """Run stages that do not need each other, ``pipeline.num_workers`` processes at a time.

    Small networks gain more from a process per core than from threads that wait for each other.
    """
    num_workers = jobs[0][1].pipeline.num_workers
    Parallel(n_jobs=num_workers)(delayed(stage)(config) for stage, config in jobs)


def control_sources(config: Config) -> list[Sources]:
    """What the arms without generated images see."""
    sources: list[Sources] = [({}, ""), ({"use_fonts": True}, "")]
    if config.data.helper_writers:
        sources += [({"use_helpers": True}, ""), ({"use_fonts": True, "use_helpers": True}, "")]
    return sources


def arms(config: Config, sources: list[Sources]) -> list[Config]:
    """The configurations of every arm: sources, classical augmentation, seeds."""
    # What an arm sees is decided here alone: an override would give several arms one name.
    alone = replace(
        config.classifier, name=None, splits=["train"], use_real=True, use_fonts=False,
        use_helpers=False,
    )  # fmt: skip
    return [
        replace(
            config,
            classifier=replace(alone, **fields),  # type: ignore[arg-type]
            use_gen=use_gen,
            aug=aug,
            seed=seed,
        )
        for fields, use_gen in sources
        for aug in config.pipeline.augmentations
        for seed in config.pipeline.seeds
    ]


def cli() -> None:
    run_script(main)


if __name__ == "__main__":
    cli()
