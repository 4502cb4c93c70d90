"""Train a conditional diffusion model: characters in a hand, by flow matching.

    python training_cdiffusion_model/train.py
    python training_cdiffusion_model/train.py cdiffusion.condition=text clip_weight=PATH
    python training_cdiffusion_model/train.py experiment=smoke

A target is an image of a character by a training writer, a font or a simulated writer (``shares``);
its condition is the character, and other images in the same hand. Writes
``runs/<name>/cdiffusion/cdiffusion.safetensors`` and sample sheets: a style image, the generated
image and the target, from top to bottom.
"""

from handwriting.script import run_script

# isort: split

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handwriting.config import CDiffusion, Condition, Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import Corpus, open_corpus
from handwriting.corpus.drawn import require_drawings
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import float_sheet
from handwriting.networks.optimizer import MovingAverage, one_cycle
from handwriting.rng import Rng
from handwriting.runs.folder import run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, load_weights, save_weights
from training_cdiffusion_model.flow import euler, flow_matching_loss
from training_cdiffusion_model.model import STEM_PX, Denoiser
from training_clip.retrieval import frozen_clip


@dataclass(frozen=True)
class Batch:
    """Images in [-1, 1] and their classes.

    Attributes:
        target: (B, 1, H, W).
        drawing: line drawings of the targets (B, 1, H, W), or None.
        styles: (B, S, H, W), images of any characters by the targets' writers.
        labels: (B,).
    """

    target: Tensor
    drawing: Tensor | None
    styles: Tensor
    labels: Tensor


class StyleFeed:
    """Batches of characters with images by the writer of each.

    Raises:
        InputError: a source lacks a seen character, or every source's share is zero.
    """

    def __init__(
        self, corpus: Corpus, settings: CDiffusion, device: torch.device, cache_dir: Path
    ) -> None:
        self._mixture = Mixture(corpus, corpus.sources, device)
        self._drawings = None
        if settings.drawing:
            self._drawings = self._mixture.line_drawings(cache_dir)
        self._settings = settings

    def draw(self, batch_size: int, rng: Rng) -> Batch:
        """One batch; every class is equally likely."""
        bank = self._mixture.bank
        labels = self._mixture.draw_labels(batch_size, rng)
        target = self._mixture.draw(labels, self._settings.shares, rng)
        writers = bank.writers[target].repeat_interleave(self._settings.num_style_images)
        styles = to_float(bank.take(bank.draw_by(writers, rng))).squeeze(1)
        drawing = None if self._drawings is None else to_float(self._drawings.take(target))
        styles = styles.unflatten(0, (len(labels), -1))
        return Batch(to_float(bank.take(target)), drawing, styles, labels)


def main(config: Config) -> Path:
    check_size(config)
    settings = config.cdiffusion
    clip = start = None
    if settings.condition is Condition.text:
        path = config.clip_weight or run_folder(config) / "clip"
        clip = load_weights(path, "clip", config.size_px)
    if settings.start:
        start = load_weights(settings.start, "cdiffusion", config.size_px)
    corpus = open_corpus(config)
    if settings.drawing:
        require_drawings(corpus.characters)
    sections = ("seed", "size_px", "data", "fonts", "structure", "cdiffusion")
    before = [weights for weights in (clip, start) if weights]
    inputs: dict[str, object] = {weights.kind: weights.path for weights in before}
    inputs |= {"corpus": corpus.key, "predicts": "image"}
    run = Run(config, "cdiffusion", sections, inputs)
    if run.is_done:
        return run.folder
    seen = writers_seen(*corpus.sources.values(), *before)
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    feed = StyleFeed(corpus, settings, runtime.device, Path(config.cache_dir))
    show = feed.draw(settings.num_samples, Rng(config.seed, runtime.device))
    network = build_network(config, corpus, clip, runtime)
    if start:
        start.start(network, corpus.characters)
    runtime.to_device(network)
    averaged = MovingAverage(network, settings.ema_decay)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.01)

    run.begin()
    stateful = {
        "network": network, "averaged": averaged, "optimizer": optimizer, "schedule": schedule,
    }  # fmt: skip
    for step in run.steps(settings.num_steps, stateful, rng):
        batch = feed.draw(settings.batch_size, rng)
        dropped = rng.rand(len(batch.labels)) < settings.condition_dropout
        with runtime.autocast():
            condition = network.condition(batch.labels, network.style(batch.styles), dropped)
            loss = flow_matching_loss(network, batch.target, condition, batch.drawing, rng)
        optimizer.zero_grad()
        loss.backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        averaged.update_parameters(network)
        run.log(loss=loss, gradient=gradient)
        if step % settings.sample_every == 0 or step == settings.num_steps:
            run.sample(f"step_{step:06d}", samples(averaged.module, show, settings, runtime))

    facts = {
        "characters": corpus.characters,
        "drawable": corpus.characters if clip else corpus.seen,
        "size_px": config.size_px,
        "num_style_images": settings.num_style_images,
        "writers_seen": seen,
    }
    path = save_weights(
        run.folder / "cdiffusion.safetensors", "cdiffusion", network.arguments, facts,
        averaged.module.state_dict(),
    )  # fmt: skip
    return run.finish(run.last_logged(), [path])


def check_size(config: Config) -> None:
    """Check that the levels of the network can halve the study's images.

    Raises:
        InputError: they cannot.
    """
    fold_px = STEM_PX * 2 ** (len(config.cdiffusion.dim_mults) - 1)
    if config.size_px % fold_px:
        raise InputError(
            f"size_px={config.size_px} is not a multiple of {fold_px}, as the "
            f"{len(config.cdiffusion.dim_mults)} levels of cdiffusion.dim_mults require"
        )


def build_network(
    config: Config, corpus: Corpus, clip: Weights | None, runtime: Runtime
) -> Denoiser:
    """The untrained network, with the classes' text embeddings if these are its condition."""
    settings = config.cdiffusion
    class_embeddings = torch.zeros(0, 0)
    if clip:
        _, class_embeddings = frozen_clip(clip, config.structure, corpus, runtime)
    network = Denoiser(
        settings.condition.value, len(corpus.characters), class_embeddings.shape[1], settings.dim,
        settings.dim_mults, settings.num_blocks, settings.drawing,
    )  # fmt: skip
    if network.text is not None:
        network.text.weight.copy_(class_embeddings)
    return network


@torch.no_grad()
def samples(network: Any, show: Batch, settings: CDiffusion, runtime: Runtime) -> Uint8:
    """A sheet of one style image, the output and the target, from top to bottom."""
    network.eval()
    x_0 = Rng(0, runtime.device).randn(*show.target.shape)
    with runtime.autocast():
        condition = network.condition(show.labels, network.style(show.styles))
        sampler = settings.num_evaluations, settings.guidance
        output = euler(network, x_0, condition, show.drawing, *sampler)
    return float_sheet([show.styles[:, :1], output, show.target])


if __name__ == "__main__":
    run_script(main, reads=["cdiffusion", "clip_weight"])
