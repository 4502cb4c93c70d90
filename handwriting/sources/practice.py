"""Practice samples for the stroke reader: characters by simulated writers, and their true strokes.

Their number is unlimited. Half of the writers are bolder and less steady than the simulator's usual
ones, so that real people, even those who write with a mouse, lie well within their range. Some
images are wrong: they lack a stroke or a part of one, have an extra or a duplicate one, show
another character, have a blot, or are cut off.
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
    SIDE,
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
    lengths,
    read_drawing,
)
from handwriting.storage.arrays import Arrays, cached_arrays
from handwriting.storage.keys import content_key

VERSION = 2  # increment when the same seed gives other samples, to invalidate cached ones
CHUNK_SIZE = 4000  # samples per cached file
VERSIONS = (VERSION, SIMULATOR_VERSION)
NUM_FINE = 101  # points along a stroke that loses a part
KANA_SHARE = 0.15  # of the samples, in addition to kana among the samples of all characters
WRONG = {  # what is wrong with a wrong image: probabilities
    "missing": 0.28, "part": 0.15, "extra": 0.22, "twice": 0.1, "alike": 0.1, "other": 0.05,
    "blot": 0.05, "cut": 0.05,
}  # fmt: skip


@dataclass(frozen=True)
class Practice:
    """N written characters.

    Attributes:
        images: (N, SIZE_PX, SIZE_PX) canonical.
        strokes: (N, MAX_STROKES, P, 2) where they were written, zeros after the last.
        num_strokes: (N,).
        is_written: (N, MAX_STROKES, P) whether the image shows the point; wrong ones may not.
        labels: (N,) which of the characters.
        is_right: (N,) whether the image shows this character, and nothing else.
    """

    images: Uint8
    strokes: npt.NDArray[np.float16]
    num_strokes: Int64
    is_written: npt.NDArray[np.bool_]
    labels: Int64
    is_right: npt.NDArray[np.bool_]


def bolder(writer: Writer, rng: np.random.Generator) -> Writer:
    """A writer with another pen and wilder, less steady strokes."""
    wilder = np.exp(rng.uniform(0, 0.9, 3))
    unsteady = np.exp(rng.uniform(0, 1.5, 2))
    return replace(
        writer,
        pen_width=writer.pen_width * np.exp(rng.uniform(-0.9, 0.5)),
        component_shift=writer.component_shift * wilder[0],
        stroke_shift=writer.stroke_shift * wilder[1],
        stroke_turn=writer.stroke_turn * np.exp(rng.uniform(0, 0.7)),
        warp=writer.warp * np.exp(rng.uniform(0, 0.6)),
        tremor=writer.tremor * unsteady[0],
        flick=writer.flick * unsteady[1],
    )


class Scribe(NamedTuple):
    """A writer who can write any of the given characters."""

    characters: Sequence[str]
    num_strokes: Int64  # of each character
    writer: Writer
    rng: np.random.Generator

    def write(self, label: int) -> Written:
        drawing = read_drawing(self.characters[label], self.writer.regular_script)
        if len(drawing.strokes) != self.num_strokes[label]:  # another form of the character
            drawing = read_drawing(self.characters[label])
        (written,) = write([drawing], self.writer, draw_deviation(self.rng, drawing))
        return written

    def write_another(self, label: int, alike: bool) -> Written:
        """Another character, with the same number of strokes if ``alike``."""
        counts = self.num_strokes
        among = np.flatnonzero(counts == counts[label]) if alike else np.arange(len(counts))
        among = among[among != label]
        return self.write(int(self.rng.choice(among if len(among) else [label])))

    def spoil(
        self, kind: str, written: Written, label: int
    ) -> tuple[Written, npt.NDArray[np.bool_]]:
        """The strokes of a wrong image of a character, and which points (S, P) it still shows."""
        (strokes, radii), number, rng = written, self.num_strokes[label], self.rng
        is_written = np.ones((number, NUM_POINTS), np.bool_)
        if kind in ("other", "alike"):
            return self.write_another(label, kind == "alike"), ~is_written
        long = lengths(np.diff(strokes[:number], axis=1)).sum(axis=1)
        if kind == "missing" and number > 1:  # often the shortest, which is overlooked most easily
            gone = rng.integers(number) if rng.random() < 0.6 else long.argmin()
            is_written[gone] = False
            keep = np.arange(len(strokes)) != gone
            return (strokes[keep], radii[keep]), is_written
        if kind == "part":
            cut_short = rng.choice(np.argsort(long)[number // 2 :])  # a long one
            share, ahead = rng.uniform(0.3, 0.6), rng.choice([1, -1], p=[0.7, 0.3])
            fine = evenly(strokes[cut_short][None], NUM_FINE)[:, ::ahead]
            strokes = strokes.copy()
            strokes[cut_short] = evenly(fine[:, : int(share * NUM_FINE)], NUM_SAMPLED)[0]
            is_written[cut_short] = (np.linspace(0, 1, NUM_POINTS) < share)[::ahead]
            return (strokes, radii), is_written
        if kind == "blot":
            place = strokes[rng.integers(number)].mean(axis=0)
            more = place + np.linspace(0, 0.01, NUM_SAMPLED)[None, :, None]
            more_radii = np.full((1, NUM_SAMPLED), rng.uniform(0.06, 0.16))
        else:
            whose = (strokes, radii) if kind == "twice" else self.write_another(label, alike=False)
            chosen = rng.integers(number if kind == "twice" else len(whose[0]))
            more, more_radii = (part[chosen][None] for part in whose)
            if kind == "twice":
                angle = rng.uniform(0, 2 * np.pi)
                more = more + rng.uniform(0.06, 0.16) * np.array([np.cos(angle), np.sin(angle)])
            else:  # of any size, anywhere
                middle = more.mean(axis=1, keepdims=True)
                more = rng.uniform(0.4, 1) * (more - middle) + middle + rng.normal(0, 0.12, 2)
        both = np.concatenate([strokes, more]), np.concatenate([radii, more_radii])
        return both, is_written


def cut(rng: np.random.Generator, size_px: int) -> npt.NDArray[np.bool_]:
    """Which pixels of an image are left after it is cut off at one side."""
    left = np.ones((size_px, size_px), np.bool_)
    left[:, int(rng.uniform(0.45, 0.8) * size_px) :] = False
    return np.rot90(left, int(rng.integers(4)))


def practise(characters: Sequence[str], numbers: range, seed: int, wrong_share: float) -> Arrays:
    """The samples with the given numbers, as arrays named like the fields of :class:`Practice`.

    Each sample is by a different writer; every second writer is bolder.
    """
    kana = [i for i, character in enumerate(characters) if character < "\u3100"]
    counts = np.array([len(model_of(character).strokes) for character in characters])
    drawn, lefts = [], list[npt.NDArray[np.bool_] | None]()
    strokes = np.zeros((len(numbers), MAX_STROKES, NUM_POINTS, 2), np.float16)
    is_written = np.zeros(strokes.shape[:3], np.bool_)
    labels, is_right = np.empty(len(numbers), np.int64), np.ones(len(numbers), np.bool_)
    for i, number in enumerate(numbers):
        rng = np.random.default_rng([seed, number])
        is_kana = kana and rng.random() < KANA_SHARE
        labels[i] = label = int(rng.choice(kana) if is_kana else rng.integers(len(characters)))
        num_strokes = counts[label]
        writer = make_writer(seed, number)
        if number % 2:
            writer = bolder(writer, rng)

        scribe = Scribe(characters, counts, writer, rng)
        written = scribe.write(label)
        placed, _ = in_ink_units(*written)
        # The character's own strokes are followed by lines that join them.
        strokes[i, :num_strokes] = evenly(placed[:num_strokes], NUM_POINTS)
        is_written[i, :num_strokes] = True
        left = None
        if rng.random() < wrong_share:
            is_right[i] = False
            kind = rng.choice([*WRONG], p=[*WRONG.values()])
            if kind == "cut":
                left = cut(rng, SIZE_PX)
                across, down = np.moveaxis(strokes[i], -1, 0)
                pixels = [(SIZE_PX * (0.5 + SIDE * at)).astype(int) for at in (down, across)]
                is_written[i] &= left[tuple(pixels)]
            else:
                written, is_written[i, :num_strokes] = scribe.spoil(kind, written, label)
        drawn.append(written)
        lefts.append(left)

    images = draw_canonical(drawn, SIZE_PX)
    for i, left in enumerate(lefts):
        if left is not None and (rest := images[i] * left).any():
            images[i] = canonical_drawn(rest, SIZE_PX)
    return {
        "images": images, "strokes": strokes, "num_strokes": counts[labels],
        "is_written": is_written, "labels": labels, "is_right": is_right,
    }  # fmt: skip


def practice(
    characters: Sequence[str], num_samples: int, seed: int, wrong_share: float, cache_dir: Path
) -> Practice:
    """:func:`practise`, in cached chunks.

    Raises:
        InputError: a character has more than ``MAX_STROKES`` strokes, or no drawing in KanjiVG.
    """
    for character in characters:
        if (num_strokes := len(model_of(character).strokes)) > MAX_STROKES:
            raise InputError(
                f"{character} has {num_strokes} strokes: the stroke reader takes at most "
                f"{MAX_STROKES}"
            )
    folder = cache_dir / "practice" / content_key(VERSIONS, list(characters), seed, wrong_share)
    chunks = []
    numbers = range(0, num_samples, CHUNK_SIZE)
    for first in progress(numbers, len(numbers), "making practice samples"):
        chunk = range(first, min(first + CHUNK_SIZE, num_samples))
        path = folder / f"{chunk.start}_{len(chunk)}.npz"
        chunks.append(cached_arrays(path, partial(practise, characters, chunk, seed, wrong_share)))
    return Practice(**{name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]})
