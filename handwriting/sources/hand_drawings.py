"""Characters drawn in people's hands, each time a little otherwise."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from handwriting.images.canonical import Uint8
from handwriting.sources.hands import Hand, boxed, predict, redraw
from handwriting.sources.handwritten_strokes import model_of


class Request(Protocol):
    """A character to draw, and what is random about it."""

    @property
    def character(self) -> str: ...
    @property
    def rng(self) -> np.random.Generator: ...


class HandDrawings:
    """What hands make of characters: as they wrote them, or as they would.

    Args:
        spread: how much writings differ, 1 as those of one person do.
        morphing: share of the drawings whose forms are up to half way to those of another hand or
            of KanjiVG.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """

    def __init__(
        self, hands: Sequence[Hand], characters: Sequence[str], spread: float, morphing: float,
        size_px: int,
    ) -> None:  # fmt: skip
        self.hands = hands
        self._forms = [predict(hand, characters) for hand in hands]
        self._forms.append({c: boxed(model_of(c).strokes) for c in characters})
        self._spread, self._morphing, self._size_px = spread, morphing, size_px

    def draw(self, wanted: Sequence[Request], own: Sequence[int]) -> tuple[Uint8, list[bool]]:
        """One writing each of B characters.

        Args:
            own: which hand writes each.

        Returns:
            canonical images (B, H, W), and whether nobody else's form is in each.
        """
        drawn, radii, are_own = [], [], []
        for one, hand in zip(wanted, own, strict=True):
            strokes, is_own = self._forms[hand][one.character], True
            if one.rng.random() < self._morphing:
                other = int(one.rng.integers(len(self._forms)))
                share = one.rng.uniform(0, 0.5)
                strokes = (1 - share) * strokes + share * self._forms[other][one.character]
                is_own = other in (hand, len(self.hands))  # KanjiVG is nobody
            drawn.append(strokes)
            radii.append(self.hands[hand].radius_of(one.character))
            are_own.append(is_own)
        characters, rngs = [one.character for one in wanted], [one.rng for one in wanted]
        return redraw(characters, drawn, radii, self._spread, rngs, self._size_px), are_own
