"""The DCGAN's generator and discriminator, all convolutions.

A. Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks, 2016. With classes, the generator is conditioned by an embedding concatenated
with its noise, the discriminator by a projection (T. Miyato, M. Koyama, cGANs with Projection
Discriminator, 2018). The discriminator also sees how much the images of a group differ (minibatch
standard deviation, T. Karras et al., Progressive Growing of GANs, 2018, section 3, here for each
feature): without it, the images of a class collapsed to one, whatever the noise.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of LeakyReLU below zero (Radford et al. 2016, section 4)
NUM_FEATURES = 128  # of an image, before the discriminator's last layer
GROUP = 4  # consecutive images of a batch that are compared; best all of one class
DEVIATION_WEIGHT = 0.5  # of deviations beside features: more diversity, or more legibility


class FromPoint(nn.ConvTranspose2d):
    """A transposed convolution of one position, (B, C, 1, 1) to (B, C', S, S), as a matrix product.

    On a CPU, a convolution with a kernel as large as the image takes many times as long.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        by_place = self.weight.permute(0, 2, 3, 1)  # (C, S, S, C'), as it lies in channels-last
        made = x.flatten(1) @ by_place.flatten(1)
        return made.unflatten(1, by_place.shape[1:]).permute(0, 3, 1, 2)


class ToPoint(nn.Conv2d):
    """A convolution whose kernel covers the image, (B, C, S, S) to (B, C', 1, 1), likewise."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), weight, self.bias)[..., None, None]


class Generator(nn.Module):
    """Noise to images: transposed convolutions from 1 x 1 to a quarter, a half, the whole side.

    Args:
        size_px: S, a multiple of 4.
        z_dim: Z.
        num_classes: K, or None for an unconditional generator.
        dim: channels at half the side; twice as many at a quarter.
    """

    def __init__(self, size_px: int, z_dim: int, num_classes: int | None, dim: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "size_px": size_px, "z_dim": z_dim, "num_classes": num_classes, "dim": dim,
        }  # fmt: skip
        self.embedding = nn.Embedding(num_classes, z_dim) if num_classes else None
        inputs = 2 * z_dim if num_classes else z_dim
        self.layers = nn.Sequential(
            FromPoint(inputs, 2 * dim, size_px // 4, bias=False),
            nn.BatchNorm2d(2 * dim),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(2 * dim, dim, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(dim),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(dim, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise (B, Z), and classes (B,) if there are any, to images (B, 1, S, S) in [-1, 1]."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], dim=1)
        return self.layers(z[..., None, None]).float()


class Discriminator(nn.Module):
    """Images to logits, high for real: strided convolutions, each of spectral norm 1.

    T. Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018: in place of
    batch norm, under which real and generated batches would be normalised differently.

    Args:
        size_px: S, a multiple of 4.
        num_classes: K, or None for an unconditional discriminator.
        dim: channels at half the side; twice as many at a quarter.
    """

    def __init__(self, size_px: int, num_classes: int | None, dim: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "size_px": size_px, "num_classes": num_classes, "dim": dim,
        }  # fmt: skip
        self.layers = nn.Sequential(
            spectral_norm(nn.Conv2d(1, dim, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(nn.Conv2d(dim, 2 * dim, 4, stride=2, padding=1)),
            nn.LeakyReLU(SLOPE),
            spectral_norm(ToPoint(2 * dim, NUM_FEATURES, size_px // 4)),
            nn.LeakyReLU(SLOPE),
        )
        self.verdict = spectral_norm(nn.Conv2d(2 * NUM_FEATURES, 1, 1))
        self.embedding = nn.Embedding(num_classes, NUM_FEATURES) if num_classes else None
        if self.embedding is not None:
            # No spectral norm: one norm for all classes left each too weak, and ユ passed for エ.
            nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, 1, S, S) in [-1, 1], and classes (B,) if there are any, to logits (B,).

        B is a multiple of ``GROUP``.
        """
        features = self.layers(images)  # (B, D, 1, 1)
        seen = torch.cat([features, DEVIATION_WEIGHT * deviations(features)], dim=1)
        logits: Tensor = self.verdict(seen).flatten()
        if self.embedding is not None:  # Miyato, Koyama 2018, eq. 4
            logits = logits + (self.embedding(labels) * features.flatten(1)).sum(dim=1)
        return logits.float()


def deviations(features: Tensor) -> Tensor:
    """The standard deviation of features (B, D, 1, 1) within each image's group: (B, D, 1, 1)."""
    groups = features.unflatten(0, (-1, GROUP))  # (B / GROUP, GROUP, D, 1, 1)
    variance = groups.var(dim=1, keepdim=True, unbiased=False)
    return (variance + 1e-8).sqrt().expand_as(groups).flatten(0, 1)
