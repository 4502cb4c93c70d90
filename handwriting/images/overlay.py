"""Image registration: the distance between images apart from translation, scale and rotation.

Both are brought to the same centre of ink and radius of gyration; then one is rotated, scaled and
shifted until it best matches the other.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.images.canonical import Uint8
from handwriting.images.ink import INK_FLOOR

SIDE = 32  # pixels per side of an image that is registered
REACH = 2.3  # radii from its centre to its side
NUM_ROUNDS = 4
STEP = 0.02  # radians, log scale and radii: the step of finite differences


class Overlay(NamedTuple):
    """Images with what is needed to register them.

    Attributes:
        ink: (N, 1, h, h) in [0, 1].
        place: (N, 3) x and y of the ink's centre, and its radius; the image spans [-1, 1].
    """

    ink: Tensor
    place: Tensor

    @classmethod
    def of(cls, images: Uint8) -> "Overlay":
        """From canonical images (N, H, W)."""
        ink = torch.from_numpy(images).float()[:, None]
        ink = torch.where(ink < INK_FLOOR, 0.0, ink / 255)
        ink = F.avg_pool2d(ink, max(1, ink.shape[-1] // SIDE))
        at = (torch.arange(ink.shape[-1]) + 0.5) / ink.shape[-1] * 2 - 1
        across, down = ink.sum((1, 2)), ink.sum((1, 3))  # (N, w), (N, h)
        mass = across.sum(1).clamp_min(1e-6)
        x, y = across @ at / mass, down @ at / mass
        spread = (across + down) @ at**2 / mass - x**2 - y**2
        return cls(ink, torch.stack([x, y, spread.clamp_min(1e-3).sqrt()], 1))

    def laid(self, pose: Tensor, is_blurred: bool = False) -> Tensor:
        """The images at a pose, (N, SIDE * SIDE) of mean 0 and norm 1.

        Args:
            pose: (N, 4) or (4,) rotation in radians, log scale, x and y shift in radii.
        """
        x, y, radius = self.place.unbind(1)
        angle, scale, right, low = pose.expand(len(self.ink), 4).unbind(1)
        reach = REACH * radius
        cos, sin = reach * scale.exp() * angle.cos(), reach * scale.exp() * angle.sin()
        affine = torch.stack([cos, -sin, x + reach * right, sin, cos, y + reach * low], 1)
        size = [len(self.ink), 1, SIDE, SIDE]
        grid = F.affine_grid(affine.reshape(-1, 2, 3), size, align_corners=False)
        found = F.grid_sample(self.ink, grid, align_corners=False)
        if is_blurred:
            kernel = torch.tensor([0.25, 0.5, 0.25])
            found = F.conv2d(found, (kernel[:, None] * kernel)[None, None], padding=1)
        found = found.flatten(1)
        found = found - found.mean(1, keepdim=True)
        return found / found.norm(dim=1, keepdim=True).clamp_min(1e-6)

    def outline(self) -> Tensor:
        """(N,) half the length of the ink's outline, in its radii: 4 for a line, 12 for a kanji."""
        ink = F.pad(self.ink[:, 0], (0, 1, 0, 1))
        across, down = ink[:, :-1, 1:] - ink[:, :-1, :-1], ink[:, 1:, :-1] - ink[:, :-1, :-1]
        return (across**2 + down**2).sqrt().mean((1, 2)) * ink[0, 0].numel() / self.place[:, 2]


def distances(first: Overlay, second: Overlay) -> Tensor:
    """(N,) one minus the correlation of each pair of images at their best registration.

    Gauss-Newton on the pose, as Lucas and Kanade (1981) register images; the target's gradients are
    computed once (Baker and Matthews, 2004).
    """
    pose, step = torch.zeros(len(first.ink), 4), STEP * torch.eye(4)
    target = second.laid(pose)
    slopes = torch.stack([second.laid(s) - second.laid(-s) for s in step], 1) / (2 * STEP)
    squares = slopes @ slopes.mT + 1e-3 * torch.eye(4)
    best = torch.full((len(pose),), -1.0)
    for _ in range(NUM_ROUNDS + 1):
        laid = first.laid(pose)
        best = torch.maximum(best, (laid * target).sum(1))
        move = torch.linalg.solve(squares, slopes @ (target - laid)[:, :, None])
        pose = pose + move[:, :, 0].clamp(-0.1, 0.1)
    return 1 - best
