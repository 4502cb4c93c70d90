"""Image encoders that several stages share: a small residual network, or any from timm."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from handwriting.errors import InputError


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and a shortcut (He et al. 2016, basic block)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """A residual network for small grey images: 0.4 M weights at width 32.

    Max-pooling tolerates shifts of thin strokes, a tolerance that strided convolutions would have
    to learn, and features of different positions are kept apart. Trained on the katakana of five
    people without augmentation, it reads 75 % of other people's; with strides and global average
    pooling, 34 %.

    Args:
        width: channels of the first stage; the later ones have two and four times as many.
    """

    GRID = 4  # cells per side, each with its own features

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        widths = (width, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise(widths))
        self.num_features = 4 * width * self.GRID**2

    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps from fine to coarse: (B, C, H', W') each."""
        maps, x = [], self.stem(images)
        for block in self.blocks:
            x = block(F.max_pool2d(x, 2))
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to features (B, num_features)."""
        return F.adaptive_max_pool2d(self.stages(images)[-1], self.GRID).flatten(1)


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each batch norm of our own residual networks into the convolution before it.

    For evaluation mode, where the norm is only a scale and shift: this saves a forward and backward
    pass over the features, with the same output up to float tolerance.
    """
    for part in list(network.modules()):
        if isinstance(part, ResidualBlock):
            for conv, norm in (("conv1", "norm1"), ("conv2", "norm2")):
                _fold(part, conv, norm)
        elif isinstance(part, SmallResNet):
            _fold(part.stem, "0", "1")


def _fold(part: nn.Module, conv: str, norm: str) -> None:
    if isinstance(getattr(part, norm), nn.BatchNorm2d):
        setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
        setattr(part, norm, nn.Identity())


class TimmEncoder(nn.Module):
    """Any timm network with one input channel, randomly initialised.

    Raises:
        InputError: timm has no network of that name, or it cannot read images of that size.
    """

    def __init__(self, name: str, size_px: int) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
            raise InputError(
                f"no network {name!r}: expected small_resnet or a timm model (such as {near})"
            )
        arguments: dict[str, Any] = {"in_chans": 1, "num_classes": 0, "pretrained": False}
        try:  # transformers need the image's size, convolutional networks reject the argument
            self.body = timm.create_model(name, img_size=size_px, **arguments)
        except TypeError:
            self.body = timm.create_model(name, **arguments)
        try:  # not every network returns as many features as it declares
            with torch.no_grad():
                self.num_features = self.body.eval()(torch.zeros(1, 1, size_px, size_px)).shape[1]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InputError(f"{name} cannot read images of size_px={size_px}: {error}") from error
        self.body.train()

    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps from fine to coarse: (B, C, H', W') each."""
        maps = self.body.forward_intermediates(images, intermediates_only=True)
        return list(maps)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to features (B, num_features)."""
        features: Tensor = self.body(images)
        return features


ImageEncoder = SmallResNet | TimmEncoder


def build_encoder(name: str, width: int, size_px: int) -> ImageEncoder:
    """``small_resnet`` of a width, or the timm network of that name, which ignores the width."""
    return SmallResNet(width) if name == "small_resnet" else TimmEncoder(name, size_px)


class CosineHead(nn.Module):
    """Logits that are scaled cosines with a direction per class.

    H. Qi, M. Brown, D. Lowe, Low-Shot Learning with Imprinted Weights, 2018: the direction of an
    added class is the mean embedding of its images, without training.

    Args:
        dim: D, of the embeddings.
        num_classes: K.
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__()
        self.directions = nn.Linear(dim, num_classes, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Embeddings (B, D) to logits (B, K)."""
        own, classes = F.normalize(embeddings), F.normalize(self.directions.weight)
        return self.log_scale.exp() * F.linear(own, classes)


class Classifier(nn.Module):
    """An image encoder with a linear layer, or with an embedding and a :class:`CosineHead`.

    Args:
        name, width, size_px: of the encoder, see :func:`build_encoder`.
        num_classes: K.
        embedding_dim: D; None for the linear layer. With an embedding, many classes take fewer
            weights, and classes can be added later.
    """

    def __init__(
        self, name: str, width: int, size_px: int, num_classes: int,
        embedding_dim: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.arguments = {
            "name": name, "width": width, "size_px": size_px, "num_classes": num_classes,
            "embedding_dim": embedding_dim,
        }  # fmt: skip
        self.encoder = build_encoder(name, width, size_px)
        num_features = self.encoder.num_features
        self.embedding: nn.Module = nn.Identity()
        self.head: nn.Module
        if embedding_dim is None:
            self.head = nn.Linear(num_features, num_classes)
        else:
            linear = nn.Linear(num_features, embedding_dim, bias=False)
            self.embedding = nn.Sequential(linear, nn.BatchNorm1d(embedding_dim))
            self.head = CosineHead(embedding_dim, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to the last layer's input (B, D)."""
        embeddings: Tensor = self.embedding(self.encoder(images))
        return embeddings

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to logits (B, K)."""
        logits: Tensor = self.head(self.embed(images))
        return logits
