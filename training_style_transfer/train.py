"""Train a style-transfer generator in four steps.

    python training_style_transfer/train.py model_mode=adain_clip step_type=all
    python training_style_transfer/train.py -m model_mode=adain,adain_mlp,adain_clip experiment=demo
    python training_style_transfer/train.py model_mode=adain step_type=step2 \
        gen_weight=PATH disc_weight=PATH clip_weight=PATH

Content and style change from step to step (see ``feed.py``); each step starts from the weights of
the one before. With ``weights=base``, mode ``adain_clip`` starts from the networks that ship, takes
their sizes, whatever the characters, and runs the last step alone. Writes
``runs/<name>/style_transfer/<mode>/<step>/`` with ``generator.safetensors``,
``discriminator.safetensors`` and sample sheets: content, style, output, target from top to bottom.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from handwriting.config import Config, Content, ModelMode, StepType
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.drawn import require_drawings
from handwriting.errors import InputError
from handwriting.images.sheets import float_sheet
from handwriting.networks.encoders import Classifier
from handwriting.networks.optimizer import MovingAverage
from handwriting.rng import Rng
from handwriting.runs.collapse import check_variety
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import (
    Weights,
    base_weights,
    build,
    load_weights,
    save_weights,
)
from training_clip.retrieval import frozen_clip
from training_style_transfer.feed import STEPS, Batch, PairFeed
from training_style_transfer.model import Discriminator, Generator
from training_style_transfer.objective import (
    GeneratorObjective,
    PerceptualLoss,
    hinge_discriminator_loss,
)

KINDS = ("generator", "discriminator")
SIZES = ("dim", "dim_mults", "num_blocks", "patch_px", "full_attention")  # of the generator


def main(config: Config) -> Path:
    if config.step_type is not StepType.all:
        return train_step(config, config.step_type.value)
    if config.gen_weight or config.disc_weight:
        raise InputError(
            "gen_weight and disc_weight are where a single step starts: name it, for example "
            "step_type=step2"
        )
    steps = list(STEPS)[-1:] if has_base(config) else STEPS
    return [train_step(config, step_type) for step_type in steps][-1]


def has_base(config: Config) -> bool:
    """Whether the mode starts from the weights that ship."""
    return config.weights is not None and config.model_mode is ModelMode.adain_clip


def with_base(config: Config) -> Config:
    """The configuration, with the sizes of the networks that ship if training starts from them.

    Raises:
        InputError: they were trained with other contents.
    """
    if not has_base(config):
        return config
    settings = config.style_transfer
    if settings.content is not Content.drawing:
        raise InputError(
            f"style_transfer.content={settings.content}: the weights of weights=base were trained "
            "with line drawings; leave one of the two options out"
        )
    generator, discriminator = (base_weights(kind).arguments for kind in KINDS)
    sizes = {key: generator[key] for key in SIZES}
    sizes |= {
        "discriminator_dim": discriminator["dim"],
        "discriminator_layers": discriminator["num_layers"],
    }
    return replace(config, style_transfer=replace(settings, **sizes))


def learning_rate(config: Config) -> float:
    """The generator's: as configured, else 1e-3, or 2e-4 from the base, lest its pens be lost."""
    rate = config.style_transfer.learning_rate
    if rate is not None:
        return rate
    return 2e-4 if has_base(config) else 1e-3


def train_step(config: Config, step_type: str) -> Path:
    """One of the four steps, from the weights of the one before."""
    check_size(config)
    config = with_base(config)
    settings, mode = config.style_transfer, config.model_mode.value
    start, clip, encoder = start_weights(config, step_type), *frozen_weights(config)
    corpus = open_corpus(config)
    if settings.content is Content.drawing:
        require_drawings(corpus.characters)
    sections = ("seed", "size_px", "data", "fonts", "structure", "model_mode", "style_transfer")
    files = {weights.kind: weights.path for weights in (*start, clip, encoder)}
    inputs = {**files, "corpus": corpus.key, "step": step_type}
    run = Run(config, f"style_transfer/{mode}/{step_type}", sections, inputs)
    if run.is_done:
        return run.folder
    seen = writers_seen(*corpus.sources.values(), *start, clip, encoder)
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    cache_dir = Path(config.cache_dir)
    feed = PairFeed(corpus, config.fonts.reference, settings, runtime.device, cache_dir)
    show = feed.draw(step_type, settings.num_samples, Rng(config.seed, runtime.device))
    clip_network, class_embeddings = frozen_clip(clip, config.structure, corpus, runtime)
    perceptual = runtime.freeze(PerceptualLoss(build(Classifier, encoder).encoder))
    objective = GeneratorObjective(perceptual, clip_network, class_embeddings, settings.weights)
    trained = to_train(config, start, corpus, class_embeddings, runtime)
    generator, discriminator = trained.generator, trained.discriminator

    run.begin()
    num_steps = settings.num_steps[step_type]
    for step in run.steps(num_steps, vars(trained), rng):
        batch = feed.draw(step_type, settings.batch_size, rng)
        dropped = rng.rand(len(batch.labels)) < settings.condition_dropout

        # (1) The generator: one gradient at its output, then back through it.
        with runtime.autocast():
            style = generator.style(batch.style)
            output = generator(batch.content, style, batch.labels, dropped)
            gradient, terms = objective.gradient(
                generator, discriminator, output, batch.target, style, batch.labels
            )
        trained.generator_optimizer.zero_grad()
        output.backward(gradient)
        generator_gradient = runtime.step(trained.generator_optimizer)
        trained.averaged.update_parameters(generator)

        # (2) The discriminator: real against generated, generated without its graph.
        with runtime.autocast():
            logits = discriminator(torch.cat([batch.target, output.detach()])).float()
            discriminator_loss = hinge_discriminator_loss(*logits.chunk(2))
        trained.discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        discriminator_gradient = runtime.step(trained.discriminator_optimizer)

        run.log(
            discriminator=discriminator_loss, **terms, generator_gradient=generator_gradient,
            discriminator_gradient=discriminator_gradient,
        )  # fmt: skip
        if step % settings.sample_every == 0 or step == num_steps:
            made = samples(trained.averaged.module, show, runtime)
            rows = [show.content, show.style, made, show.target]
            run.sample(f"step_{step:06d}", float_sheet(rows))
            check_variety(run, step, made.unsqueeze(0), show.target.unsqueeze(0))

    facts = {
        "characters": corpus.characters,
        "drawable": corpus.seen if generator.mode == "adain_mlp" else corpus.characters,
        "mode": mode, "step_type": step_type, "size_px": config.size_px, "writers_seen": seen,
    }  # fmt: skip
    return run.finish(run.last_logged(), trained.save(run.folder, facts))


@dataclass
class Trained:
    """What a step trains: everything that a checkpoint holds, by name."""

    generator: Generator
    discriminator: Discriminator
    averaged: MovingAverage  # of the generator: the weights that are saved
    generator_optimizer: Adam
    discriminator_optimizer: Adam

    def save(self, folder: Path, facts: Mapping[str, Any]) -> list[Path]:
        kept = (
            ("generator", self.generator.arguments, self.averaged.module.state_dict()),
            ("discriminator", self.discriminator.arguments, self.discriminator.state_dict()),
        )
        return [
            save_weights(folder / f"{kind}.safetensors", kind, arguments, facts, state)
            for kind, arguments, state in kept
        ]


def check_size(config: Config) -> None:
    """Check that both networks can halve the study's images as often as they have levels.

    Raises:
        InputError: they cannot.
    """
    settings, size_px = with_base(config).style_transfer, config.size_px
    fold_px = settings.patch_px * 2 ** (len(settings.dim_mults) - 1)
    if size_px % fold_px:
        raise InputError(
            f"size_px={size_px} is not a multiple of {fold_px}, as style_transfer.patch_px="
            f"{settings.patch_px} and the {len(settings.dim_mults)} levels of dim_mults require"
        )
    if size_px >> settings.discriminator_layers < 3:
        raise InputError(
            f"style_transfer.discriminator_layers={settings.discriminator_layers}: images of "
            f"size_px={size_px} can be halved at most {(size_px // 3).bit_length() - 1} times"
        )


def start_weights(config: Config, step_type: str) -> list[Weights]:
    """The generator's and the discriminator's weights to start from; none for step1.

    Raises:
        InputError: the step before has not been trained.
    """
    steps, mode = list(STEPS), config.model_mode.value
    given = dict(zip(KINDS, (config.gen_weight, config.disc_weight), strict=True))
    if step_type == steps[0]:
        if not any(given.values()):
            return []
        if not all(given.values()):
            raise InputError(
                f"{step_type} starts from random weights, or from both gen_weight and "
                "disc_weight: give both or neither"
            )
    if has_base(config) and step_type == steps[-1] and not any(given.values()):
        return [base_weights(kind) for kind in KINDS]
    before = steps[max(steps.index(step_type) - 1, 0)]
    previous = run_folder(config) / "style_transfer" / mode / before
    made_by = f"training_style_transfer/train.py model_mode={mode} step_type={before}"
    return [
        load_weights(path or previous, kind, config.size_px, made_by)
        for kind, path in given.items()
    ]


def frozen_weights(config: Config) -> tuple[Weights, Weights]:
    """The weights of CLIP and of the image encoder, which the objective is computed with."""
    folder = run_folder(config)
    clip = config.clip_weight or folder / "clip"
    encoder = config.image_weight or folder / "image_encoder"
    return (
        load_weights(clip, "clip", config.size_px),
        load_weights(encoder, "image_encoder", config.size_px),
    )


def to_train(
    config: Config,
    start: Sequence[Weights],
    corpus: Corpus,
    class_embeddings: Tensor,
    runtime: Runtime,
) -> Trained:
    """Both networks, with the weights to start from and the text embeddings of the classes.

    Raises:
        InputError: the weights are those of another network, or for other characters.
    """
    settings = config.style_transfer
    generator = Generator(
        config.model_mode.value, len(corpus.characters), class_embeddings.shape[1], settings.dim,
        settings.dim_mults, settings.num_blocks, settings.patch_px, settings.full_attention,
        is_inking=settings.content is Content.drawing,
    )  # fmt: skip
    discriminator = Discriminator(settings.discriminator_dim, settings.discriminator_layers)
    for weights, network in zip(start, (generator, discriminator), strict=False):
        weights.start(network, corpus.characters)
    if settings.gradient_checkpointing:
        generator.save_memory()
    if generator.mode == "adain_clip":
        generator.class_embedding.weight.copy_(class_embeddings)
    runtime.to_device(generator)
    runtime.to_device(discriminator)
    adam = partial(Adam, betas=settings.betas, fused=True)
    return Trained(
        generator, discriminator, MovingAverage(generator, settings.ema_decay),
        adam(generator.parameters(), learning_rate(config)),
        adam(discriminator.parameters(), settings.discriminator_learning_rate),
    )  # fmt: skip


@torch.no_grad()
def samples(generator: Any, show: Batch, runtime: Runtime) -> Tensor:
    """The output (B, 1, H, W) for a batch."""
    generator.eval()
    with runtime.autocast():
        return generator(show.content, generator.style(show.style), show.labels)


if __name__ == "__main__":
    run_script(
        main,
        reads=[
            "model_mode",
            "step_type",
            "style_transfer",
            "clip_weight",
            "image_weight",
            "gen_weight",
            "disc_weight",
            "weights",
        ],
        folder_keys=["model_mode", "step_type"],
    )
