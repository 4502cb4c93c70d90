"""What a training step of the generator sees: content, style and target, drawn on the device.

A target is what the style's hand made of the content's character. In the original the style image
is the target itself (``style_character=same``); with ``any`` it is another character by that hand,
so that style must be told from shape, as it must be when generating.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from handwriting.augment import place, random_placement
from handwriting.bank import Groups, ImageBank
from handwriting.config import StyleTransfer
from handwriting.corpus import Corpus
from handwriting.errors import InputError
from handwriting.packed import PackedImages, concatenate

# How often content and style come from each kind of source.
REFERENCE = {"reference": 1.0}
FONTS = {"fonts": 1.0}
BOTH = {"fonts": 0.5, "handwriting": 0.5}
STEPS = {
    "step1": (REFERENCE, FONTS),  # and placement fixed
    "step2": (FONTS, FONTS),
    "step3": (BOTH, FONTS),
    "step_end": (BOTH, BOTH),
}


@dataclass(frozen=True)
class Batch:
    """Images (B, 1, H, W) in [-1, 1] and their classes (B,)."""

    content: Tensor
    style: Tensor
    target: Tensor
    labels: Tensor


class PairFeed:
    """Batches for the four training steps, no image touched on its own in Python.

    Args:
        corpus: fonts, training writers and helpers.
        reference: part of the reference font's name.
        settings: the placement and which character the style image shows.

    Raises:
        InputError: no font of that name, or a class that a source lacks.
    """

    def __init__(
        self, corpus: Corpus, reference: str, settings: StyleTransfer, device: torch.device
    ) -> None:
        parts = {
            "fonts": corpus.fonts,
            "reference": corpus.fonts.by(matching(corpus.fonts, [reference])),
            "train": corpus.train,
        }
        if corpus.helpers is not None:
            parts["helpers"] = corpus.helpers
        parts = {name: corpus.without_unseen(part) for name, part in parts.items()}
        self._sources = list(parts)
        self._settings = settings
        self._bank = ImageBank(concatenate(list(parts.values())), device)
        self._num_classes = len(corpus.characters)
        source_of = torch.cat(
            [torch.full((len(part),), i) for i, part in enumerate(parts.values())]
        ).to(device)
        num_groups = self._num_classes * len(parts)
        self._members = Groups(source_of * self._num_classes + self._bank.labels, num_groups)
        self._seen = torch.tensor([corpus.characters.index(c) for c in corpus.seen], device=device)
        for i, name in enumerate(parts):
            empty = self._members.counts[i * self._num_classes + self._seen] == 0
            if bool(empty.any()):
                names = " ".join(corpus.characters[j] for j in self._seen[empty].tolist())
                raise InputError(f"{name}: no image of {names}")

    def draw(self, step_type: str, batch_size: int, generator: torch.Generator) -> Batch:
        """One batch of a training step; every class is equally likely."""
        content_from, style_from = STEPS[step_type]
        drawn = torch.randint(
            len(self._seen), (batch_size,), generator=generator, device=generator.device
        )
        labels = self._seen[drawn]
        content = self._draw_of(labels, content_from, generator)
        target = self._draw_of(labels, style_from, generator)
        shown = [content, target]
        if self._settings.style_character == "any":
            shown.append(self._bank.draw_by(self._bank.writers[target], generator))
        placement = random_placement(
            batch_size, generator, self._settings.max_angle, free=step_type != "step1"
        )
        placed = place(self._bank.take(torch.stack(shown, dim=1)), placement)  # (B, 2 or 3, H, W)
        return Batch(placed[:, :1], placed[:, -1:], placed[:, 1:2], labels)

    def _draw_of(
        self, labels: Tensor, shares: dict[str, float], generator: torch.Generator
    ) -> Tensor:
        """An image of each class from sources with the given shares."""
        weights = torch.tensor([self._share(name, shares) for name in self._sources])
        source = torch.multinomial(
            weights.to(labels.device), len(labels), replacement=True, generator=generator
        )
        return self._members.draw(source * self._num_classes + labels, generator)

    def _share(self, source: str, shares: dict[str, float]) -> float:
        """A source's share; people and helpers halve handwriting's, however few people are."""
        if source in ("train", "helpers"):
            return shares.get("handwriting", 0.0) / (2 if "helpers" in self._sources else 1)
        return shares.get(source, 0.0)


def matching(fonts: PackedImages, parts: list[str]) -> list[str]:
    """The fonts whose names hold one of the parts; all of them if there are no parts.

    Raises:
        InputError: a part that no font's name holds.
    """
    names = fonts.present_writers()
    for part in parts:
        if not any(part in name for name in names):
            raise InputError(f"no font named like {part!r}: there are {', '.join(names)}")
    return [name for name in names if not parts or any(part in name for part in parts)]
