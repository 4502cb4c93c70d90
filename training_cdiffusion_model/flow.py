"""Flow matching: straight paths from noise to images, and their integration.

Y. Lipman et al., Flow Matching for Generative Modeling, 2023; X. Liu et al., Flow Straight and
Fast, 2023. With x_0 noise and x_1 an image, x_t = (1 - t) x_0 + t x_1 has velocity x_1 - x_0. Times
are logit-normal (P. Esser et al., Scaling Rectified Flow Transformers, 2024, eq. 19) and mostly in
the noisier half of the path (T. Li, K. He, Back to Basics, 2025), where the image is decided.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.rng import Rng
from training_cdiffusion_model.model import Denoiser

MEAN_LOGIT = -0.8  # of the times drawn in training (Li, He 2025)


def flow_matching_loss(
    network: Denoiser, x_1: Tensor, condition: Tensor, drawing: Tensor | None, rng: Rng
) -> Tensor:
    """The mean squared error of the velocity (Lipman et al. 2023, eq. 23 with sigma_min = 0)."""
    x_0 = rng.randn(*x_1.shape)
    t = (MEAN_LOGIT + rng.randn(len(x_1))).sigmoid()
    along = t[:, None, None, None]
    x_t = (1 - along) * x_0 + along * x_1
    return F.mse_loss(network(x_t, t, condition, drawing), x_1 - x_0)


@torch.no_grad()
def euler(
    network: Denoiser, x_0: Tensor, condition: Tensor, drawing: Tensor | None,
    num_evaluations: int, guidance: float,
) -> Tensor:  # fmt: skip
    """Images from noise, in equal steps.

    Args:
        x_0: (B, 1, H, W) standard normal noise.
        condition: (B, D).
        drawing: (B, 1, H, W), for a network that sees one.
        num_evaluations: number of steps; each evaluates the network once, on twice the batch if
            guided.
        guidance: 1 follows the condition as learnt, larger values exaggerate it (J. Ho, T.
            Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6 with w = guidance - 1).

    Returns:
        (B, 1, H, W), approximately in [-1, 1].
    """
    null = network.null_condition.expand_as(condition)
    conditions = torch.cat([condition, null]) if guidance != 1 else condition
    if drawing is not None and guidance != 1:
        drawing = drawing.repeat(2, 1, 1, 1)
    x = x_0
    for step in range(num_evaluations):
        t = torch.full((len(conditions),), step / num_evaluations, device=x.device)
        velocity = network(x.repeat(len(conditions) // len(x), 1, 1, 1), t, conditions, drawing)
        if guidance != 1:
            conditional, unconditional = velocity.chunk(2)
            velocity = unconditional + guidance * (conditional - unconditional)
        x = x + velocity / num_evaluations
    return x
