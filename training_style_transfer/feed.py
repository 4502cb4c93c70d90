"""What a training step of the generator sees: content, style and target, drawn on the device.

A target is the content's character as written in the style's hand. In the original the style image
is the target itself (``style_character=same``); with ``any`` it is another character in that hand,
so that style must be separated from shape, as it must be when generating.

In the original, contents are other images of the character (``content=images``). With ``drawing``
they are line drawings, in the last step of the target itself: these give the course of its strokes,
as a drawing in the hand does when generating, and only how the pen makes ink remains to be learnt.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from handwriting.config import Content, StyleTransfer
from handwriting.corpus.bank import Mixture
from handwriting.corpus.corpus import Corpus, matching
from handwriting.errors import InputError
from handwriting.images.augment import place, random_placement
from handwriting.rng import Rng

# How often content and style come from each kind of source.
REFERENCE = {"reference": 1.0}
FONTS = {"fonts": 1.0}
BOTH = {"fonts": 0.5, "handwriting": 0.5}
STEPS = {
    "step1": (REFERENCE, FONTS),  # with fixed placement
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
    """Batches for the four training steps, drawn without a Python loop over images.

    Raises:
        InputError: there is no font of that name, no handwriting, or a source lacks a class.
    """

    def __init__(
        self, corpus: Corpus, reference: str, settings: StyleTransfer, device: torch.device,
        cache_dir: Path,
    ) -> None:  # fmt: skip
        reference_font = corpus.fonts.by(matching(corpus.fonts, [reference]))
        self._settings = settings
        self._mixture = Mixture(corpus, {**corpus.sources, "reference": reference_font}, device)
        if not {"writers", "simulated"} & {*self._mixture.names}:
            raise InputError(
                "style transfer learns from handwriting, but there is none, since data.people and "
                "data.num_simulated_writers are both 0: set either above 0"
            )
        self._contents = self._mixture.bank
        if settings.content is Content.drawing:
            self._contents = self._mixture.line_drawings(cache_dir)

    def draw(self, step_type: str, batch_size: int, rng: Rng) -> Batch:
        """One batch of a training step; every class is equally likely."""
        content_from, style_from = (self._shares(kinds) for kinds in STEPS[step_type])
        bank = self._mixture.bank
        labels = self._mixture.draw_labels(batch_size, rng)
        content = self._mixture.draw(labels, content_from, rng)
        target = self._mixture.draw(labels, style_from, rng)
        if step_type == "step_end" and self._settings.content is Content.drawing:
            content = target
        shown = [target]
        if self._settings.style_character == "any":
            shown.append(bank.draw_by(bank.writers[target], rng))
        placement = random_placement(
            len(labels), rng, self._settings.max_angle, free=step_type != "step1"
        )
        taken = self._contents.take(content)[:, None], bank.take(torch.stack(shown, dim=1))
        placed = place(torch.cat(taken, dim=1), *placement)  # (B, 2 or 3, H, W)
        return Batch(placed[:, :1], placed[:, -1:], placed[:, 1:2], labels)

    def _shares(self, kinds: dict[str, float]) -> dict[str, float]:
        """Shares by source; training and simulated writers split the share of handwriting."""
        present = [name for name in self._mixture.names if name in ("writers", "simulated")]
        each = kinds.get("handwriting", 0.0) / len(present)
        return {**kinds, **dict.fromkeys(present, each)}
