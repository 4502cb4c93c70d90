"""Packed images on a device, drawn in batches: by class, by writer, or any."""

import torch
from torch import Tensor

from handwriting.errors import InputError
from handwriting.packed import PackedImages


class Groups:
    """Members of groups 0..G-1, drawn uniformly for a batch of groups at once."""

    def __init__(self, group_of: Tensor, num_groups: int) -> None:
        self.counts = torch.bincount(group_of, minlength=num_groups)
        self.starts = self.counts.cumsum(0) - self.counts
        self.order = torch.argsort(group_of, stable=True)

    def draw(self, groups: Tensor, generator: torch.Generator) -> Tensor:
        """One member's index for each of (B,) groups; every group must have members."""
        unit = torch.rand(len(groups), generator=generator, device=generator.device)
        # In float32 the product can round up to the count itself.
        counts = self.counts[groups]
        offset = torch.minimum((unit * counts).long(), counts - 1)
        return self.order[self.starts[groups] + offset]


class ImageBank:
    """The images of a packed set, indexed in batches where they lie.

    On a CPU the images stay memory-mapped; on another device they are moved there whole.

    Attributes:
        images: (N, H, W) uint8.
        labels, writers: (N,) int64.
    """

    def __init__(self, packed: PackedImages, device: torch.device) -> None:
        array = packed.images
        # torch wants to know that nobody writes to the read-only map: nobody does.
        mapped = torch.from_numpy(array) if array.flags.writeable else _read_only_tensor(array)
        self.images = mapped.to(device)
        self.labels = torch.from_numpy(packed.labels).to(device)
        self.writers = torch.from_numpy(packed.writers).to(device)
        self.characters = packed.characters
        self.writer_names = packed.writer_names
        self.classes = Groups(self.labels, len(packed.characters))
        self._by_writer = Groups(self.writers, len(packed.writer_names))

    def __len__(self) -> int:
        return len(self.images)

    def require_all_classes(self, source: str) -> None:
        """Check that every class can be drawn.

        Raises:
            InputError: naming the characters without an image in this source.
        """
        empty = (self.classes.counts == 0).nonzero().flatten().tolist()
        if empty:
            raise InputError(
                f"{source}: no image of " + " ".join(self.characters[i] for i in empty)
            )

    def take(self, indices: Tensor) -> Tensor:
        """Images (..., H, W) uint8 at (...) indices."""
        return self.images[indices]

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """(size,) indices, every image equally likely."""
        return torch.randint(len(self), (size,), generator=generator, device=generator.device)

    def draw_of(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """One image's index for each of (B,) classes."""
        return self.classes.draw(labels, generator)

    def draw_by(self, writers: Tensor, generator: torch.Generator) -> Tensor:
        """One image's index for each of (B,) writers: any character by the same hand."""
        return self._by_writer.draw(writers, generator)


def _read_only_tensor(array: object) -> Tensor:
    """A tensor over a read-only memory map, without copying it into memory."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
