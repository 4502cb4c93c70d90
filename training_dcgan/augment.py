"""Differentiable augmentation of what the discriminator sees, real and generated alike.

S. Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, 2020: given few real
images, a discriminator memorises them, down to the exact position of every stroke.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.rng import Rng

MAX_SHIFT = 0.125  # share of the side, as in the paper


def shift(images: Tensor, rng: Rng) -> Tensor:
    """Move each image by up to ``MAX_SHIFT`` along both axes and fill the border with paper.

    Images are (B, 1, S, S) in [-1, 1], paper is -1; gradients flow back to them.
    """
    size, side = len(images), images.shape[-1]
    most = round(side * MAX_SHIFT)
    padded = F.pad(images, [most] * 4, value=-1.0).squeeze(1)
    start = rng.randint(2 * most + 1, size, 2, 1)
    rows, columns = (start + torch.arange(side, device=images.device)).unbind(1)  # (B, S) each
    item = torch.arange(size, device=images.device)[:, None, None]
    return padded[item, rows[:, :, None], columns[:, None, :]].unsqueeze(1)
