"""The optimizer that most stages share, and the moving average of generators' weights."""

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
    # With 9 steps, a warm-up of a tenth would have length 0, by which the schedule divides.
    warm_up = 0.2 if settings.num_steps == 9 else 0.1
    optimizer = AdamW(groups, lr=settings.learning_rate, fused=True)
    schedule = OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.num_steps + 1, pct_start=warm_up
    )
    return optimizer, schedule


class MovingAverage(AveragedModel):
    """An exponential moving average of a network's weights, starting from the initial ones.

    The decay ramps up as (1 + t) / (10 + t), so that a short training is not dominated by its
    start. Updates are counted on the host: torch's own implementation sends the count to the
    weights' device, which makes the host wait for all the work of the step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        count = self.n_averaged.float()
        keep = ((1 + count) / (10 + count)).clamp(max=self._decay) if count else torch.zeros(())
        means: list[Tensor] = list(self.module.parameters())
        weights: list[Tensor] = list(model.parameters())
        torch._foreach_mul_(means, float(keep))
        torch._foreach_add_(means, list(torch._foreach_mul(weights, float(1 - keep))))
        for kept, new in zip(self.module.buffers(), model.buffers(), strict=True):
            kept.copy_(new)
        self.n_averaged += 1
