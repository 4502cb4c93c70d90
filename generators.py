"""The generators: one row for each, with what trains it, what generates with it, and what it can.

A new generator is a folder ``training_<name>/`` with two scripts, and a row here. Keys that it adds
to the command line are a section of ``handwriting/config.py``.
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


@dataclass(frozen=True)
class Generator:
    """What makes images for recognisers.

    Attributes:
        name: of its images' folder, and its word in the names of arms.
        train, generate: the stages' main functions.
        condition: what tells it the character to draw; None for the content image alone.
        caption: of its training's sample sheets.
        mode: of style transfer, None for the others.
    """

    name: str
    train: Stage
    generate: Stage
    condition: Callable[[Config], Condition | None]
    caption: str
    mode: ModelMode | None = None

    def configured(self, config: Config) -> Config:
        """The configuration that both stages take."""
        return replace(config, model_mode=self.mode) if self.mode else config

    def draws_unseen(self, config: Config) -> bool:
        """Whether it can draw characters that it was not trained on."""
        return self.condition(config) is not Condition.character

    def needs_clip(self, config: Config) -> bool:
        """Whether it is trained with CLIP or its encoders."""
        return self.mode is not None or self.condition(config) is Condition.text


def _style_transfer(mode: ModelMode, condition: Condition | None) -> Generator:
    return Generator(
        mode.value, train_style_transfer.main, generate_style_transfer.main, lambda _: condition,
        "content, style, output, target from top to bottom", mode,
    )  # fmt: skip


_ROWS = (
    _style_transfer(ModelMode.adain, None),
    _style_transfer(ModelMode.adain_mlp, Condition.character),
    _style_transfer(ModelMode.adain_clip, Condition.text),
    Generator(
        "dcgan", train_dcgan.main, generate_dcgan.main, lambda _: Condition.character,
        "a column per character, each time another noise",
    ),
    Generator(
        "vae", train_vae.main, generate_vae.main, lambda _: Condition.character,
        "images, reconstructions, samples from the prior from top to bottom",
    ),
    Generator(
        "cdiffusion", train_cdiffusion.main, generate_cdiffusion.main,
        lambda config: config.cdiffusion.condition,
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
