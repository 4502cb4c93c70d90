"""Generate images with a trained generator: PNG files and a manifest.

    python training_style_transfer/generate_images.py model_mode=adain_clip
    python training_style_transfer/generate_images.py gen_weight=PATH \
        generation.characters=日本 generation.num_per_character=20 \
        generation.contents=[fonts] generation.content_names=[Serif] generation.styles=[writers]

Every image has a content image and a style image, chosen by the seed, the character and the image's
number alone. Writes canonical images, ``manifest.json`` and ``sheet.png`` to
``runs/<name>/generated/<mode>/``; ``writers.json`` names the hand whose style an image has.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handwriting.audit import writers_seen
from handwriting.augment import to_float, to_uint8
from handwriting.config import Config, run_script
from handwriting.corpus import open_corpus
from handwriting.errors import InputError, report_problems
from handwriting.generation import (
    ByHand,
    Made,
    Wanted,
    claimed,
    hand_shares,
    hands,
    hands_per_image,
    wanted_characters,
    write_generated,
)
from handwriting.images import Uint8
from handwriting.packed import PackedImages
from handwriting.run import Run, run_folder
from handwriting.runtime import Runtime
from handwriting.weights import build, load_weights
from training_style_transfer.model import Generator


def main(config: Config) -> Path:
    settings = config.generation
    mode = config.model_mode.value
    weights = load_weights(
        config.gen_weight or run_folder(config) / "style_transfer" / mode / "step_end",
        "generator", f"training_style_transfer/train.py model_mode={mode}",
    )  # fmt: skip
    if weights.arguments["mode"] != mode:
        raise InputError(
            f"{weights.path} was trained with model_mode={weights.arguments['mode']}, this run "
            f"has model_mode={mode}"
        )
    corpus = open_corpus(config)
    sections = ("seed", "size_px", "data", "fonts", "generation")
    inputs = {"generator": weights.path, "corpus": corpus.key}
    run = Run(config, settings.output or f"generated/{mode}", sections, inputs)
    if run.is_done:
        return run.folder
    characters = wanted_characters(config, corpus, weights)
    contents = hands(corpus, "contents", settings.contents, settings.content_names)
    styles = hands(corpus, "styles", settings.styles, settings.style_names)
    absent = sorted(set(contents.absent()) & set(characters))
    report_problems(
        "generation.contents",
        [f"{c} (U+{ord(c):04X}): none of these hands has it" for c in absent],
        "Choose more contents, such as generation.contents=[fonts,writers].",
    )
    num_hands = hands_per_image(config)
    run.begin()
    runtime = Runtime(config.runtime)
    generator = runtime.freeze(build(Generator, weights))
    features = StyleFeatures(generator, styles, runtime)
    content_by_hand = ByHand(contents.labels, contents.writers)
    style_by_hand = ByHand(np.zeros_like(styles.labels), styles.writers)  # whatever they show

    def make(wanted: list[Wanted]) -> Made:
        content = [content_by_hand.pick(one.label, one.rng) for one in wanted]
        style = [style_by_hand.pick(0, one.rng) for one in wanted for _ in range(num_hands)]
        shares = hand_shares(wanted, num_hands)
        names = np.array(styles.writer_names)[styles.writers[style]].reshape(shares.shape)
        mixed = mix(features(style), shares)
        made = transfer(generator, contents.select(content), mixed, runtime)
        return Made(made, claimed(names.tolist()))

    seen = writers_seen(weights, contents, styles)
    return write_generated(run, config, characters, corpus, make, seen)


class StyleFeatures:
    """The styles of images, each computed when it is first asked for and kept.

    A hand's few images are the style of many generated ones.

    Args:
        generator: frozen.
        images: N style images.
    """

    MOST = 50_000  # kept at a time: 100 MB at 256 channels

    def __init__(self, generator: Generator, images: PackedImages, runtime: Runtime) -> None:
        self._generator, self._images, self._runtime = generator, images, runtime
        self._known: dict[int, Tensor] = {}

    @torch.inference_mode()
    def __call__(self, indices: list[int]) -> Tensor:
        """Mean and deviation of the images at (B,) indices, as AdaIN takes them: (B, 2, C)."""
        if len(self._known) > self.MOST:
            self._known.clear()
        new = sorted(set(indices) - self._known.keys())
        if new:
            images = to_float(torch.from_numpy(self._images.images[new]).to(self._runtime.device))
            with self._runtime.autocast():
                styles = torch.stack(self._generator.style(images), dim=1)
            self._known.update(zip(new, styles, strict=True))
        return torch.stack([self._known[index] for index in indices])


def mix(styles: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Styles (B H, 2, C) mixed by (B, H) shares: mean and deviation, (B, C) each.

    In the statistics that AdaIN gives (Huang, Belongie 2017, eq. 15).
    """
    of_each = styles.unflatten(0, shares.shape)  # (B, H, 2, C)
    mean, deviation = (shares.to(styles.device)[..., None, None] * of_each).sum(dim=1).unbind(1)
    return mean, deviation


@torch.inference_mode()
def transfer(
    generator: Generator, contents: PackedImages, style: tuple[Tensor, Tensor], runtime: Runtime
) -> Uint8:
    """B contents in B styles: (B, H, W) uint8 ink."""
    images = to_float(torch.from_numpy(contents.images[:]).to(runtime.device))
    labels = torch.from_numpy(contents.labels).to(runtime.device)
    with runtime.autocast():
        made = generator(images, style, labels)
    return np.asarray(to_uint8(made).cpu())


if __name__ == "__main__":
    run_script(main)
