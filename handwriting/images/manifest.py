"""Manifests: ``{"character": ["relative/path.png", ...]}``, for real and generated images alike.

Paths are relative to the manifest and stay in its folder. Links in it are followed: who creates one
permits what it leads to. The writer of each image is named by ``writers.json`` next to the
manifest (``{"relative/path.png": "writer"}``, every image, "" if unknown) or, without that file, by
the paths themselves (``.../writer_07.png``; see :mod:`handwriting.images.writers`).
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from handwriting.characters.classes import composed, is_character, letter, named, nfc
from handwriting.errors import InputError, report_problems
from handwriting.images.canonical import Uint8
from handwriting.images.reading import read_canonical
from handwriting.images.writers import ONE_NAME, look_alikes, plain_name, writers_in_paths
from handwriting.parallel.progress import progress
from handwriting.storage.atomic import flush_all
from handwriting.storage.json_files import read_json, write_json

UNKNOWN_WRITER = ""
CHUNK_SIZE = 1024  # images read before any of them is written
_INDIRECT = re.compile(r"\\|//|(?:^|/)\.|^/")
_FORM_OF_WRITERS = '{"relative/path.png": "writer"}'


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a manifest; there may be millions, so its path is kept as compact text."""

    character: str
    file: str  # its absolute path
    writer: str  # UNKNOWN_WRITER if unknown

    @property
    def path(self) -> Path:
        return Path(self.file)


@dataclass(frozen=True)
class Manifest:
    """A checked manifest: every image exists; none is listed twice."""

    path: Path
    entries: tuple[Entry, ...]
    names_from: str = ""  # writers.json, paths; "" if no writer is known

    @property
    def characters(self) -> tuple[str, ...]:
        """The characters in the order of the file."""
        return tuple(dict.fromkeys(entry.character for entry in self.entries))

    @property
    def writers(self) -> tuple[str, ...]:
        return tuple(sorted({entry.writer for entry in self.entries}))


def read_manifest(path: str | Path, characters: Iterable[str] | None = None) -> Manifest:
    """Read and check a manifest; every problem is reported at once.

    Args:
        path: the JSON file.
        characters: the classes to keep, each of which must then have an image; None keeps all.

    Raises:
        InputError: not JSON or not in the form above; a key that is not one character, or is a
            variant code point of a class; a class without images; a file that is missing, listed
            twice or outside the folder; a writers.json for other images; a path that names two
            writers; names that look alike.
    """
    path = Path(path).absolute()
    value = read_json(path)
    form = 'The expected form is {"character": ["relative/path.png", ...]}.'
    if not isinstance(value, dict) or not value:
        raise InputError(f"{path} is not a manifest: expected an object keyed by character. {form}")
    wanted = None if characters is None else dict.fromkeys(characters)

    root = os.path.join(os.path.normpath(path.parent), "")
    letters = {letter(character): character for character in wanted or ()}
    checked = (k for k in value if wanted is None or letter(k) in letters or not is_character(k))
    _, problems = composed(str(path), checked)
    images: list[tuple[str, str]] = []  # files and their characters
    owner: dict[str, str] = {}
    names: dict[str, dict[str, str]] = {}  # folder -> its names, by their NFC
    for key, files in value.items():
        character = nfc(key)
        if not is_character(character):
            continue  # reported above
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            problems.append(f"{character}: expected a list of paths, found {type(files).__name__}")
            continue
        if not files:
            problems.append(f"{character}: no images (empty class)")
        if wanted is not None and character not in wanted:
            if meant := letters.get(letter(character)):
                problems.append(f"key {named(key)}: the class is {named(meant)}, use that")
            continue
        for file in files:
            absolute = os.path.normpath(os.path.join(root, file))
            is_within = absolute.startswith(root)
            is_there = is_within and os.path.isfile(absolute)
            if is_within and not is_there:
                other_form = _in_other_form(root, file, names)
                absolute, is_there = other_form or absolute, bool(other_form)
            if not is_within:
                problems.append(f"{character}: {file} is outside the manifest's folder")
            elif absolute in owner:
                problems.append(f"{character}: {file} is listed twice (also as {owner[absolute]})")
            elif not is_there:
                problems.append(f"{character}: missing image {absolute}")
            owner[absolute] = character
            images.append((absolute, character))
    present = set(map(nfc, value))
    absent = [c for c in wanted or () if c not in present]
    problems += [f"{c} (U+{ord(c):04X}): in the class list, not in the manifest" for c in absent]
    report_problems(
        str(path), problems,
        f"{form} Paths are relative to {path.parent} and must stay in it: to use images from "
        "elsewhere, link them into the folder (ln -s ELSEWHERE NAME).",
    )  # fmt: skip
    writers, names_from = _writers(path, root, value, images)
    entries = (Entry(c, f, sys.intern(w)) for (f, c), w in zip(images, writers, strict=True))
    return Manifest(path, tuple(entries), names_from)


def _in_other_form(root: str, file: str, names: dict[str, dict[str, str]]) -> str | None:
    """A file below root whose name differs in Unicode's normal form or has ``\\``; None if none.

    Archives made on macOS have decomposed names, lists made on Windows have ``\\``.
    """
    for written in dict.fromkeys((file, file.replace("\\", "/"))):
        path = os.path.normpath(os.path.join(root, written))
        if not path.startswith(root):
            continue
        found = root
        for part in path[len(root) :].split(os.sep):
            if found not in names:
                names[found] = {}
                with contextlib.suppress(OSError, ValueError):  # missing or unreadable
                    names[found] = {nfc(name): name for name in os.listdir(found)}
            found = os.path.join(found, names[found].get(nfc(part), part))
        if os.path.isfile(found):
            return found
    return None


def _writers(
    path: Path, root: str, listing: dict[str, list[str]], images: list[tuple[str, str]]
) -> tuple[list[str], str]:
    """The writers of images, and the source of their names."""
    table = path.with_name("writers.json")
    paths = [(file[len(root) :], character) for file, character in images]
    if table.is_file():
        everything = [file for files in listing.values() for file in files]
        return _names_in(table, root, everything, [file for file, _ in paths]), table.name
    names, problems, names_from = writers_in_paths(paths)
    report_problems(
        f"{path}: writers in its paths", problems,
        f"Rename these files, or name the writer of each image in {table}: {_FORM_OF_WRITERS}.",
    )  # fmt: skip
    return names, names_from


def _names_in(table: Path, root: str, files: list[str], images: list[str]) -> list[str]:
    """The writers of images by ``writers.json``, which must name all files of the manifest."""
    value = read_json(table)
    if not isinstance(value, dict) or not all(isinstance(w, str) for w in value.values()):
        raise InputError(f"{table}: expected the form {_FORM_OF_WRITERS}")
    keys = {_place(root, key): key for key in value}
    places = {_place(root, file): file for file in files}
    twice = (
        [key for key in value if keys[_place(root, key)] != key] if len(keys) < len(value) else []
    )
    # Another manifest of the folder, such as another split's, may list what is not in this one.
    unlisted = [key for place, key in keys.items() if place not in places]
    extra = [key for key in unlisted if not os.path.isfile(os.path.join(root, key))]
    absent = [file for place, file in places.items() if place not in keys]
    report_problems(
        f"{table} ({len(extra)} of {len(value)} keys without an image, {len(absent)} of "
        f"{len(places)} images without a key)",
        [*(f"{key!r} and {keys[_place(root, key)]!r} are the same image" for key in twice),
         *(f"key without an image: {key}" for key in extra),
         *(f"image without a key: {file}" for file in absent)],
        'Name the writer of every image, "" if unknown; or remove writers.json to take the names '
        "from the paths.",
    )  # fmt: skip
    name_of = {place: plain_name(value[key]) for place, key in keys.items()}
    report_problems(str(table), look_alikes({name_of[place] for place in places}), ONE_NAME)
    return [name_of[_place(root, image)] for image in images]


def _place(root: str, file: str) -> str:
    """A path of a manifest or of writers.json in one form, relative to the manifest."""
    if file.isascii() and not _INDIRECT.search(file):
        return file
    return nfc(os.path.normpath(os.path.join(root, file.replace("\\", "/")))).removeprefix(
        nfc(root)
    )


def write_manifest(path: Path, entries: Iterable[Entry]) -> Manifest:
    """Write a manifest and its ``writers.json``, the manifest last, each atomically."""
    path = path.absolute()
    entries = tuple(entries)
    listing: dict[str, list[str]] = {}
    writers: dict[str, str] = {}
    for entry in entries:
        file = Path(os.path.relpath(entry.file, path.parent)).as_posix()
        listing.setdefault(entry.character, []).append(file)
        writers[file] = entry.writer
    flush_all()  # the images
    write_json(path.with_name("writers.json"), writers)
    write_json(path, listing)
    return Manifest(path, entries)


def read_images(manifest: Manifest, size_px: int, description: str) -> Iterator[Uint8]:
    """The canonical images of a manifest in chunks (up to ``CHUNK_SIZE``, size_px, size_px) uint8.

    Raises:
        InputError: after the last chunk, listing all images that cannot be read or are blank.
    """
    problems: list[str] = []

    def read(entry: Entry) -> Uint8:
        try:
            return read_canonical(entry.path, size_px)
        except InputError as error:
            problems.append(str(error))
            return np.zeros((size_px, size_px), np.uint8)

    starts = range(0, len(manifest.entries), CHUNK_SIZE)
    with ThreadPoolExecutor() as pool:
        for start in progress(starts, len(starts), description):
            yield np.stack([*pool.map(read, manifest.entries[start : start + CHUNK_SIZE])])
    report_problems(str(manifest.path), sorted(problems), "Repair or remove these images.")
