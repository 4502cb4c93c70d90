"""The texts of the classes as token tensors, several alternatives per character."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from handwriting.characters.decomposition import (
    SPECIAL_TOKENS,
    Structure,
    Text,
    read_structure,
    structure_of,
)
from handwriting.config import Structure as StructureConfig
from handwriting.errors import InputError
from handwriting.rng import Rng

Int64 = npt.NDArray[np.int64]
PAD, BOS, EOS, UNK = range(4)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens that a text encoder knows; a token's number is its index.

    Attributes:
        tokens: ``SPECIAL_TOKENS`` first, then components and operators.
    """

    tokens: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def from_structure(cls, structure: Structure) -> "Vocabulary":
        """Every token of the texts, in code point order."""
        found = {token for texts in structure.values() for text in texts for token in text}
        return cls(SPECIAL_TOKENS + tuple(sorted(found - set(SPECIAL_TOKENS))))

    def encode(self, texts: Sequence[Text], context_length: int) -> Int64:
        """Texts as token numbers (N, context_length): BOS, components, EOS, then PAD.

        Unknown tokens become UNK and are counted in a logged warning.

        Raises:
            InputError: a text is too long for the context.
        """
        encoded = np.full((len(texts), context_length), PAD, np.int64)
        for row, text in zip(encoded, texts, strict=True):
            if len(text) + 2 > context_length:
                raise InputError(
                    f"{' '.join(text)} has {len(text)} tokens, but structure.context_length="
                    f"{context_length} allows {context_length - 2}: increase it"
                )
            numbers = [self._numbers.get(token, UNK) for token in text]
            row[: len(text) + 2] = [BOS, *numbers, EOS]
        unknown = Counter(token for text in texts for token in text if token not in self._numbers)
        if unknown:
            _log.warning(
                "%d component tokens are not in the vocabulary and are read as [UNK]: %s",
                unknown.total(),
                " ".join(f"{token} ({count})" for token, count in unknown.most_common(20)),
            )
        return encoded

    def encode_alternatives(
        self, structure: Structure, characters: Sequence[str], context_length: int
    ) -> tuple[Int64, Int64]:
        """All texts of each class, so that random ones can be picked by indexing.

        Returns:
            Token numbers (K, A, context_length), where A is the largest number of alternatives of a
            class, and the number of each class, (K,). Rows past that number repeat the first text,
            so that every row has an EOS.
        """
        counts = np.array([len(structure[c]) for c in characters], np.int64)
        encoded = self.encode([t for c in characters for t in structure[c]], context_length)
        starts = np.cumsum(counts) - counts
        places = np.arange(counts.max())  # (A,)
        rows = starts[:, None] + np.where(places < counts[:, None], places, 0)  # (K, A)
        return encoded[rows], counts

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.tokens)}


@dataclass(frozen=True)
class ClassTexts:
    """Every text of every class.

    Attributes:
        tokens: (K, A, L) int64; rows past a class's count repeat its first text.
        counts: (K,) alternatives of each class.
        vocabulary: what the tokens mean.
    """

    tokens: Tensor
    counts: Tensor
    vocabulary: Vocabulary

    def to(self, device: torch.device) -> "ClassTexts":
        return ClassTexts(self.tokens.to(device), self.counts.to(device), self.vocabulary)

    def draw(self, labels: Tensor, rng: Rng) -> Tensor:
        """A random text (B, L) of each of (B,) classes."""
        counts = self.counts[labels]
        places = (rng.rand(len(labels)) * counts).long()
        return self.tokens[labels, torch.minimum(places, counts - 1)]


def vocabulary_of(
    config: StructureConfig, characters: Sequence[str], seen: Sequence[str]
) -> Vocabulary:
    """The tokens of the study's classes that training sees; see :func:`class_texts`."""
    return _vocabulary(_structure(config, characters), seen)


def _vocabulary(structure: Structure, seen: Sequence[str]) -> Vocabulary:
    return Vocabulary.from_structure({c: structure[c] for c in seen})


def _structure(config: StructureConfig, characters: Sequence[str]) -> Structure:
    max_tokens = config.context_length - 2  # its start and end
    if config.path:
        return read_structure(Path(config.path), characters, max_tokens)
    return structure_of(characters, max_tokens)


def class_texts(
    config: StructureConfig,
    characters: Sequence[str],
    seen: Sequence[str],
    vocabulary: Vocabulary | None = None,
) -> ClassTexts:
    """The texts of a study's classes.

    Args:
        config: its ``path`` is the user's JSON file, or null for KanjiVG.
        characters: the K classes.
        seen: those that training sees, from which the vocabulary is made.
        vocabulary: that of a checkpoint, to use instead.
    """
    structure = _structure(config, characters)
    if vocabulary is None:
        vocabulary = _vocabulary(structure, seen)
    tokens, counts = vocabulary.encode_alternatives(structure, characters, config.context_length)
    return ClassTexts(torch.from_numpy(tokens), torch.from_numpy(counts), vocabulary)
