"""Train a DCGAN: characters from noise, by a generator and a discriminator against each other.

    python training_dcgan/train.py
    python training_dcgan/train.py dcgan.class_conditional=false
    python training_dcgan/train.py experiment=smoke

Real images are those of training writers, fonts and simulated writers (``shares``). Writes
``runs/<name>/dcgan/dcgan.safetensors``, sample sheets (a column per character, the same noise each
time) and ``samples/evolution.gif``, the sheets one after the other.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from handwriting.config import Config, Dcgan
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float, to_uint8
from handwriting.images.sheets import sheet
from handwriting.parallel import ranks
from handwriting.parallel.ranks import main_only
from handwriting.parallel.rows import Rng, Rows, local_batch_size
from handwriting.runs.collapse import check_variety
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.script import run_script
from handwriting.storage.atomic import write_atomically
from training_dcgan.model import DCGAN, GROUP

SHEET_ROWS = 4  # images of each character on a sample sheet
FRAME_MS = 150
LAST_FRAME_MS = 1500


def main(config: Config) -> Path:
    settings = config.dcgan
    multiple = GROUP * ranks.world_size()
    if settings.batch_size % multiple:
        raise InputError(
            f"dcgan.batch_size={settings.batch_size}: expected a multiple of {multiple}"
        )
    corpus = open_corpus(config)
    run = Run(config, "dcgan", ("seed", "size_px", "data", "fonts", "dcgan"),
              {"corpus": corpus.key})  # fmt: skip
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    mixture = Mixture(corpus, corpus.sources, runtime.device)
    num_classes = len(corpus.characters) if settings.class_conditional else None
    dcgan = DCGAN(
        config.size_px, settings.z_dim, num_classes, settings.dim, settings.discriminator_dim,
        settings.learning_rate, settings.discriminator_learning_rate,
        (settings.betas[0], settings.betas[1]), settings.ema_decay,
    ).build(runtime)  # fmt: skip
    run.begin()
    show = mixture.draw_labels(settings.num_samples, rng)
    noise = dcgan.generate_noise(SHEET_ROWS * settings.num_samples, rng)
    show_rng = torch.Generator(runtime.device).manual_seed(config.seed)
    drawn = mixture.draw(show.repeat(SHEET_ROWS), settings.shares, show_rng)
    real = to_float(mixture.bank.take(drawn))
    rows, batch_size = Rows(rng), local_batch_size(settings.batch_size)

    for step in run.steps(settings.num_steps, dcgan.parts(), rng):
        labels = draw_classes(mixture, settings, batch_size, rows)
        images = mixture.bank.take(mixture.draw(labels, settings.shares, rows))
        given = labels if settings.class_conditional else None
        run.log(**dcgan.train_on_batch(to_float(images), given, rng=rows))
        if shows(step, config):
            made = samples(dcgan, noise, show)
            run.sample(
                sheet_name(step), sheet(np.split(np.asarray(to_uint8(made).cpu()), SHEET_ROWS))
            )
            check_variety(run, step, by_class(made, dcgan), by_class(real, dcgan))

    steps = [step for step in range(1, settings.num_steps + 1) if shows(step, config)]
    animate(run.folder / "samples", steps)
    facts = {
        "characters": corpus.characters,
        "drawable": corpus.seen,
        "size_px": config.size_px,
        "writers_seen": writers_seen(*corpus.sources.values()),
    }
    generator = dcgan.averaged.module
    path = save_weights(
        run.folder / "dcgan.safetensors",
        "dcgan",
        dcgan.generator.arguments,
        facts,
        generator.state_dict(),
    )
    return run.finish(run.last_logged(), [path])


def draw_classes(mixture: Mixture, settings: Dcgan, batch_size: int, rng: Rng) -> Tensor:
    """(B,) classes to train on.

    Groups of one class show the discriminator how much images of a class differ. An unconditional
    generator's groups are of any classes, and so are the real ones beside them.
    """
    if not settings.class_conditional:
        return mixture.draw_labels(batch_size, rng)
    return mixture.draw_labels(batch_size // GROUP, rng).repeat_interleave(GROUP)


def shows(step: int, config: Config) -> bool:
    """Whether a sheet is made after a step."""
    return step % config.dcgan.sample_every == 0 or step == config.dcgan.num_steps


def sheet_name(step: int) -> str:
    return f"step_{step:06d}"


def samples(dcgan: DCGAN, noise: Tensor, show: Tensor) -> Tensor:
    """``SHEET_ROWS`` rows of an image of each class shown, one after the other (R K, 1, S, S)."""
    return dcgan.generate(noise, show.repeat(SHEET_ROWS) if dcgan.num_classes else None)


def by_class(images: Tensor, dcgan: DCGAN) -> Tensor:
    """Such rows as groups that should differ: a class (K, R, ...), or all where there is none."""
    if not dcgan.num_classes:
        return images.unsqueeze(0)
    return images.unflatten(0, (SHEET_ROWS, -1)).transpose(0, 1)


@main_only
def animate(folder: Path, steps: list[int]) -> Path:
    """An animated GIF of the sheets after some steps: how the same noise comes to be characters."""
    frames = []
    for step in steps:
        with Image.open(folder / f"{sheet_name(step)}.png") as picture:
            frames.append(picture.convert("L"))
    path = folder / "evolution.gif"
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    write_atomically(
        path,
        lambda temporary: frames[0].save(
            temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0
        ),
    )
    return path


if __name__ == "__main__":
    run_script(main)
