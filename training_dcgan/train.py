"""Train a DCGAN: characters from noise, by a generator trained against a discriminator.

    python training_dcgan/train.py
    python training_dcgan/train.py dcgan.class_conditional=false
    python training_dcgan/train.py experiment=smoke

Real images are those of training writers, fonts and simulated writers (``shares``). Writes
``runs/<name>/dcgan/dcgan.safetensors``, sample sheets (a column per character, the same noise each
time) and ``samples/evolution.gif``, the sheets in sequence.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

from torch import Tensor

from handwriting.config import Config, Dcgan
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.images.augment import to_float
from handwriting.images.sheets import float_sheet
from handwriting.rng import Rng
from handwriting.runs.collapse import check_variety
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from training_dcgan.model import DCGAN
from training_dcgan.networks import GROUP

SHEET_ROWS = 4  # images of each character on a sample sheet


def main(config: Config) -> Path:
    DCGAN(config.size_px)  # refuses an unsuitable size before anything is read
    settings, is_conditional = config.dcgan, config.dcgan.class_conditional
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "dcgan")
    run = Run(config, "dcgan", sections, {"corpus": corpus.key})
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)
    if rng.num_rows(settings.batch_size) % GROUP:
        raise InputError(
            f"dcgan.batch_size={settings.batch_size}: expected a multiple of {GROUP} times the "
            "number of processes"
        )

    mixture = Mixture(corpus, corpus.sources, runtime.device)
    dcgan = DCGAN(
        config.size_px, settings.z_dim, len(corpus.characters) if is_conditional else None,
        settings.dim, settings.discriminator_dim, settings.learning_rate,
        settings.discriminator_learning_rate, settings.betas,
        settings.ema_decay,
    ).build(runtime)  # fmt: skip

    def draw(labels: Tensor, rng: Rng) -> Tensor:
        return to_float(mixture.bank.take(mixture.draw(labels, settings.shares, rng)))

    show_rng = Rng(config.seed, runtime.device)
    show = mixture.draw_labels(settings.num_samples, show_rng).repeat_interleave(SHEET_ROWS)
    noise = dcgan.generate_noise(len(show), show_rng)
    varied = (-1, SHEET_ROWS) if is_conditional else (1, -1)  # images that should differ
    real = draw(show, show_rng).unflatten(0, varied)

    run.begin()
    for step in run.steps(settings.num_steps, dcgan.parts(), rng):
        labels = draw_labels(mixture, settings, rng)
        images = draw(labels, rng)
        run.log(**dcgan.train_on_batch(images, labels if is_conditional else None, rng=rng))
        if step % settings.sample_every == 0 or step == settings.num_steps:
            made = dcgan.generate(noise, show if is_conditional else None)
            rows = made.unflatten(0, (-1, SHEET_ROWS)).unbind(1)
            run.sample(f"step_{step:06d}", float_sheet(rows))
            check_variety(run, step, made.unflatten(0, varied), real)

    every, last = settings.sample_every, settings.num_steps
    shown = [*range(every, last, every), last]
    run.animate("evolution", [f"step_{step:06d}" for step in shown])
    facts = {
        "characters": corpus.characters,
        "drawable": corpus.seen,
        "size_px": config.size_px,
        "writers_seen": writers_seen(*corpus.sources.values()),
    }
    path = save_weights(
        run.folder / "dcgan.safetensors", "dcgan", dcgan.generator.arguments, facts,
        dcgan.averaged.module.state_dict(),
    )  # fmt: skip
    return run.finish(run.last_logged(), [path])


def draw_labels(mixture: Mixture, settings: Dcgan, rng: Rng) -> Tensor:
    """The classes of a batch.

    Groups of one class show the discriminator how much images of a class differ. Without classes,
    groups are mixed, those of real images as well as those of generated ones.
    """
    if not settings.class_conditional:
        return mixture.draw_labels(settings.batch_size, rng)
    return mixture.draw_labels(settings.batch_size // GROUP, rng).repeat_interleave(GROUP)


if __name__ == "__main__":
    run_script(main, reads=["dcgan"])
