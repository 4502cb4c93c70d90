"""Random numbers for batches whose rows are divided among processes."""

import torch
from torch import Tensor

from handwriting.errors import InputError


class Rng(torch.Generator):
    """A generator that draws a whole batch and keeps this process's shard of its rows.

    All processes hold the same state and make the same draws, so that a batch does not depend on
    their number. When passed to torch (``generator=rng``), it draws all rows in every process.

    Args:
        rank, world_size: the shard to keep, of ``world_size`` equal ones; by default all rows.
    """

    def __new__(cls, seed: int, device: torch.device | str = "cpu", *share: int) -> "Rng":
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self, seed: int, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> None:
        self.manual_seed(seed)
        self._rank, self._world_size = rank, world_size

    def num_rows(self, batch_size: int) -> int:
        """The number of rows of a batch in this process's shard.

        Raises:
            InputError: the batch cannot be divided equally among the processes.
        """
        if batch_size % self._world_size:
            raise InputError(
                f"a batch of {batch_size} cannot be divided equally among {self._world_size} "
                f"processes: set the batch size to a multiple of {self._world_size}"
            )
        return batch_size // self._world_size

    def shard(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """This process's rows of a batch that was drawn in parts (B_i, ...), part by part."""
        size = self.num_rows(sum(len(part) for part in parts))
        first, found = self._rank * size, []
        for part in parts:
            found.append(part[max(first, 0) : max(first + size, 0)])
            first -= len(part)
        return tuple(found)

    def rand(self, num_rows: int, *shape: int) -> Tensor:
        """(num_rows, *shape) values from [0, 1)."""
        size = (num_rows * self._world_size, *shape)
        return self._kept(torch.rand(size, generator=self, device=self.device))

    def uniform(self, low: float, high: float, num_rows: int) -> Tensor:
        """(num_rows,) values from [low, high)."""
        return low + (high - low) * self.rand(num_rows)

    def randn(self, num_rows: int, *shape: int) -> Tensor:
        """(num_rows, *shape) standard normal values."""
        size = (num_rows * self._world_size, *shape)
        return self._kept(torch.randn(size, generator=self, device=self.device))

    def randint(self, high: int, num_rows: int, *shape: int) -> Tensor:
        """(num_rows, *shape) integers from 0 to ``high`` - 1."""
        size = (num_rows * self._world_size, *shape)
        return self._kept(torch.randint(high, size, generator=self, device=self.device))

    def choice(self, weights: Tensor, num_rows: int) -> Tensor:
        """(num_rows,) indices into the weights, drawn with probabilities proportional to them."""
        size = num_rows * self._world_size
        return self._kept(torch.multinomial(weights, size, replacement=True, generator=self))

    def _kept(self, batch: Tensor) -> Tensor:
        return self.shard(batch)[0]
