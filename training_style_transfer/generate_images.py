"""Generate images with a trained generator: PNG files and a manifest.

    python training_style_transfer/generate_images.py model_mode=adain_clip
    python training_style_transfer/generate_images.py gen_weight=PATH \
        generation.characters=日本 generation.num_per_character=20 \
        generation.contents=[fonts] generation.content_names=[Serif] generation.styles=[writers]

Every image has a content image and a style image, chosen by the seed, the character and the image's
number alone. Writes canonical images, ``manifest.json`` and ``sheet.png`` to
``runs/<name>/generated/<mode>/``; ``writers.json`` names the hand whose style an image has.
"""

from handwriting.script import run_script

# isort: split

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from handwriting.config import Config
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
)
from handwriting.errors import InputError, report_problems
from handwriting.images.augment import to_float, to_uint8
from handwriting.images.packed import PackedImages
from handwriting.runs.folder import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from training_style_transfer.model import Generator


def main(config: Config) -> Path:
    settings = config.generation
    mode = config.model_mode.value
    weights = load_weights(
        config.gen_weight or run_folder(config) / "style_transfer" / mode / "step_end",
        "generator", f"training_style_transfer/train.py model_mode={mode}", config.size_px,
    )  # fmt: skip
    if weights.arguments["mode"] != mode:
        raise InputError(
            f"{weights.path} was trained with model_mode={weights.arguments['mode']}, this run "
            f"has model_mode={mode}"
        )

    def prepare(corpus: Corpus, characters: Sequence[str], runtime: Runtime) -> Prepared:
        contents = hands(corpus, "contents", settings.contents, settings.content_names)
        styles = hands(corpus, "styles", settings.styles, settings.style_names)
        absent = sorted(set(contents.absent()) & set(characters))
        report_problems(
            "generation.contents",
            [f"{c} (U+{ord(c):04X}): none of these hands has it" for c in absent],
            "Choose more contents, such as generation.contents=[fonts,writers].",
        )
        generator = runtime.freeze(build(Generator, weights))
        style_of = Features(
            lambda images, _: torch.stack(generator.style(images), dim=1), styles, runtime
        )
        content_of = Features(
            lambda images, labels: generator.content_encoder(images, generator.condition(labels)),
            contents, runtime,
        )  # fmt: skip
        content_by_hand = WriterIndex(contents.labels, contents.writers)
        style_by_hand = WriterIndex(np.zeros_like(styles.labels), styles.writers)  # of anything

        @torch.inference_mode()
        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            content = [int(content_by_hand.pick(one.label, 1, one.rng)[0]) for one in wanted]
            each_hand = [one.rng for one in wanted for _ in range(settings.num_hands)]
            style = [int(style_by_hand.pick(0, 1, rng)[0]) for rng in each_hand]
            shares = hand_shares(wanted, settings.num_hands)
            labels = torch.tensor([one.label for one in wanted], device=runtime.device)
            mixed = mix(style_of(style), shares)
            with runtime.autocast():
                images = generator.decode(content_of(content), mixed, generator.condition(labels))
            writers = claimed(styles, np.reshape(style, shares.shape))
            return GeneratedBatch(to_uint8(images).cpu().numpy(), writers)

        return make, [contents, styles]

    return generate(config, mode, weights, prepare)


@dataclass
class Features:
    """What a network makes of images, each computed when it is first asked for and kept.

    A hand's few images are the style of many generated ones, a character's few the content.
    """

    encode: Callable[[Tensor, Tensor], Tensor]  # (B, 1, H, W) in [-1, 1], labels (B,) to (B, ...)
    images: PackedImages
    runtime: Runtime
    known: dict[int, Tensor] = field(default_factory=dict)

    MAX_BYTES: ClassVar[int] = 2**27  # kept at a time

    def __call__(self, indices: list[int]) -> Tensor:
        """Features (B, ...) of the images at (B,) indices."""
        if sum(one.nbytes for one in self.known.values()) > self.MAX_BYTES:
            self.known.clear()
        if new := sorted(set(indices) - self.known.keys()):
            images = to_float(torch.from_numpy(self.images.images[new]).to(self.runtime.device))
            labels = torch.from_numpy(self.images.labels[new]).to(self.runtime.device)
            with self.runtime.autocast():
                features = self.encode(images, labels)
            # Copies: a part of the batch would keep all of it.
            self.known.update((i, one.clone()) for i, one in zip(new, features, strict=True))
        return torch.stack([self.known[index] for index in indices])


def mix(styles: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Styles (B H, 2, C) mixed by (B, H) shares: mean and deviation, (B, C) each.

    In the statistics that AdaIN gives (Huang, Belongie 2017, eq. 15).
    """
    of_each = styles.unflatten(0, shares.shape)  # (B, H, 2, C)
    mean, deviation = (shares.to(styles.device)[..., None, None] * of_each).sum(dim=1).unbind(1)
    return mean, deviation


if __name__ == "__main__":
    run_script(
        main,
        reads=["model_mode", "gen_weight", "generation"],
        folder_keys=["model_mode", "generation.output"],
    )
