"""A person's hand: the characters that they wrote, as strokes, and those that they did not.

How somebody writes is how their strokes deviate from KanjiVG's. A Gaussian process (C. Rasmussen,
C. Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1) carries that over to
characters that they did not write: strokes deviate alike if they look alike, all the more if they
stand at the same place, and most if they are the same stroke of the same component (氵 of 海 and of
河). Where a stroke stands and how it bends are two processes.

The processes' constants were chosen by maximum likelihood on eight simulated writers of 35 kanji
each; nobody's handwriting is in them.

Strokes have ``NUM_POINTS`` points, in a box of side ``BOX`` about its centre (:func:`boxed`).
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open
from scipy.linalg import cho_factor, cho_solve

from handwriting.characters import kanjivg
from handwriting.characters.kanjivg import Component
from handwriting.errors import InputError, report_problems
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.packed import PackedImages
from handwriting.parallel.ranks import main_only
from handwriting.sources.handwritten_strokes import (
    NUM_POINTS,
    HandwrittenStrokes,
    Reader,
    model_of,
    read_strokes,
)
from handwriting.sources.simulated_writers import crowding
from handwriting.sources.strokes import Float64, Int64, read_drawing
from handwriting.storage.arrays import Arrays
from handwriting.storage.atomic import write_bytes, write_text
from handwriting.storage.keys import content_key, file_key

BOX = 1.72  # side of the box that strokes are compared in
JOINT_LENGTH = 0.25  # how near to a stroke the end of another is, to be kept there
JOINT_STROKES = 300  # known ones that halve by how much
NESTED = 3  # components that a stroke belongs to, the smallest ones and the character itself
METADATA = "hand"  # one entry of JSON
MAX_FILES = 1000  # of the hands of a study
MAX_INKS = 8  # images by a person in their file


def boxed(strokes: npt.NDArray[Any]) -> Float64:
    """Strokes (S, P, 2), the longer side of the box of their points ``BOX``, about its centre."""
    low, high = strokes.min(axis=(0, 1)), strokes.max(axis=(0, 1))
    return (strokes - (low + high) / 2) * scale_to_box(strokes)


def scale_to_box(strokes: npt.NDArray[Any]) -> float:
    extent = strokes.max(axis=(0, 1)) - strokes.min(axis=(0, 1))
    return BOX / max(1e-6, float(extent.max()))


# The file -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hand:
    """What is known of a person's hand.

    Attributes:
        name: of the person, or of the source of their handwriting.
        strokes: of each written character, (S, P, 2), in a box, in KanjiVG's order.
        radius: of the pen, in em of KanjiVG's drawing, where a character has few strokes.
        licence, credit: of the handwriting, for what is drawn from it.
        inks: canonical images (H, W) of some of these characters, for how the pen makes ink.
    """

    name: str
    strokes: Mapping[str, Float64]
    radius: float
    licence: str = ""
    credit: str = ""
    inks: Mapping[str, Uint8] = field(default_factory=dict)

    def radius_of(self, character: str) -> float:
        """The radius of the pen where a character is drawn in a box."""
        return self.radius * _pen_scale(character)

    def save(self, path: Path) -> Path:
        (facts,), arrays = pack([self])
        facts["inked"] = "".join(self.inks)
        if self.inks:
            arrays["inks"] = np.stack([*self.inks.values()])
        metadata = {METADATA: json.dumps(facts, ensure_ascii=False)}
        write_bytes(path, safetensors.numpy.save(arrays, metadata))
        return path


def pack(hands: Sequence[Hand]) -> tuple[list[dict[str, Any]], Arrays]:
    """Hands for a file: facts that fit into JSON, and arrays, which :func:`unpack` takes back.

    Their inks stay behind: a study has all of its writers' images.
    """
    drawn = [strokes for hand in hands for strokes in hand.strokes.values()]
    facts = [
        {
            "name": hand.name, "radius": hand.radius, "characters": "".join(hand.strokes),
            "licence": hand.licence, "credit": hand.credit,
        }
        for hand in hands
    ]  # fmt: skip
    arrays = {
        "strokes": np.concatenate(drawn).astype(np.float16),
        "num_strokes": np.array([len(strokes) for strokes in drawn]),
    }
    return facts, arrays


def unpack(facts: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> list[Hand]:
    """The hands that :func:`pack` was given.

    Raises:
        LookupError, TypeError, ValueError: facts and arrays do not belong together, or are not of
            hands.
    """
    strokes, counts = arrays["strokes"], arrays["num_strokes"]
    written = [character for each in facts for character in each["characters"]]
    if (len(written), counts.sum()) != (len(counts), len(strokes)):
        raise ValueError(f"{len(written)} characters, {len(counts)} drawings")
    if strokes.shape[1:] != (NUM_POINTS, 2) or not np.isfinite(strokes).all():
        raise ValueError(f"strokes {strokes.shape}")
    parts = iter(np.split(strokes.astype(np.float64), np.cumsum(counts)[:-1]))
    hands = []
    for each in facts:
        own = {character: next(parts) for character in each["characters"]}
        for character, part in own.items():
            if len(part) != len(model_of(character).strokes):
                raise ValueError(f"{character} has {len(part)} strokes")
        others = {name: value for name, value in each.items() if name != "characters"}
        hands.append(Hand(strokes=own, **others))
    return hands


@main_only
def save_each(folder: Path, hands: Sequence[Hand]) -> list[Path]:
    """Write a file for each hand, by its name, in place of what is there; none for very many."""
    shutil.rmtree(folder, ignore_errors=True)
    if len(hands) > MAX_FILES:
        return []
    paths: dict[Path, Hand] = {}
    for hand in hands:
        name = re.sub(r"[^\w-]+", "_", hand.name) or "unknown"
        free = (name, *(f"{name}_{i}" for i in range(2, 2 + len(hands))))
        candidates = (folder / f"{each}.safetensors" for each in free)
        paths[next(path for path in candidates if path not in paths)] = hand
    return [hand.save(path) for path, hand in paths.items()]


@main_only
def write_licence(path: Path, hands: Sequence[Hand]) -> None:
    """Write under what that may be published which is drawn in hands."""
    names: dict[tuple[str, str], list[str]] = {}
    for hand in hands:
        names.setdefault((hand.licence, hand.credit), []).append(hand.name)
    lines = [
        f"{', '.join(whose)}: {licence or 'no licence is told'}{credit and f' ({credit})'}"
        for (licence, credit), whose in names.items()
    ]
    adapted = "Adapted from KanjiVG (c) Ulrich Apel, CC BY-SA 3.0, in the handwriting of"
    write_text(path, "\n".join([adapted, *lines, ""]))


def load_hands(path: Path) -> list[Hand]:
    """The hands of a file, or of all files in a folder.

    Raises:
        InputError: there is none, one is damaged or no hand, or two have the same name.
    """
    hands = [load_hand(file) for file in _files(path)]
    if not hands:
        raise InputError(f"no hand in {path}: learn some from images first, or name another folder")
    names = [hand.name for hand in hands]
    again = sorted({name for name in names if names.count(name) > 1})
    report_problems(
        str(path), [f"more than one hand is of {name!r}" for name in again],
        "Whose hand an image is in is told by the name: leave all but one of them out.",
    )  # fmt: skip
    return hands


def hands_key(path: Path) -> str:
    """The content of what :func:`load_hands` reads, as a key."""
    return content_key([file_key(file) for file in _files(path)])


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("[!.]*.safetensors")) if path.is_dir() else [path]


def load_hand(path: Path) -> Hand:
    """A hand from its file.

    Raises:
        InputError: it is not there, or damaged, or no hand.
    """
    if not path.is_file():
        raise InputError(f"no hand at {path}: learn one from images first, or name its file")
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()[METADATA])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        inked, inks = facts.pop("inked"), arrays.pop("inks", np.zeros((0, 1, 1), np.uint8))
        if inks.dtype != np.uint8 or inks.shape[1] != inks.shape[2]:
            raise ValueError(f"inks {inks.dtype} {inks.shape}")
        (hand,) = unpack([facts], arrays)
        return replace(hand, inks=dict(zip(inked, inks, strict=True)))
    except (SafetensorError, OSError, TypeError, LookupError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a hand of this version ({error!r})") from error


def hand_of(
    packed: PackedImages, read: HandwrittenStrokes, writer: str, licence: str = "", credit: str = ""
) -> Hand:
    """A writer's hand from what was read out of their images: of each character the best read.

    Raises:
        InputError: nothing of theirs could be read.
    """
    number = packed.writer_names.index(writer)
    rows = np.flatnonzero((packed.writers == number) & read.accepted)
    if not len(rows):
        raise InputError(f"{writer}: no image could be read; look at what was refused")
    best: dict[str, int] = {}
    for row in rows[np.argsort(read.scores[rows], kind="stable")].tolist():
        best[packed.characters[packed.labels[row]]] = row
    clearest = sorted(best, key=lambda character: -read.scores[best[character]])[:MAX_INKS]
    inks = {character: np.array(packed.images[best[character]]) for character in clearest}
    strokes, radii = {}, []
    for character in sorted(best):
        row = best[character]
        own = read.of(row)
        strokes[character] = boxed(own)
        radii.append(float(read.radii[row]) * scale_to_box(own) / _pen_scale(character))
    return Hand(writer, strokes, float(np.median(radii)), licence, credit, inks)


def hands_of(
    packed: PackedImages, reader: Reader, reader_keys: Sequence[str], cache_dir: Path,
    licence: str = "", credit: str = "",
) -> tuple[list[Hand], int]:  # fmt: skip
    """The hands of all writers of whom something can be read, and how many images cannot.

    Args:
        reader_keys: of the reader's weights.
        licence, credit: of the handwriting.

    Raises:
        InputError: no image can be read.
    """
    read = read_strokes(packed, reader, reader_keys, cache_dir)
    refused = int((~read.accepted).sum())
    if refused:
        print(f"  {refused} of {len(packed)} images could not be read and are left out", flush=True)
    whose = {packed.writer_names[i] for i in np.unique(packed.writers[read.accepted])}
    if not whose:
        raise InputError(
            f"none of {len(packed)} images could be read: do they show the characters that they "
            "are listed as? benchmarks/strokes.py shows what was read"
        )
    return [hand_of(packed, read, name, licence, credit) for name in sorted(whose)], refused


def written_by(hands: Sequence[Hand]) -> tuple[str, ...]:
    """The characters that somebody of them wrote."""
    return tuple(dict.fromkeys(character for hand in hands for character in hand.strokes))


def inks_of(hands: Sequence[Hand], size_px: int) -> PackedImages:
    """The images that hands have of their ink, a writer for each hand.

    Raises:
        InputError: a hand without.
    """
    without = [f"{hand.name} has no image of its ink" for hand in hands if not hand.inks]
    report_problems("hands", without, "Learn them again from the person's images.")
    characters = tuple(sorted({character for hand in hands for character in hand.inks}))
    inks = [(i, c, ink) for i, hand in enumerate(hands) for c, ink in hand.inks.items()]
    return PackedImages(
        np.stack([canonical_drawn(ink, size_px) for _, _, ink in inks]),
        np.array([characters.index(character) for _, character, _ in inks]),
        np.array([i for i, _, _ in inks]),
        characters,
        tuple(hand.name for hand in hands),
    )


def _pen_scale(character: str) -> float:
    """How wide a pen of one em is in the box of a character, which people write so large."""
    strokes = read_drawing(character).strokes
    return scale_to_box(strokes) * float(crowding(len(strokes)))


# Characters that they did not write ---------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """What a kind of deviation has in common between strokes: variances and lengths.

    Attributes:
        everywhere: variance of what all strokes share.
        shape: of what strokes of a shape share, and ``shape_length``, how alike they must be.
        place: of what strokes of a shape at a place share, and ``place_length``.
        component: of what the same stroke of the same component shares, and how alike it must be.
        character: of what strokes near each other in one writing share, by ``near_length``.
        noise: of what nothing shares.
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
        """Between the deviations of N and M strokes, (N, M).

        Args:
            is_same: the strokes are the same ones: with what a writing, or nothing, shares.
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
    """Of N strokes of KanjiVG, in boxes: what decides how alike they deviate.

    Attributes:
        shapes: (N, 2 P) points from the stroke's centre.
        centres: (N, 2).
        components: (N, NESTED) a number for the component and the stroke's place in it, else -1.
        characters: (N,) the number of the character.
    """

    shapes: Float64
    centres: Float64
    components: Int64
    characters: Int64


def predict(hand: Hand, characters: Sequence[str]) -> dict[str, Float64]:
    """Characters in a person's hand: as they wrote them, else as they would by what they wrote.

    Returns:
        (S, P, 2) strokes of each character, in a box.

    Raises:
        InputError: KanjiVG has no drawing of a character.
    """
    unknown = [c for c in dict.fromkeys(characters) if c not in hand.strokes]
    found = dict(hand.strokes)
    if unknown:
        known = list(hand.strokes)
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
        # The more strokes are known, the better they tell themselves what meets.
        share = 0.5 / (1 + len(models) / JOINT_STROKES)
        for character, part in zip(unknown, parts, strict=True):
            found[character] = boxed(joined(part, _model(character), share))
    return {character: found[character] for character in characters}


def joined(strokes: Float64, model: Float64, share: float) -> Float64:
    """Strokes (S, P, 2) with their ends moved a share of the way to where other strokes are.

    The processes do not know what meets: strokes of 口, predicted one by one, leave gaps, and those
    of 目 stand out. So the ends of each follow the strokes that they are near to in the model.
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
    """The expected values (N, D) of the strokes asked for, from those of known ones (M, D)."""
    factor = cho_factor(process.covariance(known, known, is_same=True), lower=True)
    return process.covariance(asked, known) @ cho_solve(factor, values)


def _model(character: str) -> Float64:
    return boxed(model_of(character).strokes)


def _features(characters: Sequence[str], numbers: dict[tuple[str, int], int]) -> _Features:
    """Args: numbers: of components' strokes, to which new ones are added."""
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
    """For each stroke: the components that it is part of, smallest first, and its number there."""
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
