"""Blocks of image-to-image networks: conditioned residual convolutions, and attention.

As in J. Ho et al., Denoising Diffusion Probabilistic Models, 2020, and P. Dhariwal, A. Nichol,
Diffusion Models Beat GANs on Image Synthesis, 2021 (scale and shift).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS, HEAD_DIM = 4, 32
GROUPS = 8


class ModulatedBlock(nn.Module):
    """Two 3 x 3 convolutions with group norm, the first scaled and shifted by a condition."""

    def __init__(self, in_channels: int, out_channels: int, condition_dim: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(GROUPS, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(GROUPS, out_channels)
        self.modulate = nn.Linear(condition_dim, 2 * out_channels) if condition_dim else None
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        hidden = self.norm1(self.conv1(x))
        if self.modulate is not None:
            assert condition is not None
            scale, shift = self.modulate(F.silu(condition))[..., None, None].chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        hidden = F.silu(self.norm2(self.conv2(F.silu(hidden))))
        return hidden + self.shortcut(x)


class Attention(nn.Module):
    """Multi-head attention over positions, pre-norm and residual.

    Args:
        linear: whether the cost is linear in the number of positions (A. Katharopoulos et al. 2020,
            with separate softmaxes of queries and keys as in Z. Shen et al. 2021); else full.
    """

    def __init__(self, channels: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(1, channels)
        self.to_qkv = nn.Conv2d(channels, 3 * HEADS * HEAD_DIM, 1, bias=False)
        self.to_out = nn.Conv2d(HEADS * HEAD_DIM, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        qkv = self.to_qkv(self.norm(x)).view(batch, 3, HEADS, HEAD_DIM, height * width)
        q, k, v = qkv.unbind(dim=1)  # (B, heads, D, N)
        if self.linear:
            q = q.softmax(dim=2) * HEAD_DIM**-0.5
            k = k.softmax(dim=3)
            context = k @ v.transpose(2, 3)  # (B, heads, D, D)
            mixed = context.transpose(2, 3) @ q
        else:
            q, k, v = (item.transpose(2, 3) for item in (q, k, v))
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(2, 3)
        return x + self.to_out(mixed.reshape(batch, HEADS * HEAD_DIM, height, width))


class Middle(nn.Module):
    """Full attention between two residual blocks."""

    def __init__(self, channels: int, condition_dim: int | None) -> None:
        super().__init__()
        self.block1 = ModulatedBlock(channels, channels, condition_dim)
        self.attention = Attention(channels, linear=False)
        self.block2 = ModulatedBlock(channels, channels, condition_dim)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        mixed: Tensor = self.block2(self.attention(self.block1(x, condition)), condition)
        return mixed


class FrozenEmbedding(nn.Module):
    """Given class embeddings, each of length 1, that are not trained.

    Attributes:
        weight: (K, D), zeros until the embeddings are copied in.
    """

    weight: Tensor

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_classes, dim))

    def forward(self, labels: Tensor) -> Tensor:
        """Classes (B,) to embeddings (B, D), scaled to unit variance per value as learned ones."""
        return self.weight[labels] * self.weight.shape[1] ** 0.5
