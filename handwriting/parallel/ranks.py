"""Data parallelism: several processes compute one result, each with its rows of every batch.

torchrun starts them, or Hydra's submitit launcher with ``tasks_per_node``; a single process is rank
0 of 1. All have the same seeds and draw the same random numbers for the whole batch, of which each
keeps those of its rows (:class:`handwriting.rng.Rng`); gradients and batch norm statistics are
those of the whole batch. The number of processes thus changes how long a run takes, not its result.
"""

import functools
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

# Long enough for work that only rank 0 does; a process that ends is noticed at once.
TIMEOUT = timedelta(days=1)
# The messages of gloo and NCCL when another process has ended.
_LOSS = r"gloo/transport[^\n]*(closed by|reset by|roken pipe)|remote process exited"
_alone = False  # while only this process works: see main_only


def join(device: str) -> None:
    """Join the process group that this process was started in, if there is one.

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
    dist.init_process_group(backend, timeout=TIMEOUT)
    if not is_main():
        # Only the first prints.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def world_size() -> int:
    """How many processes share a batch."""
    return 1 if _alone or not dist.is_initialized() else dist.get_world_size()


def rank() -> int:
    """This process's number among them, from 0."""
    return 0 if world_size() == 1 else dist.get_rank()


def is_main() -> bool:
    """Whether this is the first process: it alone writes."""
    return rank() == 0


def is_loss(error: Exception) -> bool:
    """Whether an error means that another process ended during communication."""
    return world_size() > 1 and re.search(_LOSS, str(error)) is not None


def main_only(work: Callable[P, T]) -> Callable[P, T]:
    """Let only the first process do some work; the others wait and get its result.

    An error is raised in all of them.
    """

    @functools.wraps(work)
    def done_once(*arguments: P.args, **keywords: P.kwargs) -> T:
        global _alone
        if world_size() == 1:
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


def all_gather_object(work: Callable[[], T]) -> list[T]:
    """The results of some work that each process does, by rank.

    An error in one of them is raised in all.
    """
    if world_size() == 1:
        return [work()]
    outcome: tuple[Any, Exception | None]
    try:
        outcome = work(), None
    except Exception as error:
        outcome = None, error
    outcomes: list[Any] = [None] * world_size()
    dist.all_gather_object(outcomes, outcome)
    errors = [error for _, error in outcomes if error is not None]
    if errors:
        raise errors[0]
    return [found for found, _ in outcomes]


def all_reduce_max(*values: int) -> list[int]:
    """The largest of each value over the processes."""
    found = torch.tensor(values)
    if world_size() > 1:
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


@torch.no_grad()
def all_reduce_mean_(tensors: Sequence[Tensor]) -> None:
    """Replace tensors, such as gradients, by their means over the processes, in one message."""
    if world_size() == 1 or not tensors:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    pieces = flat.div_(world_size()).split([tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view(tensor.shape))
