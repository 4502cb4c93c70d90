"""What every generator does the same way: which images to make, and how they are written.

An image is decided by the seed, its character and its number alone, so that making more of them,
or only some of the characters, changes none of the others. Each generator only says how it makes a
batch of them; all write canonical images, ``manifest.json`` with ``writers.json``, ``facts.json``
that names all whose hands are behind the images, and a sheet.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from handwriting import processes
from handwriting.audit import FACTS
from handwriting.augment import to_uint8
from handwriting.characters import class_list
from handwriting.config import Config
from handwriting.corpus import Corpus, matching
from handwriting.errors import InputError, report_problems
from handwriting.files import write_json
from handwriting.images import Uint8, canonical, save_png, sheet
from handwriting.manifest import UNKNOWN_WRITER, Entry, write_manifest
from handwriting.packed import Int64, PackedImages, concatenate
from handwriting.processes import main_only
from handwriting.progress import progress
from handwriting.run import Run, Weights
from handwriting.runtime import Runtime

SHEET_ROWS, SHEET_COLUMNS = 20, 24  # at the most: characters, and images of each
MAX_ATTEMPTS = 3  # other noise and styles tried when an image is blank


@dataclass(frozen=True)
class Wanted:
    """One image to make.

    Attributes:
        character: that it shows.
        label: of the character among the study's.
        rng: what is random about the image comes from here.
    """

    character: str
    label: int
    rng: np.random.Generator


@dataclass(frozen=True)
class Made:
    """A batch of made images.

    Attributes:
        images: (B, H, W) uint8 ink.
        writers: (B,) whose hand each has; UNKNOWN_WRITER for nobody's.
    """

    images: Uint8
    writers: Sequence[str]


Make = Callable[[list[Wanted]], Made]


def wanted_characters(config: Config, corpus: Corpus, weights: Weights) -> tuple[str, ...]:
    """The characters of ``generation.characters``, or all of the study.

    Raises:
        InputError: one that the generator cannot draw, or a generator of other characters.
    """
    weights.require_characters(corpus.characters)
    named = config.generation.characters
    characters = class_list(named) if named else corpus.characters
    report_problems(
        "generation.characters",
        [
            f"{c} (U+{ord(c):04X}): unknown to the generator"
            for c in characters
            if c not in weights.facts["drawable"]
        ],
        f"{weights.path} can draw {len(weights.facts['drawable'])} of its "
        f"{len(corpus.characters)} characters.",
    )
    return characters


def hands(corpus: Corpus, key: str, kinds: list[str], names: list[str]) -> PackedImages:
    """The images of the kinds of hands, and of the hands among them, that a setting names.

    Raises:
        InputError: an unknown kind of hand, or a name that no hand has.
    """
    parts = [images for kind, images in corpus.sources.items() if kind in kinds]
    if not parts or len(parts) < len(kinds):
        raise InputError(
            f"generation.{key}={kinds}: choose from writers, fonts and, where "
            "data.helper_writers is not 0, helpers"
        )
    everyone = concatenate(parts)
    return everyone.by(matching(everyone, names))


def by_hand(writers: Int64, indices: Int64) -> list[Int64]:
    """Some images' indices parted by the hand that wrote them.

    Args:
        writers: (N,) of all images.
        indices: of those to part.
    """
    of_them = writers[indices]
    _, counts = np.unique(of_them, return_counts=True)
    return np.split(indices[np.argsort(of_them, kind="stable")], np.cumsum(counts)[:-1])


def any_hand(of_hand: list[Int64], rng: np.random.Generator) -> int:
    """One image's index, by hand first: a hand with many is no likelier than one with few."""
    return int(rng.choice(of_hand[int(rng.integers(len(of_hand)))]))


def noise(wanted: Sequence[Wanted], *shape: int) -> Tensor:
    """Standard normal values (B, *shape) float32, each image's from its own generator."""
    return torch.from_numpy(np.stack([w.rng.standard_normal(shape, np.float32) for w in wanted]))


def hands_per_image(config: Config) -> int:
    """How many hands are mixed in an image.

    Raises:
        InputError: none.
    """
    if config.generation.num_hands < 1:
        raise InputError(f"generation.num_hands={config.generation.num_hands}: at least 1")
    return config.generation.num_hands


def hand_shares(wanted: Sequence[Wanted], num_hands: int) -> Tensor:
    """How much of each of H hands is in each image's style, (B, H): uniform on what sums to one."""
    if num_hands == 1:
        return torch.ones(len(wanted), 1)
    shares = [one.rng.dirichlet(np.ones(num_hands)) for one in wanted]
    return torch.from_numpy(np.stack(shares).astype(np.float32))


def claimed(hands_of: Sequence[Sequence[str]]) -> list[str]:
    """Whose hand each image is in; nobody's where the styles of several are mixed."""
    return [names[0] if len(set(names)) == 1 else UNKNOWN_WRITER for names in hands_of]


def from_noise(draw: Callable[[Tensor, Tensor], Tensor], num_values: int, runtime: Runtime) -> Make:
    """How a generator that knows classes but no hands makes images.

    Args:
        draw: noise (B, Z) and classes (B,) to images (B, 1, H, W) in [-1, 1].
        num_values: Z.
    """

    @torch.inference_mode()
    def make(wanted: list[Wanted]) -> Made:
        labels = torch.tensor([one.label for one in wanted], device=runtime.device)
        with runtime.autocast():
            images = draw(noise(wanted, num_values).to(runtime.device), labels)
        return Made(np.asarray(to_uint8(images).cpu()), [UNKNOWN_WRITER] * len(wanted))

    return make


def write_generated(run: Run, config: Config, characters: Sequence[str], corpus: Corpus,
                    make: Make, seen: Sequence[str]) -> Path:  # fmt: skip
    """Make ``generation.num_per_character`` images of each character and write them.

    Several processes each make every so manieth batch, of the same images as one process would.

    Args:
        run: begun; its folder gets the images, the manifest and a sheet with a row per character.
        config: the study.
        characters: to make.
        corpus: whose labels ``make`` knows.
        make: a batch of images.
        seen: everyone whose hand is behind the images: those that the generator has seen, and those
            whose images it is given as contents and styles.

    Raises:
        InputError: blank images after ``MAX_ATTEMPTS``, naming their characters.
    """
    count = config.generation.num_per_character
    jobs = [(character, number) for character in characters for number in range(count)]
    batch_of = np.arange(len(jobs)) // config.generation.batch_size
    own = np.flatnonzero(batch_of % processes.count() == processes.rank()).tolist()

    def make_own() -> tuple[dict[int, Entry], dict[int, Uint8], float]:
        """The entries of this process's images, those for the sheet, and the seconds."""
        own_jobs = [jobs[i] for i in own]
        images, writers, seconds = _make_all(config, own_jobs, corpus, make, run.folder.name)
        entries, shown = {}, {}
        for i, image, writer in zip(own, images, writers, strict=True):
            character, number = jobs[i]
            path = run.folder / f"U+{ord(character):04X}" / f"{number:05d}.png"
            save_png(path, image, flush=False)
            entries[i] = Entry(character, path, writer)
            if number < SHEET_COLUMNS and i < SHEET_ROWS * count:
                shown[i] = image
        return entries, shown, seconds

    parts = processes.from_each(make_own)
    entries = {i: entry for part, _, _ in parts for i, entry in part.items()}
    shown = {i: image for _, part, _ in parts for i, image in part.items()}
    _write_manifest(run.folder, [entries[i] for i in range(len(jobs))], seen)
    pictures = np.stack([shown[i] for i in sorted(shown)])
    rows = pictures.reshape(-1, min(count, SHEET_COLUMNS), *pictures.shape[1:])
    run.sample("sheet", sheet(list(rows)))
    seconds = max(seconds for _, _, seconds in parts)
    metrics = {"num_images": len(jobs), "images_per_s": round(len(jobs) / seconds, 1)}
    return run.finish(metrics, [run.folder / "manifest.json"])


@main_only
def _write_manifest(folder: Path, entries: list[Entry], seen: Sequence[str]) -> None:
    write_json(folder / FACTS, {"writers_seen": list(seen)})
    write_manifest(folder / "manifest.json", entries)


def _make_all(
    config: Config, jobs: list[tuple[str, int]], corpus: Corpus, make: Make, name: str
) -> tuple[Uint8, list[str], float]:
    """The canonical images of all jobs, whose hand each has, and the seconds of making them."""
    batch_size = config.generation.batch_size
    images = np.zeros((len(jobs), config.size_px, config.size_px), np.uint8)
    writers = [UNKNOWN_WRITER] * len(jobs)
    label_of = {character: i for i, character in enumerate(corpus.characters)}
    waiting, seconds = list(range(len(jobs))), 0.0
    for attempt in range(MAX_ATTEMPTS):
        blank = []
        starts = range(0, len(waiting), batch_size)
        for start in progress(starts, len(starts), f"generating {name}"):
            batch = waiting[start : start + batch_size]
            wanted = [
                Wanted(
                    character,
                    label_of[character],
                    np.random.default_rng((config.seed, ord(character), number, attempt)),
                )
                for character, number in (jobs[i] for i in batch)
            ]
            began = time.perf_counter()
            made = make(wanted)
            seconds += time.perf_counter() - began
            for i, image, writer in zip(batch, made.images, made.writers, strict=True):
                writers[i] = writer
                try:
                    images[i] = canonical(image, config.size_px)
                except InputError:
                    blank.append(i)
        waiting = blank
        if not blank:
            return images, writers, seconds
    names = " ".join(sorted({jobs[i][0] for i in waiting}))
    raise InputError(f"the generator makes blank images of {names}: train it for longer")
