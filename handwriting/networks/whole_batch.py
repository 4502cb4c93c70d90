"""Operations over the whole batch, across all processes: norms, dropout, means."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from handwriting.parallel.ranks import rank, world_size


class _Sum(torch.autograd.Function):
    """The sum over the processes; the gradient of a sum of losses is such a sum, too."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradients[0])
        return total


def gather(own: Tensor) -> Tensor:
    """The whole batch (B, ...) from each process's rows; gradients flow to all processes."""
    if world_size() == 1:
        return own
    batch = own.new_zeros(world_size(), *own.shape)
    batch[rank()] = own
    whole: Tensor = _Sum.apply(batch)
    return whole.flatten(0, 1)


def batch_mean(own: Tensor) -> Tensor:
    """The mean () of all values of the batch, of which each process has rows (B / P, ...)."""
    return gather(own.mean()[None]).mean()


class _Normalise(torch.autograd.Function):
    """Batch norm by the mean and variance of all processes' rows, which it also returns.

    S. Ioffe, C. Szegedy, Batch Normalization, 2015, algorithm 1; the derivatives are in section 3.
    torch's kernels run as in evaluation mode; the gradient through the statistics is then added.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.stack(torch.batch_norm_update_stats(x.float(), None, None, 0.0))
        means, variances = gather(own[None]).unbind(1)  # (P, C) each, of equally many rows
        mean = means.mean(0)
        var = (variances + (means - mean).square()).mean(0)
        y = torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, True)
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.total = eps, world_size() * x[:, 0].numel()
        unbiased = var * ctx.total / (ctx.total - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, var, None, None, False, ctx.eps, [True] * 3
        )
        sums = torch.cat([of_bias, of_weight]).float()
        dist.all_reduce(sums)
        of_shift, of_scale = (sums / ctx.total).chunk(2)
        deviation = (var + ctx.eps).rsqrt()
        factor = deviation if weight is None else deviation * weight
        slope = factor * deviation * of_scale
        shape = [1, -1] + [1] * (x.ndim - 2)
        offset = factor * of_shift - slope * mean
        of_x = of_x.addcmul(x, slope.to(x.dtype).view(shape), value=-1)
        of_x -= offset.to(x.dtype).view(shape)
        return (of_x, None, None, None) if weight is None else (of_x, of_weight, of_bias, None)


class WholeBatchNorm(_BatchNorm):
    """Batch norm whose training statistics are over all processes' rows.

    torch's SyncBatchNorm supports GPUs only.

    Args:
        norm: the layer to replace, whose weights, statistics and mode are kept, as are the layers
            that timm's batch norms end with (``drop``, ``act``).
    """

    num_batches_tracked: Tensor
    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self._modules = norm._modules
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        if self.training:
            y, mean, unbiased_var = _Normalise.apply(x, self.weight, self.bias, self.eps)
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased_var, self.momentum)
        else:
            y = super().forward(x)
        for layer in self.children():
            y = layer(y)
        normal: Tensor = y
        return normal


class WholeBatchDropout(nn.Dropout):
    """Dropout that draws its mask for the whole batch, as a single process would."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to the same shape."""
        if not self.training:
            return x
        batch = F.dropout(x.new_ones(world_size() * len(x), *x.shape[1:]), self.p)
        return x * batch.chunk(world_size())[rank()]


def sync_layers(network: nn.Module) -> nn.Module:
    """Replace batch norms and dropouts by layers that see the whole batch.

    With one process, nothing changes. Weights keep their names.

    Returns:
        The network, or its replacement if it is itself such a layer.
    """
    if world_size() == 1:
        return network
    if isinstance(network, _BatchNorm):
        return network if isinstance(network, WholeBatchNorm) else WholeBatchNorm(network)
    if isinstance(network, nn.Dropout):
        return WholeBatchDropout(network.p).train(network.training)
    for name, part in network.named_children():
        setattr(network, name, sync_layers(part))
    return network
