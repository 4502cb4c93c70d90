"""Augmentation on the batch, on the device: one interpolation, one draw per image.

All randomness comes from an explicit random generator. Images go in as uint8 ink (255 on 0) and
come out as floats in [-1, 1], paper -1 and ink 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.rng import Rng


def to_float(images: Tensor) -> Tensor:
    """uint8 ink (B, H, W) to float (B, 1, H, W) in [-1, 1]."""
    return images.unsqueeze(1).float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float (B, 1, H, W) in [-1, 1] to uint8 ink (B, H, W)."""
    return images.float().add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8).squeeze(1)


def random_placement(
    size: int, rng: Rng, max_angle: float, free: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Angle, scale and shift of :func:`place`: half of the batch rotated by up to ``max_angle``°.

    If ``free``, also a scale of 0.8-1.0 and a shift that keeps the ink inside.
    """
    bound = math.radians(max_angle)
    angle = rng.uniform(-bound, bound, size) * (rng.rand(size) < 0.5)
    if not free:
        one = torch.ones(size, device=rng.device)
        return angle, one, torch.zeros(size, 2, device=rng.device)
    scale = rng.uniform(0.8, 1.0, size)
    room = 1.0 - scale
    shift = torch.stack([rng.uniform(-1, 1, size) * room for _ in range(2)], dim=1)
    return angle, scale, shift


def affine_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """``F.affine_grid`` without ``align_corners``, many times faster on a CPU: (B, H, W, 2).

    All x come before all y in memory, so that the CPU adds and samples whole rows.

    Args:
        theta: (B, 2, 3).
    """
    x, y = (
        (2 * torch.arange(side, device=theta.device) + 1) / side - 1 for side in (width, height)
    )
    across, down, shift = theta.unsqueeze(2).unbind(dim=-1)  # (B, 2, 1) each
    grid = (across * x)[:, :, None] + (down * y + shift)[..., None]  # (B, 2, H, W)
    return grid.permute(0, 2, 3, 1)


def place(images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Rotate, scale and shift uint8 ink (B, C, H, W) into floats of that shape in [-1, 1].

    The C images of one item, such as a content image and its style image, move together.

    Args:
        angle: (B,) radians, counter-clockwise.
        scale: (B,) size relative to the canonical image.
        shift: (B, 2) right and down, in units of half the image's side.
    """
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    x, y = shift.unbind(dim=1)
    # grid_sample asks where each output pixel comes from: the inverse map.
    inverse = torch.stack(
        [cosine, -sine, -cosine * x + sine * y, sine, cosine, -sine * x - cosine * y], dim=1
    )
    grid = affine_grid(inverse.view(-1, 2, 3), *images.shape[2:])
    return F.grid_sample(images.float(), grid, align_corners=False).mul_(2 / 255).sub_(1)


def over_neighbours(images: Tensor, of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The maximum or minimum of each pixel's 3 x 3 neighbourhood, along one axis, then the other.

    Args:
        images: (B, C, H, W).
        of: ``torch.maximum`` or ``torch.minimum``; pooling takes ten times as long on a CPU.
    """
    for axis in (2, 3):
        side = images.shape[axis]
        first, last = images.narrow(axis, 0, 1), images.narrow(axis, side - 1, 1)
        framed = torch.cat([first, images, last], dim=axis)
        before, after = framed.narrow(axis, 0, side), framed.narrow(axis, 2, side)
        images = of(of(before, images), after)
    return images


COARSE, FINE = 6, 24  # control values on each side of a displacement field
FINE_ELASTIC = 0.035  # largest deviation of the fine field, in units of half the image's side
NOISE = 0.33  # largest deviation of noise on the blurred ink, in [-1, 1]
BLUR = 0.0128  # standard deviation, in units of the image's side
CONTRAST = 4.0  # factor that makes blurred edges steep again


def displacement(control: Tensor, height: int, width: int) -> Tensor:
    """A smooth field (B, H, W, 2): control values (B, 2, n, n), enlarged (bicubic)."""
    num = control.shape[-1]
    # Enlarging is linear, and the same for rows and columns: two small matrix products.
    corner = torch.eye(num, device=control.device).view(1, 1, num, num)
    down, across = (
        F.interpolate(corner, (side, num), mode="bicubic", align_corners=True)[0, 0]
        for side in (height, width)
    )  # (H, n) and (W, n)
    return (down @ control @ across.T).permute(0, 2, 3, 1)


def bell(side: int, device: torch.device) -> Tensor:
    """Row i: a Gaussian about i over the pixels of a side, (side, side)."""
    place = torch.arange(side, device=device)
    return torch.exp(-0.5 * ((place[:, None] - place) / (BLUR * side)).square())


@dataclass(frozen=True)
class Classical:
    """Strong classical augmentation: affine, elastic, stroke thickness (the control arm).

    Rough edges, as left by a mouse, a pen on paper or a scanner, keep a recogniser from taking
    every kink for a stroke, at sizes that show such detail (64 px).

    Attributes:
        max_angle: degrees.
        scale: largest relative change of width and of height, drawn independently.
        shear: largest shear of x by y.
        shift: largest shift, in units of half the image's side.
        elastic: standard deviation of the displacement field, in the same unit.
        thickness: largest blend towards the image with strokes two pixels thicker.
        thinness: largest blend towards the image with strokes two pixels thinner.
        roughness: of edges, up to 1; see ``FINE_ELASTIC`` and ``NOISE``.
    """

    max_angle: float = 12.0
    scale: float = 0.15
    shear: float = 0.25
    shift: float = 0.08
    elastic: float = 0.06
    thickness: float = 1.0
    thinness: float = 0.4
    roughness: float = 0.0

    def __call__(self, images: Tensor, rng: Rng) -> Tensor:
        """uint8 ink (B, H, W) to floats (B, 1, H, W) in [-1, 1], each image independently."""
        size, height, width = images.shape
        source = self._thicken(images.unsqueeze(1).float().div_(255), rng)
        angle = rng.uniform(-1, 1, size) * math.radians(self.max_angle)
        scale_x, scale_y = (1 + rng.uniform(-self.scale, self.scale, size) for _ in range(2))
        shear = rng.uniform(-self.shear, self.shear, size)
        shift_x, shift_y = (rng.uniform(-self.shift, self.shift, size) for _ in range(2))
        cosine, sine = torch.cos(angle), torch.sin(angle)
        row_x = [cosine * scale_x, shear - sine * scale_y, shift_x]
        row_y = [sine * scale_x, cosine * scale_y, shift_y]
        theta = torch.stack(row_x + row_y, dim=1).view(-1, 2, 3)
        grid = affine_grid(theta, height, width)
        fields: list[tuple[int, float | Tensor]] = [(COARSE, self.elastic)]
        if self.roughness:
            fields.append((FINE, FINE_ELASTIC * self.roughness * rng.rand(size, 1, 1, 1)))
        for points, spread in fields:
            grid += displacement(spread * rng.randn(size, 2, points, points), height, width)
        moved = F.grid_sample(source, grid, align_corners=False).mul_(2).sub_(1)
        return self._noisy(moved, rng) if self.roughness else moved

    def _noisy(self, images: Tensor, rng: Rng) -> Tensor:
        """Blur, add equally smooth noise, and raise the contrast: (B, 1, H, W) in [-1, 1]."""
        sides = images.shape[2:]
        bells = [bell(side, images.device) for side in sides]
        down, across = (rows / rows.sum(dim=1, keepdim=True) for rows in bells)
        # Of unit variance: each value is a sum of independent ones, weighted by a row of norm one.
        noise_down, noise_across = (rows / rows.norm(dim=1, keepdim=True) for rows in bells)
        noise = noise_down @ rng.randn(len(images), 1, *sides) @ noise_across.T
        amount = NOISE * self.roughness * rng.rand(len(images), 1, 1, 1)
        return (down @ images @ across.T).add_(amount * noise).mul_(CONTRAST).clamp_(-1, 1)

    def _thicken(self, ink: Tensor, rng: Rng) -> Tensor:
        """Blend each image with its grey dilation or erosion (3 x 3)."""
        blend = rng.uniform(-self.thinness, self.thickness, len(ink)).view(-1, 1, 1, 1)
        thicker, thinner = over_neighbours(ink, torch.maximum), over_neighbours(ink, torch.minimum)
        return ink + blend.clamp(min=0) * (thicker - ink) + (-blend).clamp(min=0) * (thinner - ink)
