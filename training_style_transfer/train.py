"""Train a style-transfer generator in four steps.

    python training_style_transfer/train.py model_mode=adain_clip step_type=all
    python training_style_transfer/train.py -m model_mode=adain,adain_mlp,adain_clip experiment=demo
    python training_style_transfer/train.py model_mode=adain step_type=step2 \
        gen_weight=PATH disc_weight=PATH clip_weight=PATH

Content and style change from step to step (see ``feed.py``); each step starts from the weights of
the one before. Writes ``runs/<name>/style_transfer/<mode>/<step>/`` with ``generator.pt``,
``discriminator.pt`` and sample sheets: content, style, output, target from top to bottom.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handwriting.augment import to_uint8
from handwriting.config import Config, ModelMode, StepType, run_script
from handwriting.corpus import Corpus, open_corpus
from handwriting.errors import InputError
from handwriting.images import Uint8, sheet
from handwriting.networks import Classifier
from handwriting.optimize import average
from handwriting.run import Run, Weights, load_weights, run_folder, save_weights
from handwriting.runtime import Runtime
from training_clip.model import Clip
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
        raise InputError("gen_weight and disc_weight start one step: name it, such as step_type=step2")
    for step_type in STEP_ORDER:
        folder = train_step(config, step_type, None, None)
    return folder


def train_step(
    config: Config, step_type: str, gen_weight: str | None, disc_weight: str | None
) -> Path:
    """One of the four steps, from the weights of the one before."""
    mode = config.model_mode.value
    folder = run_folder(config)
    home = folder / "style_transfer" / mode
    before = STEP_ORDER.index(step_type) - 1
    start: list[Weights] = []
    if before >= 0 or gen_weight or disc_weight:
        previous = home / STEP_ORDER[before]
        made_by = f"training_style_transfer/train.py model_mode={mode} " + (
            f"step_type={STEP_ORDER[before]}"
        )
        start = [
            load_weights(gen_weight or previous, "generator", made_by),
            load_weights(disc_weight or previous, "discriminator", made_by),
        ]
    corpus = open_corpus(config)
    clip_weights = load_weights(
        config.clip_weight or folder / "clip", "clip", "training_clip/train_clip.py"
    )
    encoder_weights = load_weights(
        config.image_weight or folder / "image_encoder", "image_encoder",
        "training_clip/train_image_encoder.py",
    )  # fmt: skip
    inputs = {w.kind: w.path for w in [*start, clip_weights, encoder_weights]}
    sections = ("seed", "size_px", "data", "fonts", "structure", "model_mode", "style_transfer")
    run = Run(
        config, f"style_transfer/{mode}/{step_type}", sections,
        {**inputs, "corpus": corpus.key, "step": step_type},
    )  # fmt: skip
    if run.is_done:
        return run.folder
    settings = config.style_transfer
    runtime = Runtime(config.runtime)
    clip, texts = load_clip(clip_weights, config, corpus)
    by_class = class_embeddings(runtime.freeze(clip), texts.to(runtime.device), runtime)
    classifier = Classifier(**encoder_weights.arguments)
    classifier.load_state_dict(encoder_weights.state)
    run.begin()
    generator_rng = runtime.seed(config.seed)
    feed = PairFeed(corpus, config.fonts.reference, settings, runtime.device)

    generator = Generator(
        mode, len(corpus.characters), by_class.shape[1], settings.dim, settings.dim_mults,
        settings.num_blocks, settings.patch_px, settings.full_attention,
    )  # fmt: skip
    if config.model_mode is ModelMode.adain_clip:
        generator.text_embeddings.copy_(by_class)
    discriminator = Discriminator(settings.discriminator_dim, settings.discriminator_layers)
    for network, weights in zip((generator, discriminator), start, strict=False):
        check_same(network.arguments, weights, corpus)
        network.load_state_dict(weights.state)
    runtime.to_device(generator), runtime.to_device(discriminator)
    averaged = average(generator, settings.ema_decay)
    optimizers = {
        name: torch.optim.Adam(network.parameters(), rate, betas=tuple(settings.betas), fused=True)
        for name, network, rate in (
            ("generator", generator, settings.learning_rate),
            ("discriminator", discriminator, settings.discriminator_learning_rate),
        )
    }
    objective = GeneratorObjective(
        runtime.freeze(PerceptualLoss(classifier.encoder)), clip, by_class, settings.weights
    )
    show = feed.draw(step_type, settings.num_samples, runtime.seed(config.seed))

    stateful = {
        "generator": generator, "discriminator": discriminator, "averaged": averaged,
        "generator_optimizer": optimizers["generator"],
        "discriminator_optimizer": optimizers["discriminator"],
    }  # fmt: skip
    num_steps = settings.num_steps[step_type]
    for step in run.steps(num_steps, stateful, generator_rng):
        batch = feed.draw(step_type, settings.batch_size, generator_rng)
        dropped = (
            torch.rand(len(batch.labels), generator=generator_rng, device=runtime.device)
            < settings.condition_dropout
        )
        with runtime.autocast():
            style = generator.style(batch.style)
            output = generator(batch.content, style, batch.labels, dropped)

            # (1) The generator: one gradient at its output, then back through it.
            gradient, terms = objective.gradient(
                generator, discriminator, output, batch.target, style, batch.labels
            )
        optimizers["generator"].zero_grad()
        output.backward(gradient)
        optimizers["generator"].step()
        averaged.update_parameters(generator)

        # (2) The critic: real against generated, generated without its graph.
        with runtime.autocast():
            both = discriminator(torch.cat([batch.target, output.detach()])).float()
            critic_loss = hinge_discriminator_loss(*both.chunk(2))
        optimizers["discriminator"].zero_grad()
        runtime.backward(critic_loss)
        optimizers["discriminator"].step()

        run.log(discriminator=critic_loss, **terms)
        if step % settings.sample_every == 0 or step == num_steps:
            run.sample(f"step_{step:06d}", samples(averaged.module, show, runtime))

    facts = {
        "characters": corpus.characters,
        "step_type": step_type,
        "size_px": config.size_px,
        "writers_seen": corpus.train.present_writers(),
    }
    paths = [
        save_weights(run.folder / "generator.pt", "generator", generator.arguments, facts,
                     averaged.module.state_dict()),
        save_weights(run.folder / "discriminator.pt", "discriminator", discriminator.arguments,
                     {**facts, "mode": mode}, discriminator.state_dict()),
    ]  # fmt: skip
    return run.finish({name: float(term.detach()) for name, term in terms.items()}, paths)


def check_same(arguments: dict[str, object], weights: Weights, corpus: Corpus) -> None:
    """Check that weights fit the network that this configuration builds.

    Raises:
        InputError: another mode, other sizes, or other characters.
    """
    found = {**weights.arguments, "mode": weights.arguments.get("mode", weights.facts.get("mode"))}
    for name, expected in arguments.items():
        if found.get(name) != expected:
            raise InputError(
                f"{weights.path} was trained with {name}={found.get(name)}, this run has "
                f"{name}={expected}: give the weights of a run of this {name}"
            )
    if list(weights.facts["characters"]) != list(corpus.characters):
        raise InputError(f"{weights.path} was trained on other characters than this study's")


@torch.no_grad()
def samples(generator: Generator, show: Batch, runtime: Runtime) -> Uint8:
    """A sheet of content, style, output and target, from top to bottom."""
    generator.eval()
    with runtime.autocast():
        output = generator(show.content, generator.style(show.style), show.labels)
    rows: list[Tensor] = [show.content, show.style, output, show.target]
    return sheet([np.asarray(to_uint8(row).cpu()) for row in rows])


if __name__ == "__main__":
    run_script(main)
