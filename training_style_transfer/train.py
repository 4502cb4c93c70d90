"""Train a style-transfer generator in four steps.

    python training_style_transfer/train.py model_mode=adain_clip step_type=all
    python training_style_transfer/train.py -m model_mode=adain,adain_mlp,adain_clip experiment=demo
    python training_style_transfer/train.py model_mode=adain step_type=step2 \
        gen_weight=PATH disc_weight=PATH clip_weight=PATH

Content and style change from step to step (see ``feed.py``); each step starts from the weights of
the one before. Writes ``runs/<name>/style_transfer/<mode>/<step>/`` with ``generator.safetensors``,
``discriminator.safetensors`` and sample sheets: content, style, output, target from top to bottom.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from handwriting.config import Config, ModelMode, StepType
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_uint8, uniform
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import sheet
from handwriting.networks.ema import Average
from handwriting.networks.encoders import Classifier
from handwriting.parallel.rows import Rows, local_batch_size
from handwriting.runs.collapse import check_variety
from handwriting.runs.run import Run, run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights, save_weights
from handwriting.script import run_script
from training_clip.retrieval import class_embeddings, load_clip
from training_style_transfer.feed import Batch, PairFeed
from training_style_transfer.model import Discriminator, Generator
from training_style_transfer.objective import (
    GeneratorObjective,
    PerceptualLoss,
    hinge_discriminator_loss,
)

STEP_ORDER = ("step1", "step2", "step3", "step_end")


def main(config: Config) -> Path:
    if config.step_type is not StepType.all:
        return train_step(config, config.step_type.value, config.gen_weight, config.disc_weight)
    if config.gen_weight or config.disc_weight:
        raise InputError(
            "gen_weight and disc_weight start one step: name it, such as step_type=step2"
        )
    for step_type in STEP_ORDER:
        folder = train_step(config, step_type, None, None)
    return folder


def train_step(
    config: Config, step_type: str, gen_weight: str | None, disc_weight: str | None
) -> Path:
    """One of the four steps, from the weights of the one before."""
    mode, settings = config.model_mode.value, config.style_transfer
    start = start_weights(config, step_type, gen_weight, disc_weight)
    clip_weights = load_weights(
        config.clip_weight or run_folder(config) / "clip", "clip", "training_clip/train_clip.py"
    )
    encoder_weights = load_weights(
        config.image_weight or run_folder(config) / "image_encoder",
        "image_encoder",
        "training_clip/train_image_encoder.py",
    )
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "structure", "model_mode", "style_transfer")
    inputs = {w.kind: w.path for w in [*start, clip_weights, encoder_weights]}
    run = Run(
        config,
        f"style_transfer/{mode}/{step_type}",
        sections,
        {**inputs, "corpus": corpus.key, "step": step_type},
    )
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    feed = PairFeed(corpus, config.fonts.reference, settings, runtime.device)
    objective = build_objective(config, corpus, clip_weights, encoder_weights, runtime)
    generator, discriminator = build_networks(config, corpus, objective.by_class, start)
    seen = writers_seen(*corpus.sources.values(), *start, clip_weights, encoder_weights)
    run.begin()
    runtime.to_device(generator)
    runtime.to_device(discriminator)
    averaged = Average(generator, settings.ema_decay)
    betas = (settings.betas[0], settings.betas[1])
    generator_optimizer = Adam(
        generator.parameters(), settings.learning_rate, betas=betas, fused=True
    )
    discriminator_optimizer = Adam(
        discriminator.parameters(), settings.discriminator_learning_rate, betas=betas, fused=True
    )
    show = feed.draw(step_type, settings.num_samples, runtime.seed(config.seed))

    stateful = {
        "generator": generator,
        "discriminator": discriminator,
        "averaged": averaged,
        "generator_optimizer": generator_optimizer,
        "discriminator_optimizer": discriminator_optimizer,
    }
    num_steps, batch_size = settings.num_steps[step_type], local_batch_size(settings.batch_size)
    rows = Rows(rng)
    for step in run.steps(num_steps, stateful, rng):
        batch = feed.draw(step_type, batch_size, rows)
        dropped = uniform(0, 1, batch_size, rows) < settings.condition_dropout

        # (1) The generator: one gradient at its output, then back through it.
        with runtime.autocast():
            style = generator.style(batch.style)
            output = generator(batch.content, style, batch.labels, dropped)
            gradient, terms = objective.gradient(
                generator, discriminator, output, batch.target, style, batch.labels
            )
        generator_optimizer.zero_grad()
        output.backward(gradient)
        generator_gradient = runtime.step(generator_optimizer)
        averaged.update_parameters(generator)

        # (2) The discriminator: real against generated, generated without its graph.
        with runtime.autocast():
            logits = discriminator(torch.cat([batch.target, output.detach()])).float()
            discriminator_loss = hinge_discriminator_loss(*logits.chunk(2))
        discriminator_optimizer.zero_grad()
        discriminator_loss.backward()
        discriminator_gradient = runtime.step(discriminator_optimizer)

        run.log(
            discriminator=discriminator_loss, **terms, generator_gradient=generator_gradient,
            discriminator_gradient=discriminator_gradient,
        )  # fmt: skip
        if step % settings.sample_every == 0 or step == num_steps:
            output = samples(averaged.module, show, runtime)
            run.sample(f"step_{step:06d}", sample_sheet(show, output))
            check_variety(run, step, output.unsqueeze(0), show.target.unsqueeze(0))

    by_number = config.model_mode is ModelMode.adain_mlp  # of the class
    facts = {
        "characters": corpus.characters,
        "drawable": corpus.seen if by_number else corpus.characters,
        "mode": mode,
        "step_type": step_type,
        "size_px": config.size_px,
        "writers_seen": seen,
    }
    paths = [
        save_weights(run.folder / f"{kind}.safetensors", kind, network.arguments, facts, state)
        for kind, network, state in (
            ("generator", generator, averaged.module.state_dict()),
            ("discriminator", discriminator, discriminator.state_dict()),
        )
    ]
    return run.finish(run.last_logged(), paths)


def start_weights(
    config: Config, step_type: str, gen_weight: str | None, disc_weight: str | None
) -> list[Weights]:
    """The generator's and the discriminator's weights to start from; none for step1.

    Raises:
        InputError: the step before has not been trained.
    """
    place = STEP_ORDER.index(step_type)
    if place == 0 and not (gen_weight or disc_weight):
        return []
    mode, before = config.model_mode.value, STEP_ORDER[max(place - 1, 0)]
    previous = run_folder(config) / "style_transfer" / mode / before
    made_by = f"training_style_transfer/train.py model_mode={mode} step_type={before}"
    return [
        load_weights(gen_weight or previous, "generator", made_by),
        load_weights(disc_weight or previous, "discriminator", made_by),
    ]


def build_objective(
    config: Config, corpus: Corpus, clip: Weights, encoder: Weights, runtime: Runtime
) -> GeneratorObjective:
    """The objective with its frozen networks and the classes' text embeddings."""
    network, texts = load_clip(clip, config, corpus)
    by_class = class_embeddings(runtime.freeze(network), texts.to(runtime.device), runtime)
    classifier = build(Classifier, encoder)
    perceptual = runtime.freeze(PerceptualLoss(classifier.encoder))
    return GeneratorObjective(perceptual, network, by_class, config.style_transfer.weights)


def build_networks(
    config: Config, corpus: Corpus, by_class: Tensor, start: list[Weights]
) -> tuple[Generator, Discriminator]:
    """Generator and discriminator, with the weights to start from if there are any.

    Raises:
        InputError: the weights are of another mode, other sizes or other characters.
    """
    settings = config.style_transfer
    fold_px = settings.patch_px * 2 ** (len(settings.dim_mults) - 1)
    if config.size_px % fold_px:
        raise InputError(
            f"size_px={config.size_px} is not a multiple of {fold_px}, which the generator's "
            "patch_px and levels (dim_mults) need"
        )
    generator = Generator(
        config.model_mode.value,
        len(corpus.characters),
        by_class.shape[1],
        settings.dim,
        settings.dim_mults,
        settings.num_blocks,
        settings.patch_px,
        settings.full_attention,
    )
    if settings.gradient_checkpointing:
        generator.save_memory()
    if config.model_mode is ModelMode.adain_clip:
        generator.text_embeddings.copy_(by_class)
    discriminator = Discriminator(settings.discriminator_dim, settings.discriminator_layers)
    networks: list[Generator | Discriminator] = [generator, discriminator]
    for network, weights in zip(networks, start, strict=False):
        found = {**weights.arguments, "mode": weights.facts["mode"]}
        expected = {**network.arguments, "mode": config.model_mode.value}
        for name, value in expected.items():
            if found.get(name) != value:
                raise InputError(
                    f"{weights.path} was trained with {name}={found.get(name)}, this run has "
                    f"{name}={value}: give the weights of a run with this {name}"
                )
        weights.require_characters(corpus.characters)
        weights.load_into(network)
    return generator, discriminator


@torch.no_grad()
def samples(generator: nn.Module, show: Batch, runtime: Runtime) -> Tensor:
    """The output (B, 1, H, W) for a batch."""
    assert isinstance(generator, Generator)
    generator.eval()
    with runtime.autocast():
        output: Tensor = generator(show.content, generator.style(show.style), show.labels)
    return output


def sample_sheet(show: Batch, output: Tensor) -> Uint8:
    """A sheet of content, style, output and target, from top to bottom."""
    rows: list[Tensor] = [show.content, show.style, output, show.target]
    return sheet([np.asarray(to_uint8(row).cpu()) for row in rows])


if __name__ == "__main__":
    run_script(main)
