"""Image encoders that several stages share: a small residual network, and any of timm's."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.errors import InputError


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm and an identity path (He et al. 2016, basic block)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(hidden)) + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """A residual network for small grey images: quick on two CPU cores, 0.3 M weights at width 32.

    Args:
        width: channels of the first stage; the later ones have two and four times as many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # 2 x 2 pixels become 4 channels: strokes survive it, and it quarters the cost.
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4, width, 3, 1, 1))
        self.blocks = nn.ModuleList(
            [
                ResidualBlock(width, width, 1),
                ResidualBlock(width, 2 * width, 2),
                ResidualBlock(2 * width, 4 * width, 2),
            ]
        )
        self.num_features = 4 * width

    def stages(self, images: Tensor) -> list[Tensor]:
        """Feature maps from fine to coarse: (B, C, H', W') each."""
        maps, x = [], self.stem(images)
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to features (B, num_features)."""
        return self.stages(images)[-1].mean(dim=(2, 3))


class TimmEncoder(nn.Module):
    """Any timm network with one input channel, from random weights.

    Raises:
        InputError: timm has no network of that name.
    """

    def __init__(self, name: str, size_px: int) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            near = ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5])
            raise InputError(f"no network {name!r}: small_resnet or a timm name (such as {near})")
        arguments: dict[str, Any] = {"in_chans": 1, "num_classes": 0, "pretrained": False}
        try:  # transformers need to know the image's size, convolutional networks refuse the word
            self.body = timm.create_model(name, img_size=size_px, **arguments)
        except TypeError:
            self.body = timm.create_model(name, **arguments)
        self.num_features = int(self.body.num_features)

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
    """``small_resnet`` of a width, or the timm network of that name (which has its own widths)."""
    return SmallResNet(width) if name == "small_resnet" else TimmEncoder(name, size_px)


class Classifier(nn.Module):
    """An image encoder and one linear layer.

    Args:
        name, width, size_px: of the encoder, see :func:`build_encoder`.
        num_classes: K.
    """

    def __init__(self, name: str, width: int, size_px: int, num_classes: int) -> None:
        super().__init__()
        self.arguments = {
            "name": name, "width": width, "size_px": size_px, "num_classes": num_classes,
        }  # fmt: skip
        self.encoder = build_encoder(name, width, size_px)
        self.head = nn.Linear(self.encoder.num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 1, H, W) in [-1, 1] to logits (B, K)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits
