"""Copies: one picture twice, though it was resized, turned, compressed or thresholded in between.

Images of a character are laid over one another: brought to the same centre of ink and radius of
gyration, then turned, scaled and shifted until they agree best. Their distance is one minus the
correlation of what they show then. How near two people come by chance depends on how much there is
to a character and on how many pairs there are. The nearest two people, at 32 px:

- ten real people (Omniglot's katakana, 45 pairs): .058 レ, .063 ハ, .069 フ; others above .07;
- 60 simulated ones (1,770 pairs): ノ .008, ヘ .011, ソ .015, ト .022, others up to .09; kanji above
  .13, but 一 .014.

Copies are at .01 in the median, and below .045 in 99 of 100. So :func:`limits` asks simple
characters for more. One pair below its limit is a copy; where only the wider limit is reached, as
people's ノ or ト are now and then, three pairs of the same two people are needed; one is told.
Of 32 kinds of copies of the 470 katakana more than 98 % are within the wider limit at 28, 32 and
64 px, and no two people's images are; at 16 px, where little is left of an image, four in five.

Different characters, which people may well write alike (へ ヘ), and what was not written by people
are compared pixel by pixel only.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from handwriting.errors import report_problems
from handwriting.images.canonical import Uint8
from handwriting.images.ink import INK_FLOOR
from handwriting.images.manifest import UNKNOWN_WRITER
from handwriting.images.packed import Int64, LazyImages, PackedImages, concatenate, in_parts
from handwriting.storage.json_files import read_or_empty, write_json
from handwriting.storage.keys import content_key
from handwriting.storage.locks import FolderLock

VERSION = 1  # raise it when other copies are found: what was found before is then not used
SIDE = 32  # pixels across an image that is laid over another
REACH = 2.3  # radii from its centre to its side
MAX_DISTANCE = 0.045  # of copies
ANGLES = (-0.03, 0.0, 0.03)  # radians, at which candidates are looked for
MIN_CORRELATION = 0.85  # of candidates, blurred and not yet laid over one another well
NUM_CANDIDATES = 2  # the nearest of each image
STEPS = (0.03, 0.03, 0.04, 0.04)  # tried first: radians, log of scale, radii across and down
NUM_ROUNDS = 8
MIN_PERHAPS = 3  # pairs of the same two people that are sure only together
CHUNK_SIZE = 2048  # images or pairs in memory at once
MAX_TOLD = 5
ADVICE = (
    "What validates or is tested must be new, also when it was resized, turned or compressed: take "
    "one of each two out of its manifest or folder, then run again. A generator whose images are "
    "copies has seen what they copy."
)

Pairs = Int64  # (n, 2) numbers of images
Mask = npt.NDArray[np.bool_]
NamesOf = Callable[[str], Sequence[str]]  # empty where there are no files


class Overlay(NamedTuple):
    """Images and what lays them over others.

    Attributes:
        ink: (N, 1, h, h) in [0, 1].
        place: (N, 3) centre of the ink, across and down, and its radius; the image is [-1, 1].
    """

    ink: Tensor
    place: Tensor

    @classmethod
    def of(cls, images: Uint8) -> "Overlay":
        """From canonical images (N, H, W)."""
        ink = torch.from_numpy(images).float()[:, None]
        ink = torch.where(ink < INK_FLOOR, 0.0, ink / 255)
        ink = F.avg_pool2d(ink, max(1, ink.shape[-1] // SIDE))
        at = (torch.arange(ink.shape[-1]) + 0.5) / ink.shape[-1] * 2 - 1
        across, down = ink.sum((1, 2)), ink.sum((1, 3))  # (N, w), (N, h)
        mass = across.sum(1).clamp_min(1e-6)
        x, y = across @ at / mass, down @ at / mass
        spread = (across + down) @ at**2 / mass - x**2 - y**2
        return cls(ink, torch.stack([x, y, spread.clamp_min(1e-3).sqrt()], 1))

    def rows(self, index: Tensor | slice) -> "Overlay":
        return Overlay(self.ink[index], self.place[index])

    def laid(self, pose: Tensor, is_blurred: bool = False) -> Tensor:
        """The images at a pose, (N, SIDE * SIDE) of mean 0 and norm 1.

        Args:
            pose: (N, 4) turned by radians, log of scale, shift in radii across and down.
        """
        x, y, radius = self.place.unbind(1)
        angle, scale, right, low = pose.unbind(1)
        reach = REACH * radius
        cos, sin = reach * scale.exp() * angle.cos(), reach * scale.exp() * angle.sin()
        affine = torch.stack([cos, -sin, x + reach * right, sin, cos, y + reach * low], 1)
        size = [len(pose), 1, SIDE, SIDE]
        grid = F.affine_grid(affine.reshape(-1, 2, 3), size, align_corners=False)
        found = F.grid_sample(self.ink, grid, align_corners=False)
        if is_blurred:
            kernel = torch.tensor([0.25, 0.5, 0.25])
            found = F.conv2d(found, (kernel[:, None] * kernel)[None, None], padding=1)
        found = found.flatten(1)
        found = found - found.mean(1, keepdim=True)
        return found / found.norm(dim=1, keepdim=True).clamp_min(1e-6)

    def outline(self) -> Tensor:
        """(N,) length of the ink's outline in its radii and halves: 4 of a line, 12 of a kanji."""
        ink = F.pad(self.ink[:, 0], (0, 1, 0, 1))
        across, down = ink[:, :-1, 1:] - ink[:, :-1, :-1], ink[:, 1:, :-1] - ink[:, :-1, :-1]
        return (across**2 + down**2).sqrt().mean((1, 2)) * ink[0, 0].numel() / self.place[:, 2]


def distances(first: Overlay, second: Overlay) -> Tensor:
    """(N,) how far images are from one another when each is laid over its other best.

    A pattern search: the best of all single steps is taken, or the steps are halved. What is far
    after a few rounds is left there.
    """
    pose = torch.zeros(len(first.ink), 4)
    target = second.laid(pose)
    best, step = (first.laid(pose) * target).sum(1), torch.ones(len(pose), 1)
    moves = torch.cat([torch.diag(torch.tensor(STEPS)), -torch.diag(torch.tensor(STEPS))])
    for i in range(NUM_ROUNDS):
        near = torch.nonzero(best > 0.5 + 0.05 * i)[:, 0]
        if not len(near):
            break
        ink, goal = first.rows(near), target[near]
        tries = pose[near, None] + step[near, None] * moves  # (n, 8, 4)
        found = torch.stack([(ink.laid(one) * goal).sum(1) for one in tries.unbind(1)], 1)
        value, move = found.max(1)
        is_better = value > best[near]
        chosen = tries[torch.arange(len(near)), move]
        pose[near] = torch.where(is_better[:, None], chosen, pose[near])
        step[near] = torch.where(is_better[:, None], step[near], step[near] / 2)
        best[near] = torch.maximum(best[near], value)
    return 1 - best


def limits(first: Overlay, second: Overlay, num_pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) and (N,) the distances up to which two images are copies, and up to which they may be.

    Args:
        num_pairs: (N,) how many pairs of their character are compared.
    """
    more = torch.minimum(first.outline(), second.outline()) - 1
    most = MAX_DISTANCE * min(1.0, first.ink.shape[-1] / 24)
    surely = (0.00005 * more**3 * (2000 / num_pairs) ** 0.3).clamp_max(most)
    perhaps = (0.0006 * more**2 * (2000 / num_pairs) ** 0.45).clamp_max(most)
    return surely, torch.maximum(surely, perhaps)


def find_copies(
    packed: PackedImages, owners: Int64, is_drawn: Mask, is_persons: Mask
) -> tuple[Pairs, Mask]:
    """The copies among images of different owners, or of different characters.

    Args:
        owners: (N,) numbers.
        is_drawn: (N,) images that are compared pixel by pixel only.
        is_persons: (N,) whether the owner is one person.

    Returns:
        The pairs (n, 2), and of each whether it is sure to be one.
    """
    found = [_equal(packed, owners)]
    surely = [np.ones(len(found[0]), bool)]
    pairs, num_pairs = _candidates(packed, owners, is_drawn)
    for start in range(0, len(pairs), CHUNK_SIZE):
        part = pairs[start : start + CHUNK_SIZE]
        first, second = (Overlay.of(packed.images[rows]) for rows in part.T)
        counts = torch.from_numpy(num_pairs[start : start + CHUNK_SIZE])
        sure, possible = limits(first, second, counts)
        distance = distances(first, second)
        near = (distance <= possible).numpy()
        found.append(part[near])
        surely.append((distance <= sure).numpy()[near])
    copies, first_of = np.unique(np.concatenate(found), axis=0, return_index=True)
    is_sure = np.concatenate(surely)[first_of]
    _, group, times = np.unique(
        np.sort(owners[copies], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return copies, is_sure | (times[group.ravel()] >= MIN_PERHAPS) & is_persons[copies].all(axis=1)


def _equal(packed: PackedImages, owners: Int64) -> Pairs:
    """Images that are equal to an earlier one."""
    num_words = -(-(packed.size_px**2) // 8)
    factors = np.random.default_rng(0).integers(0, 2**64, num_words, np.uint64) | np.uint64(1)
    digests = [np.zeros(0, np.uint64)]
    for part in in_parts(packed.images):
        pixels = np.zeros((len(part), 8 * num_words), np.uint8)
        pixels[:, : packed.size_px**2] = part.reshape(len(part), -1)
        digests.append((pixels.view(np.uint64) * factors).sum(axis=1))
    _, first, group = np.unique(np.concatenate(digests), return_index=True, return_inverse=True)
    earlier, later = first[group], np.arange(len(group))
    differs = (owners[earlier] != owners) | (packed.labels[earlier] != packed.labels)
    pairs = np.stack([earlier, later], 1)[differs]
    equal = [np.array_equal(packed.images[a], packed.images[b]) for a, b in pairs]
    return pairs[np.array(equal, bool)]


def _candidates(packed: PackedImages, owners: Int64, is_drawn: Mask) -> tuple[Pairs, Int64]:
    """The nearest images of the same character by other owners, and the character's pairs."""
    rows = np.flatnonzero(~is_drawn)
    rows = rows[np.argsort(packed.labels[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(packed.labels[rows])) + 1
    pairs, counts = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.int64)]
    for group in np.split(rows, bounds):
        of_each = np.unique(owners[group], return_counts=True)[1]
        num_pairs = (len(group) ** 2 - (of_each**2).sum()) // 2
        if not num_pairs:
            continue
        images, owner = Overlay.of(packed.images[group]), torch.from_numpy(owners[group])
        upright = images.laid(torch.zeros(len(group), 4), is_blurred=True)
        for start in range(0, len(group), CHUNK_SIZE):
            part = images.rows(slice(start, start + CHUNK_SIZE))
            poses = [torch.tensor([[a, 0, 0, 0]]).expand(len(part.ink), 4) for a in ANGLES]
            turned = [part.laid(pose, is_blurred=True) @ upright.T for pose in poses]
            alike = torch.stack(turned).amax(0)
            alike[owner[start : start + CHUNK_SIZE, None] == owner] = -1
            value, nearest = alike.topk(min(NUM_CANDIDATES, len(group)))
            query, place = torch.nonzero(value > MIN_CORRELATION, as_tuple=True)
            both = np.stack([group[start + query.numpy()], group[nearest[query, place].numpy()]], 1)
            pairs.append(np.sort(both, axis=1))
            counts.append(np.full(len(both), num_pairs))
    unique, first = np.unique(np.concatenate(pairs), axis=0, return_index=True)
    return unique, np.concatenate(counts)[first]


def check_copies(
    parts: Mapping[str, PackedImages], is_real: bool, names_of: NamesOf, cache_dir: Path, *key: Any
) -> None:
    """Check that no image of a part is a copy of one in another; copies within a split are told.

    Args:
        parts: the splits by name; ``simulated`` hands and ``generated`` images beside them.
        is_real: whether people wrote the splits; what was drawn is compared pixel by pixel.
        names_of: the files of a part, by the numbers that its images were packed with.
        key: of all images; what was found is kept in the cache.

    Raises:
        InputError: naming the copies.
    """
    folder = cache_dir / "copies" / content_key(VERSION, *key)
    known = read_or_empty(folder / "copies.json")
    is_made_before = known.get("key") == content_key(known.get("pairs"))
    if is_made_before and not known["pairs"]:
        return
    everything, names = concatenate([*parts.values()]), [*parts]
    part_of = np.repeat(np.arange(len(names)), [len(part) for part in parts.values()])
    if not is_made_before:
        with FolderLock(folder, timeout_s=math.inf):
            is_made = np.array([name == "generated" for name in names])[part_of]
            is_drawn = np.array([not is_real or name == "simulated" for name in names])[part_of]
            owners = part_of * len(everything.writer_names) + everything.writers * ~is_made
            is_known = np.array([*everything.writer_names])[everything.writers] != UNKNOWN_WRITER
            pairs, is_sure = find_copies(everything, owners, is_drawn, is_known & ~is_made)
            found = [
                [*map(int, pair), bool(sure)] for pair, sure in zip(pairs, is_sure, strict=True)
            ]
            known = {"pairs": found, "key": content_key(found)}
            write_json(folder / "copies.json", known)
        if not found:
            return

    files = {name: [] if name == "simulated" else names_of(name) for name in names}

    def describe(row: int) -> str:
        name = names[part_of[row]]
        part, number = parts[name], row - np.searchsorted(part_of, part_of[row])
        character, writer = (part.characters[part.labels[number]],
                             part.writer_names[part.writers[number]])  # fmt: skip
        packed_number = LazyImages.of(part.images).numbers[number]
        file = f" ({files[name][packed_number]})" if files[name] else ""
        return f"{character} by {writer or 'nobody known'} in {name}{file}"

    leaks, told = [], []
    for first, second, is_sure in known["pairs"]:
        sides = {names[part_of[row]] for row in (first, second)}
        is_leak = len(sides) > 1 and sides != {"train", "simulated"}
        if is_sure and is_leak:
            leaks.append(f"{describe(second)} is the same picture as {describe(first)}")
        elif is_sure and "generated" not in parts:
            told.append(f"{describe(second)} is the same picture as {describe(first)}: a picture "
                        "has one character and one writer, correct them or remove it")  # fmt: skip
        elif is_leak and "generated" not in parts:
            told.append(f"{describe(second)} may be a copy of {describe(first)}, or this character "
                        "is so simple that two people write it alike: look at both")  # fmt: skip
    report_problems("a leak", leaks, ADVICE)
    if len(told) > MAX_TOLD:
        told[MAX_TOLD:] = [f"{len(told) - MAX_TOLD} more pictures are there twice"]
    for line in told:
        print(f"  warning: {line}", flush=True)
