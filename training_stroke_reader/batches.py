"""Batches of practice samples with similar numbers of strokes, and KanjiVG's models of them."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from handwriting.rng import Rng
from handwriting.sources.handwritten_strokes import model_of, padded
from handwriting.sources.practice import Practice

NUM_WINDOWS = 16  # a batch is from 1/16 of the samples, consecutive in order of number of strokes


class Batch(NamedTuple):
    """B characters: their images and models, and where their strokes were written."""

    rows: Tensor  # (B,) their positions in the order
    images: Tensor  # (B, 1, SIZE_PX, SIZE_PX) in [0, 1]
    drawings: Tensor  # likewise, of the models
    model: Tensor  # (B, S, P, 2)
    mask: Tensor  # (B, S)
    strokes: Tensor  # (B, S, P, 2)
    is_written: Tensor  # (B, S, P) whether the image shows the point
    is_right: Tensor  # (B,) whether the image shows the character, and nothing else


class Batches:
    """Samples sorted by number of strokes; ``order`` maps positions to the given samples."""

    def __init__(self, samples: Practice, characters: Sequence[str], device: torch.device) -> None:
        self.order = np.argsort(samples.num_strokes, kind="stable")
        self.num_strokes = samples.num_strokes[self.order]  # on the host, for the shape of a batch
        models = [model_of(character) for character in characters]

        def on_device(array: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(array).to(device)

        self.images = on_device(samples.images[self.order])
        self.strokes = on_device(samples.strokes[self.order])
        self.is_written = on_device(samples.is_written[self.order])
        self.labels = on_device(samples.labels[self.order])
        self.is_right = on_device(samples.is_right[self.order])
        self.drawings = on_device(np.stack([model.image for model in models]))
        self.model, self.mask = (t.to(device) for t in padded([model.strokes for model in models]))

    def take(self, rows: Tensor, max_strokes: int) -> Batch:
        """Samples by their positions in the order (B,), none with more than ``max_strokes``."""
        labels = self.labels[rows]
        return Batch(
            rows,
            self.images[rows, None].float() / 255,
            self.drawings[labels, None].float() / 255,
            self.model[labels, :max_strokes],
            self.mask[labels, :max_strokes],
            self.strokes[rows, :max_strokes].float(),
            self.is_written[rows, :max_strokes],
            self.is_right[rows],
        )

    def draw(self, step: int, batch_size: int, rng: Rng) -> Batch:
        """A batch from this step's window of the order."""
        width = max(1, len(self.num_strokes) // NUM_WINDOWS)
        # Windows advance by the golden ratio, which covers the order evenly.
        first = int(step * 0.618034 % 1 * (len(self.num_strokes) - width + 1))
        rows = first + rng.randint(width, rng.num_rows(batch_size))
        return self.take(rows, int(self.num_strokes[first + width - 1]))

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples, in batches."""
        for first in range(0, len(self.num_strokes), size):
            rows = torch.arange(first, min(first + size, len(self.num_strokes)))
            yield self.take(rows.to(self.labels.device), int(self.num_strokes[int(rows[-1])]))
