"""The optimizer that classifiers and encoders share, and the average of weights of generators."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel

from handwriting.config import Training


def one_cycle(
    network: nn.Module, settings: Training, weight_decay: float
) -> tuple[AdamW, OneCycleLR]:
    """AdamW with a warm-up and a cosine decay over all steps; no decay on norms and biases."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Of 10 points the first tenth would be no step at all, by whose length the schedule divides.
    warm_up = 0.2 if settings.num_steps == 9 else 0.1
    optimizer = AdamW(groups, lr=settings.learning_rate, fused=True)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps + 1, pct_start=warm_up
    )
    return optimizer, schedule


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights, the first ones to begin with.

    The decay grows to its value as (1 + t) / (10 + t), so that a short training is not averaged
    with its start.
    """

    @torch.no_grad()
    def update(means: Any, weights: Any, num_updates: Tensor | int) -> None:
        # A tensor on the weights' device: as a number it would make the host wait at each step.
        count = torch.as_tensor(num_updates).float()
        keep = ((1 + count) / (10 + count)).clamp(max=decay)
        torch._foreach_mul_(means, keep)
        torch._foreach_add_(means, torch._foreach_mul(weights, 1 - keep))

    return AveragedModel(network, multi_avg_fn=update)
