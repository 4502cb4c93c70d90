"""The generators: one row each, with how it is trained, how it generates, and what it can do.

A new generator is a folder ``training_<name>/`` with two scripts, and a row here. The options that
it adds to the command line are a section of ``handwriting/config.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from handwriting.config import Condition, Config, ModelMode
from handwriting.errors import InputError
from training_cdiffusion_model import generate_images as cdiffusion_images, train as cdiffusion
from training_dcgan import generate_images as dcgan_images, train as dcgan
from training_dcgan.model import DCGAN
from training_redrawn import generate_images as redrawn_images, train as redrawn
from training_style_transfer import generate_images as style_images, train as style_transfer
from training_vae import generate_images as vae_images, train as vae
from training_vae.model import check_size
from training_warped import generate_images as warped_images, train as warped

Stage = Callable[[Config], Path]


@dataclass(frozen=True)
class Generator:
    """A generator of training images for recognisers."""

    name: str  # of its images' folder, and in the names of arms
    train: Stage
    generate: Stage
    condition: Callable[[Config], Condition | None]  # None: the content image alone
    caption: str  # of the sample sheets of its training
    mode: ModelMode | None = None  # of style transfer
    # Raises an InputError for a size_px that its network cannot draw.
    check_size: Callable[[Config], object] = lambda _: None
    is_drawn: bool = False  # whether its images begin as characters drawn in a hand

    def configured(self, config: Config) -> Config:
        """The configuration that is passed to both stages."""
        return replace(config, model_mode=self.mode) if self.mode else config

    def needs_clip(self, config: Config) -> bool:
        """Whether it is trained with CLIP or its encoders."""
        return self.mode is not None or self.condition(config) is Condition.text


def _style_transfer(mode: ModelMode, condition: Condition | None) -> Generator:
    return Generator(
        mode.value, style_transfer.main, style_images.main, lambda _: condition,
        "content, style, output, target from top to bottom", mode, style_transfer.check_size,
        is_drawn=True,
    )  # fmt: skip


_ROWS = (
    _style_transfer(ModelMode.adain, None),
    _style_transfer(ModelMode.adain_mlp, Condition.character),
    _style_transfer(ModelMode.adain_clip, Condition.text),
    Generator(
        "dcgan", dcgan.main, dcgan_images.main, lambda _: Condition.character,
        "a column per character, each image from different noise",
        check_size=lambda c: DCGAN(c.size_px),
    ),
    Generator(
        "vae", vae.main, vae_images.main, lambda _: Condition.character,
        "images, reconstructions, samples from the prior from top to bottom",
        check_size=lambda c: check_size(c.size_px),
    ),
    Generator(
        "cdiffusion", cdiffusion.main, cdiffusion_images.main, lambda c: c.cdiffusion.condition,
        "style image, output, target from top to bottom",
        check_size=cdiffusion.check_size, is_drawn=True,
    ),
    Generator(
        "redrawn", redrawn.main, redrawn_images.main, lambda _: None,
        "a row per training writer, with characters written or predicted", is_drawn=True,
    ),
    Generator(
        "morphed", redrawn.main, redrawn_images.morphed, lambda _: None,
        "a row per training writer, with characters written or predicted", is_drawn=True,
    ),
    Generator(
        "warped", warped.main, warped_images.main, lambda _: None, "",
    ),
)  # fmt: skip
GENERATORS = {row.name: row for row in _ROWS}


def chosen(config: Config) -> list[Generator]:
    """The generators of the study.

    Raises:
        InputError: one is unknown, or cannot draw images of the study's size or the study's unseen
            characters.
    """
    names = config.pipeline.generators
    if unknown := ", ".join(name for name in names if name not in GENERATORS):
        known = ", ".join(GENERATORS)
        raise InputError(f"pipeline.generators: unknown generator {unknown}; choose among {known}")
    rows = [GENERATORS[name] for name in names]
    for row in rows:
        row.check_size(config)
    unable = [row.name for row in rows if row.condition(config) is Condition.character]
    if config.data.unseen_characters and unable:
        raise InputError(
            f"data.unseen_characters={config.data.unseen_characters}: {', '.join(unable)} can draw "
            "only what they were trained on; leave them out of pipeline.generators (cdiffusion can "
            "with cdiffusion.condition=text)"
        )
    return rows
