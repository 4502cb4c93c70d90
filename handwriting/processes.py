"""Several processes that compute one result: each takes its rows of every batch.

torchrun starts them, or Hydra's submitit launcher with ``tasks_per_node``; a process by itself is
the first of one, and pays nothing for what is here. A batch is of all processes together. All hold
the same seeds and draw the same random numbers for the whole batch, of which each keeps those of
its rows; gradients and the statistics of batch norm are of the whole batch. So the number of
processes changes how long a run takes, not what comes out of it.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from handwriting.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

# For what the first process does by itself. One that ended is noticed at once: its line is dead.
_PATIENCE = timedelta(days=1)
_alone = False  # inside what the first process does by itself


def join(device: str) -> None:
    """Join the processes that were started beside this one, if there are any.

    Args:
        device: cpu or cuda, one GPU for each process.
    """
    if "SUBMITIT_EXECUTOR" in os.environ:
        from submitit.helpers import TorchDistributedEnvironment

        started = TorchDistributedEnvironment()
        if started.world_size > 1:
            started.export(set_cuda_visible_devices=False)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or dist.is_initialized():
        return
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    if not is_main():
        # One speaks for all.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def count() -> int:
    """How many processes share a batch."""
    return 1 if _alone or not dist.is_initialized() else dist.get_world_size()


def rank() -> int:
    """This process's number among them, from 0."""
    return 0 if count() == 1 else dist.get_rank()


def is_main() -> bool:
    """Whether this is the first process: it alone writes."""
    return rank() == 0


# What one does for all ----------------------------------------------------------------------------


def main_only(work: Callable[P, T]) -> Callable[P, T]:
    """A function that the first process calls by itself; the others wait for what it gives.

    What it raises, all raise.
    """

    @functools.wraps(work)
    def done_once(*arguments: P.args, **keywords: P.kwargs) -> T:
        global _alone
        if count() == 1:
            return work(*arguments, **keywords)
        outcome: list[Any] = [None, None]
        if is_main():
            _alone = True
            try:
                outcome[0] = work(*arguments, **keywords)
            except Exception as error:
                outcome[1] = error
            finally:
                _alone = False
        dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        found: T = outcome[0]
        return found

    return done_once


def from_each(work: Callable[[], T]) -> list[T]:
    """What a piece of work gives on each process, in their order.

    What it raises on one, all raise.
    """
    if count() == 1:
        return [work()]
    outcome: tuple[Any, Exception | None]
    try:
        outcome = work(), None
    except Exception as error:
        outcome = None, error
    outcomes: list[Any] = [None] * count()
    dist.all_gather_object(outcomes, outcome)
    errors = [error for _, error in outcomes if error is not None]
    if errors:
        raise errors[0]
    return [found for found, _ in outcomes]


def highest(*values: int) -> list[int]:
    """The highest of each value over the processes."""
    found = torch.tensor(values)
    if count() > 1:
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


# Rows of a batch ----------------------------------------------------------------------------------


def share(size: int) -> int:
    """How many rows of a batch of ``size`` are this process's.

    Raises:
        InputError: the processes cannot have equally many.
    """
    if size % count():
        raise InputError(
            f"a batch of {size} for {count()} processes: make it a multiple of their number"
        )
    return size // count()


def shard(batch: Tensor) -> Tensor:
    """This process's rows (B / processes, ...) of a batch (B, ...)."""
    return shard_parts([batch])[0]


def shard_parts(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """This process's rows of a batch that is drawn in parts: of each part those among them."""
    sizes = [len(part) for part in parts]
    size = share(sum(sizes))
    first, last = rank() * size, (rank() + 1) * size
    starts = accumulate(sizes, initial=0)
    return tuple(
        part[max(first - start, 0) : max(last - start, 0)]
        for part, start in zip(parts, starts, strict=False)
    )


@dataclass(frozen=True)
class Rows:
    """Draws from a generator what is random about this process's rows of a batch.

    The generator draws for the whole batch on each process, so that it stays the same on all.
    """

    generator: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.generator.device


Rng = torch.Generator | Rows


def drawn(
    draw: Callable[..., Tensor], size: int, rng: Rng | None, device: torch.device | None = None
) -> Tensor:
    """What is random about ``size`` rows of a batch: (size, ...).

    Args:
        draw: such as ``torch.rand``; called with a size, ``generator`` and ``device``.
        size: as many as there are, or with :class:`Rows` as many as are this process's.
        rng: torch's own if there is none.
        device: needed where there is no ``rng``.
    """
    if isinstance(rng, Rows):
        return shard(draw(size * count(), generator=rng.generator, device=rng.device))
    return draw(size, generator=rng, device=device if rng is None else rng.device)


class _Sum(torch.autograd.Function):
    """The sum over the processes. The gradient of a sum of losses is such a sum, too."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _Sum.apply(gradients[0])
        return total


def mean(own: Tensor) -> Tensor:
    """The mean over the processes; gradients flow to all of them."""
    return own if count() == 1 else _Sum.apply(own) / count()


def gather(own: Tensor) -> Tensor:
    """The batch (B, ...) from each process's rows; gradients flow to all of them."""
    if count() == 1:
        return own
    batch = own.new_zeros(count(), *own.shape)
    batch[rank()] = own
    whole: Tensor = _Sum.apply(batch)
    return whole.flatten(0, 1)


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace tensors, such as gradients, by their means over the processes; one message."""
    if count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    pieces = flat.div_(count()).split([tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))


# Layers that look at the whole batch --------------------------------------------------------------


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
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        y, mean, var = _Normalise.apply(x, self.weight, self.bias, self.eps)
        self._follow(mean, var)
        for name in ("drop", "act"):  # timm's batch norms end with these
            if hasattr(self, name):
                y = getattr(self, name)(y)
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
        batch = x.new_ones(count() * len(x), *x.shape[1:])
        return x * shard(F.dropout(batch, self.p))


def over_all(network: nn.Module) -> None:
    """Let batch norms and dropouts see the whole batch; with one process they do.

    Nothing but their ``forward`` changes: weights and their names stay what they are.
    """
    if count() == 1:
        return
    for part in network.modules():
        for kind, whole in ((_BatchNorm, _WholeBatchNorm), (nn.Dropout, _WholeBatchDropout)):
            if isinstance(part, kind) and not isinstance(part, whole):
                part.__class__ = type(type(part).__name__, (whole, type(part)), {})
