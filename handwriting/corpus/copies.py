"""Copies: the same picture twice, even if it was resized, rotated, compressed or thresholded.

Images of a character are registered to one another (:mod:`handwriting.images.overlay`). Copies are
then nearly always within :data:`MAX_DISTANCE`. How similarly two people write by chance depends on
the character and on the number of writers, so a copy must also be much nearer than the third
nearest image of the character usually is. A study stops at

- equal pixels,
- one near pair of a character that is not simple (among many people, two write ノ or 十 alike),
- several near pairs of the same two people.

Other near pairs are printed. Different characters, which people may well write alike (へ ヘ), and
images that were not written by people are only compared pixel by pixel.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from handwriting.errors import report_problems
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.overlay import Overlay, distances
from handwriting.images.packed import Int64, LazyImages, PackedImages, concatenate, in_parts
from handwriting.storage.json_files import read_or_empty, write_json
from handwriting.storage.keys import content_key
from handwriting.storage.locks import FolderLock

VERSION = 2  # raise it when the criteria change: cached results are then not used
MAX_DISTANCE = 0.045  # of copies
MAX_SHARE = 0.12  # of the distance to the third nearest
MIN_OUTLINE = 8.0  # of characters in which one pair stops a study: カ has 7.7, 木 9.1, 鬱 14
MIN_PAIRS = 3  # of the same two people, which stop a study in any character
NUM_CANDIDATES = 2  # the nearest of each image
MIN_CORRELATION = 0.9  # of candidates, blurred and before registration
CHUNK_SIZE = 2048  # images or pairs in memory at once
MAX_NOTES = 5
ADVICE = (
    "Validation and test images must be new, and a resized, rotated or compressed copy is not: "
    "remove one of each pair from its manifest or folder, then re-run. A generator that makes "
    "copies has seen the originals."
)

Pairs = Int64  # (n, 2) numbers of images
Mask = npt.NDArray[np.bool_]
NamesOf = Callable[[str], Sequence[str]]  # empty where there are no files


def find_copies(
    packed: PackedImages, owners: Int64, is_drawn: Mask, is_persons: Mask
) -> tuple[Pairs, Mask]:
    """The copies among images of different owners, or of different characters.

    Args:
        owners: (N,) numbers.
        is_drawn: (N,) images that are compared pixel by pixel only.
        is_persons: (N,) whether the owner is one person.

    Returns:
        The pairs (n, 2), and whether each is certain to be a copy.
    """
    found = [_equal(packed, owners)]
    is_sure = [np.ones(len(found[0]), bool)]
    pairs, spread = _candidates(packed, owners, is_drawn)
    for start in range(0, len(pairs), CHUNK_SIZE):
        part = pairs[start : start + CHUNK_SIZE]
        first, second = (Overlay.of(packed.images[rows]) for rows in part.T)
        distance = distances(first, second).numpy()
        share = distance / spread[start : start + CHUNK_SIZE]
        is_near = (distance <= MAX_DISTANCE) & (share <= MAX_SHARE)
        outline = torch.minimum(first.outline(), second.outline()).numpy()
        found.append(part[is_near])
        is_sure.append(outline[is_near] >= MIN_OUTLINE)
    copies, first_of = np.unique(np.concatenate(found), axis=0, return_index=True)
    _, group, times = np.unique(
        np.sort(owners[copies], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    is_often = (times[group.ravel()] >= MIN_PAIRS) & is_persons[copies].all(axis=1)
    return copies, np.concatenate(is_sure)[first_of] | is_often


def _equal(packed: PackedImages, owners: Int64) -> Pairs:
    """Images that are equal to an earlier one."""
    hashes = [hash(image.tobytes()) for part in in_parts(packed.images) for image in part]
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    earlier, later = first[group], np.arange(len(group))
    differs = (owners[earlier] != owners) | (packed.labels[earlier] != packed.labels)
    pairs = np.stack([earlier, later], 1)[differs]
    equal = [np.array_equal(packed.images[a], packed.images[b]) for a, b in pairs]
    return pairs[np.array(equal, bool)]


def _candidates(
    packed: PackedImages, owners: Int64, is_drawn: Mask
) -> tuple[Pairs, npt.NDArray[np.float32]]:
    """The nearest images of the same character by other owners, and how much its writings vary.

    That is the median over its images of the distance to the third nearest by another owner, 2 if
    there are fewer.
    """
    rows = np.flatnonzero(~is_drawn)
    rows = rows[np.argsort(packed.labels[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(packed.labels[rows])) + 1
    pairs, spreads = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    for group in np.split(rows, bounds):
        if len(set(owners[group])) < 2:
            continue
        images, owner = Overlay.of(packed.images[group]), torch.from_numpy(owners[group])
        laid = images.laid(torch.zeros(4), is_blurred=True)
        values, nearest = [], []
        for start in range(0, len(group), CHUNK_SIZE):
            alike = laid[start : start + CHUNK_SIZE] @ laid.T
            alike[owner[start : start + CHUNK_SIZE, None] == owner] = -1
            value, index = alike.topk(min(NUM_CANDIDATES + 1, len(group)))
            values.append(value)
            nearest.append(index)
        value, index = torch.cat(values), torch.cat(nearest)
        query, place = torch.nonzero(value[:, :NUM_CANDIDATES] > MIN_CORRELATION, as_tuple=True)
        both = np.stack([group[query.numpy()], group[index[query, place].numpy()]], 1)
        pairs.append(np.sort(both, axis=1))
        sharp = images.laid(torch.zeros(4))
        third = torch.where(value[:, -1] < 0, -1, (sharp * sharp[index[:, -1]]).sum(1))
        spreads.append(np.full(len(both), 1 - float(third.median()), np.float32))
    unique, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    return unique, np.concatenate(spreads)[first]


def check_copies(
    parts: Mapping[str, PackedImages], is_real: bool, names_of: NamesOf, cache_dir: Path, *key: Any
) -> None:
    """Check that no image of a part is a copy of one in another; print those that may be.

    Args:
        parts: the splits by name, with ``simulated`` writers, or with images of another manifest
            (``generated``, ``evaluation``).
        is_real: whether people wrote the splits; drawn images are compared pixel by pixel.
        names_of: the files of a part, in the order of packing.
        key: of all images, under which the result is cached.

    Raises:
        InputError: naming the copies.
    """
    file = cache_dir / "copies" / content_key(VERSION, *key) / "copies.json"
    known = read_or_empty(file)
    if known.get("key") != content_key(known.get("pairs")):
        with FolderLock(file.parent, timeout_s=math.inf):
            found = _between(parts, is_real)
            known = {"pairs": found, "key": content_key(found)}
            write_json(file, known)
    if not known["pairs"]:
        return
    files = {name: [] if name == "simulated" else names_of(name) for name in parts}

    def describe(name: str, row: int) -> str:
        part, number = parts[name], LazyImages.of(parts[name].images).numbers[row]
        who = part.writer_names[part.writers[row]] or "an unknown writer"
        path = f" ({files[name][number]})" if number < len(files[name]) else ""
        return f"{part.characters[part.labels[row]]} by {who} in {name}{path}"

    leaks, notes = [], []
    for first, second, is_sure in known["pairs"]:
        one, other = describe(*first), describe(*second)
        if is_sure and _side(first[0]) != _side(second[0]):
            leaks.append(f"{other} is the same picture as {one}")
        elif is_sure:
            notes.append(f"{other} is the same picture as {one}: a picture has one character and "
                         "one writer; correct the labels or remove it")  # fmt: skip
        else:
            notes.append(f"{other} may be a copy of {one}, or the character is so simple that two "
                         "people write it alike: look at both")  # fmt: skip
    report_problems("data leak", leaks, ADVICE)
    if len(notes) > MAX_NOTES:
        notes[MAX_NOTES:] = [f"{len(notes) - MAX_NOTES} more pairs of pictures are as similar"]
    for line in notes:
        print(f"  warning: {line}", flush=True)


def _side(part: str) -> str:
    """What a part is used for: simulated writers are trained on together with people."""
    return "train" if part == "simulated" else part


def _between(parts: Mapping[str, PackedImages], is_real: bool) -> list[Any]:
    """The copies that matter: part and index of both images, and whether the copy is certain."""
    everything, names = concatenate([*parts.values()]), [*parts]
    sizes = [len(part) for part in parts.values()]
    part_of, starts = np.repeat(np.arange(len(parts)), sizes), np.cumsum([0, *sizes])
    is_made = np.array([name == "generated" for name in names])[part_of]
    is_drawn = np.array([name == "simulated" or not is_real for name in names])[part_of]
    owners = part_of * len(everything.writer_names) + everything.writers * ~is_made
    is_known = np.array([*everything.writer_names])[everything.writers] != UNKNOWN_WRITER
    is_other = not {"generated", "evaluation"}.isdisjoint(parts)  # the splits are known then
    found = []
    for pair, is_sure in zip(
        *find_copies(everything, owners, is_drawn, is_known & ~is_made), strict=True
    ):
        images = [(names[part_of[i]], int(i - starts[part_of[i]])) for i in pair]
        is_leak = _side(images[0][0]) != _side(images[1][0])
        if (is_sure and is_leak) if is_other else (is_sure or is_leak):
            found.append([*images, bool(is_sure)])
    return found
