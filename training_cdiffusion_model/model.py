"""The denoiser: a small U-Net on pixels, conditioned on time, character and style.

O. Ronneberger et al., U-Net, 2015; J. Ho et al., Denoising Diffusion Probabilistic Models, 2020.
Two by two pixels are folded into channels first (as E. Hoogeboom et al., Simple Diffusion, 2023,
keep the full resolution out of the network), so that all computation is at half size or less. The
network predicts the image, from which the velocity follows: the noise, which a small network lacks
the capacity to carry, need not pass through it (T. Li, K. He, Back to Basics: Let Denoising
Generative Models Denoise, 2025).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.networks.blocks import GROUPS, FrozenEmbedding, Middle, ModulatedBlock

STEM_PX = 2  # pixels per side folded into channels
MIN_LEFT = 0.05  # lower bound of 1 - t, by which the velocity is divided (Li, He 2025)
NUM_FREQUENCIES = 32  # of the sines and cosines that encode a time


def time_features(t: Tensor) -> Tensor:
    """Sines and cosines of times (B,) in [0, 1], from one period to about a thousand: (B, D)."""
    octaves = torch.linspace(0, math.log(1000), NUM_FREQUENCIES, device=t.device)
    angles = 2 * math.pi * t[:, None] * octaves.exp()
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class StyleEncoder(nn.Module):
    """Images in a hand, of any characters, to one embedding: the mean over images and positions."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(STEM_PX)]
        channels = STEM_PX**2
        for width in (dim, 2 * dim, 4 * dim):
            layers += [nn.Conv2d(channels, width, 3, 2, 1), nn.GroupNorm(GROUPS, width), nn.SiLU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(channels, out_dim)

    def forward(self, images: Tensor) -> Tensor:
        """S images of each of B hands (B, S, H, W) in [-1, 1] to embeddings (B, D)."""
        features = self.layers(images.flatten(0, 1).unsqueeze(1)).mean(dim=(2, 3))
        return self.out(features.unflatten(0, images.shape[:2]).mean(dim=1))


class Down(nn.Module):
    """A level of the downward path: halves the resolution unless it is the first, then blocks."""

    def __init__(
        self, finer: int, width: int, num_blocks: int, condition_dim: int, shrink: bool
    ) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(finer, width, 3, 2, 1) if shrink else nn.Identity()
        self.blocks = nn.ModuleList(
            ModulatedBlock(width, width, condition_dim) for _ in range(num_blocks)
        )

    def forward(self, x: Tensor, condition: Tensor, skips: list[Tensor]) -> Tensor:
        """Features of the level; each block's output is appended to ``skips``, for the way up."""
        x = self.shrink(x)
        for block in self.blocks:
            x = block(x, condition)
            skips.append(x)
        return x


class Up(nn.Module):
    """A level of the upward path: blocks that see the skip connections, then twice the size."""

    def __init__(
        self, finer: int, width: int, num_blocks: int, condition_dim: int, grow: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ModulatedBlock(2 * width, width, condition_dim) for _ in range(num_blocks)
        )
        self.grow: nn.Module = nn.Identity()
        if grow:
            self.grow = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(width, finer, 3, padding=1)
            )

    def forward(self, x: Tensor, condition: Tensor, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), condition)
        return self.grow(x)


class Denoiser(nn.Module):
    """Predicts the image that a noisy one becomes, and returns the velocity towards it.

    Args:
        condition: ``character``, a learned embedding, or ``text``, the frozen CLIP embedding of the
            character's components, which also covers characters never seen in training.
        num_classes: K.
        text_dim: size of the text embeddings.
        dim: channels of the first level.
        dim_mults: channels per level, as multiples of ``dim``; each level halves the resolution.
        num_blocks: per level.
        sees_drawing: whether a line drawing of the character in the hand is a second input image.
    """

    def __init__(
        self, condition: str, num_classes: int, text_dim: int, dim: int, dim_mults: Sequence[int],
        num_blocks: int, sees_drawing: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.arguments: dict[str, Any] = {
            "condition": condition, "num_classes": num_classes, "text_dim": text_dim, "dim": dim,
            "dim_mults": list(dim_mults), "num_blocks": num_blocks,
            "sees_drawing": sees_drawing,
        }  # fmt: skip
        embedding_dim = 4 * dim
        self.text = FrozenEmbedding(num_classes, text_dim) if condition == "text" else None
        self.character = (
            nn.Embedding(num_classes, embedding_dim)
            if self.text is None
            else nn.Linear(text_dim, embedding_dim)
        )
        self.style = StyleEncoder(dim, embedding_dim)
        self.null_condition = nn.Parameter(torch.zeros(embedding_dim))
        self.time = nn.Sequential(
            nn.Linear(2 * NUM_FREQUENCIES, embedding_dim),
            nn.SiLU(),
            nn.Linear(embedding_dim, embedding_dim),
        )

        widths = [dim * mult for mult in dim_mults]
        finer = [widths[0], *widths[:-1]]  # channels of the level above
        levels = list(zip(finer, widths, strict=True))
        self.stem = nn.Conv2d((1 + sees_drawing) * STEM_PX**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            Down(*channels, num_blocks, embedding_dim, shrink=i > 0)
            for i, channels in enumerate(levels)
        )
        self.middle = Middle(widths[-1], embedding_dim)
        self.up = nn.ModuleList(
            Up(*channels, num_blocks, embedding_dim, grow=i > 0)
            for i, channels in reversed(list(enumerate(levels)))
        )
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.image = nn.Conv2d(widths[0], STEM_PX**2, 3, padding=1)

    def condition(self, labels: Tensor, style: Tensor, dropped: Tensor | None = None) -> Tensor:
        """What to draw and in which hand: (B, D).

        Args:
            labels: (B,).
            style: (B, D) embeddings of the hands, from ``style``.
            dropped: (B,) bool, where the null condition replaces it.
        """
        character = self.character(labels if self.text is None else self.text(labels))
        condition = character + style
        if dropped is None:
            return condition
        return torch.where(dropped[:, None], self.null_condition, condition)

    def forward(
        self, x_t: Tensor, t: Tensor, condition: Tensor, drawing: Tensor | None = None
    ) -> Tensor:
        """The velocity at images x_t (B, 1, H, W) and times t (B,) in [0, 1]: (B, 1, H, W).

        Args:
            condition: (B, D).
            drawing: (B, 1, H, W) in [-1, 1], if the network sees one.
        """
        embedding = self.time(time_features(t)) + condition
        seen = x_t if drawing is None else torch.cat([x_t, drawing], dim=1)
        x = self.stem(F.pixel_unshuffle(seen, STEM_PX))
        skips: list[Tensor] = []
        for down in self.down:
            x = down(x, embedding, skips)
        x = self.middle(x, embedding)
        for up in self.up:
            x = up(x, embedding, skips)
        image = F.pixel_shuffle(self.image(F.silu(self.norm(x))), STEM_PX).float()
        return (image - x_t) / (1 - t).clamp(min=MIN_LEFT)[:, None, None, None]
