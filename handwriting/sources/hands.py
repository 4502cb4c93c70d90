"""A person's hand: the strokes of the characters that they wrote, and the file that holds them.

``hand_process.py`` predicts characters that they did not write. Strokes have ``NUM_POINTS`` points,
in a box of side ``BOX`` about its centre (:func:`boxed`).
"""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

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
from handwriting.sources.strokes import Float64, read_drawing
from handwriting.storage.arrays import Arrays
from handwriting.storage.atomic import write_bytes, write_text
from handwriting.storage.keys import content_key, file_key

BOX = 1.72  # side of the box that strokes are compared in
METADATA = "hand"  # the file's metadata entry, which holds JSON
MAX_FILES = 1000  # hands of a study that are written to files
MAX_INKS = 8  # images in a person's file


def boxed(strokes: npt.NDArray[Any]) -> Float64:
    """Strokes (S, P, 2) centred and scaled: the longer side of their bounding box is ``BOX``."""
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
        radius: of the pen, in em of KanjiVG's drawing, for characters with few strokes.
        licence, credit: of the handwriting, and so of what is drawn from it.
        inks: canonical images (H, W) of some of these characters, which show the pen's ink.
    """

    name: str
    strokes: Mapping[str, Float64]
    radius: float
    licence: str = ""
    credit: str = ""
    inks: Mapping[str, Uint8] = field(default_factory=dict)

    def radius_of(self, character: str) -> float:
        """The radius of the pen for a character that is drawn in a box."""
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
    """Convert hands to facts that fit into JSON and arrays; :func:`unpack` is the inverse.

    Inks are left out, since a study has all of its writers' images.
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
        LookupError, TypeError, ValueError: facts and arrays do not match, or are not those of
            hands.
    """
    strokes, counts = arrays["strokes"], arrays["num_strokes"]
    written = [character for each in facts for character in each["characters"]]
    if (len(written), counts.sum()) != (len(counts), len(strokes)):
        raise ValueError(f"{len(written)} characters, but {len(counts)} drawings")
    if strokes.shape[1:] != (NUM_POINTS, 2) or not np.isfinite(strokes).all():
        raise ValueError(f"expected finite strokes (S, {NUM_POINTS}, 2), found {strokes.shape}")
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
    """Replace a folder by a file per hand, named after it; none above ``MAX_FILES`` hands."""
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
    """Write the licences under which images drawn in these hands may be published."""
    names: dict[tuple[str, str], list[str]] = {}
    for hand in hands:
        names.setdefault((hand.licence, hand.credit), []).append(hand.name)
    lines = [
        f"{', '.join(whose)}: {licence or 'no licence given'}{credit and f' ({credit})'}"
        for (licence, credit), whose in names.items()
    ]
    adapted = "Adapted from KanjiVG (c) Ulrich Apel, CC BY-SA 3.0, in the handwriting of"
    write_text(path, "\n".join([adapted, *lines, ""]))


def load_hands(path: Path) -> list[Hand]:
    """The hands of a file, or of all files in a folder.

    Raises:
        InputError: there is none, a file is damaged or not a hand, or two have the same name.
    """
    hands = [load_hand(file) for file in _files(path)]
    if not hands:
        raise InputError(
            f"no hand in {path}: learn hands from images first (training_redrawn/train.py), or "
            "give another folder"
        )
    names = [hand.name for hand in hands]
    again = sorted({name for name in names if names.count(name) > 1})
    report_problems(
        str(path), [f"more than one hand is named {name!r}" for name in again],
        "Names identify the hand that an image is in: keep only one of each name.",
    )  # fmt: skip
    return hands


def hands_key(path: Path) -> str:
    """A key of the content that :func:`load_hands` reads."""
    return content_key([file_key(file) for file in _files(path)])


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("[!.]*.safetensors")) if path.is_dir() else [path]


def load_hand(path: Path) -> Hand:
    """A hand from its file.

    Raises:
        InputError: the file is missing, damaged or not a hand.
    """
    if not path.is_file():
        raise InputError(
            f"no hand at {path}: learn one from images first (training_redrawn/train.py), or give "
            "the path of its file"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()[METADATA])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        inked, inks = facts.pop("inked"), arrays.pop("inks", np.zeros((0, 1, 1), np.uint8))
        if inks.dtype != np.uint8 or inks.shape[1] != inks.shape[2]:
            raise ValueError(f"expected inks (N, H, H) uint8, found {inks.shape} {inks.dtype}")
        (hand,) = unpack([facts], arrays)
        return replace(hand, inks=dict(zip(inked, inks, strict=True)))
    except (SafetensorError, OSError, TypeError, LookupError, ValueError) as error:
        raise InputError(f"{path} is damaged or not a hand of this version ({error!r})") from error


def hand_of(
    packed: PackedImages, read: HandwrittenStrokes, writer: str, licence: str = "", credit: str = ""
) -> Hand:
    """A writer's hand from the strokes read from their images: the best-read of each character.

    Raises:
        InputError: none of their images could be read.
    """
    number = packed.writer_names.index(writer)
    rows = np.flatnonzero((packed.writers == number) & read.accepted)
    if not len(rows):
        raise InputError(
            f"{writer}: the strokes of no image could be read; benchmarks/strokes.py shows what "
            "was refused"
        )
    best: dict[str, int] = {}
    for row in rows[np.argsort(read.scores[rows], kind="stable")][::-1].tolist():
        best.setdefault(packed.characters[packed.labels[row]], row)
    inks = {c: np.array(packed.images[best[c]]) for c in [*best][:MAX_INKS]}
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
    """The hands of all writers with a readable image, and the number of unreadable images.

    Args:
        reader_keys: of the reader's weights.
        licence, credit: of the handwriting.

    Raises:
        InputError: no image can be read.
    """
    read = read_strokes(packed, reader, reader_keys, cache_dir)
    refused = int((~read.accepted).sum())
    if refused:
        print(
            f"  left out: {refused} of {len(packed)} images, whose strokes could not be read",
            flush=True,
        )
    whose = {packed.writer_names[i] for i in np.unique(packed.writers[read.accepted])}
    if not whose:
        raise InputError(
            f"the strokes of none of {len(packed)} images could be read: check that they show the "
            "characters that they are listed as; benchmarks/strokes.py shows what was read"
        )
    return [hand_of(packed, read, name, licence, credit) for name in sorted(whose)], refused


def written_by(hands: Sequence[Hand]) -> tuple[str, ...]:
    """The characters that at least one of them wrote."""
    return tuple(dict.fromkeys(character for hand in hands for character in hand.strokes))


def inks_of(hands: Sequence[Hand], size_px: int) -> PackedImages:
    """The ink images of hands, with a writer for each hand.

    Raises:
        InputError: a hand has none.
    """
    without = [f"{hand.name} has no image of its ink" for hand in hands if not hand.inks]
    report_problems("hands", without, "Learn these hands again from the writers' images.")
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
    """The width of a pen of one em in a character's box, as dense characters are written larger."""
    strokes = read_drawing(character).strokes
    return scale_to_box(strokes) * float(crowding(len(strokes)))
