"""Packed images: the canonical images of a source as one memory-mapped uint8 array.

A folder with ``images.npy`` (N, H, W), ``labels.npy`` and ``writers.npy`` (N,) and ``meta.json``.
It is keyed by its content, built once, and opened without reading the images. They are written in
chunks and read in batches: they are never all in memory.
"""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from handwriting.errors import InputError
from handwriting.images.canonical import Uint8
from handwriting.images.manifest import CHUNK_SIZE, Manifest, read_images
from handwriting.storage.atomic import write_atomically
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.keys import content_key, sampled_key
from handwriting.storage.locks import HOLDER_FILE, LOCK_FILE, FolderLock
from handwriting.storage.stamps import contents, damage, stamps

Int64 = npt.NDArray[np.int64]
SETTLED_NS = 2 * 10**9  # a file may be changed twice within one tick of the disk's clock
FORM = 3  # raise it when the canonical form changes: old caches are then rebuilt


class LazyImages:
    """Selected images of one or more arrays, (N, H, W) uint8, which are read on access.

    It is indexed like an array and returns one: ``images[index]`` reads only these images.

    Args:
        arrays: (n, H, W) each, usually memory-mapped, concatenated.
        numbers: (N,) indices of the selected images in the concatenation.
    """

    def __init__(self, arrays: Sequence[Uint8], numbers: Int64) -> None:
        self.arrays = tuple(map(np.asarray, arrays))  # a memory map is slower to index
        self.numbers = numbers
        self.shape = (len(numbers), *arrays[0].shape[1:])
        self._starts = np.cumsum([0, *map(len, arrays)])

    @classmethod
    def of(cls, images: "Uint8 | LazyImages") -> "LazyImages":
        """All images of an array; a LazyImages is returned as it is."""
        return images if isinstance(images, LazyImages) else cls([images], np.arange(len(images)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Uint8:
        """The images at an index, a slice, a mask, or indices of any shape."""
        numbers = self.numbers[index]
        flat = numbers.ravel()
        order = np.argsort(flat)  # the disk is read in order
        bounds = np.searchsorted(flat[order], self._starts)
        taken = np.empty((len(flat), *self.shape[1:]), np.uint8)
        for i, (first, last) in enumerate(pairwise(bounds)):
            if first < last:
                chosen = order[first:last]
                taken[chosen] = self.arrays[i][flat[chosen] - self._starts[i]]
        return taken.reshape(*numbers.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[Uint8]:
        for part in in_parts(self):
            yield from part


def in_parts(images: "Uint8 | LazyImages") -> Iterator[Uint8]:
    """The images in chunks (n, H, W) of up to ``CHUNK_SIZE``."""
    for start in range(0, len(images), CHUNK_SIZE):
        yield images[start : start + CHUNK_SIZE]


class UnpackedImages(NamedTuple):
    """The source of :class:`PackedImages`: the images are computed chunk by chunk, on demand.

    Attributes:
        images: (n, size_px, size_px) uint8 each.
    """

    images: Iterable[Uint8]
    labels: Int64
    writers: Int64
    characters: tuple[str, ...]
    writer_names: tuple[str, ...]
    size_px: int


@dataclass(frozen=True)
class PackedImages:
    """Labelled canonical images of a source. A font counts as a writer.

    Selecting images and concatenating sources reads none of them.

    Attributes:
        images: (N, H, W) uint8, ink 255 on 0; usually memory-mapped, or lazy images of such arrays.
        labels: (N,) indices into ``characters``.
        writers: (N,) indices into ``writer_names``.
    """

    images: Uint8 | LazyImages
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
        """The images that a mask or indices select."""
        rows = LazyImages.of(self.images)
        images = LazyImages(rows.arrays, rows.numbers[keep])
        return replace(self, images=images, labels=self.labels[keep], writers=self.writers[keep])

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
    rows = [LazyImages.of(part.images) for part in parts]
    arrays = [array for part in rows for array in part.arrays]
    ends = np.cumsum([sum(map(len, part.arrays)) for part in rows])
    numbers = [part.numbers + start for part, start in zip(rows, [0, *ends[:-1]], strict=True)]
    return PackedImages(
        LazyImages(arrays, np.concatenate(numbers)),
        np.concatenate([part.labels for part in parts]),
        np.concatenate(writers),
        first.characters,
        names,
    )


def save_packed(folder: Path, made: PackedImages | UnpackedImages) -> None:
    """Write a packed set; ``meta.json`` comes last and vouches for every file in the folder."""
    shape = (len(made.labels), made.size_px, made.size_px)

    def write_images(temporary: Path) -> None:
        with temporary.open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in in_parts(made.images) if isinstance(made, PackedImages) else made.images:
                part.tofile(file)  # before the next chunk is computed

    write_atomically(folder / "images.npy", write_images)
    for name in ("labels", "writers"):
        write_atomically(folder / f"{name}.npy", partial(np.save, arr=getattr(made, name)))
    names = {"characters": made.characters, "writer_names": made.writer_names}
    beside = {LOCK_FILE, HOLDER_FILE, "meta.json"}
    files = stamps(folder, (path for path in sorted(folder.iterdir()) if path.name not in beside))
    write_json(folder / "meta.json", {**names, "files": files, "key": content_key(names, files)})


def packed_key(folder: Path) -> str:
    """The content of a packed set that :func:`open_packed` has opened, as a key."""
    meta = read_json(folder / "meta.json")
    return content_key(meta["characters"], meta["writer_names"], contents(meta["files"]))


def open_packed(folder: Path) -> PackedImages:
    """Open a packed set, the images memory-mapped.

    Raises:
        InputError: a file is missing or damaged, or the files are inconsistent.
    """
    try:
        meta = read_json(folder / "meta.json")
        names = {name: meta[name] for name in ("characters", "writer_names")}
        if meta["key"] != content_key(names, meta["files"]):
            raise ValueError(f"{folder / 'meta.json'} is damaged")
        if problem := damage(folder, meta["files"]):
            raise ValueError(problem)
        images = np.load(folder / "images.npy", mmap_mode="r")
        if images.ndim != 3 or images.dtype != np.uint8:
            raise ValueError(f"expected (N, H, W) uint8, found {images.shape} {images.dtype}")
        labels, writers = (np.load(folder / f"{name}.npy") for name in ("labels", "writers"))
        characters, writer_names = tuple(meta["characters"]), tuple(meta["writer_names"])
        _check("labels", labels, characters, len(images))
        _check("writers", writers, writer_names, len(images))
    except Exception as error:  # NumPy raises whatever the broken bytes lead to
        raise InputError(
            f"{folder} holds no valid packed images: {error}. It can be deleted to be rebuilt"
        ) from error
    return PackedImages(images, labels, writers, characters, writer_names)


def _check(what: str, numbers: Int64, names: tuple[Any, ...], size: int) -> None:
    """Check that there is a label or a writer for each of ``size`` images, and a name for it."""
    if numbers.shape != (size,) or numbers.dtype.kind != "i":
        raise ValueError(f"expected ({size},) {what}, found {numbers.shape} {numbers.dtype}")
    if size and (numbers.min() < 0 or numbers.max() >= len(names)):
        raise ValueError(
            f"expected {what} from 0 to {len(names) - 1}, found {numbers.min()} to {numbers.max()}"
        )
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"the names of {what} must be strings")


def cached(folder: Path, make: Callable[[], PackedImages | UnpackedImages]) -> PackedImages:
    """The packed set in ``folder``, built first if missing or damaged; other processes wait."""
    with suppress(InputError):
        return open_packed(folder)
    with FolderLock(folder, timeout_s=math.inf):
        if (folder / "meta.json").is_file():
            try:
                return open_packed(folder)  # another process has built it meanwhile
            except InputError as error:
                print(f"  {error}", flush=True)
        save_packed(folder, make())
    return open_packed(folder)


_known_keys: dict[bytes, str] = {}  # of manifests: hash of all files' metadata -> key


def files_key(manifest: Manifest) -> str:
    """A key of a manifest's files: path in its folder, content, character and writer.

    Within a process, they are only re-read when one has changed.
    """
    changes, latest = hashlib.sha256(), 0
    for entry in manifest.entries:
        stat = os.stat(entry.file)
        latest = max(latest, stat.st_mtime_ns, stat.st_ctime_ns)
        times = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        known = (entry.file, times, entry.character, entry.writer)
        changes.update(repr(known).encode(errors="surrogateescape"))
    is_settled = time.time_ns() - latest > SETTLED_NS
    if is_settled and (key := _known_keys.get(changes.digest())):
        return key
    digest, start = hashlib.sha256(), len(os.path.join(manifest.path.parent, ""))
    for entry in manifest.entries:
        of_one = (entry.file[start:], sampled_key(entry.file), entry.character, entry.writer)
        digest.update(repr(of_one).encode(errors="surrogateescape"))
    key = digest.hexdigest()[:16]
    if is_settled:
        _known_keys[changes.digest()] = key
    return key


def pixels_key(packed: PackedImages) -> str:
    """A key of images and their labels."""
    digest = hashlib.sha256()
    for array in (packed.labels, *in_parts(packed.images)):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def pack_manifest(manifest: Manifest, size_px: int, cache_dir: Path) -> PackedImages:
    """The canonical images of a manifest, packed once per content."""

    def make() -> UnpackedImages:
        characters, writers = manifest.characters, manifest.writers
        number = {c: i for i, c in enumerate(characters)}
        person = {w: i for i, w in enumerate(writers)}
        return UnpackedImages(
            read_images(manifest, size_px, f"packing {manifest.path.name}"),
            np.array([number[e.character] for e in manifest.entries]),
            np.array([person[e.writer] for e in manifest.entries]),
            characters, writers, size_px,
        )  # fmt: skip

    key = content_key(FORM, size_px, files_key(manifest))
    return cached(cache_dir / "packed" / key, make)
