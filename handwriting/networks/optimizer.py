"""The optimizer that classifiers and encoders share."""

from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

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
