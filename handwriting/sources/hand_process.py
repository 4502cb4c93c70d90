"""Predicts, in a person's hand, characters that the person did not write.

A hand is described by how its strokes deviate from KanjiVG's. A Gaussian process (C. Rasmussen, C.
Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1) extends these deviations to
characters that the person did not write: strokes deviate alike if they have a similar shape, more
so if they are at a similar position, and most if they are the same stroke of the same component
(氵 of 海 and of 河). A stroke's centre and its shape are two separate processes.

The processes' constants were chosen by maximum likelihood on eight simulated writers of 35 kanji
each, without any real handwriting. Strokes are in the form of ``hands.py``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from handwriting.characters import kanjivg
from handwriting.characters.kanjivg import Component
from handwriting.sources.hands import Hand, boxed
from handwriting.sources.handwritten_strokes import NUM_POINTS, model_of
from handwriting.sources.strokes import Float64, Int64

JOINT_LENGTH = 0.25  # length scale of how near an end must be to a stroke to be kept there
JOINT_STROKES = 300  # number of known strokes that halves how far ends are moved
MAX_KNOWN = 400  # characters to predict from, as the cost grows with the cube of their strokes
CHUNK_SIZE = 2000  # strokes predicted at a time
NESTED = 3  # components considered per stroke: the largest that it is in, the character included


@dataclass(frozen=True)
class Process:
    """The covariance function of one kind of deviation: variances and length scales.

    Attributes:
        everywhere: variance of the part that all strokes share.
        shape, shape_length: of the part shared by strokes of similar shape.
        place, place_length: of the part shared by strokes of similar shape and position.
        component, component_length: of the part shared by the same stroke of the same component, if
            of similar shape.
        character, near_length: of the part shared by nearby strokes of one written character.
        noise: variance of the part that is each stroke's own.
    """

    everywhere: float
    shape: float
    shape_length: float
    place: float
    place_length: float
    component: float
    component_length: float
    character: float
    near_length: float
    noise: float

    def covariance(self, ours: "_Features", theirs: "_Features", is_same: bool = False) -> Float64:
        """The covariance between the deviations of N and of M strokes, (N, M).

        Args:
            is_same: whether both are the same written strokes, which adds the parts ``character``
                and ``noise``.
        """
        shape = _squared(ours.shapes, theirs.shapes) / NUM_POINTS
        place = _squared(ours.centres, theirs.centres)
        alike = _bell(shape, self.shape_length)
        shared = sum(
            (ours.components[:, i, None] == theirs.components[None, :, j])
            & (ours.components[:, i, None] >= 0)
            for i in range(NESTED)
            for j in range(NESTED)
        )
        found = self.everywhere + alike * (
            self.shape + self.place * _bell(place, self.place_length)
        )
        found += self.component * shared * _bell(shape, self.component_length)
        if is_same:
            together = ours.characters[:, None] == theirs.characters[None]
            found += self.character * together * _bell(place, self.near_length)
            found += self.noise * np.eye(len(found))
        return found


CENTRES = Process(
    everywhere=0.0009, shape=0.001, shape_length=2.4, place=0.0118, place_length=1.5,
    component=0.0007, component_length=0.2, character=0.0101, near_length=0.66, noise=0.0012,
)  # fmt: skip
SHAPES = Process(
    everywhere=0.0011, shape=0.0034, shape_length=0.19, place=0.0016, place_length=7.7,
    component=0.0005, component_length=0.064, character=0.0003, near_length=7.0, noise=0.0011,
)  # fmt: skip


@dataclass(frozen=True)
class _Features:
    """The features of N strokes of KanjiVG, in boxes, that the covariance depends on.

    Attributes:
        shapes: (N, 2 P) points relative to the stroke's centre.
        centres: (N, 2).
        components: (N, NESTED) a number for each component and the stroke's index in it, or -1.
        characters: (N,) the number of the character.
    """

    shapes: Float64
    centres: Float64
    components: Int64
    characters: Int64

    def __getitem__(self, part: slice) -> "_Features":
        return _Features(*(values[part] for values in vars(self).values()))


def predict(hand: Hand, characters: Sequence[str]) -> dict[str, Float64]:
    """Characters in a person's hand: as they wrote them, or as predicted from what they wrote.

    If the hand has more than ``MAX_KNOWN`` characters, an evenly spaced subset is used to predict.

    Returns:
        (S, P, 2) strokes of each character, in a box.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    unknown = [c for c in dict.fromkeys(characters) if c not in hand.strokes]
    found = dict(hand.strokes)
    if unknown:
        known = [*hand.strokes][:: math.ceil(len(hand.strokes) / MAX_KNOWN)]
        numbers: dict[tuple[str, int], int] = {}
        theirs, ours = (_features(part, numbers) for part in (known, unknown))
        models = np.concatenate([_model(character) for character in known])
        deviations = np.concatenate([hand.strokes[c] for c in known]) - models
        shift = deviations.mean(axis=1)
        bend = (deviations - shift[:, None]).reshape(len(models), -1)
        moved = _carried(CENTRES, theirs, shift, ours)
        bent = _carried(SHAPES, theirs, bend, ours).reshape(len(moved), NUM_POINTS, 2)
        drawn = np.concatenate([_model(c) for c in unknown]) + moved[:, None] + bent
        ends = np.cumsum([len(_model(character)) for character in unknown])
        parts = np.split(drawn, ends[:-1])
        # The more strokes are known, the better the predictions meet without help.
        share = 0.5 / (1 + len(models) / JOINT_STROKES)
        for character, part in zip(unknown, parts, strict=True):
            found[character] = boxed(joined(part, _model(character), share))
    return {character: found[character] for character in characters}


def joined(strokes: Float64, model: Float64, share: float) -> Float64:
    """Strokes (S, P, 2) with their ends moved a share of the way to the strokes that they meet.

    The processes do not know which strokes meet: those of 口, predicted one by one, leave gaps, and
    those of 目 protrude. So the ends of each follow the strokes that they are near in the model.
    """
    everyone = np.arange(len(model))
    ends = model[:, [0, -1]]
    squared = np.square(ends[:, :, None, None] - model).sum(axis=-1)  # (S, 2, S, P)
    squared[everyone, :, everyone] = np.inf
    nearest = squared.argmin(axis=-1)  # (S, 2, S)
    weights = _bell(squared.min(axis=-1), JOINT_LENGTH)[..., None]
    deviations = strokes - model
    pull = weights * (deviations[everyone, nearest] - deviations[:, [0, -1], None])
    moved = share * pull.sum(axis=2) / np.maximum(1, weights.sum(axis=2))  # (S, 2, 2)
    along = np.linspace(0, 1, NUM_POINTS)[:, None]
    return strokes + (1 - along) * moved[:, 0, None] + along * moved[:, 1, None]


def _carried(process: Process, known: _Features, values: Float64, asked: _Features) -> Float64:
    """The posterior mean (N, D) of the requested strokes, given values (M, D) of known ones."""
    factor = cho_factor(process.covariance(known, known, is_same=True), lower=True)
    weights = cho_solve(factor, values)
    parts = (slice(i, i + CHUNK_SIZE) for i in range(0, len(asked.characters), CHUNK_SIZE))
    return np.concatenate([process.covariance(asked[part], known) @ weights for part in parts])


def _model(character: str) -> Float64:
    return boxed(model_of(character).strokes)


def _features(characters: Sequence[str], numbers: dict[tuple[str, int], int]) -> _Features:
    """The features of characters' strokes; adds new components' strokes to ``numbers``."""
    strokes = [_model(character) for character in characters]
    together = np.concatenate(strokes)
    centres = together.mean(axis=1)
    components = np.full((len(together), NESTED), -1)
    owners = [parts for character in characters for parts in _owners(character)]
    for row, parts in zip(components, owners, strict=True):
        named = [numbers.setdefault(part, len(numbers)) for part in parts[-NESTED:]]
        row[: len(named)] = named
    return _Features(
        (together - centres[:, None]).reshape(len(together), -1), centres, components,
        np.repeat(np.arange(len(strokes)), [len(part) for part in strokes]),
    )  # fmt: skip


@cache
def _owners(character: str) -> tuple[tuple[tuple[str, int], ...], ...]:
    """For each stroke, the components that it is part of, smallest first, and its index in each."""
    root = kanjivg.read(character)
    found: list[list[tuple[str, int]]] = [[] for _ in root.strokes]

    def note(component: Component, first: int) -> None:
        position = 0
        for child in component.children:
            position = component.strokes.index(child.strokes[0], position)
            note(child, first + position)
            position += len(child.strokes)
        is_whole = component.element and not component.part and len(component.strokes) > 1
        if component is root or is_whole:
            for i in range(len(component.strokes)):
                found[first + i].append((component.element or character, i))

    note(root, 0)
    return tuple(map(tuple, found))


def _squared(ours: Float64, theirs: Float64) -> Float64:
    """Squared distances of rows (N, D) and (M, D), (N, M)."""
    own, other = np.square(ours).sum(axis=1), np.square(theirs).sum(axis=1)
    return np.maximum(own[:, None] + other[None] - 2 * ours @ theirs.T, 0)


def _bell(squared: Float64, length: float) -> Float64:
    return np.exp(-squared / (2 * length**2))
