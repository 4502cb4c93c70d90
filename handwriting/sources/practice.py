"""What the stroke reader learns from: characters of simulated writers, and how they were written.

Any number of them can be had, with the truth. Half of the writers are bolder than the simulator's
usual ones, so that real people lie among them and not at their edge. Some images are wrong: they
show another character, a stroke too many or too few, a blot, or not all of the character.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.parallel.progress import progress
from handwriting.sources.handwritten_strokes import (
    MAX_STROKES,
    NUM_POINTS,
    SIZE_PX,
    model_of,
)
from handwriting.sources.simulated_writers import (
    VERSION as SIMULATOR_VERSION,
    Writer,
    draw_deviation,
    make_writer,
    write,
)
from handwriting.sources.strokes import (
    NUM_POINTS as NUM_SAMPLED,
    Int64,
    Written,
    draw_canonical,
    evenly,
    in_ink_units,
    read_drawing,
)
from handwriting.storage.arrays import Arrays, cached_arrays
from handwriting.storage.keys import content_key

VERSION = 1  # raise it when the same seed gives other samples: cached ones are then made anew
CHUNK_SIZE = 4000  # samples of a cached file
VERSIONS = (VERSION, SIMULATOR_VERSION)
KANA_SHARE = 0.15  # of the samples, beside those that are among all characters anyway
WRONG_SHARE, CUT_SHARE = 0.25, 0.05  # of the images


@dataclass(frozen=True)
class Practice:
    """N written characters.

    Attributes:
        images: (N, SIZE_PX, SIZE_PX) canonical.
        strokes: (N, MAX_STROKES, P, 2) where they were written, zeros behind the last.
        num_strokes: (N,).
        labels: (N,) which of the characters.
        is_right: (N,) whether the image shows this character, and nothing else.
    """

    images: Uint8
    strokes: npt.NDArray[np.float16]
    num_strokes: Int64
    labels: Int64
    is_right: npt.NDArray[np.bool_]


def bolder(writer: Writer, rng: np.random.Generator) -> Writer:
    """A writer with another pen and wilder strokes."""
    wilder = np.exp(rng.uniform(0, 0.9, 3))
    return replace(
        writer,
        pen_width=writer.pen_width * np.exp(rng.uniform(-0.9, 0.5)),
        component_shift=writer.component_shift * wilder[0],
        stroke_shift=writer.stroke_shift * wilder[1],
        stroke_turn=writer.stroke_turn * np.exp(rng.uniform(0, 0.7)),
        warp=writer.warp * np.exp(rng.uniform(0, 0.6)),
    )


class Scribe(NamedTuple):
    """A writer who writes any of some characters."""

    characters: Sequence[str]
    num_strokes: Int64  # of each of them
    writer: Writer
    rng: np.random.Generator

    def write(self, label: int) -> Written:
        drawing = read_drawing(self.characters[label], self.writer.regular_script)
        if len(drawing.strokes) != self.num_strokes[label]:  # another form of the character
            drawing = read_drawing(self.characters[label])
        (written,) = write([drawing], self.writer, draw_deviation(self.rng, drawing))
        return written

    def write_another(self, label: int, alike: bool) -> Written:
        """Another character, with as many strokes if it shall be alike."""
        counts = self.num_strokes
        among = np.flatnonzero(counts == counts[label]) if alike else np.arange(len(counts))
        among = among[among != label]
        return self.write(int(self.rng.choice(among if len(among) else [label])))

    def spoil(self, written: Written, label: int) -> Written:
        """A wrong image of a character, by what it is drawn from instead."""
        (strokes, radii), number = written, self.num_strokes[label]
        kind = self.rng.choice(["missing", "extra", "other", "alike", "blot"])
        if kind == "missing" and number > 1:
            keep = np.arange(len(strokes)) != self.rng.integers(number)
            return strokes[keep], radii[keep]
        if kind in ("other", "alike"):
            return self.write_another(label, kind == "alike")
        if kind == "blot":
            place = strokes[self.rng.integers(number)].mean(axis=0)
            more = place + np.linspace(0, 0.01, NUM_SAMPLED)[None, :, None]
            more_radii = np.full((1, NUM_SAMPLED), self.rng.uniform(0.06, 0.16))
        else:
            foreign, foreign_radii = self.write_another(label, alike=False)
            chosen = self.rng.integers(len(foreign))
            more, more_radii = foreign[chosen][None], foreign_radii[chosen][None]
        return np.concatenate([strokes, more]), np.concatenate([radii, more_radii])


def cut(rng: np.random.Generator, image: Uint8) -> Uint8:
    """An image that has lost a part at one of its sides."""
    turned = np.rot90(image, turns := int(rng.integers(4))).copy()
    turned[:, int(rng.uniform(0.45, 0.8) * len(image)) :] = 0
    rest = np.ascontiguousarray(np.rot90(turned, -turns))
    return canonical_drawn(rest, len(image)) if rest.any() else image


def practise(characters: Sequence[str], numbers: range, seed: int) -> Arrays:
    """The samples of some numbers, as arrays by the names of :class:`Practice`'s fields.

    Each is by a writer of its own; every second one is bolder.
    """
    kana = [i for i, character in enumerate(characters) if character < "\u3100"]
    counts = np.array([len(model_of(character).strokes) for character in characters])
    drawn, rngs = [], []
    strokes = np.zeros((len(numbers), MAX_STROKES, NUM_POINTS, 2), np.float16)
    labels, is_right = np.empty(len(numbers), np.int64), np.ones(len(numbers), np.bool_)
    for i, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        is_kana = kana and rng.random() < KANA_SHARE
        labels[i] = label = int(rng.choice(kana) if is_kana else rng.integers(len(characters)))
        writer = make_writer(seed, number)
        if number % 2:
            writer = bolder(writer, rng)

        scribe = Scribe(characters, counts, writer, rng)
        written = scribe.write(label)
        is_right[i] = rng.random() >= WRONG_SHARE
        drawn.append(written if is_right[i] else scribe.spoil(written, label))
        rngs.append(rng)
        placed, _ = in_ink_units(*written)
        # What comes after the character's own strokes are lines that join them.
        strokes[i, : counts[label]] = evenly(placed[: counts[label]], NUM_POINTS)

    images = draw_canonical(drawn, SIZE_PX)
    for i, rng in enumerate(rngs):
        if rng.random() < CUT_SHARE:
            is_right[i], images[i] = False, cut(rng, images[i])
    return {
        "images": images, "strokes": strokes, "num_strokes": counts[labels], "labels": labels,
        "is_right": is_right,
    }  # fmt: skip


def practice(characters: Sequence[str], num_samples: int, seed: int, cache_dir: Path) -> Practice:
    """:func:`practise`, in chunks that are made once.

    Raises:
        InputError: a character has more than ``MAX_STROKES`` strokes, or no drawing.
    """
    for character in characters:
        if (num_strokes := len(model_of(character).strokes)) > MAX_STROKES:
            raise InputError(
                f"{character} has {num_strokes} strokes: at most {MAX_STROKES} are read"
            )
    folder = cache_dir / "practice" / content_key(VERSIONS, list(characters), seed)
    chunks = []
    numbers = range(0, num_samples, CHUNK_SIZE)
    for first in progress(numbers, len(numbers), "practising"):
        chunk = range(first, min(first + CHUNK_SIZE, num_samples))
        path = folder / f"{chunk.start}_{len(chunk)}.npz"
        chunks.append(cached_arrays(path, partial(practise, characters, chunk, seed)))
    return Practice(**{name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]})
