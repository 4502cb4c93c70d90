"""Characters drawn in people's hands, slightly different each time."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handwriting.images.canonical import Uint8
from handwriting.sources.hand_process import predict
from handwriting.sources.hands import Hand, boxed, scale_to_box
from handwriting.sources.handwritten_strokes import model_of
from handwriting.sources.simulated_writers import Writer, draw_deviation, joint, write
from handwriting.sources.strokes import (
    NUM_HABITS,
    NUM_POINTS as PEN_POINTS,
    Float64,
    draw_canonical,
    read_drawing,
    smoothly,
)


def draw(hand: Hand, characters: Sequence[str], size_px: int) -> Uint8:
    """Canonical images (N, size_px, size_px) of characters in a person's hand.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    drawn = predict(hand, characters)
    written = []
    for character in characters:
        lines = smoothly(drawn[character], PEN_POINTS)
        written.append((lines, np.full(lines.shape[:2], hand.radius_of(character))))
    return draw_canonical(written, size_px)


# How one person's repetitions of a character differ: a quarter of a simulated writer's variation.
SAMPLE = Writer(
    slant=0.0, rise=0.0, aspect=0.0, regular_script=False, pen_width=0.0, pen_spread=0.0,
    pressure=0.1, rounding=0.0, curl=0.0, tremor=0.003, flick=0.006, overshoot=0.03, reach=0.0,
    lifting=np.inf, stroke_shift=0.008, stroke_turn=0.03, stroke_bow=0.025, component_shift=0.008,
    component_scale=0.03, warp=0.01, component_habits=np.zeros((NUM_HABITS, 4)),
)  # fmt: skip
SPREADS = (
    "tremor", "flick", "overshoot", "stroke_shift", "stroke_turn", "stroke_bow",
    "component_shift", "component_scale", "warp",
)  # fmt: skip


def redraw(
    characters: Sequence[str], strokes: Sequence[Float64], radii: Sequence[float], spread: float,
    rngs: Sequence[np.random.Generator], size_px: int,
) -> Uint8:  # fmt: skip
    """Draw the strokes of N characters again, with small variations.

    Args:
        strokes: of each character, (S, P, 2), in a box, in KanjiVG's order.
        radii: of the pens, in the same unit.
        spread: how much drawings vary; 1 is as much as one person's repetitions do.
        rngs: one per character, so that a drawing does not depend on the others.

    Returns:
        Canonical images (N, size_px, size_px).
    """
    models = [read_drawing(character) for character in characters]
    ems = [scale_to_box(model.strokes) for model in models]
    drawings = []
    for model, own, em in zip(models, strokes, ems, strict=True):
        lines = smoothly(own, PEN_POINTS) / em
        centres = model.membership.T @ lines.mean(axis=1) / model.membership.sum(axis=0)[:, None]
        drawings.append(replace(model, strokes=lines, centres=centres))
    habits = {name: spread * getattr(SAMPLE, name) for name in SPREADS}
    deviation = joint(map(draw_deviation, rngs, drawings))
    written = write(drawings, replace(SAMPLE, **habits, pen_width=1.0), deviation)
    # The simulator narrows its pen for dense characters; these radii are narrowed already.
    drawn = [
        (lines, pen * (radius / em / np.median(pen)))
        for (lines, pen), radius, em in zip(written, radii, ems, strict=True)
    ]
    return draw_canonical(drawn, size_px)


class HandDrawings:
    """Draws characters in hands, as their writers wrote them or as predicted.

    Args:
        spread: how much drawings vary; 1 is as much as one person's repetitions do.
        morphing: share of the drawings whose forms are interpolated, up to half way to those of
            another hand or of KanjiVG.

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

    def draw(
        self, characters: Sequence[str], own: Sequence[int], rngs: Sequence[np.random.Generator]
    ) -> tuple[Uint8, list[bool]]:
        """Draw each of B characters once.

        Args:
            own: the index of each one's hand.
            rngs: one for each, the only source of its randomness.

        Returns:
            Canonical images (B, H, W), and for each whether no other writer's form is mixed in.
        """
        drawn, radii, are_own = [], [], []
        for character, hand, rng in zip(characters, own, rngs, strict=True):
            strokes, is_own = self._forms[hand][character], True
            if rng.random() < self._morphing:
                other = int(rng.integers(len(self._forms)))
                share = rng.uniform(0, 0.5)
                strokes = (1 - share) * strokes + share * self._forms[other][character]
                is_own = other in (hand, len(self.hands))  # the last form is KanjiVG's
            drawn.append(strokes)
            radii.append(self.hands[hand].radius_of(character))
            are_own.append(is_own)
        return redraw(characters, drawn, radii, self._spread, rngs, self._size_px), are_own
