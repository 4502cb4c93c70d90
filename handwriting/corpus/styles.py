"""The writers whose hands generated images imitate, chosen by each image's random generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from handwriting.corpus.corpus import Corpus, matching
from handwriting.corpus.generation import ImageRequest
from handwriting.errors import InputError
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.packed import Int64, PackedImages, concatenate


def hands(corpus: Corpus, key: str, kinds: list[str], names: list[str]) -> PackedImages:
    """The images of the kinds of writers, and of the writers among them, that a setting names.

    Raises:
        InputError: an unknown kind, or a name that no writer has.
    """
    parts = [images for kind, images in corpus.sources.items() if kind in kinds]
    if not parts or len(parts) < len(kinds):
        raise InputError(
            f"generation.{key}={kinds}: choose from writers, fonts and, if "
            "data.num_simulated_writers is above 0, simulated"
        )
    everyone = concatenate(parts)
    return everyone.by(matching(everyone, names))


class WriterIndex:
    """Picks images of a class, choosing the writer first: all writers are equally likely.

    Args:
        classes, writers: (N,) of the images.
    """

    def __init__(self, classes: Int64, writers: Int64) -> None:
        self._order = np.lexsort((writers, classes))  # a writer's images are adjacent
        pairs = np.stack([classes, writers])[:, self._order]
        is_first = np.append(True, (np.diff(pairs) != 0).any(axis=0))
        self._starts = np.append(np.flatnonzero(is_first), len(classes))  # of the writers, by class
        self._class_of_writer = pairs[0, self._starts[:-1]]

    def pick(self, label: int, size: int, rng: np.random.Generator) -> Int64:
        """Indices (size,) of images of a class by one writer, drawn with replacement."""
        writer = rng.integers(*np.searchsorted(self._class_of_writer, [label, label + 1]))
        first, last = self._starts[writer : writer + 2]
        return np.asarray(self._order[rng.integers(first, last, size)])


def hand_shares(wanted: Sequence[ImageRequest], num_hands: int) -> Tensor:
    """The share of each of H hands in each image's style, (B, H): uniform on the simplex."""
    if num_hands == 1:
        return torch.ones(len(wanted), 1)
    shares = [one.rng.dirichlet(np.ones(num_hands)) for one in wanted]
    return torch.from_numpy(np.stack(shares).astype(np.float32))


def leading_hands(styles: PackedImages, picks: Int64, shares: Tensor) -> list[str]:
    """The hand with the largest share in each image, of H style images and shares (B, H)."""
    most = picks[np.arange(len(picks)), shares.argmax(dim=1).numpy()]
    return [styles.writer_names[i] for i in styles.writers[most]]


def claimed(styles: PackedImages, picks: Int64) -> list[str]:
    """The writer of each image's hand, of H style images (B, H); unknown if several are mixed."""
    hands_of = styles.writers[picks]
    is_mixed = (hands_of != hands_of[:, :1]).any(axis=1)
    return np.where(
        is_mixed, UNKNOWN_WRITER, np.array(styles.writer_names)[hands_of[:, 0]]
    ).tolist()


@dataclass(frozen=True)
class ChosenStyles:
    """The styles of B images.

    Attributes:
        picks: (B * H, S) indices of S images by each of the H hands of an image.
        shares: (B, H) the share of each hand in it.
        leading: (B,) the hand with the largest share.
        writers: (B,) the writer of its hand; unknown if several are mixed.
    """

    picks: Int64
    shares: Tensor
    leading: list[str]
    writers: list[str]


class StyleChooser:
    """Chooses hands for images, and a few images by each of them, whatever they show."""

    def __init__(self, styles: PackedImages, num_hands: int, num_images: int) -> None:
        self._styles, self._num_hands, self._num_images = styles, num_hands, num_images
        self._by_hand = WriterIndex(np.zeros_like(styles.labels), styles.writers)

    def choose(self, wanted: Sequence[ImageRequest]) -> ChosenStyles:
        """Choose for each image, by its own random generator."""
        each_hand = [one.rng for one in wanted for _ in range(self._num_hands)]
        picks = np.array([self._by_hand.pick(0, self._num_images, rng) for rng in each_hand])
        shares = hand_shares(wanted, self._num_hands)
        of_hands = picks[:, 0].reshape(shares.shape)
        leading = leading_hands(self._styles, of_hands, shares)
        return ChosenStyles(picks, shares, leading, claimed(self._styles, of_hands))
