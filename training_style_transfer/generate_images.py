"""Generate images with a trained generator: PNG files and a manifest.

    python training_style_transfer/generate_images.py model_mode=adain_clip
    python training_style_transfer/generate_images.py gen_weight=PATH \
        generation.characters=日本 generation.num_per_character=20 \
        generation.contents=[fonts] generation.content_names=[Serif] generation.styles=[writers]

Every image has a content image and a style image, chosen by the seed, the character and the image's
number alone. Writes canonical images, ``manifest.json`` and ``sheet.png`` to
``runs/<name>/generated/<mode>/``; ``writers.json`` names the hand whose style an image has.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

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
from handwriting.images.canonical import Uint8
from handwriting.images.packed import PackedImages
from handwriting.runs.run import run_folder
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import build, load_weights
from handwriting.script import run_script
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

        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            num_hands = settings.num_hands
            content = [content_by_hand.pick(one.label, one.rng) for one in wanted]
            style = [style_by_hand.pick(0, one.rng) for one in wanted for _ in range(num_hands)]
            shares = hand_shares(wanted, num_hands)
            names = np.array(styles.writer_names)[styles.writers[style]].reshape(shares.shape)
            labels = torch.tensor([one.label for one in wanted], device=runtime.device)
            mixed = mix(style_of(style), shares)
            made = transfer(generator, content_of(content), mixed, labels, runtime)
            return GeneratedBatch(made, claimed(names.tolist()))

        return make, [contents, styles]

    return generate(config, mode, weights, prepare)


class Features:
    """What a network makes of images, each computed when it is first asked for and kept.

    A hand's few images are the style of many generated ones, a character's few the content.

    Args:
        encode: images (B, 1, H, W) in [-1, 1] and their labels (B,) to features (B, ...).
        images: N images.
    """

    MAX_BYTES = 2**27  # kept at a time

    def __init__(
        self, encode: Callable[[Tensor, Tensor], Tensor], images: PackedImages, runtime: Runtime
    ) -> None:
        self._encode, self._images, self._runtime = encode, images, runtime
        self._known: dict[int, Tensor] = {}
        self._num_bytes = 0

    @torch.inference_mode()
    def __call__(self, indices: list[int]) -> Tensor:
        """Features (B, ...) of the images at (B,) indices."""
        if self._num_bytes > self.MAX_BYTES:
            self._known.clear()
            self._num_bytes = 0
        new = sorted(set(indices) - self._known.keys())
        if new:
            device = self._runtime.device
            images = to_float(torch.from_numpy(self._images.images[new]).to(device))
            labels = torch.from_numpy(self._images.labels[new]).to(device)
            with self._runtime.autocast():
                features = self._encode(images, labels)
            # Copies: a part of the batch would keep all of it.
            self._known.update((i, one.clone()) for i, one in zip(new, features, strict=True))
            self._num_bytes += features.nbytes
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
    generator: Generator, contents: Tensor, style: tuple[Tensor, Tensor], labels: Tensor,
    runtime: Runtime,
) -> Uint8:  # fmt: skip
    """B contents' features in B styles, of (B,) classes: (B, H, W) uint8 ink."""
    with runtime.autocast():
        made = generator.decode(contents, style, generator.condition(labels))
    return np.asarray(to_uint8(made).cpu())


if __name__ == "__main__":
    run_script(main)
