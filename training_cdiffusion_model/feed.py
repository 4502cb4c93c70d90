"""What a training step sees: images of characters, and others by the same writers."""

from dataclasses import dataclass

import torch
from torch import Tensor

from handwriting.config import CDiffusion
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import Corpus
from handwriting.images.augment import to_float
from handwriting.rng import Rng


@dataclass(frozen=True)
class Batch:
    """Images in [-1, 1] and their classes.

    Attributes:
        target: (B, 1, H, W).
        styles: (B, S, H, W), any characters by the targets' writers.
        labels: (B,).
    """

    target: Tensor
    styles: Tensor
    labels: Tensor


class StyleFeed:
    """Batches of characters with images by the writer of each.

    Raises:
        InputError: a source lacks a seen character, or no source has a share.
    """

    def __init__(self, corpus: Corpus, settings: CDiffusion, device: torch.device) -> None:
        self._mixture = Mixture(corpus, corpus.sources, device)
        self._settings = settings

    def draw(self, batch_size: int, rng: Rng) -> Batch:
        """One batch; every class is equally likely."""
        bank = self._mixture.bank
        labels = self._mixture.draw_labels(batch_size, rng)
        target = self._mixture.draw(labels, self._settings.shares, rng)
        writers = bank.writers[target].repeat_interleave(self._settings.num_style_images)
        styles = to_float(bank.take(bank.draw_by(writers, rng))).squeeze(1)
        return Batch(to_float(bank.take(target)), styles.unflatten(0, (len(labels), -1)), labels)
