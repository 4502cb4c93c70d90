"""Train a variational autoencoder: characters from a dozen latent variables.

    python training_vae/train.py
    python training_vae/train.py vae.class_conditional=false
    python training_vae/train.py experiment=smoke

Images are those of training writers, fonts and simulated writers (``shares``). Writes
``runs/<name>/vae/vae.safetensors`` and two kinds of sheets: ``step_*``, with images, their
reconstructions and samples from the prior from top to bottom; and ``traversal``, with a row per
latent variable, from -3 to 3.
"""

from handwriting.script import run_script

# isort: split

from pathlib import Path

import torch
from torch import Tensor

from handwriting.config import Config
from handwriting.corpus.audit import writers_seen
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import open_corpus
from handwriting.images.augment import to_float
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import float_sheet
from handwriting.networks.optimizer import one_cycle
from handwriting.rng import Rng
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from training_vae.model import Vae, check_size, kl_divergence, squared_error

PRIOR_ROWS = 3  # samples from the prior on a sheet, beside each image shown
TRAVERSAL = torch.linspace(-3, 3, 13)  # standard deviations of the prior


def main(config: Config) -> Path:
    check_size(config.size_px)
    settings = config.vae
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "vae")
    run = Run(config, "vae", sections, {"corpus": corpus.key})
    if run.is_done:
        return run.folder
    runtime = Runtime(config.runtime)
    rng = runtime.seed(config.seed)

    mixture = Mixture(corpus, corpus.sources, runtime.device)

    def draw(batch_size: int, rng: Rng) -> tuple[Tensor, Tensor | None]:
        labels = mixture.draw_labels(batch_size, rng)
        images = mixture.bank.take(mixture.draw(labels, settings.shares, rng))
        return to_float(images), labels if settings.class_conditional else None

    show = draw(settings.num_samples, Rng(config.seed, runtime.device))
    num_classes = len(corpus.characters) if settings.class_conditional else None
    network = Vae(config.size_px, settings.num_latents, num_classes, settings.dim, settings.dropout)
    runtime.to_device(network)
    optimizer, schedule = one_cycle(network, settings, weight_decay=0.01)

    run.begin()
    stateful = {"network": network, "optimizer": optimizer, "schedule": schedule}
    for step in run.steps(settings.num_steps, stateful, rng):
        images, labels = draw(settings.batch_size, rng)
        with runtime.autocast():
            reconstructions, encoded = network.train()(images, labels, rng)
            error = squared_error(reconstructions, images)
            kl = kl_divergence(encoded.mean, encoded.log_var)
        optimizer.zero_grad()
        (error + kl).backward()
        gradient = runtime.step(optimizer)
        schedule.step()
        run.log(squared_error=error, kl=kl, gradient=gradient)
        if step % settings.sample_every == 0 or step == settings.num_steps:
            run.sample(f"step_{step:06d}", samples(network, *show, runtime))

    run.sample("traversal", traversal(network, *show, runtime))
    facts = {
        "characters": corpus.characters,
        "drawable": corpus.seen,
        "size_px": config.size_px,
        "writers_seen": writers_seen(*corpus.sources.values()),
    }
    path = save_weights(
        run.folder / "vae.safetensors", "vae", network.arguments, facts, network.state_dict()
    )
    return run.finish(run.last_logged(), [path])


@torch.no_grad()
def samples(network: Vae, images: Tensor, labels: Tensor | None, runtime: Runtime) -> Uint8:
    """A sheet of images, their reconstructions and samples of their classes from the prior."""
    network.eval()
    num_latents = network.arguments["num_latents"]
    latents = Rng(0, runtime.device).randn(PRIOR_ROWS, len(images), num_latents)
    with runtime.autocast():
        reconstructions = network.decode(network.encode(images, labels).mean, labels)
        prior = [network.decode(row, labels) for row in latents]
    return float_sheet([images, reconstructions, *prior])


@torch.no_grad()
def traversal(network: Vae, images: Tensor, labels: Tensor | None, runtime: Runtime) -> Uint8:
    """The first image's class: in each row one latent variable goes from -3 to 3, the others 0."""
    network.eval()
    values = TRAVERSAL.to(runtime.device)
    # (row, column, variable): each row's own variable alone differs from 0.
    own = torch.eye(network.arguments["num_latents"], device=runtime.device)
    latents = own[:, None, :] * values[:, None]
    label = None if labels is None else labels[:1].expand(len(values))
    with runtime.autocast():
        return float_sheet([network.decode(row, label) for row in latents])


if __name__ == "__main__":
    run_script(main, reads=["vae"])
