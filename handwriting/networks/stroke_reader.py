"""Networks that locate the strokes of a character in its image, and judge whether it shows them.

The character is known, and so is a model drawing of it. As in Z. Teed, J. Deng, RAFT, 2020,
features of the image are looked up at the current strokes, and an update, the same in every
iteration, moves them; strokes exchange information by attention, points of a stroke by convolution.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwriting.networks.blocks import GROUPS

HEADS = 4


class StrokeReader(nn.Module):
    """Moves the strokes of a model to where an image shows them.

    Args:
        num_points: P, points of a stroke.
        max_strokes: of a character.
        channels: of features at half the image's side, twice and four times as many at a quarter
            and an eighth.
        dim: D, of a point's hidden state, a multiple of ``HEADS``.
        num_iterations: how often the strokes are moved.
    """

    def __init__(
        self, num_points: int, max_strokes: int, channels: int, dim: int, num_iterations: int
    ) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "num_points": num_points, "max_strokes": max_strokes, "channels": channels, "dim": dim,
            "num_iterations": num_iterations,
        }  # fmt: skip
        self.pyramid = _Pyramid(2, channels)
        self.update = _Update(num_points, max_strokes, 7 * channels, dim)
        self.move = nn.Linear(dim, 2)
        nn.init.zeros_(self.move.weight)
        nn.init.zeros_(self.move.bias)
        self.compare = nn.Sequential(
            _conv(3, channels, stride=2, kernel=5),
            _conv(channels, 2 * channels, stride=2),
            _conv(2 * channels, 2 * channels, stride=2),
        )
        self.judgement = nn.Sequential(
            nn.Linear(4 * channels + 2 * dim, dim), nn.ReLU(), nn.Linear(dim, 1)
        )

    def forward(
        self, images: Tensor, drawings: Tensor, model: Tensor, mask: Tensor, side: float
    ) -> tuple[list[Tensor], Tensor]:
        """Move the model's strokes to where the image has them.

        Args:
            images: (B, 1, H, W) ink in [0, 1].
            drawings: the model in the same form, (B, 1, H, W).
            model: (B, S, P, 2), in units of the ink's longer side.
            mask: (B, S), False where a character has no such stroke.
            side: the share of the image's side that the ink spans.

        Returns:
            The strokes (B, S, P, 2) after each iteration, and the last hidden states of the points,
            (B, S, P, D), for :meth:`judge`.
        """
        pyramid = self.pyramid(torch.cat([images, drawings], dim=1))
        strokes, known, found = model, None, list[Tensor]()
        for _ in range(self.arguments["num_iterations"]):
            known = self.update(pyramid, strokes, model, mask, side, known)
            strokes = strokes + self.move(known).float() / 8 * mask[..., None, None]
            found.append(strokes)
        assert known is not None
        return found, known

    def judge(
        self, images: Tensor, drawings: Tensor, drawn: Tensor, known: Tensor, mask: Tensor
    ) -> Tensor:
        """Logits (B,) that an image shows its character, each stroke once and nothing else.

        Args:
            drawn: a drawing of the strokes that were found, (B, 1, H, W).
            known: (B, S, P, D), from :meth:`forward`.
        """
        compared = self.compare(torch.cat([images, drawings, drawn], dim=1)).flatten(2)
        points = (known * mask[..., None, None]).flatten(1, 2)  # (B, S P, D), none is negative
        num_points = mask.sum(dim=1, keepdim=True) * known.shape[2]
        parts = [compared.mean(dim=2), compared.amax(dim=2)]
        parts += [points.sum(dim=1) / num_points, points.amax(dim=1)]
        return self.judgement(torch.cat(parts, dim=1)).float()[:, 0]


class StrokeJudge(nn.Module):
    """A second opinion on images, which examines them again along the strokes that were found.

    Args:
        num_points, max_strokes, channels, dim: as in :class:`StrokeReader`.
    """

    def __init__(self, num_points: int, max_strokes: int, channels: int, dim: int) -> None:
        super().__init__()
        self.arguments: dict[str, Any] = {
            "num_points": num_points, "max_strokes": max_strokes, "channels": channels, "dim": dim,
        }  # fmt: skip
        self.pyramid = _Pyramid(3, channels)
        self.update = _Update(num_points, max_strokes, 7 * channels, dim)
        self.written = nn.Linear(dim, 1)
        self.judgement = nn.Sequential(
            nn.Linear(10 * channels + 2 * dim + 1, dim), nn.ReLU(), nn.Linear(dim, 1)
        )

    def forward(
        self, images: Tensor, drawings: Tensor, drawn: Tensor, found: Tensor, model: Tensor,
        mask: Tensor, side: float,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Judge B images.

        Args:
            drawn: a drawing of the strokes that were found, (B, 1, H, W).
            found: the strokes themselves, (B, S, P, 2).
            images, drawings, model, mask, side: as in :meth:`StrokeReader.forward`.

        Returns:
            Logits (B,) that an image shows each stroke once and nothing else, and logits (B, S, P)
            that a point was written.
        """
        pyramid = self.pyramid(torch.cat([images, drawings, drawn], dim=1))
        known = self.update(pyramid, found, model, mask, side, None)
        written = self.written(known).float()[..., 0]
        least = written.masked_fill(~mask[..., None], torch.inf).flatten(1).amin(dim=1)
        points = (known * mask[..., None, None]).flatten(1, 2)  # (B, S P, D), none is negative
        num_points = mask.sum(dim=1, keepdim=True) * known.shape[2]
        parts = [points.sum(dim=1) / num_points, points.amax(dim=1), least[:, None]]
        for level in (pyramid[0], pyramid[2]):
            parts += [level.mean(dim=(2, 3)), level.amax(dim=(2, 3))]
        return self.judgement(torch.cat(parts, dim=1)).float()[:, 0], written


class _Pyramid(nn.Module):
    """Features of (B, C, H, W) at a half, a quarter and an eighth of the side."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        c1, c2, c3 = channels, 2 * channels, 4 * channels
        self.down1 = nn.Sequential(_conv(in_channels, c1, stride=2, kernel=5), _conv(c1, c1))
        self.down2 = nn.Sequential(_conv(c1, c2, stride=2), _conv(c2, c2))
        self.down3 = nn.Sequential(_conv(c2, c3, stride=2), _conv(c3, c3))
        self.up2, self.up1 = _conv(c3 + c2, c2), _conv(c2 + c1, c1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        half = self.down1(x)
        quarter = self.down2(half)
        eighth = self.down3(quarter)
        quarter = self.up2(torch.cat([_enlarged(eighth), quarter], dim=1))
        half = self.up1(torch.cat([_enlarged(quarter), half], dim=1))
        return half, quarter, eighth


def _conv(in_channels: int, out_channels: int, stride: int = 1, kernel: int = 3) -> nn.Module:
    convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, out_channels), nn.ReLU())


def _enlarged(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


class _Update(nn.Module):
    """Updates the points' hidden states from the image's features there and the other strokes."""

    def __init__(self, num_points: int, max_strokes: int, num_features: int, dim: int) -> None:
        super().__init__()
        self.known = nn.Linear(num_features + 6, dim)
        self.point = nn.Parameter(0.1 * torch.randn(num_points, dim))  # position in its stroke
        self.order = nn.Parameter(0.1 * torch.randn(max_strokes, dim))  # of the stroke
        self.along = nn.ModuleList(_AlongStroke(dim, dim) for _ in range(2))
        self.between = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, HEADS, 2 * dim, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(2)
        )
        self.merge = _AlongStroke(2 * dim, dim)

    def forward(
        self, pyramid: tuple[Tensor, ...], strokes: Tensor, model: Tensor, mask: Tensor,
        side: float, known: Tensor | None,
    ) -> Tensor:  # fmt: skip
        """Hidden states (B, S, P, D), non-negative; ``known`` are those of the last iteration."""
        at = 2 * side * strokes.flatten(1, 2)[:, :, None]  # (B, S P, 1, 2) in [-1, 1] of the image
        looked_up = [
            F.grid_sample(level, at.to(level.dtype), padding_mode="border", align_corners=False)
            for level in pyramid
        ]
        features = torch.cat(looked_up, dim=1)[..., 0].mT.unflatten(1, strokes.shape[1:3])
        moved = strokes - model
        points = self.known(torch.cat([features, 2 * strokes, 2 * model, 8 * moved], dim=-1))
        points = points + self.point
        if known is not None:
            points = points + known
        for convolve in self.along:
            points = points + F.relu(convolve(points))
        whole = points.mean(dim=2) + self.order[: strokes.shape[1]]  # (B, S, D)
        for attend in self.between:
            whole = attend(whole, src_key_padding_mask=~mask)
        both = torch.cat([points, whole[:, :, None].expand_as(points)], dim=-1)
        return F.relu(self.merge(both))


class _AlongStroke(nn.Linear):
    """A convolution over three neighbouring points of a stroke (..., P, C), as one matrix product.

    A ``Conv1d`` over eleven points takes three times as long on a CPU.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(3 * in_channels, out_channels)

    def forward(self, points: Tensor) -> Tensor:
        padded = F.pad(points, (0, 0, 1, 1))
        neighbours = [padded[..., :-2, :], points, padded[..., 2:, :]]
        return super().forward(torch.cat(neighbours, dim=-1))
