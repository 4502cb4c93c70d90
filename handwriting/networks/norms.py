"""Layers that look at the whole batch, on however many processes it lies."""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from handwriting.parallel.ranks import world_size
from handwriting.parallel.rows import gather, shard


class _Normalise(torch.autograd.Function):
    """Batch norm by the mean and variance of all processes' rows, which it also returns.

    S. Ioffe, C. Szegedy, Batch Normalization, 2015, algorithm 1; its derivatives in section 3.
    torch's kernels work as if in evaluation mode; what the statistics owe to x comes on top.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        # A process may have no row of a kind. It goes along: the others must not wait in vain.
        mean = var = x.new_zeros(x.shape[1], dtype=torch.float32)
        if len(x):
            mean, var = torch.batch_norm_update_stats(x.float(), None, None, 0.0)
        size = mean.new_tensor([x[:, :1].numel()])
        parts = gather(torch.cat([size, mean, var])[None])  # (processes, 1 + 2 C)
        sizes, means, variances = parts.split([1, len(mean), len(mean)], dim=1)
        total = sizes.sum()
        mean = (sizes * means).sum(0) / total
        var = (sizes * (variances + (means - mean).square())).sum(0) / total
        arguments = (weight, bias, mean, var, False, 0.0, eps, True)
        y = torch.batch_norm(x, *arguments) if len(x) else x.clone()
        ctx.save_for_backward(x, weight, mean, var, total)
        ctx.eps = eps
        unbiased = var * total / (total - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return y, mean, unbiased

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, total = ctx.saved_tensors
        of_x, of_weight, of_bias = gradients[0], torch.zeros_like(mean), torch.zeros_like(mean)
        if len(x):
            of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                gradients[0], x, weight, mean, var, None, None, False, ctx.eps, [True] * 3
            )
        sums = torch.cat([of_bias, of_weight]).float()
        dist.all_reduce(sums)
        of_shift, of_scale = (sums / total).chunk(2)
        deviation = (var + ctx.eps).rsqrt()
        factor = deviation if weight is None else deviation * weight
        slope = factor * deviation * of_scale
        shape = [1, -1] + [1] * (x.ndim - 2)
        offset = factor * of_shift - slope * mean
        of_x = of_x.addcmul(x, slope.to(x.dtype).view(shape), value=-1)
        of_x -= offset.to(x.dtype).view(shape)
        return (of_x, None, None, None) if weight is None else (of_x, of_weight, of_bias, None)


class _WholeBatchNorm(_BatchNorm):
    """Batch norm that in training takes mean and variance over all processes' rows.

    torch's SyncBatchNorm does so on GPUs only.

    Args:
        norm: what it replaces: its weights, statistics and mode are taken over, and the layers
            that timm's batch norms end with (``drop``, ``act``).
    """

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        for name, parameter in norm.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, statistic in norm.named_buffers(recurse=False):
            self.register_buffer(name, statistic)
        for name, layer in norm.named_children():
            self.add_module(name, layer)
        self.training = norm.training

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y, mean, var = _Normalise.apply(x, self.weight, self.bias, self.eps)
            self._follow(mean, var)
        else:
            y = super().forward(x)
        for layer in self.children():
            y = layer(y)
        normal: Tensor = y
        return normal

    def _follow(self, mean: Tensor, unbiased_var: Tensor) -> None:
        """Update the running statistics, in place."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(unbiased_var, momentum)


class _WholeBatchDropout(nn.Dropout):
    """Dropout that draws for the whole batch, as one process would."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        batch = x.new_ones(world_size() * len(x), *x.shape[1:])
        return x * shard(F.dropout(batch, self.p))


def sync_layers(network: nn.Module) -> nn.Module:
    """Replace batch norms and dropouts by layers that see the whole batch; one process has it.

    The weights themselves and their names stay what they are.

    Returns:
        The network, or its replacement if it is such a layer itself.
    """
    if world_size() == 1:
        return network
    if isinstance(network, _BatchNorm):
        return network if isinstance(network, _WholeBatchNorm) else _WholeBatchNorm(network)
    if isinstance(network, nn.Dropout):
        return _WholeBatchDropout(network.p).train(network.training)
    for name, part in network.named_children():
        setattr(network, name, sync_layers(part))
    return network
