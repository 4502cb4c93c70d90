"""The texts of the classes as token tensors, several alternatives per character."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from handwriting.config import Structure as StructureConfig
from handwriting.processes import Rng, drawn
from handwriting.structure import Vocabulary, read_structure, structure_of


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

    def draw(self, labels: Tensor, generator: Rng) -> Tensor:
        """A random text (B, L) of each of (B,) classes."""
        counts = self.counts[labels]
        unit = drawn(torch.rand, len(labels), generator)
        return self.tokens[labels, torch.minimum((unit * counts).long(), counts - 1)]


def class_texts(
    config: StructureConfig,
    characters: Sequence[str],
    seen: Sequence[str],
    vocabulary: Vocabulary | None = None,
) -> ClassTexts:
    """The texts of a study's classes.

    Args:
        config: the user's JSON, or null for KanjiVG.
        characters: the K classes.
        seen: those that training sees; the vocabulary comes from them.
        vocabulary: of a checkpoint, instead.
    """
    max_tokens = config.context_length - 2  # its start and end
    if config.path:
        structure = read_structure(Path(config.path), characters, max_tokens)
    else:
        structure = structure_of(characters, max_tokens)
    if vocabulary is None:
        vocabulary = Vocabulary.from_structure({c: structure[c] for c in seen})
    tokens, counts = vocabulary.encode_alternatives(structure, characters, config.context_length)
    return ClassTexts(torch.from_numpy(tokens), torch.from_numpy(counts), vocabulary)
