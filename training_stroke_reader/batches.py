"""Batches of practice: written characters with about equally many strokes, and their models."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from handwriting.rng import Rng
from handwriting.sources.handwritten_strokes import model_of, padded
from handwriting.sources.practice import Practice

ALIKE = 16  # a batch is taken from so small a part of the samples, ordered by number of strokes


class Batch(NamedTuple):
    """B characters: their images and models, and where they were written."""

    rows: Tensor  # (B,) their places in the order
    images: Tensor  # (B, 1, SIZE_PX, SIZE_PX) in [0, 1]
    drawings: Tensor  # likewise, of the models
    model: Tensor  # (B, S, P, 2)
    mask: Tensor  # (B, S)
    strokes: Tensor  # (B, S, P, 2)
    is_written: Tensor  # (B, S, P) whether the image shows the point
    is_right: Tensor  # (B,) whether the image shows the character


class Batches:
    """Samples in the order of their numbers of strokes, ``order``."""

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

    def take(self, rows: Tensor, most: int) -> Batch:
        """Samples by their place in the order (B,), of at most so many strokes."""
        labels = self.labels[rows]
        return Batch(
            rows,
            self.images[rows, None].float() / 255,
            self.drawings[labels, None].float() / 255,
            self.model[labels, :most],
            self.mask[labels, :most],
            self.strokes[rows, :most].float(),
            self.is_written[rows, :most],
            self.is_right[rows],
        )

    def draw(self, step: int, batch_size: int, rng: Rng) -> Batch:
        """A batch from the part of the order that is this step's turn."""
        width = max(1, len(self.num_strokes) // ALIKE)
        # Parts follow one another by the golden ratio, which covers all of them evenly.
        first = int(step * 0.618034 % 1 * (len(self.num_strokes) - width + 1))
        rows = first + rng.randint(width, rng.num_rows(batch_size))
        return self.take(rows, int(self.num_strokes[first + width - 1]))

    def parts(self, size: int) -> Iterator[Batch]:
        """All samples, in batches."""
        for first in range(0, len(self.num_strokes), size):
            rows = torch.arange(first, min(first + size, len(self.num_strokes)))
            yield self.take(rows.to(self.labels.device), int(self.num_strokes[int(rows[-1])]))
