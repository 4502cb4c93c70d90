"""Whose hands generated images are in: chosen by each image's own random numbers."""

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
    """The images of the kinds of hands, and of the hands among them, that a setting names.

    Raises:
        InputError: an unknown kind of hand, or a name that no hand has.
    """
    parts = [images for kind, images in corpus.sources.items() if kind in kinds]
    if not parts or len(parts) < len(kinds):
        raise InputError(
            f"generation.{key}={kinds}: choose from writers, fonts and, where "
            "data.num_simulated_writers is not 0, simulated"
        )
    everyone = concatenate(parts)
    return everyone.by(matching(everyone, names))


class WriterIndex:
    """Picks images of a class, by hand first: one with many is no likelier than others.

    Args:
        classes, writers: (N,) of the images.
    """

    def __init__(self, classes: Int64, writers: Int64) -> None:
        self._order = np.lexsort((writers, classes))  # the images of a hand lie side by side
        pairs = np.stack([classes, writers])[:, self._order]
        is_first = np.append(True, (np.diff(pairs) != 0).any(axis=0))
        self._starts = np.append(np.flatnonzero(is_first), len(classes))  # of the hands, by class
        self._class_of_hand = pairs[0, self._starts[:-1]]

    def pick(self, label: int, size: int, rng: np.random.Generator) -> Int64:
        """The indices (size,) of images of a class by one hand; it may have fewer, but not none."""
        hand = rng.integers(*np.searchsorted(self._class_of_hand, [label, label + 1]))
        first, last = self._starts[hand : hand + 2]
        return np.asarray(self._order[rng.integers(first, last, size)])


def hand_shares(wanted: Sequence[ImageRequest], num_hands: int) -> Tensor:
    """How much of each of H hands is in each image's style, (B, H): uniform on what sums to one."""
    if num_hands == 1:
        return torch.ones(len(wanted), 1)
    shares = [one.rng.dirichlet(np.ones(num_hands)) for one in wanted]
    return torch.from_numpy(np.stack(shares).astype(np.float32))


def leading_hands(styles: PackedImages, picks: Int64, shares: Tensor) -> list[str]:
    """The hand with the largest share in each image, of H style images and shares (B, H)."""
    most = picks[np.arange(len(picks)), shares.argmax(dim=1).numpy()]
    return [styles.writer_names[i] for i in styles.writers[most]]


def claimed(styles: PackedImages, picks: Int64) -> list[str]:
    """Whose hand each image is in, of H style images (B, H); nobody's where several are mixed."""
    hands_of = styles.writers[picks]
    is_mixed = (hands_of != hands_of[:, :1]).any(axis=1)
    return np.where(
        is_mixed, UNKNOWN_WRITER, np.array(styles.writer_names)[hands_of[:, 0]]
    ).tolist()


@dataclass(frozen=True)
class ChosenStyles:
    """Whose styles B images have.

    Attributes:
        picks: (B * H, S) indices of S images by each of the H hands of an image.
        shares: (B, H) how much of each hand is in it.
        leading: (B,) the hand with the largest share.
        writers: (B,) whose hand it is in; nobody's where several are mixed.
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
        """Choose, each image's by its own generator."""
        each_hand = [one.rng for one in wanted for _ in range(self._num_hands)]
        picks = np.array([self._by_hand.pick(0, self._num_images, rng) for rng in each_hand])
        shares = hand_shares(wanted, self._num_hands)
        of_hands = picks[:, 0].reshape(shares.shape)
        leading = leading_hands(self._styles, of_hands, shares)
        return ChosenStyles(picks, shares, leading, claimed(self._styles, of_hands))
