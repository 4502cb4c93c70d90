"""The generator: content and style encoders, AdaIN at the bottleneck, a decoder; its discriminator.

X. Huang, S. Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
2017; P. Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    apply_activation_checkpointing,
)

from handwriting.networks.blocks import (
    GROUPS,
    Attention,
    FrozenEmbedding,
    Middle,
    ModulatedBlock,
)

INK_PX = 2  # pixels per side folded into channels in the block that draws ink


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the positions: (B, C, H, W) to (B, C)."""
    # float32: the variance of bfloat16 features would lose precision under autocast.
    flat = features.float().flatten(2)
    return flat.mean(dim=2), flat.var(dim=2, unbiased=False).add(1e-5).sqrt()


def adain(content: Tensor, style_mean: Tensor, style_deviation: Tensor) -> Tensor:
    """Give content features (B, C, H, W) the style's mean and deviation (B, C) (eq. 8)."""
    mean, deviation = statistics(content)
    normal = (content.float() - mean[..., None, None]) / deviation[..., None, None]
    return normal * style_deviation[..., None, None] + style_mean[..., None, None]


class Level(nn.Module):
    """Residual blocks, optional linear attention, and a change of resolution.

    The blocks work on ``channels``; ``resize`` ("down", "up" or "keep") leads to ``out_channels``.
    """

    def __init__(
        self, channels: int, out_channels: int, num_blocks: int, condition_dim: int | None,
        full_attention: bool, resize: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.blocks = nn.ModuleList(
            ModulatedBlock(channels, channels, condition_dim) for _ in range(num_blocks)
        )
        self.attention = Attention(channels, linear=True) if full_attention else nn.Identity()
        self.grow = nn.Upsample(scale_factor=2, mode="nearest") if resize == "up" else nn.Identity()
        kernel, stride = (4, 2) if resize == "down" else (3, 1)
        self.resize = nn.Conv2d(channels, out_channels, kernel, stride, padding=1)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, condition)
        return self.resize(self.grow(self.attention(x)))


def levels(
    widths: Sequence[int], num_blocks: int, condition_dim: int | None, full_attention: bool,
    resize: str,
) -> nn.ModuleList:  # fmt: skip
    """A level of each width; all but the last change the resolution."""
    out_widths = [*widths[1:], widths[-1]]
    resizes = [resize] * (len(widths) - 1) + ["keep"]
    return nn.ModuleList(
        Level(channels, out_channels, num_blocks, condition_dim, full_attention, change)
        for channels, out_channels, change in zip(widths, out_widths, resizes, strict=True)
    )


class Encoder(nn.Module):
    """Images to bottleneck features.

    Args:
        widths: channels of each level.
        num_blocks: residual blocks of each level, 2 in the original.
        patch_px: pixels per side folded into channels by the stem; 1 for the original's.
        condition_dim: None for the style encoder.
        full_attention: linear attention at every level.
    """

    def __init__(
        self, widths: Sequence[int], num_blocks: int, patch_px: int, condition_dim: int | None,
        full_attention: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        kernel = 7 if patch_px == 1 else 3
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(patch_px),
            nn.Conv2d(patch_px**2, widths[0], kernel, padding=kernel // 2),
        )
        self.levels = levels(widths, num_blocks, condition_dim, full_attention, "down")
        self.middle = Middle(widths[-1], condition_dim)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images (B, 1, H, W) to features (B, C, H', W')."""
        x = self.stem(images)
        for level in self.levels:
            x = level(x, condition)
        return self.middle(x, condition)


class Decoder(nn.Module):
    """Bottleneck features to images: the encoder's mirror, without skip connections.

    Args:
        is_inking: whether a last block, at patches of at most two pixels, sees the content image
            (a line drawing) and the style's statistics, so that the bottleneck need not carry
            where the ink goes.
    """

    def __init__(
        self, widths: Sequence[int], num_blocks: int, patch_px: int, condition_dim: int | None,
        full_attention: bool, is_inking: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.middle = Middle(widths[-1], condition_dim)
        self.levels = levels(widths[::-1], num_blocks, condition_dim, full_attention, "up")
        self.ink, last_px = None, patch_px
        self.finer: nn.Module = nn.Identity()
        if is_inking:
            last_px = math.gcd(patch_px, INK_PX)
            self.ink = ModulatedBlock(widths[0] + last_px**2, widths[0], 2 * widths[-1])
        finer = patch_px // last_px
        if finer > 1:
            self.finer = nn.Sequential(
                nn.Conv2d(widths[0], finer**2 * widths[0], 1), nn.PixelShuffle(finer)
            )
        self.unshuffle = nn.PixelUnshuffle(last_px)
        self.last = nn.Conv2d(widths[0], last_px**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(last_px)

    def forward(
        self, features: Tensor, style: tuple[Tensor, Tensor], condition: Tensor | None,
        content_images: Tensor,
    ) -> Tensor:  # fmt: skip
        """Features (B, C, H', W') to images (B, 1, H, W), approximately in [-1, 1].

        Args:
            style: mean and deviation, (B, C) each.
            content_images: (B, 1, H, W).
        """
        x = self.middle(adain(features, *style), condition)
        for level in self.levels:
            x = level(x, condition)
        x = self.finer(x)
        if self.ink is not None:
            drawn = torch.cat([x, self.unshuffle(content_images)], dim=1)
            x = self.ink(drawn, torch.cat(style, dim=1))
        # No tanh: as most pixels are paper, L1 would saturate it before any ink is learnt.
        return self.shuffle(self.last(F.silu(x))).float()


class Generator(nn.Module):
    """A content image in the style of another image.

    Args:
        mode: ``adain``, ``adain_mlp`` (a learned class embedding) or ``adain_clip`` (the class's
            frozen text embedding).
        num_classes: K.
        text_dim: size of the text embeddings, for ``adain_clip``.
        dim, dim_mults, num_blocks, patch_px, full_attention: see
            :class:`handwriting.config.StyleTransfer`.
        is_inking: whether contents are line drawings, see :class:`Decoder`.
    """

    class_embedding: nn.Embedding | FrozenEmbedding

    def __init__(
        self, mode: str, num_classes: int, text_dim: int, dim: int, dim_mults: Sequence[int],
        num_blocks: int, patch_px: int, full_attention: bool, is_inking: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.arguments: dict[str, Any] = {
            "mode": mode, "num_classes": num_classes, "text_dim": text_dim, "dim": dim,
            "dim_mults": list(dim_mults), "num_blocks": num_blocks, "patch_px": patch_px,
            "full_attention": full_attention, "is_inking": is_inking,
        }  # fmt: skip
        self.mode = mode
        condition_dim = None if mode == "adain" else 4 * dim
        if condition_dim:
            embedding_dim = dim if mode == "adain_mlp" else text_dim
            kind = nn.Embedding if mode == "adain_mlp" else FrozenEmbedding
            self.class_embedding = kind(num_classes, embedding_dim)
            self.null_embedding = nn.Parameter(torch.randn(embedding_dim))
            self.mlp = nn.Sequential(
                nn.Linear(embedding_dim, condition_dim),
                nn.GELU(),
                nn.Linear(condition_dim, condition_dim),
            )
        widths = [dim * mult for mult in dim_mults]
        sizes = (widths, num_blocks, patch_px)
        self.content_encoder = Encoder(*sizes, condition_dim, full_attention)
        self.style_encoder = Encoder(*sizes, None, full_attention)
        self.decoder = Decoder(*sizes, condition_dim, full_attention, is_inking)

    def save_memory(self) -> None:
        """Keep only activations between blocks for the backward pass, at a third more computation.

        T. Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
        """
        apply_activation_checkpointing(
            self, check_fn=lambda part: isinstance(part, ModulatedBlock | Attention)
        )

    def condition(self, labels: Tensor, dropped: Tensor | None = None) -> Tensor | None:
        """The class's condition (B, 4 * dim), None for the ``adain`` mode.

        Args:
            labels: (B,).
            dropped: (B,) bool, where the null embedding replaces the class's.
        """
        if self.mode == "adain":
            return None
        embedding = self.class_embedding(labels)
        if dropped is not None:
            embedding = torch.where(dropped[:, None], self.null_embedding, embedding)
        return self.mlp(embedding)

    def style(self, style_images: Tensor) -> tuple[Tensor, Tensor]:
        """The style of images (B, 1, H, W): mean and deviation of their features, (B, C) each."""
        return statistics(self.style_encoder(style_images))

    def forward(
        self, content_images: Tensor, style: tuple[Tensor, Tensor], labels: Tensor,
        dropped: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Content (B, 1, H, W) in [-1, 1] and a style to images (B, 1, H, W), about in [-1, 1]."""
        condition = self.condition(labels, dropped)
        features = self.content_encoder(content_images, condition)
        return self.decoder(features, style, condition, content_images)


class Discriminator(nn.Module):
    """PatchGAN: real or generated, judged patch by patch (Isola et al. 2017, appendix 6.1.2).

    Group norm replaces batch norm, so that real and generated images share no statistics.
    """

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {"dim": dim, "num_layers": num_layers}
        layers: list[nn.Module] = [nn.Conv2d(1, dim, 4, 2, 1), nn.LeakyReLU(0.2)]
        channels = dim
        for i in range(1, num_layers + 1):
            wider = dim * min(2**i, 8)
            stride = 2 if i < num_layers else 1
            layers += [
                nn.Conv2d(channels, wider, 4, stride, 1, bias=False),
                nn.GroupNorm(GROUPS, wider), nn.LeakyReLU(0.2),
            ]  # fmt: skip
            channels = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) to logits per patch (B, 1, H', W'), high for real."""
        return self.layers(images)
