"""Packed images on a device, drawn in batches: by class, by writer, by source, or any."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handwriting.corpus.corpus import Corpus
from handwriting.errors import InputError
from handwriting.images.packed import PackedImages, concatenate, in_parts
from handwriting.images.thinning import packed_line_drawings
from handwriting.rng import Rng


class Groups:
    """Members of groups 0..G-1, drawn uniformly for a batch of groups at once."""

    def __init__(self, group_of: Tensor, num_groups: int) -> None:
        self.counts = torch.bincount(group_of, minlength=num_groups)
        self.starts = self.counts.cumsum(0) - self.counts
        self.order = torch.argsort(group_of, stable=True)

    def pick(self, groups: Tensor, unit: Tensor) -> Tensor:
        """The index of a member of each of (B,) non-empty groups, by (B,) values in [0, 1)."""
        # In float32 the product can round up to the count itself.
        counts = self.counts[groups]
        offset = torch.minimum((unit * counts).long(), counts - 1)
        return self.order[self.starts[groups] + offset]


MAX_NAMED = 20  # characters in an error
DEVICE_SHARE = 0.25  # of a device's free memory that a bank may take, twice that while it fills


class ImageBank:
    """The images of a packed set, indexed in batches.

    On a CPU they stay memory-mapped. A GPU gets all of them at once or, if they would fill more
    than ``DEVICE_SHARE`` of its free memory, each batch when it is taken.

    Attributes:
        labels, writers: (N,) int64.
    """

    def __init__(self, packed: PackedImages, device: torch.device) -> None:
        self._packed = packed.images
        self._resident = None
        if fits(packed, device):  # in chunks: the host never holds all of them
            parts = [torch.from_numpy(np.array(part)).to(device) for part in in_parts(self._packed)]
            self._resident = torch.cat(parts)
        self.labels = torch.from_numpy(packed.labels).to(device)
        self.writers = torch.from_numpy(packed.writers).to(device)
        self._by_writer = Groups(self.writers, len(packed.writer_names))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Tensor:
        """Images (..., H, W) uint8 at (...) indices, on their device."""
        if self._resident is not None:
            return self._resident[indices]
        taken = torch.from_numpy(self._packed[indices.cpu().numpy()])
        if indices.is_cuda:  # from pinned memory, copying overlaps with computing
            taken = taken.pin_memory()
        return taken.to(indices.device, non_blocking=True)

    def draw(self, size: int, rng: torch.Generator) -> Tensor:
        """(size,) indices, every image equally likely."""
        return torch.randint(len(self), (size,), generator=rng, device=rng.device)

    def draw_by(self, writers: Tensor, rng: Rng) -> Tensor:
        """One image's index for each of (B,) writers: any character by that writer."""
        return self._by_writer.pick(writers, rng.rand(len(writers)))


def draw_batch(banks: Sequence[ImageBank], sizes: Sequence[int], rng: Rng) -> tuple[Tensor, Tensor]:
    """A batch with the given number of images per bank: (B, H, W) uint8 and their classes (B,)."""
    drawn = [bank.draw(size, rng) for bank, size in zip(banks, sizes, strict=True)]
    chosen = list(zip(banks, rng.shard(*drawn), strict=True))
    images = torch.cat([bank.take(indices) for bank, indices in chosen])
    return images, torch.cat([bank.labels[indices] for bank, indices in chosen])


def fits(packed: PackedImages, device: torch.device) -> bool:
    """Whether the images should be copied to the device; never on a CPU."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return len(packed) * packed.size_px**2 <= DEVICE_SHARE * free


class Mixture:
    """Several sources as one bank: a class, then a source by its share, then any such image.

    A source with few images (five people) is thus drawn as often as its share says, and every class
    is equally likely, however many images either has. A class that a source lacks is drawn from
    the others, by their shares.

    Args:
        corpus: its characters are drawn, except for the unseen ones.
        sources: packed images over the corpus's characters, by name.
    """

    def __init__(
        self, corpus: Corpus, sources: Mapping[str, PackedImages], device: torch.device
    ) -> None:
        self._parts = parts = [corpus.without_unseen(source) for source in sources.values()]
        self.names = tuple(sources)
        self._weights: dict[tuple[float, ...], Tensor] = {}  # of the sources, on the device
        self.bank = ImageBank(concatenate(parts), device)
        self._num_classes = len(corpus.characters)
        self._seen = torch.tensor([corpus.characters.index(c) for c in corpus.seen], device=device)
        source_of = torch.cat([torch.full((len(part),), i) for i, part in enumerate(parts)])
        group_of = source_of.to(device) * self._num_classes + self.bank.labels
        self._groups = Groups(group_of, self._num_classes * len(parts))

    def line_drawings(self, cache_dir: Path) -> ImageBank:
        """The line drawings of the bank's images, in their order; cached for each source."""
        drawings = [packed_line_drawings(part, cache_dir) for part in self._parts]
        return ImageBank(concatenate(drawings), self.bank.labels.device)

    def draw_labels(self, batch_size: int, rng: Rng) -> Tensor:
        """The classes of a batch, every seen one equally likely."""
        return self._seen[rng.randint(len(self._seen), rng.num_rows(batch_size))]

    def draw(self, labels: Tensor, shares: Mapping[str, float], rng: Rng) -> Tensor:
        """One image's index in the bank for each of (B,) classes.

        Args:
            shares: how often each source is drawn from, relative to the others; a source that is
                not named is not drawn from, and a name without a source is ignored.

        Raises:
            InputError: no source has a share above 0, or those that have lack a class.
        """
        weights = tuple(float(shares.get(name, 0)) for name in self.names)
        if weights not in self._weights:  # cached: the host waits for every transfer
            self._weights[weights] = self._class_weights(weights, shares).to(labels.device)
        own = self._weights[weights]
        if own.dim() == 1:
            source = rng.choice(own, len(labels))
        else:
            bounds = own[labels].cumsum(dim=1)
            unit = rng.rand(len(labels), 1) * bounds[:, -1:]
            source = (unit >= bounds[:, :-1]).sum(dim=1)
        return self._groups.pick(source * self._num_classes + labels, rng.rand(len(labels)))

    def _class_weights(self, weights: tuple[float, ...], shares: Mapping[str, float]) -> Tensor:
        """The sources' weights: (S,) if each has every class, (C, S) if one lacks some."""
        every = torch.tensor(weights)
        if not (every > 0).any():
            raise InputError(
                f"shares={dict(shares)}: expected one above 0 of the sources that are there, "
                f"{', '.join(self.names)}"
            )
        has = self._groups.counts.view(len(weights), -1).bool().cpu()  # (S, C)
        of_seen = has[every > 0][:, self._seen.cpu()]
        if of_seen.all():
            return every
        if not of_seen.any(dim=0).all():
            characters = self._parts[0].characters
            absent = [characters[i] for i in self._seen.cpu()[~of_seen.any(dim=0)].tolist()]
            used = [name for name, weight in zip(self.names, weights, strict=True) if weight > 0]
            shown = " ".join(absent[:MAX_NAMED]) + " ..." * (len(absent) > MAX_NAMED)
            raise InputError(f"{' and '.join(used)}: no image of {shown}")
        return every * has.T
