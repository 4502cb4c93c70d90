"""Rows of a batch that several processes share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from handwriting.errors import InputError
from handwriting.parallel.ranks import rank, world_size


def local_batch_size(size: int) -> int:
    """How many rows of a batch of ``size`` are this process's.

    Raises:
        InputError: the processes cannot have equally many.
    """
    if size % world_size():
        raise InputError(
            f"a batch of {size} for {world_size()} processes: make it a multiple of their number"
        )
    return size // world_size()


def shard(batch: Tensor) -> Tensor:
    """This process's rows (B / processes, ...) of a batch (B, ...)."""
    return shard_parts([batch])[0]


def shard_parts(parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """This process's rows of a batch that is drawn in parts: of each part those among them."""
    sizes = [len(part) for part in parts]
    size = local_batch_size(sum(sizes))
    first, last = rank() * size, (rank() + 1) * size
    starts = accumulate(sizes, initial=0)
    return tuple(
        part[max(first - start, 0) : max(last - start, 0)]
        for part, start in zip(parts, starts, strict=False)
    )


@dataclass(frozen=True)
class Rows:
    """Draws from a generator what is random about this process's rows of a batch.

    It draws for the whole batch on each process, so that it stays the same on all.
    """

    rng: torch.Generator

    @property
    def device(self) -> torch.device:
        return self.rng.device


Rng = torch.Generator | Rows


def draw_rows(
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
        return shard(draw(size * world_size(), generator=rng.rng, device=rng.device))
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


def all_reduce_mean(own: Tensor) -> Tensor:
    """The mean over the processes; gradients flow to all of them."""
    return own if world_size() == 1 else _Sum.apply(own) / world_size()


def gather(own: Tensor) -> Tensor:
    """The batch (B, ...) from each process's rows; gradients flow to all of them."""
    if world_size() == 1:
        return own
    batch = own.new_zeros(world_size(), *own.shape)
    batch[rank()] = own
    whole: Tensor = _Sum.apply(batch)
    return whole.flatten(0, 1)


@torch.no_grad()
def all_reduce_mean_(tensors: Sequence[Tensor]) -> None:
    """Replace tensors, such as gradients, by their means over the processes; one message."""
    if world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    pieces = flat.div_(world_size()).split([tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))
