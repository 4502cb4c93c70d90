"""Simulated writers: KanjiVG's strokes, written by people who do not exist.

They stand in for real handwriting where there is none; numbers on them are not results on
handwriting.

A writer is a handful of habits (slant, pen, corners, joined strokes, care) drawn from (seed,
writer). How the writer forms one character is drawn once from (seed, writer, character) and is
common to all samples of it; each sample adds a smaller deviation from (seed, writer, character,
sample). So writers, characters and samples can be added without changing existing ones.

Coordinates and shapes are those of ``strokes.py``.

The ranges in :func:`make_writer` were chosen by eye and by ``benchmarks/simulated_writers.py``
on the ten real writers of Omniglot's katakana: accuracies on those ten flatter the simulator.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    Int64,
    Written,
    draw_canonical,
    lengths,
    read_drawing,
)
from handwriting.storage.keys import content_key

VERSION = 4  # increment when the same seed gives other images, to invalidate cached ones
CHUNK_SIZE = 64  # characters drawn together, few enough for the processor's cache
BRUSHES = 0.2  # share of the writers who write with a brush
PRESSED = 0.06  # em: how far a brush's pressure extends from where it is set down
HABIT = 0.8  # share of a deviation's variance common to all samples of a writer's character

_T = np.linspace(0, 1, NUM_POINTS)[:, None]  # (P, 1) position along a stroke


def _smoothing(times: int) -> Float64:
    """The (P, P) matrix that repeatedly averages points with their neighbours; the ends stay."""
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
    """A simulated person's habits; spreads are standard deviations between their characters."""

    slant: float  # em of x per em of y
    rise: float  # em of y per em of x
    aspect: float  # log of width over height
    regular_script: bool  # whether to use the forms of KanjiVG's Kaisho drawings, if any
    pen_width: float  # em
    pen_spread: float  # log of the width, from character to character, as their sizes vary
    pressure: float  # share of the width that a stroke loses towards its end
    rounding: float  # 0 keeps corners, 1 rounds them off
    curl: float  # share by which curves are exaggerated (> 0) or straightened (< 0)
    tremor: float  # em
    flick: float  # em by which the ends of strokes stray
    overshoot: float  # share of a stroke's length by which its ends miss
    reach: float  # share of the way to the next stroke by which an end is extended
    lifting: float  # standard deviations that a draw must exceed to join a stroke to the next
    stroke_shift: float  # em
    stroke_turn: float  # radians, and shares of the length
    stroke_bow: float  # share of the chord
    component_shift: float  # em
    component_scale: float  # log of the size
    warp: float  # em by which each wave bends the whole character
    component_habits: Float64  # (NUM_HABITS, 4) standard normal: shift x, y; scale x, y
    brush: float = 0.0  # how much the width follows a brush's pressure, from 0 (a pen) to 1


class Deviation(NamedTuple):
    """Standard normal draws: how N written characters differ from their models."""

    characters: Float64  # (N, 28)
    components: Float64  # (G, 4), of all characters
    strokes: Float64  # (S, 16)
    points: Float64  # (S, P, 2)
    pressures: Float64  # (S, 3)


def make_writer(seed: int, number: int) -> Writer:
    """The habits of one simulated writer."""
    rng = np.random.default_rng([seed, number, 0, 0])
    care = np.exp(rng.uniform(-0.7, 0.5))  # 1 is usual, 0.5 neat, 2 sloppy

    def spread(usual: float) -> float:
        return float(usual * care * np.exp(rng.uniform(-0.4, 0.4)))

    writer = Writer(
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
    if rng.random() >= BRUSHES:
        return writer
    wider = writer.pen_width * rng.uniform(1.0, 1.4)
    return replace(writer, brush=rng.uniform(0.5, 1.0), pen_width=wider)


def draw_deviation(rng: np.random.Generator, drawing: Drawing) -> Deviation:
    num_strokes, num_components = drawing.membership.shape
    return Deviation(
        rng.standard_normal((1, 28)),
        rng.standard_normal((num_components, 4)),
        rng.standard_normal((num_strokes, 16)),
        rng.standard_normal((num_strokes, NUM_POINTS, 2)),
        rng.standard_normal((num_strokes, 3)),
    )


def joint(deviations: Iterable[Deviation]) -> Deviation:
    """Concatenate deviations: one for all of their characters."""
    return Deviation(*map(np.concatenate, zip(*deviations, strict=True)))


def _mixed(habit: Deviation, sample: Deviation) -> Deviation:
    """Mix two deviations into one, again standard normal, with ``HABIT`` of its variance."""
    a, b = HABIT**0.5, (1 - HABIT) ** 0.5
    return Deviation(*(a * h + b * s for h, s in zip(habit, sample, strict=True)))


def write(drawings: Sequence[Drawing], writer: Writer, deviation: Deviation) -> list[Written]:
    """Write N drawings in one writer's hand, in em.

    Returns:
        For each character its strokes, followed by the lines that join them.
    """
    counts = np.array([len(drawing.strokes) for drawing in drawings])
    models = np.concatenate([drawing.strokes for drawing in drawings])
    strokes = _shaped(models, writer, deviation)
    strokes = _placed(strokes, drawings, counts, writer, deviation)
    radii = _radii(models, counts, writer, deviation)
    strokes, radii, owners = _joined(strokes, radii, counts, writer, deviation)
    strokes = _bent(strokes, owners, counts, writer, deviation)
    ends = np.cumsum(np.bincount(owners))[:-1]
    return list(zip(np.split(strokes, ends), np.split(radii, ends), strict=True))


def _shaped(strokes: Float64, writer: Writer, deviation: Deviation) -> Float64:
    """Change the form of every stroke: corners, curvature, ends, tremor."""
    draws = deviation.strokes[:, :, None, None]  # (S, 16, 1, 1)
    strokes = strokes + writer.rounding * (_ROUNDED @ strokes - strokes)
    start, end = strokes[:, :1], strokes[:, -1:]
    chord = end - start  # (S, 1, 2)
    length = lengths(chord)[..., None]  # (S, 1, 1)

    straight = start + _T * chord
    curl = np.clip(1 + writer.curl + 0.25 * draws[:, 0], 0.4, 2.2)
    bow = writer.stroke_bow * draws[:, 1] * chord[..., ::-1] * (1, -1)
    strokes = straight + curl * (strokes - straight) + bow * np.sin(np.pi * _T)

    begins = strokes[:, :1] - strokes[:, 2:3]
    leaves = strokes[:, -1:] - strokes[:, -3:-2]
    ends = np.stack([begins, leaves])  # (2, S, 1, 2)
    ends /= lengths(ends)[..., None] + 1e-6
    misses = writer.overshoot * length * np.stack([draws[:, 2], draws[:, 3]])
    strays = deviation.strokes[:, 4:8].reshape(-1, 2, 1, 2).swapaxes(0, 1)
    ends = ends * misses + writer.flick * strays
    strokes = strokes + ends[0] * (1 - _T) ** 5 + ends[1] * _T**5
    return strokes + writer.tremor * (_TREMBLING @ deviation.points)


def _placed(
    strokes: Float64,
    drawings: Sequence[Drawing],
    counts: Int64,
    writer: Writer,
    deviation: Deviation,
) -> Float64:
    """Turn, stretch and shift strokes about their centres, and components about theirs."""
    # Dense characters are written with more care.
    care = np.minimum(1.0, (4 / counts) ** 0.6).repeat(counts)[:, None, None]
    draws = deviation.strokes
    matrices = writer.stroke_turn * care * draws[:, 8:12].reshape(-1, 2, 2)
    middles = strokes.mean(axis=1, keepdims=True)
    shifts = writer.stroke_shift * care * draws[:, None, 12:14]
    placed = strokes + (strokes - middles) @ matrices + shifts
    habits = np.concatenate([drawing.habits for drawing in drawings])
    centres = np.concatenate([drawing.centres for drawing in drawings])
    moves = 0.6 * writer.component_habits[habits] + 0.8 * deviation.components
    shifts, scales = writer.component_shift * moves[:, :2], writer.component_scale * moves[:, 2:]
    # sum over a stroke's components of shift + scale * (point - centre)
    moves = np.concatenate([shifts - scales * centres, scales], axis=1)
    ends = np.cumsum([len(drawing.habits) for drawing in drawings])[:-1]
    own = zip(drawings, np.split(moves, ends), strict=True)
    moves = np.concatenate([drawing.membership @ part for drawing, part in own])[:, None]
    return placed * (1 + moves[..., 2:]) + moves[..., :2]


def crowding(num_strokes: Int64 | int) -> Float64:
    """How much narrower the pen is relative to a character: dense ones are written larger."""
    return np.minimum(1.0, (8 / num_strokes) ** 0.35)


def _radii(models: Float64, counts: Int64, writer: Writer, deviation: Deviation) -> Float64:
    """The pen's or the brush's radius in em along every stroke, (S, P)."""
    sizes = np.exp(writer.pen_spread * deviation.characters[:, 0]) * crowding(counts)
    width = writer.pen_width * sizes.repeat(counts) * np.exp(0.06 * deviation.strokes[:, 14])
    radii = 0.5 * width[:, None] * (1 - writer.pressure * _T[:, 0] ** 2)
    if writer.brush:
        radii *= 1 + writer.brush * (_brushed(models, deviation.pressures) - 1)
    return radii


def _brushed(models: Float64, draws: Float64) -> Float64:
    """The width of a brush along every stroke, relative to its mean, (S, P).

    It is pressed where it is set down and where a stroke stops. Strokes that sweep to the lower
    left, hooks and some verticals taper to a point; those to the lower right swell before they
    taper; dots swell towards their end. Horizontal strokes are thinner than vertical ones.
    """
    t = _T[:, 0]
    long = lengths(np.diff(models, axis=1)).sum(axis=1)[:, None]  # (S, 1) em
    along = np.gradient(models, axis=1)
    along /= lengths(along)[..., None] + 1e-9
    chord = models[:, -1] - models[:, 0]
    right, down = np.moveaxis(chord / (lengths(chord)[:, None] + 1e-9), -1, 0)[..., None]
    last_right, last_down = along[:, -1, :1], along[:, -1, 1:]
    press, stop, waist = np.moveaxis(np.exp(0.3 * draws), -1, 0)[..., None]

    width = 1 - 0.35 * np.abs(along[..., 0]) - 0.15 * waist * np.sin(np.pi * t)
    set_down = 0.45 * press * np.exp(-np.square(t * long / PRESSED))
    stopped = 0.5 * stop * np.exp(-np.square((1 - t) * long / PRESSED))
    swelling = np.interp(t, [0, 0.25, 0.8, 1], [0.5, 0.55, 1.7, 0.1])
    pointed = np.clip((1 - t) * long / (2.5 * PRESSED), 0.1, 1)

    is_dot = (long < 0.25) & (down > 0.3) & (right > -0.3)
    is_swelling = (right > 0.45) & (down > 0.45) & (last_down > 0.2) & (long > 0.35)
    is_sweeping = (right < -0.2) & (down > 0.2)
    is_hook = (last_down < -0.2) & (last_right < 0.95)
    is_needle = (last_down > 0.9) & (draws[:, :1] > 0.5)
    return np.select(
        [is_dot, is_swelling, is_sweeping, is_hook | is_needle],
        [0.45 + stop * t, swelling * stop, (0.9 + set_down) * (1 - 0.9 * t**1.5),
         (width + set_down) * pointed],
        width + set_down + stopped,
    )  # fmt: skip


def _joined(
    strokes: Float64, radii: Float64, counts: Int64, writer: Writer, deviation: Deviation
) -> tuple[Float64, Float64, Int64]:
    """Extend ends towards the next stroke, and add the lines of a pen that was not lifted.

    Returns:
        Strokes and radii, character by character, and the index of each one's character.
    """
    owners = np.arange(len(counts)).repeat(counts)
    goes_on = owners[1:] == owners[:-1]
    gaps = strokes[1:, :1] - strokes[:-1, -1:]  # (S - 1, 1, 2)
    strokes = strokes.copy()
    strokes[:-1] += writer.reach * goes_on[:, None, None] * gaps * _T**6
    distance = lengths(gaps[:, 0])
    is_joined = deviation.strokes[:-1, 15] > writer.lifting + distance
    joined = np.flatnonzero(is_joined & goes_on)
    lines = strokes[joined, -1:] + _T * (strokes[joined + 1, :1] - strokes[joined, -1:])
    thin = 0.7 * np.broadcast_to(radii[joined, -1:], (len(joined), NUM_POINTS))
    owners = np.concatenate([owners, owners[joined]])
    order = np.argsort(owners, kind="stable")
    strokes, radii = np.concatenate([strokes, lines]), np.concatenate([radii, thin])
    return strokes[order], radii[order], owners[order]


def _bent(
    strokes: Float64, owners: Int64, counts: Int64, writer: Writer, deviation: Deviation
) -> Float64:
    """Warp whole characters smoothly, then set their slant and aspect."""
    draws = deviation.characters
    phases = strokes @ _WAVES  # (S, P, 6)
    bends = np.concatenate([np.sin(phases), np.cos(phases)], axis=-1)
    calm = np.minimum(1.0, (6 / counts) ** 0.4)[:, None, None]  # dense characters bend less
    warps = writer.warp * calm * draws[:, 4:].reshape(-1, 12, 2)
    wide = 0.5 * writer.aspect + 0.05 * draws[:, 1]
    x_of_y, y_of_x = -writer.slant + 0.04 * draws[:, 2], writer.rise + 0.03 * draws[:, 3]
    matrices = np.array([[np.exp(wide), y_of_x], [x_of_y, np.exp(-wide)]])  # (2, 2, N)
    return (strokes + bends @ warps[owners]) @ np.moveaxis(matrices, -1, 0)[owners]


def write_samples(seed: int, number: int, samples: Sequence[tuple[str, int]]) -> list[Written]:
    """Write samples, each (character, k) for its k-th repetition, k > 0, as a simulated writer."""
    writer = make_writer(seed, number)
    drawings = {c: read_drawing(c, writer.regular_script) for c, _ in samples}

    def deviate(character: str, k: int) -> Deviation:
        rng = np.random.default_rng([seed, number, ord(character), k])
        return draw_deviation(rng, drawings[character])

    habits = {character: deviate(character, 0) for character in drawings}
    habit, sample = joint(habits[c] for c, _ in samples), joint(deviate(*s) for s in samples)
    return write([drawings[c] for c, _ in samples], writer, _mixed(habit, sample))


def simulate(
    characters: Sequence[str], num_writers: int, samples_per_writer: int, seed: int, size_px: int
) -> UnpackedImages:
    """Let simulated writers write every character, each ``samples_per_writer`` times.

    Returns:
        Canonical images ordered by writer, character, sample.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    for character in characters:
        read_drawing(character)  # report missing drawings before the work begins
    samples = [*itertools.product(characters, range(1, 1 + samples_per_writer))]
    chunks = [samples[i : i + CHUNK_SIZE] for i in range(0, len(samples), CHUNK_SIZE)]

    def pages() -> Iterator[Uint8]:
        every = itertools.product(range(num_writers), chunks)
        for number, chunk in progress(every, num_writers * len(chunks), "simulating writers"):
            yield draw_canonical(write_samples(seed, number, chunk), size_px)

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
    """:func:`simulate`, cached and opened memory-mapped."""
    key = content_key(VERSION, list(characters), num_writers, samples_per_writer, seed, size_px)
    return cached(
        cache_dir / "simulated" / key,
        lambda: simulate(characters, num_writers, samples_per_writer, seed, size_px),
    )


def beside_others(images: PackedImages) -> PackedImages:
    """Rename simulated writers so that they cannot be taken for those of a simulated study."""
    names = tuple(f"simulated:{name}" for name in images.writer_names)
    return replace(images, writer_names=names)


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
