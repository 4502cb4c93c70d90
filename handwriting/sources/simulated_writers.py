"""Simulated writers: KanjiVG's strokes, written by people who do not exist.

They stand in where no real handwriting is present; numbers on them are no results on handwriting.

A writer is a handful of habits (slant, pen, corners, joined strokes, care) drawn from (seed,
writer). How the writer forms one character is drawn once from (seed, writer, character) and is
common to all samples of it; each sample adds a smaller deviation from (seed, writer, character,
sample). So writers, characters and samples can be added without changing the ones that are there.

Coordinates and shapes are those of ``strokes.py``.

The ranges in :func:`make_writer` were chosen by eye and by ``benchmarks/simulated_writers.py``
against the ten real writers of Omniglot's katakana: accuracies on those ten flatter the simulator.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handwriting.images.canonical import Uint8
from handwriting.images.manifest import Entry, Manifest, write_manifest
from handwriting.images.packed import PackedImages, UnpackedImages, cached
from handwriting.images.sheets import save_png
from handwriting.parallel.progress import progress
from handwriting.sources.strokes import (
    NUM_HABITS,
    NUM_POINTS,
    Drawing,
    Float64,
    draw_canonical,
    read_drawing,
)
from handwriting.storage.keys import content_key

VERSION = 2  # raise it when the same seed gives other images: cached ones are then made anew
HABIT = 0.8  # share of a deviation's variance that all samples of a writer's character have

_T = np.linspace(0, 1, NUM_POINTS)[:, None]  # (P, 1) position along a stroke


def _smoothing(times: int) -> Float64:
    """(P, P) that averages each point with its neighbours, repeatedly; the ends stay."""
    once = np.eye(NUM_POINTS)
    for i in range(1, NUM_POINTS - 1):
        once[i, i - 1 : i + 2] = 0.25, 0.5, 0.25
    return np.linalg.matrix_power(once, times)


_ROUNDED = _smoothing(4)
# (2, 6) directions and wave numbers, in radians per em, of the waves that bend a whole character:
# between half a wave and one wave across it, so that strokes that meet still meet.
_WAVES = np.pi * np.array([[1.0, 0, 0.8, 0.8, 1.8, 0], [0, 1.0, 0.8, -0.8, 0, 1.8]])
_TREMBLING = _smoothing(3)


@dataclass(frozen=True)
class Writer:
    """A person's habits; the spreads are standard deviations between the person's characters."""

    slant: float  # em of x per em of y
    rise: float  # em of y per em of x
    aspect: float  # log of width over height
    regular_script: bool  # forms of KanjiVG's Kaisho drawings where there are any
    pen_width: float  # em
    pen_spread: float  # log of the width, from character to character: their size varies
    pressure: float  # share of the width that a stroke loses towards its end
    rounding: float  # 0 keeps corners, 1 rounds them off
    curl: float  # share that curves are exaggerated (> 0) or straightened (< 0)
    tremor: float  # em
    flick: float  # em by which the ends of strokes go astray
    overshoot: float  # share of a stroke's length that its ends miss by
    reach: float  # share of the way to the next stroke that an end is drawn out
    lifting: float  # standard deviations a draw must exceed for a stroke to be joined to the next
    stroke_shift: float  # em
    stroke_turn: float  # radians, and shares of the length
    stroke_bow: float  # share of the chord
    component_shift: float  # em
    component_scale: float  # log of the size
    warp: float  # em by which each wave bends the whole character
    component_habits: Float64  # (NUM_HABITS, 4) standard normal: shift x, y; scale x, y


class Deviation(NamedTuple):
    """Standard normal draws: how one written character differs from its model."""

    character: Float64  # (28,)
    components: Float64  # (G, 4)
    strokes: Float64  # (S, 16)
    points: Float64  # (S, P, 2)


def make_writer(seed: int, number: int) -> Writer:
    """The habits of one simulated writer."""
    rng = np.random.default_rng([seed, number, 0, 0])
    care = np.exp(rng.uniform(-0.7, 0.5))  # 1 is usual, 0.5 neat, 2 sloppy

    def spread(usual: float) -> float:
        return float(usual * care * np.exp(rng.uniform(-0.4, 0.4)))

    return Writer(
        slant=rng.normal(0.0, 0.10),
        rise=rng.normal(0.02, 0.06),
        aspect=rng.normal(0.03, 0.12),
        regular_script=bool(rng.random() < 0.4),
        pen_width=float(np.exp(rng.uniform(np.log(0.036), np.log(0.07)))),
        pen_spread=rng.uniform(0.0, 0.15),
        pressure=max(0.0, rng.uniform(-0.5, 0.4)),
        rounding=rng.uniform(0.0, 1.0),
        curl=rng.normal(0.05, 0.15),
        tremor=spread(0.006),
        flick=spread(0.012),
        overshoot=spread(0.06),
        reach=max(0.0, rng.normal(0.0, 0.08)),
        lifting=rng.normal(3.2, 0.8),
        stroke_shift=spread(0.017),
        stroke_turn=spread(0.06),
        stroke_bow=spread(0.05),
        component_shift=spread(0.018),
        component_scale=spread(0.06),
        warp=rng.uniform(0.012, 0.032),
        component_habits=rng.standard_normal((NUM_HABITS, 4)),
    )


def draw_deviation(rng: np.random.Generator, drawing: Drawing) -> Deviation:
    num_strokes, num_components = drawing.membership.shape
    return Deviation(
        rng.standard_normal(28),
        rng.standard_normal((num_components, 4)),
        rng.standard_normal((num_strokes, 16)),
        rng.standard_normal((num_strokes, NUM_POINTS, 2)),
    )


def _mixed(habit: Deviation, sample: Deviation) -> Deviation:
    """Standard normal again, HABIT of the variance from the habit."""
    a, b = HABIT**0.5, (1 - HABIT) ** 0.5
    return Deviation(*(a * h + b * s for h, s in zip(habit, sample, strict=True)))


def write(drawing: Drawing, writer: Writer, deviation: Deviation) -> tuple[Float64, Float64]:
    """What one writer puts down for a drawing.

    Returns:
        centre lines (S', P, 2) and radii of the pen (S', P), in em. S' counts the strokes and the
        lines that join them.
    """
    strokes = _shaped(drawing.strokes, writer, deviation)
    strokes = _placed(strokes, drawing, writer, deviation)
    strokes, radii = _joined(strokes, _radii(writer, deviation), writer, deviation)
    return _bent(strokes, writer, deviation), radii


def _shaped(strokes: Float64, writer: Writer, deviation: Deviation) -> Float64:
    """Change the form of every stroke: corners, curvature, ends, tremor."""
    draws = deviation.strokes[:, :, None, None]  # (S, 16, 1, 1)
    strokes = strokes + writer.rounding * (_ROUNDED @ strokes - strokes)
    start, end = strokes[:, :1], strokes[:, -1:]
    chord = end - start  # (S, 1, 2)
    length = np.hypot(*np.moveaxis(chord, -1, 0))[..., None]  # (S, 1, 1)

    straight = start + _T * chord
    curl = np.clip(1 + writer.curl + 0.25 * draws[:, 0], 0.4, 2.2)
    bow = writer.stroke_bow * draws[:, 1] * chord[..., ::-1] * (1, -1)
    strokes = straight + curl * (strokes - straight) + bow * np.sin(np.pi * _T)

    begins = strokes[:, :1] - strokes[:, 2:3]
    leaves = strokes[:, -1:] - strokes[:, -3:-2]
    ends = np.stack([begins, leaves])  # (2, S, 1, 2)
    ends /= np.hypot(*np.moveaxis(ends, -1, 0))[..., None] + 1e-6
    misses = writer.overshoot * length * np.stack([draws[:, 2], draws[:, 3]])
    strays = deviation.strokes[:, 4:8].reshape(-1, 2, 1, 2).swapaxes(0, 1)
    ends = ends * misses + writer.flick * strays
    strokes = strokes + ends[0] * (1 - _T) ** 5 + ends[1] * _T**5
    return strokes + writer.tremor * (_TREMBLING @ deviation.points)


def _placed(strokes: Float64, drawing: Drawing, writer: Writer, deviation: Deviation) -> Float64:
    """Turn, stretch and shift strokes about their middles, and components about theirs."""
    care = min(1.0, (4 / len(strokes)) ** 0.6)  # dense characters are written with more of it
    draws = deviation.strokes
    matrices = writer.stroke_turn * care * draws[:, 8:12].reshape(-1, 2, 2)
    middles = strokes.mean(axis=1, keepdims=True)
    shifts = writer.stroke_shift * care * draws[:, None, 12:14]
    placed = strokes + (strokes - middles) @ matrices + shifts
    moves = 0.6 * writer.component_habits[drawing.habits] + 0.8 * deviation.components
    shifts, scales = writer.component_shift * moves[:, :2], writer.component_scale * moves[:, 2:]
    # sum over a stroke's components of shift + scale * (point - centre)
    constant = drawing.membership @ (shifts - scales * drawing.centres)
    return placed * (1 + drawing.membership @ scales)[:, None] + constant[:, None]


def crowding(num_strokes: int) -> float:
    """How much narrower the pen is in a character: dense ones are written larger."""
    return min(1.0, (8 / num_strokes) ** 0.35)


def _radii(writer: Writer, deviation: Deviation) -> Float64:
    """The pen's radius in em along every stroke, (S, P)."""
    draws = deviation.strokes
    size = np.exp(writer.pen_spread * deviation.character[0]) * crowding(len(draws))
    width = writer.pen_width * size * np.exp(0.06 * draws[:, 14])
    return 0.5 * width[:, None] * (1 - writer.pressure * _T[:, 0] ** 2)


def _joined(
    strokes: Float64, radii: Float64, writer: Writer, deviation: Deviation
) -> tuple[Float64, Float64]:
    """Draw ends out towards the next stroke and add the lines of a pen that was not lifted."""
    gaps = strokes[1:, :1] - strokes[:-1, -1:]  # (S - 1, 1, 2)
    strokes = strokes.copy()
    strokes[:-1] += writer.reach * gaps * _T**6
    distance = np.hypot(gaps[:, 0, 0], gaps[:, 0, 1])
    joined = np.flatnonzero(deviation.strokes[:-1, 15] > writer.lifting + distance)
    lines = strokes[joined, -1:] + _T * (strokes[joined + 1, :1] - strokes[joined, -1:])
    thin = 0.7 * np.broadcast_to(radii[joined, -1:], (len(joined), NUM_POINTS))
    return np.concatenate([strokes, lines]), np.concatenate([radii, thin])


def _bent(strokes: Float64, writer: Writer, deviation: Deviation) -> Float64:
    """Warp the whole character smoothly, then slant it and set its aspect."""
    draws = deviation.character
    phases = strokes @ _WAVES  # (S, P, 6)
    bends = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    calm = min(1.0, (6 / len(deviation.strokes)) ** 0.4)  # dense characters bend less
    strokes = strokes + writer.warp * calm * (bends @ draws[4:].reshape(12, 2))
    wide = 0.5 * writer.aspect + 0.05 * draws[1]
    x_of_y, y_of_x = -writer.slant + 0.04 * draws[2], writer.rise + 0.03 * draws[3]
    matrix = np.array([[np.exp(wide), x_of_y], [y_of_x, np.exp(-wide)]])
    return strokes @ matrix.T


def simulate(
    characters: Sequence[str], num_writers: int, samples_per_writer: int, seed: int, size_px: int
) -> UnpackedImages:
    """Let simulated writers write every character, each ``samples_per_writer`` times.

    Returns:
        canonical images ordered by writer, character, sample; each pair's are a part.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    for character in characters:
        read_drawing(character)  # report what is missing before the work begins
    writers = [make_writer(seed, number) for number in range(num_writers)]

    def pages() -> Iterator[Uint8]:
        pairs = itertools.product(enumerate(writers), characters)
        total = num_writers * len(characters)
        for (number, writer), character in progress(pairs, total, "simulating writers"):
            drawing = read_drawing(character, writer.regular_script)
            key = [seed, number, ord(character)]
            habit = draw_deviation(np.random.default_rng([*key, 0]), drawing)
            images = np.empty((samples_per_writer, size_px, size_px), np.uint8)
            for k in range(samples_per_writer):
                sample = draw_deviation(np.random.default_rng([*key, k + 1]), drawing)
                written = write(drawing, writer, _mixed(habit, sample))
                images[k] = draw_canonical(*written, size_px)
            yield images

    labels = np.arange(len(characters)).repeat(samples_per_writer)
    return UnpackedImages(
        pages(),
        np.tile(labels, num_writers),
        np.arange(num_writers).repeat(len(labels)),
        tuple(characters),
        tuple(f"simulated_{number:04d}" for number in range(num_writers)),
        size_px,
    )


def simulated(
    characters: Sequence[str],
    num_writers: int,
    samples_per_writer: int,
    seed: int,
    size_px: int,
    cache_dir: Path,
) -> PackedImages:
    """:func:`simulate`, made once per content and opened memory-mapped."""
    key = content_key(VERSION, list(characters), num_writers, samples_per_writer, seed, size_px)
    return cached(
        cache_dir / "simulated" / key,
        lambda: simulate(characters, num_writers, samples_per_writer, seed, size_px),
    )


def write_corpus(folder: Path, packed: PackedImages) -> Manifest:
    """Write packed images as PNG files in ``U+XXXX/`` folders, with a manifest."""
    entries = []
    numbers: dict[tuple[str, str], Iterator[int]] = defaultdict(itertools.count)
    for i in progress(range(len(packed)), len(packed), f"writing {folder.name}"):
        character = packed.characters[packed.labels[i]]
        writer = packed.writer_names[packed.writers[i]]
        name = f"{writer}_{next(numbers[character, writer]):02d}.png"
        path = folder / f"U+{ord(character):04X}" / name
        save_png(path, packed.images[i], flush=False)
        entries.append(Entry(character, str(path), writer))
    return write_manifest(folder / "manifest.json", entries)
