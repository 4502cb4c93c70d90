"""Packed images: the canonical images of a source as one memory-mapped uint8 array.

A folder with ``images.npy`` (N, H, W), ``labels.npy`` and ``writers.npy`` (N,) and ``meta.json``.
It is keyed by its content, made once, and opened without reading the images.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handwriting.errors import InputError
from handwriting.files import (
    Claim,
    content_key,
    read_json,
    remove_unfinished,
    write_atomically,
    write_json,
)
from handwriting.images import Uint8
from handwriting.manifest import Manifest, read_images

Int64 = npt.NDArray[np.int64]
FORM = 1  # raise it when the canonical form changes: old caches are then made anew


@dataclass(frozen=True)
class PackedImages:
    """Labelled canonical images of a source. A font counts as a writer.

    Attributes:
        images: (N, H, W) uint8, ink 255 on 0; usually memory-mapped.
        labels: (N,) indices into ``characters``.
        writers: (N,) indices into ``writer_names``.
    """

    images: Uint8
    labels: Int64
    writers: Int64
    characters: tuple[str, ...]
    writer_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size_px(self) -> int:
        return int(self.images.shape[-1])

    def select(self, keep: npt.NDArray[Any] | list[int]) -> "PackedImages":
        """The images that a mask or indices name."""
        return replace(
            self, images=self.images[keep], labels=self.labels[keep], writers=self.writers[keep]
        )

    def by(self, writer_names: Sequence[str]) -> "PackedImages":
        """The images of some writers."""
        numbers = [self.writer_names.index(name) for name in writer_names]
        return self.select(np.flatnonzero(np.isin(self.writers, numbers)))

    def of(self, characters: Sequence[str]) -> "PackedImages":
        """The images of some characters, labelled by their place in ``characters``."""
        place = {character: i for i, character in enumerate(characters)}
        table = np.array([place.get(character, -1) for character in self.characters])
        labels = table[self.labels]
        relabelled = replace(self, labels=labels, characters=tuple(characters))
        return relabelled.select(np.flatnonzero(labels >= 0))

    def absent(self) -> list[str]:
        """The characters that no image here shows."""
        present = set(np.unique(self.labels).tolist())
        return [c for i, c in enumerate(self.characters) if i not in present]

    def present_writers(self) -> list[str]:
        """The names of the writers that have an image here."""
        return [self.writer_names[i] for i in np.unique(self.writers)]


def concatenate(parts: Sequence[PackedImages]) -> PackedImages:
    """Several sources over the same characters as one."""
    first = parts[0]
    if any(part.characters != first.characters for part in parts):
        raise ValueError("parts have different characters: label them with .of() first")
    if len(parts) == 1:
        return first
    names = tuple(dict.fromkeys(name for part in parts for name in part.writer_names))
    number = {name: i for i, name in enumerate(names)}
    writers = [np.array([number[n] for n in p.writer_names] or [0])[p.writers] for p in parts]
    return PackedImages(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(writers),
        first.characters,
        names,
    )


def save_packed(folder: Path, packed: PackedImages) -> None:
    """Write a packed set; ``meta.json`` comes last and marks the folder as whole."""
    for name in ("images", "labels", "writers"):
        save_array(folder / f"{name}.npy", getattr(packed, name))
    meta = {"characters": packed.characters, "writer_names": packed.writer_names}
    write_json(folder / "meta.json", meta)


def save_array(path: Path, array: npt.NDArray[Any]) -> None:
    write_atomically(path, lambda temporary: np.save(temporary, array))


def open_packed(folder: Path) -> PackedImages:
    """Open a packed set, the images memory-mapped.

    Raises:
        InputError: a file is missing or damaged, or they do not belong together.
    """
    meta = read_json(folder / "meta.json")
    try:
        packed = PackedImages(
            np.load(folder / "images.npy", mmap_mode="r"),
            np.load(folder / "labels.npy"),
            np.load(folder / "writers.npy"),
            tuple(meta["characters"]),
            tuple(meta["writer_names"]),
        )
        _check(packed)
    except Exception as error:  # NumPy raises whatever the broken bytes lead to
        raise InputError(
            f"{folder} holds no packed images: {error}. Delete it: it is made again"
        ) from error
    return packed


def _check(packed: PackedImages) -> None:
    """Check that there is a label and a writer for every image, and a name for each of them."""
    if packed.images.ndim != 3 or packed.images.dtype != np.uint8:
        raise ValueError(f"images {packed.images.shape} {packed.images.dtype}")
    for name, numbers, names in (
        ("labels", packed.labels, packed.characters),
        ("writers", packed.writers, packed.writer_names),
    ):
        if numbers.shape != (len(packed),) or numbers.dtype.kind != "i":
            raise ValueError(f"{name} {numbers.shape} {numbers.dtype}, {len(packed)} images")
        if len(packed) and (numbers.min() < 0 or numbers.max() >= len(names)):
            raise ValueError(f"{name} from {numbers.min()} to {numbers.max()} of {len(names)}")
        if not all(isinstance(name, str) for name in names):
            raise ValueError(f"names of {name} that are no text")


def cached(folder: Path, make: Callable[[], PackedImages]) -> PackedImages:
    """The packed set in ``folder``, made first if it is not there; by one process, others wait."""
    if not (folder / "meta.json").is_file():
        with Claim(folder, patience_s=math.inf):
            if not (folder / "meta.json").is_file():
                remove_unfinished(folder)
                save_packed(folder, make())
    return open_packed(folder)


def files_key(manifest: Manifest) -> str:
    """A key of the files behind a manifest: path, size, time of change, character and writer."""
    stats = [(entry, entry.path.stat()) for entry in manifest.entries]
    return content_key(
        [
            (str(entry.path), stat.st_size, stat.st_mtime_ns, entry.character, entry.writer)
            for entry, stat in stats
        ]
    )


def pack_manifest(manifest: Manifest, size_px: int, cache_dir: Path) -> PackedImages:
    """The canonical images of a manifest, packed once per content."""

    def make() -> PackedImages:
        characters, writers = manifest.characters, manifest.writers
        number = {c: i for i, c in enumerate(characters)}
        person = {w: i for i, w in enumerate(writers)}
        return PackedImages(
            read_images(manifest, size_px, f"packing {manifest.path.name}"),
            np.array([number[e.character] for e in manifest.entries]),
            np.array([person[e.writer] for e in manifest.entries]),
            characters,
            writers,
        )

    key = content_key(FORM, size_px, files_key(manifest))
    return cached(cache_dir / "packed" / key, make)
