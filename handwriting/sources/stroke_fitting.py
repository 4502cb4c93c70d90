"""Fits strokes to an image: gradient descent moves them until their drawing matches the image.

It works from coarse to fine: image and drawing are blurred less and less, so that a stroke that
misses its ink is still attracted by it. Coordinates are those of ``soft_raster.py``.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.sources import soft_raster


class Stage(NamedTuple):
    """One pass of gradient descent.

    Attributes:
        blur_px: standard deviation of the Gaussian that blurs image and drawing.
        softness: of the drawn pen's edge, in units of the ink's side.
    """

    blur_px: float
    softness: float
    num_steps: int


STAGES = (Stage(1.5, 0.028, 20), Stage(0.7, 0.017, 30), Stage(0.0, 0.0085, 40))
LEARNING_RATE = 0.006  # of points, in units of the ink's side
RADIUS_LEARNING_RATE = 0.03  # of the logarithm of the pen's radius
BENDING = 0.03  # weight of the penalty on points moving differently from their neighbours
STAYING = 0.003  # weight of the penalty on how far points move
LOOK_EVERY = 4  # steps between searches for the nearest segments
RADII = (0.008, 0.12)  # least and greatest, of pens


def fit(images: Tensor, start: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Fit strokes to images.

    Args:
        images: (B, size_px, size_px) ink in [0, 1], canonical.
        start: (B, S, P, 2) approximate strokes, relative to the centre of the ink's box.
        mask: (B, S), False where an image has no such stroke.

    Returns:
        Strokes (B, S, P, 2) and the radius of each image's pen (B,).
    """
    size_px = images.shape[-1]
    centres, _ = soft_raster.boxes(images)
    pixels = soft_raster.pixel_centres(size_px) - centres[:, None]
    moved = torch.zeros_like(start).requires_grad_()
    log_radii = start_radii(images, start, mask).log().requires_grad_()
    for stage in STAGES:
        target = _blurred(images, stage.blur_px)
        rates = [(moved, LEARNING_RATE), (log_radii, RADIUS_LEARNING_RATE)]
        groups = [{"params": [values], "lr": rate} for values, rate in rates]
        optimizer = torch.optim.Adam(groups, betas=(0.8, 0.95))
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, stage.num_steps)
        for step in range(stage.num_steps):
            strokes = start + moved
            if step % LOOK_EVERY == 0:
                with torch.no_grad():
                    nearest = soft_raster.nearest_segments(strokes, mask, pixels)
            drawn = soft_raster.draw(strokes, log_radii.exp(), nearest, pixels, stage.softness)
            drawn = _blurred(drawn.view(images.shape), stage.blur_px)
            error = (1 + stage.blur_px) * (drawn - target).square().mean(dim=(1, 2))
            bending = moved[:, :, 2:] - 2 * moved[:, :, 1:-1] + moved[:, :, :-2]
            restraint = BENDING * bending.square().sum(dim=(2, 3))
            restraint = restraint + STAYING * moved.square().sum(dim=(2, 3))
            optimizer.zero_grad()
            (error + (restraint * mask).sum(dim=1)).sum().backward()
            optimizer.step()
            schedule.step()
    strokes = (start + moved).detach()
    nearest = soft_raster.nearest_segments(strokes, mask, pixels)
    away = soft_raster.distances(strokes, nearest, pixels)
    return strokes, covering_radii(away, log_radii.detach().exp(), images.flatten(1) > 0.5)


def covering_radii(away: Tensor, radii: Tensor, ink: Tensor) -> Tensor:
    """Radii (B,), near those given, whose pens best cover the ink and nothing else.

    The grey of an edge locates the strokes, but not where a pixel starts to count as ink, since
    grey levels are stretched in images of thin strokes.

    Args:
        away: (B, N) distances of pixels from the strokes.
        ink: (B, N).
    """
    tried = radii[:, None] * torch.linspace(0.8, 1.3, 26)
    covered = away[:, None] < tried[..., None]  # (B, tried, N)
    common = (covered & ink[:, None]).sum(dim=2)
    overlap = common / (covered | ink[:, None]).sum(dim=2)
    best = tried.gather(1, overlap.argmax(dim=1, keepdim=True))[:, 0]
    return best.clamp(*RADII)


def start_radii(images: Tensor, strokes: Tensor, mask: Tensor) -> Tensor:
    """Radii (B,) of pens that would leave the images' amount of ink if strokes did not cross."""
    lengths = (strokes[:, :, 1:] - strokes[:, :, :-1]).norm(dim=-1).sum(dim=-1)
    pixels = soft_raster.pixel_centres(images.shape[-1])
    pixel_area = (pixels[1, 0] - pixels[0, 0]).square()
    areas = pixel_area * images.sum(dim=(1, 2))
    return (areas / (2 * (lengths * mask).sum(dim=1).clamp(min=1e-3))).clamp(*RADII)


def _blurred(images: Tensor, sigma_px: float) -> Tensor:
    """Images (B, H, W) blurred by a Gaussian."""
    if not sigma_px:
        return images
    reach = round(3 * sigma_px)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / sigma_px).square())
    kernel = kernel / kernel.sum()
    rows = F.conv2d(images[:, None], kernel[None, None, :, None], padding=(reach, 0))
    return F.conv2d(rows, kernel[None, None, None], padding=(0, reach))[:, 0]
