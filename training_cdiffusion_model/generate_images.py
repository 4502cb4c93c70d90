"""Generate images with a trained diffusion model: PNG files and a manifest.

    python training_cdiffusion_model/generate_images.py
    python training_cdiffusion_model/generate_images.py gen_weight=PATH generation.characters=日本 \
        generation.styles=[simulated] cdiffusion.num_evaluations=4 cdiffusion.guidance=2

Every image has a hand (``generation.styles``), a few images by it for its style, and noise, all
chosen by the seed, the character and the image's number alone. Writes canonical images,
``manifest.json`` with ``writers.json``, and a sheet to ``runs/<name>/generated/cdiffusion/``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handwriting.config import CDiffusion, Config
from handwriting.corpus.corpus import Corpus
from handwriting.corpus.generation import (
    GeneratedBatch,
    ImageRequest,
    Prepared,
    WriterIndex,
    claimed,
    generate,
    hand_shares,
    hands,
    noise,
)
from handwriting.errors import InputError
from handwriting.images.augment import to_float, to_uint8
from handwriting.images.packed import PackedImages
from handwriting.runs.run import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from handwriting.script import run_script
from training_cdiffusion_model.flow import euler
from training_cdiffusion_model.model import Denoiser

MAX_STYLE_IMAGES = 1000  # of a hand for one image, whatever a weight file says


def main(config: Config) -> Path:
    settings = config.cdiffusion
    if settings.num_evaluations < 1:
        raise InputError(f"cdiffusion.num_evaluations={settings.num_evaluations}: at least 1")
    weights = load_weights(
        config.gen_weight or run_folder(config) / "cdiffusion", "cdiffusion",
        "training_cdiffusion_model/train.py",
    )  # fmt: skip
    num_style_images = weights.facts["num_style_images"]
    if not 1 <= num_style_images <= MAX_STYLE_IMAGES:
        raise InputError(
            f"{weights.path} wants {num_style_images} style images of a hand: expected 1 to "
            f"{MAX_STYLE_IMAGES}"
        )

    def prepare(corpus: Corpus, _: Sequence[str], runtime: Runtime) -> Prepared:
        styles = hands(corpus, "styles", config.generation.styles, config.generation.style_names)
        network = runtime.freeze(build(Denoiser, weights))
        by_hand = WriterIndex(np.zeros_like(styles.labels), styles.writers)  # whatever they show
        num_hands = config.generation.num_hands

        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            picks = [
                [by_hand.pick_several(0, num_style_images, one.rng) for _ in range(num_hands)]
                for one in wanted
            ]
            shares = hand_shares(wanted, num_hands)
            return draw(network, wanted, styles, np.array(picks), shares, settings, runtime)

        return make, [styles]

    sampler = [settings.num_evaluations, settings.guidance]
    return generate(config, "cdiffusion", weights, prepare, sampler=sampler)


@torch.inference_mode()
def draw(
    network: Denoiser, wanted: list[ImageRequest], styles: PackedImages, picks: np.ndarray,
    shares: Tensor, settings: CDiffusion, runtime: Runtime,
) -> GeneratedBatch:  # fmt: skip
    """The wanted characters in the hands of the picked style images (B, H, S), mixed by (B, H)."""
    device = runtime.device
    chosen = to_float(torch.from_numpy(styles.images[picks.ravel()])).to(device)
    size_px = chosen.shape[-1]
    style_images = chosen.view(-1, picks.shape[2], size_px, size_px)  # (B H, S, H, W)
    labels = torch.tensor([one.label for one in wanted], device=device)
    each = labels.repeat_interleave(picks.shape[1])
    x_0 = noise(wanted, 1, size_px, size_px).to(device)
    with runtime.autocast():
        conditions = network.condition(each, style_images, torch.zeros_like(each).bool())
        conditions = conditions.view(*shares.shape, -1)  # (B, H, D)
        condition = (shares.to(device)[..., None] * conditions).sum(dim=1)
        images = euler(network, x_0, condition, settings.num_evaluations, settings.guidance)
    names = np.array(styles.writer_names)[styles.writers[picks[:, :, 0]]]  # (B, H)
    return GeneratedBatch(np.asarray(to_uint8(images).cpu()), claimed(names.tolist()))


if __name__ == "__main__":
    run_script(main)
