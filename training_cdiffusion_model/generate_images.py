"""Generate images with a trained diffusion model: PNG files and a manifest.

    python training_cdiffusion_model/generate_images.py
    python training_cdiffusion_model/generate_images.py gen_weight=PATH generation.characters=日本 \
        generation.styles=[helpers] cdiffusion.num_evaluations=4 cdiffusion.guidance=2

Every image has a hand (``generation.styles``), a few images by it for its style, and noise, all
chosen by the seed, the character and the image's number alone. Writes canonical images,
``manifest.json`` with ``writers.json``, and a sheet to ``runs/<name>/generated/cdiffusion/``.
"""

from pathlib import Path

import numpy as np
import torch

from handwriting.augment import to_float, to_uint8
from handwriting.config import CDiffusion, Config, run_script
from handwriting.corpus import open_corpus
from handwriting.errors import InputError
from handwriting.generation import Made, Wanted, hands, noise, wanted_characters, write_generated
from handwriting.packed import PackedImages
from handwriting.run import Run, load_weights, run_folder
from handwriting.runtime import Runtime
from training_cdiffusion_model.flow import euler
from training_cdiffusion_model.model import Denoiser


def main(config: Config) -> Path:
    settings = config.cdiffusion
    if settings.num_evaluations < 1:
        raise InputError(f"cdiffusion.num_evaluations={settings.num_evaluations}: at least 1")
    weights = load_weights(
        config.gen_weight or run_folder(config) / "cdiffusion", "cdiffusion",
        "training_cdiffusion_model/train.py",
    )  # fmt: skip
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "generation")
    inputs = {"generator": weights.path, "corpus": corpus.key,
              "sampler": [settings.num_evaluations, settings.guidance]}  # fmt: skip
    run = Run(config, config.generation.output or "generated/cdiffusion", sections, inputs)
    if run.is_done:
        return run.folder
    characters = wanted_characters(config, corpus, weights)
    styles = hands(corpus, "styles", config.generation.styles, config.generation.style_names)
    run.begin()
    runtime = Runtime(config.runtime)
    network = Denoiser(**weights.arguments)
    network.load_state_dict(weights.state)
    runtime.freeze(network)
    num_style_images = weights.facts["num_style_images"]

    def make(wanted: list[Wanted]) -> Made:
        picks = np.stack([pick(one, styles, num_style_images) for one in wanted])  # (B, S)
        return draw(network, wanted, styles, picks, settings, runtime)

    return write_generated(run, config, characters, corpus, make)


def pick(wanted: Wanted, styles: PackedImages, num_style_images: int) -> np.ndarray:
    """Images by one hand, every hand equally likely: (S,) indices into ``styles``."""
    hand = wanted.rng.choice(np.unique(styles.writers))
    return wanted.rng.choice(np.flatnonzero(styles.writers == hand), num_style_images)


@torch.no_grad()
def draw(
    network: Denoiser, wanted: list[Wanted], styles: PackedImages, picks: np.ndarray,
    settings: CDiffusion, runtime: Runtime,
) -> Made:  # fmt: skip
    """The wanted characters in the hands of the picked style images (B, S)."""
    device = runtime.device
    chosen = to_float(torch.from_numpy(styles.images[picks.ravel()])).to(device)
    style_images = chosen.view(*picks.shape, *chosen.shape[2:])
    labels = torch.tensor([one.label for one in wanted], device=device)
    x_0 = noise(wanted, 1, *chosen.shape[2:]).to(device)
    with runtime.autocast():
        condition = network.condition(labels, style_images, torch.zeros_like(labels).bool())
        images = euler(network, x_0, condition, settings.num_evaluations, settings.guidance)
    writers = [styles.writer_names[i] for i in styles.writers[picks[:, 0]]]
    return Made(np.asarray(to_uint8(images).cpu()), writers)


if __name__ == "__main__":
    run_script(main)
