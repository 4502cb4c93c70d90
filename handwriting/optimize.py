"""The optimizer that classifiers and encoders share."""

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
    matrices = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = AdamW(groups, lr=settings.learning_rate, fused=True)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps + 1, pct_start=0.1
    )
    return optimizer, schedule


class Average(AveragedModel):
    """An exponential moving average of a network's weights.

    The decay grows to its value as (1 + t) / (10 + t), so that a short training is not averaged
    with its start. Nothing here waits for the device, as torch's own update does.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, network: nn.Module) -> None:
        """Move a step towards the network's weights, the first time all the way; copy buffers."""
        count = self.n_averaged.float()
        keep = ((1 + count) / (10 + count)).clamp(max=self._decay) * (count > 0)
        means: list[Tensor] = list(self.module.parameters())
        values: list[Tensor] = list(network.parameters())
        torch._foreach_mul_(means, keep)
        torch._foreach_add_(means, list(torch._foreach_mul(values, 1 - keep)))
        for mean, value in zip(self.module.buffers(), network.buffers(), strict=True):
            mean.copy_(value)
        self.n_averaged += 1
