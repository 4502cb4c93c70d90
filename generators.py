"""The generators: one row for each, with what trains it, what generates with it, and what it can.

A new generator is a folder ``training_<name>/`` with two scripts, its keys in
``handwriting/config.py``, and a row here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from handwriting.config import Condition, Config, ModelMode
from handwriting.errors import InputError
from training_cdiffusion_model import (
    generate_images as generate_cdiffusion,
    train as train_cdiffusion,
)
from training_dcgan import generate_images as generate_dcgan, train as train_dcgan
from training_style_transfer import (
    generate_images as generate_style_transfer,
    train as train_style_transfer,
)
from training_vae import generate_images as generate_vae, train as train_vae

Stage = Callable[[Config], Path]


def always(_: Config) -> bool:
    return True


def never(_: Config) -> bool:
    return False


def reads_texts(config: Config) -> bool:
    """Whether the diffusion model knows a character by its components."""
    return config.cdiffusion.condition is Condition.text


@dataclass(frozen=True)
class Generator:
    """What makes images for recognisers.

    Attributes:
        name: of its images' folder, and its word in the names of arms.
        train, generate: the stages' main functions.
        condition: what it is told of the image to make.
        draws_unseen: whether it can draw characters that it was not trained on.
        needs_clip: whether it is trained with CLIP or its encoders.
        caption: of its training's sample sheets.
        mode: of style transfer, None for the others.
    """

    name: str
    train: Stage
    generate: Stage
    condition: str
    draws_unseen: Callable[[Config], bool]
    needs_clip: Callable[[Config], bool]
    caption: str
    mode: ModelMode | None = None

    def configured(self, config: Config) -> Config:
        """The configuration that both stages take."""
        return replace(config, model_mode=self.mode) if self.mode else config


def _style_transfer(
    mode: ModelMode, condition: str, draws_unseen: Callable[[Config], bool]
) -> Generator:
    return Generator(
        mode.value, train_style_transfer.main, generate_style_transfer.main, condition,
        draws_unseen, always, "content, style, output, target from top to bottom", mode,
    )  # fmt: skip


_ROWS = (
    _style_transfer(ModelMode.adain, "content and style image", always),
    _style_transfer(ModelMode.adain_mlp, "content and style image, class", never),
    _style_transfer(ModelMode.adain_clip, "content and style image, components", always),
    Generator(
        "dcgan", train_dcgan.main, generate_dcgan.main, "class", never, never,
        "a column per character, each time another noise",
    ),
    Generator(
        "vae", train_vae.main, generate_vae.main, "class", never, never,
        "images, reconstructions, samples from the prior from top to bottom",
    ),
    Generator(
        "cdiffusion", train_cdiffusion.main, generate_cdiffusion.main,
        "class or components, style images", reads_texts, reads_texts,
        "an image by the hand, output, target from top to bottom",
    ),
)  # fmt: skip
GENERATORS = {row.name: row for row in _ROWS}


def chosen(config: Config) -> list[Generator]:
    """The generators of the study.

    Raises:
        InputError: an unknown one, or one that cannot draw the characters that none is to see.
    """
    names = config.pipeline.generators
    unknown = [name for name in names if name not in GENERATORS]
    if unknown:
        raise InputError(
            f"pipeline.generators: no generator {', '.join(unknown)}; there are "
            f"{', '.join(GENERATORS)}"
        )
    rows = [GENERATORS[name] for name in names]
    unable = [row.name for row in rows if not row.draws_unseen(config)]
    if config.data.unseen_characters and unable:
        raise InputError(
            f"data.unseen_characters={config.data.unseen_characters}: {', '.join(unable)} can draw "
            "only what they were trained on; leave them out of pipeline.generators (cdiffusion can "
            "with cdiffusion.condition=text)"
        )
    return rows
