"""A line of text in a person's hand."""

import math

import numpy as np

from handwriting.images.canonical import Uint8
from handwriting.sources.hand_process import predict
from handwriting.sources.hands import Hand, scale_to_box
from handwriting.sources.simulated_writers import crowding
from handwriting.sources.strokes import (
    NUM_POINTS,
    draw_page,
    read_drawing,
    smoothly,
)

PITCH = 0.98  # em from one character to the next
SPACE = "\u3000"


def write_line(hand: Hand, text: str, em_px: int) -> Uint8:
    """A horizontal line, each character sized and positioned as in KanjiVG's drawings.

    Args:
        text: characters that KanjiVG has, and ideographic spaces.
        em_px: height of the image, about that of a kanji.

    Returns:
        Ink (em_px, W), bright on dark.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    written = [(i, c) for i, c in enumerate(text) if c != SPACE]
    forms = predict(hand, [c for _, c in written])
    parts, widths = [], []
    for i, character in written:
        model = read_drawing(character).strokes
        middle = (model.min(axis=(0, 1)) + model.max(axis=(0, 1))) / 2
        own = smoothly(forms[character], NUM_POINTS) / scale_to_box(model)
        parts.append(own + middle + (PITCH * i, 0))
        widths.append(np.full(own.shape[:2], hand.radius * crowding(len(own))))
    strokes, radii = em_px * np.concatenate(parts), em_px * np.concatenate(widths)
    width_px = math.ceil(em_px * (PITCH * (len(text) - 1) + 1))
    return draw_page(strokes + em_px / 2, radii, width_px, em_px)
