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
    Made,
    Wanted,
    any_hand,
    claimed,
    hand_shares,
    hands,
    hands_per_image,
    wanted_characters,
    write_generated,
)
from handwriting.packed import PackedImages
from handwriting.run import Run, build, load_weights, run_folder
from handwriting.runtime import Runtime
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

    def make(wanted: list[Wanted]) -> Made:
        content = [pick_content(one, contents) for one in wanted]
        style = [pick_style(one, styles) for one in wanted for _ in range(num_hands)]
        shares = hand_shares(wanted, num_hands)
        return transfer(generator, contents.select(content), styles.select(style), shares, runtime)

    seen = writers_seen(weights, contents, styles)
    return write_generated(run, config, characters, corpus, make, seen)


def pick_content(wanted: Wanted, contents: PackedImages) -> int:
    """An image of the character, every hand equally likely."""
    return any_hand(np.flatnonzero(contents.labels == wanted.label), contents.writers, wanted.rng)


def pick_style(wanted: Wanted, styles: PackedImages) -> int:
    """Any image, every hand equally likely."""
    return any_hand(np.arange(len(styles)), styles.writers, wanted.rng)


@torch.no_grad()
def transfer(
    generator: Generator, contents: PackedImages, styles: PackedImages, shares: Tensor,
    runtime: Runtime,
) -> Made:  # fmt: skip
    """B contents in B styles, each mixed by its (H,) shares from H of the B H style images.

    Styles are mixed in the statistics that AdaIN gives (Huang, Belongie 2017, eq. 15).
    """
    content_images, style_images = (
        to_float(torch.from_numpy(source.images).to(runtime.device))
        for source in (contents, styles)
    )
    labels = torch.from_numpy(contents.labels).to(runtime.device)
    weights = shares.to(runtime.device)[..., None]  # (B, H, 1)
    with runtime.autocast():
        of_each = (part.unflatten(0, shares.shape) for part in generator.style(style_images))
        mean, deviation = ((weights * part).sum(dim=1) for part in of_each)
        made = generator(content_images, (mean, deviation), labels)
    names = np.array(styles.writer_names)[styles.writers].reshape(shares.shape)
    return Made(np.asarray(to_uint8(made).cpu()), claimed(names.tolist()))


if __name__ == "__main__":
    run_script(main)
