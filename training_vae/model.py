"""The variational autoencoder, images to a few latent variables and back, and its two loss terms.

D. Kingma, M. Welling, Auto-Encoding Variational Bayes, 2014. With classes, both encoder and decoder
are conditioned on the class (D. Kingma et al., Semi-supervised Learning with Deep Generative
Models, 2014, M2), so that the latent variables need only say how it is written.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from handwriting.errors import InputError
from handwriting.networks.blocks import GROUPS
from handwriting.rng import Rng


@dataclass(frozen=True)
class Encoded:
    """The normal distribution of images' latent variables: mean and log variance (B, L)."""

    mean: Tensor
    log_var: Tensor

    def sample(self, rng: Rng) -> Tensor:
        """Latent variables (B, L), through which gradients flow (eq. 4 and section 2.4)."""
        return self.mean + (self.log_var / 2).exp() * rng.randn(*self.mean.shape)


def squared_error(reconstructions: Tensor, images: Tensor) -> Tensor:
    """The squared error of images (B, 1, H, W) in [-1, 1], on the scale of ink in [0, 1].

    Summed over pixels, averaged over the batch. On the wider scale it would weigh four times as
    much against the KL term: closer reconstructions, worse samples from the prior.
    """
    return ((reconstructions - images) / 2).square().sum(dim=(1, 2, 3)).mean()


def kl_divergence(mean: Tensor, log_var: Tensor) -> Tensor:
    """The KL divergence of normal distributions (B, L) from the standard normal (appendix B).

    Summed over latent variables, averaged over the batch.
    """
    return (mean.square() + log_var.exp() - 1 - log_var).sum(dim=1).mean() / 2


def check_size(size_px: int) -> None:
    """Check that images can be halved three times.

    Raises:
        InputError: they cannot.
    """
    if size_px % 8 or size_px < 8:
        raise InputError(f"size_px={size_px}: a VAE needs a multiple of 8")


class Vae(nn.Module):
    """A convolutional encoder and decoder with latent variables between them.

    Args:
        size_px: S, the side of the images, a multiple of 8.
        num_latents: L.
        num_classes: K, if images are conditioned on class labels, else None.
        dim: channels at half the side; twice and four times as many at a quarter and an eighth.
        dropout: of the features on both sides of the latent variables.

    Raises:
        InputError: ``size_px`` cannot be halved three times.
    """

    def __init__(
        self, size_px: int, num_latents: int, num_classes: int | None, dim: int, dropout: float
    ) -> None:
        super().__init__()
        check_size(size_px)
        self.arguments: dict[str, Any] = {
            "size_px": size_px, "num_latents": num_latents, "num_classes": num_classes, "dim": dim,
            "dropout": dropout,
        }  # fmt: skip
        self.embedding = nn.Embedding(num_classes, 4 * dim) if num_classes else None
        class_dim = 4 * dim if num_classes else 0
        shape = (4 * dim, size_px // 8, size_px // 8)
        num_features = 4 * dim * (size_px // 8) ** 2
        self.features = nn.Sequential(
            *_resize(nn.Conv2d, 1, dim), *_resize(nn.Conv2d, dim, 2 * dim),
            *_resize(nn.Conv2d, 2 * dim, 4 * dim),
            nn.Flatten(), nn.Dropout(dropout),
        )  # fmt: skip
        self.distribution = nn.Linear(num_features + class_dim, 2 * num_latents)
        self.decoder = nn.Sequential(
            nn.Linear(num_latents + class_dim, num_features),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Unflatten(1, shape),
            *_resize(nn.ConvTranspose2d, 4 * dim, 2 * dim),
            *_resize(nn.ConvTranspose2d, 2 * dim, dim),
            nn.ConvTranspose2d(dim, 1, 4, stride=2, padding=1),
            nn.Tanh(),
        )  # fmt: skip

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Encoded:
        """Images (B, 1, S, S) in [-1, 1], and classes (B,) if there are any."""
        features = self._with_class(self.features(images), labels)
        mean, log_var = self.distribution(features).float().chunk(2, dim=1)
        return Encoded(mean, log_var)

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latent variables (B, L), and classes (B,), to images (B, 1, S, S) in [-1, 1]."""
        return self.decoder(self._with_class(latents, labels)).float()

    def forward(self, images: Tensor, labels: Tensor | None, rng: Rng) -> tuple[Tensor, Encoded]:
        """Reconstructions (B, 1, S, S) from drawn latent variables, and their distribution."""
        encoded = self.encode(images, labels)
        return self.decode(encoded.sample(rng), labels), encoded

    def _with_class(self, values: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is None:
            return values
        return torch.cat([values, self.embedding(labels)], dim=1)


def _resize(
    kind: type[nn.Conv2d] | type[nn.ConvTranspose2d], channels: int, out_channels: int
) -> list[nn.Module]:
    """Half the side by a convolution, twice the side by a transposed one."""
    layer = kind(channels, out_channels, 4, stride=2, padding=1)
    return [layer, nn.GroupNorm(GROUPS, out_channels), nn.SiLU()]
