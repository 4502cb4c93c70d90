"""An exponential moving average of weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


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
