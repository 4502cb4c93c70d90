"""Random numbers for batches whose rows several processes share."""

import torch
from torch import Tensor

from handwriting.errors import InputError


class Rng(torch.Generator):
    """A generator that draws for a whole batch and keeps this process's share of its rows.

    All processes hold the same state and draw alike, so that a batch does not depend on their
    number. Where torch draws from it itself (``generator=rng``), all get all.

    Args:
        rank, world_size: which of how many equal shares of the rows it keeps; by default all rows.
    """

    def __new__(cls, seed: int, device: torch.device | str = "cpu", *share: int) -> "Rng":
        return super().__new__(cls, device)  # type: ignore[call-arg]

    def __init__(
        self, seed: int, device: torch.device | str = "cpu", rank: int = 0, world_size: int = 1
    ) -> None:
        self.manual_seed(seed)
        self._rank, self._world_size = rank, world_size

    def num_rows(self, batch_size: int) -> int:
        """How many rows of a batch are kept.

        Raises:
            InputError: the processes cannot have equally many.
        """
        if batch_size % self._world_size:
            raise InputError(
                f"a batch of {batch_size} for {self._world_size} processes: make it a multiple of "
                "their number"
            )
        return batch_size // self._world_size

    def shard(self, *parts: Tensor) -> tuple[Tensor, ...]:
        """The kept rows of a batch that was drawn in parts (B_i, ...): of each part those in it."""
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
        """(num_rows,) values between two bounds."""
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
        """(num_rows,) places in the weights, as likely as each weighs beside the others."""
        size = num_rows * self._world_size
        return self._kept(torch.multinomial(weights, size, replacement=True, generator=self))

    def _kept(self, batch: Tensor) -> Tensor:
        return self.shard(batch)[0]
