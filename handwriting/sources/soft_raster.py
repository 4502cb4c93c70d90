"""Differentiable drawings of strokes: a distance field and a soft pen.

The brightness of a pixel is sigmoid((radius - distance) / softness), with the pen's radius and the
distance to the nearest segment of a stroke, as in T.-M. Li et al., Differentiable Vector Graphics
Rasterization for Editing and Learning, 2020. The nearest segment is found without gradients; the
distance to it carries them.

Coordinates are relative to a canonical image's ink, whose centre is 0 and whose longer side is 1,
x to the right and y down, so that they do not depend on the size of the image.
"""

import torch
from torch import Tensor

from handwriting.images.canonical import margin_px

PLACES = (1 / 6, 1 / 2, 5 / 6)  # of a segment's length, where distances are compared
FAR = 1e3  # added to the squared distance from masked strokes


def pixel_centres(size_px: int) -> Tensor:
    """The centres of a canonical image's pixels from its own centre, row by row, (size_px^2, 2)."""
    side = size_px - 2 * margin_px(size_px)
    along = (torch.arange(size_px) + 0.5 - size_px / 2) / side
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).reshape(-1, 2)


def boxes(images: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes of the ink: their centres from the image's, and their sides, (B, 2) each.

    A box of an odd number of pixels lies half a pixel to the left, or above. As its shorter side is
    a whole number of pixels, its aspect differs slightly between sizes of a canonical image.

    Args:
        images: (B, size_px, size_px), 0 where there is no ink.
    """
    size_px = images.shape[-1]
    centres, sides = [], []
    for axis in (1, 2):  # over rows: the columns with ink, x; over columns: y
        has_ink = (images > 0).any(dim=axis).int()
        first, behind = has_ink.argmax(dim=1), size_px - has_ink.flip(1).argmax(dim=1)
        centres.append((first + behind - size_px) / 2)
        sides.append(behind - first)
    side = size_px - 2 * margin_px(size_px)
    return torch.stack(centres, dim=1) / side, torch.stack(sides, dim=1) / side


def nearest_segments(strokes: Tensor, mask: Tensor, pixels: Tensor) -> Tensor:
    """Find the segment nearest to each pixel.

    Segments are compared by three of their points, in one matrix product; exact distances would
    take a pass over all pixels for each segment.

    Args:
        strokes: (B, S, P, 2).
        mask: (B, S), False where an image has no such stroke.
        pixels: (N, 2), or (B, N, 2).

    Returns:
        (B, N) indices into the S * (P - 1) segments.
    """
    starts, ends = strokes[:, :, :-1], strokes[:, :, 1:]
    inner = torch.stack([starts + at * (ends - starts) for at in PLACES], dim=3)
    absent = torch.where(mask, 0.0, FAR)[:, :, None, None].expand(inner.shape[:-1])
    points = inner.flatten(1, 3)  # (B, 3 S (P - 1), 2)
    # |pixel - point|^2 without |pixel|^2, which is common to all points
    own = points.square().sum(dim=-1) + absent.flatten(1)
    products = pixels.expand(len(points), -1, -1) @ points.mT
    return (own[:, None] - 2 * products).argmin(dim=-1) // len(PLACES)


def distances(strokes: Tensor, nearest: Tensor, pixels: Tensor) -> Tensor:
    """The distances of pixels from strokes, (B, N).

    Args:
        strokes: (B, S, P, 2).
        nearest: (B, N) from :func:`nearest_segments`.
    """
    starts = strokes[:, :, :-1]
    segments = torch.cat([starts, strokes[:, :, 1:] - starts], dim=-1).flatten(1, 2)
    start, along = segments.gather(1, nearest[..., None].expand(-1, -1, 4)).split(2, dim=-1)
    to_pixel = pixels - start
    at = (to_pixel * along).sum(dim=-1) / (along.square().sum(dim=-1) + 1e-9)
    away = to_pixel - at.clamp(0, 1)[..., None] * along
    return (away.square().sum(dim=-1) + 1e-10).sqrt()


def draw(
    strokes: Tensor, radii: Tensor, nearest: Tensor, pixels: Tensor, softness: float
) -> Tensor:
    """Drawings (B, N) in [0, 1] with a pen of radii (B,).

    Args:
        softness: width of the pen's soft edge, in the strokes' unit.
    """
    return torch.sigmoid((radii[:, None] - distances(strokes, nearest, pixels)) / softness)


@torch.no_grad()
def ink(
    strokes: Tensor, mask: Tensor, radii: Tensor, size_px: int, centres: Tensor | None = None
) -> Tensor:
    """Whether a pen of radii (B,) covers the centre of each pixel, (B, size_px, size_px).

    Args:
        centres: of the ink's boxes, (B, 2); None for those of the images.
    """
    pixels = pixel_centres(size_px)
    if centres is not None:
        pixels = pixels - centres[:, None]
    away = distances(strokes, nearest_segments(strokes, mask, pixels), pixels)
    return (away < radii[:, None]).view(-1, size_px, size_px)


def iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of ink (B, H, W) with ink, (B,)."""
    common = (ours & theirs).sum(dim=(1, 2))
    return common / (ours | theirs).sum(dim=(1, 2)).clamp(min=1)
