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

from handwriting.augment import to_float, to_uint8
from handwriting.config import Config, run_script
from handwriting.corpus import open_corpus
from handwriting.errors import InputError, report_problems
from handwriting.generation import (
    Made,
    Wanted,
    any_hand,
    hands,
    wanted_characters,
    write_generated,
)
from handwriting.packed import PackedImages
from handwriting.run import Run, load_weights, run_folder
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
    run.begin()
    runtime = Runtime(config.runtime)
    generator = Generator(**weights.arguments)
    generator.load_state_dict(weights.state)
    runtime.freeze(generator)

    def make(wanted: list[Wanted]) -> Made:
        picks = [pick(one, contents, styles) for one in wanted]
        content, style = (list(column) for column in zip(*picks, strict=True))
        return transfer(generator, contents.select(content), styles.select(style), runtime)

    return write_generated(run, config, characters, corpus, make)


def pick(wanted: Wanted, contents: PackedImages, styles: PackedImages) -> tuple[int, int]:
    """The content and the style image of one image to make."""
    content = np.flatnonzero(contents.labels == wanted.label)
    return (
        any_hand(content, contents.writers, wanted.rng),
        any_hand(np.arange(len(styles)), styles.writers, wanted.rng),
    )


@torch.no_grad()
def transfer(
    generator: Generator, contents: PackedImages, styles: PackedImages, runtime: Runtime
) -> Made:
    """B contents in B styles, credited to the styles' hands."""
    content_images, style_images = (
        to_float(torch.from_numpy(source.images).to(runtime.device))
        for source in (contents, styles)
    )
    labels = torch.from_numpy(contents.labels).to(runtime.device)
    with runtime.autocast():
        made = generator(content_images, generator.style(style_images), labels)
    return Made(np.asarray(to_uint8(made).cpu()), [styles.writer_names[i] for i in styles.writers])


if __name__ == "__main__":
    run_script(main)
