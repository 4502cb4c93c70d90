"""Generation, as shared by all generators: which images to make, and how they are written.

An image is determined by the seed, its character and its number alone, so that making more images,
or only some of the characters, changes none of the others. A generator only defines how it makes a
batch of them (:func:`generate`) or, if it is conditioned on classes but not on writers, how noise
becomes images (:func:`generate_from_noise`). All write canonical images, ``manifest.json`` with
``writers.json``, ``facts.json`` with all writers that contributed to the images, and a sheet.

With ``generation.redraw`` a recogniser reads every image, and misread ones are drawn again.
"""

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus.audit import (
    FACTS,
    MANIFEST,
    check_new,
    held_out,
    redraw_arm,
    writers_seen,
)  # fmt: skip
from handwriting.corpus.corpus import Corpus, corpus_of_hands, open_corpus
from handwriting.errors import InputError, report_problems
from handwriting.images.augment import to_uint8
from handwriting.images.canonical import Uint8, canonical_drawn
from handwriting.images.manifest import UNKNOWN_WRITER, Entry, write_manifest
from handwriting.images.packed import Int64, PackedImages
from handwriting.images.reading import read_grey
from handwriting.images.sheets import save_png, sheet
from handwriting.networks.encoders import Classifier
from handwriting.parallel import ranks
from handwriting.parallel.progress import progress
from handwriting.parallel.ranks import main_only
from handwriting.runs.folder import run_folder
from handwriting.runs.inference import output
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import Weights, build, load_weights
from handwriting.sources.hands import Hand, hands_key, load_hands, write_licence
from handwriting.storage.json_files import write_json
from handwriting.storage.keys import file_key

SECTIONS = ("seed", "size_px", "data", "fonts", "generation")  # that images depend on
MAX_ATTEMPTS = 3  # per image, with other noise and style, while it is blank or misread
MAX_SHOWN = (20, 24)  # characters and images of each on a sheet


@dataclass(frozen=True)
class ImageRequest:
    """One image to make."""

    character: str
    label: int  # of the character among the study's
    rng: np.random.Generator  # the source of all its randomness


@dataclass(frozen=True)
class GeneratedBatch:
    """A batch of generated images."""

    images: Uint8  # (B, H, W) ink
    writers: Sequence[str]  # (B,) whose hand each imitates; UNKNOWN_WRITER for nobody's


@dataclass
class Generated:
    """What a process has generated.

    Attributes:
        writers: whose hand each image imitates, None for images of other processes.
        misread: the indices of the images that were misread in any attempt.
        num_still_misread: how many of these were misread in every attempt.
        seconds: spent on generating and reading.
    """

    writers: list[str | None]
    misread: set[int] = field(default_factory=set)
    num_still_misread: int = 0
    seconds: float = 0.0


GenerateFn = Callable[[list[ImageRequest]], GeneratedBatch]
# The function that makes batches, and its content and style images.
Prepared = tuple[GenerateFn, Sequence[PackedImages]]
ReadFn = Callable[[Uint8], Int64]  # canonical images (B, H, W) to their likeliest classes (B,)
Prepare = Callable[[Corpus, Sequence[str], Runtime], Prepared]  # for the characters to make
Network = TypeVar("Network", bound=nn.Module)


def given_hands(config: Config) -> list[Hand]:
    """The hands of ``generation.hands``; none if a study's writers are imitated.

    Raises:
        InputError: unusable files, or generation.redraw, which needs a study.
    """
    settings = config.generation
    if not settings.hands:
        return []
    if settings.redraw:
        raise InputError(
            "generation.redraw needs the writers of a study: leave out generation.redraw or "
            "generation.hands"
        )
    return load_hands(Path(settings.hands))


def source_of(config: Config, known: Sequence[str]) -> Corpus:
    """The corpus whose writers a generator imitates: the study's, or that of given hands.

    Args:
        known: the characters that the generator knows.
    """
    if hands := given_hands(config):
        key = hands_key(Path(config.generation.hands or ""))
        return corpus_of_hands(hands, key, known, config.size_px)
    return open_corpus(config)


def wanted_characters(config: Config, corpus: Corpus, weights: Weights) -> tuple[str, ...]:
    """The characters of ``generation.characters``, or all of the study.

    If writers may lack characters (``data.partial``), all of these that the generator can draw.

    Raises:
        InputError: the generator cannot draw a character, or was trained on other characters.
    """
    weights.require_characters(corpus.characters)
    named = config.generation.characters
    characters = class_list(named) if named else corpus.characters
    drawable = weights.facts["drawable"]
    if config.data.partial and not named:
        return tuple(character for character in characters if character in drawable)
    unknown = [c for c in characters if c not in drawable]
    report_problems(
        "generation.characters",
        [f"{c} (U+{ord(c):04X}): unknown to the generator" for c in unknown],
        f"{weights.path} can draw {len(drawable)} of its {len(corpus.characters)} characters.",
    )
    return characters


def noise(wanted: Sequence[ImageRequest], *shape: int) -> Tensor:
    """Standard normal values (B, *shape) float32, each image's from its own generator."""
    return torch.from_numpy(np.stack([w.rng.standard_normal(shape, np.float32) for w in wanted]))


def generate(
    config: Config, name: str, weights: Weights, prepare: Prepare, **inputs: object
) -> Path:
    """Make the images of a study's generator: see :func:`write_images`.

    Process r of P makes batches r, r + P, r + 2P, of the same images as one process would.

    Args:
        name: of the generator, and of its images' folder where ``generation.output`` names none.
        prepare: called before the first batch; returns the function that makes batches.
        inputs: what the images depend on besides weights, corpus and generation settings.

    Returns:
        The folder of the images, the manifest and a sheet with a row per character.

    Raises:
        InputError: characters that the generator cannot draw; and those of :func:`write_images` and
            :func:`redrawing_recogniser`.
    """
    settings = config.generation
    corpus = source_of(config, weights.facts["characters"])
    recogniser = redrawing_recogniser(config, corpus)
    inputs = {"generator": weights.path, "corpus": corpus.key, **inputs}
    if recogniser:
        inputs["redraw"] = recogniser.path
    run = Run(config, settings.output or f"generated/{name}", SECTIONS, inputs)
    if run.is_done:
        return run.folder
    characters = wanted_characters(config, corpus, weights)
    if recogniser:
        problems = [
            f"{c}: unknown to the recogniser" for c in characters if c not in corpus.characters
        ]
        report_problems(
            "generation.redraw", problems, "Leave out generation.redraw, or these characters."
        )
    runtime = Runtime(config.runtime)
    make, given = prepare(corpus, characters, runtime)
    behind = [weights, *([recogniser] if recogniser else [])]
    facts: dict[str, object] = {"writers_seen": writers_seen(*behind, *given)}
    read = None
    if recogniser:
        facts["redrawn_by"] = file_key(recogniser.path)
        read = reading(recogniser, runtime)
    known = weights.facts["characters"]
    folder = write_images(run, config, characters, known, make, facts, read)
    if corpus.hands:
        write_licence(folder / "LICENSE.txt", corpus.hands)
    return folder


def write_images(
    run: Run, config: Config, characters: Sequence[str], known: Sequence[str], make: GenerateFn,
    facts: Mapping[str, object], read: ReadFn | None = None,
) -> Path:  # fmt: skip
    """Make ``generation.num_per_character`` images of each character, and write them.

    Args:
        known: the characters, in the order of the labels.
        facts: for ``facts.json``.
        read: the recogniser that must read the images.

    Raises:
        InputError: images are blank after ``MAX_ATTEMPTS``; their characters are listed.
    """
    run.begin()
    label_of = {character: i for i, character in enumerate(known)}
    parts = ranks.all_gather_object(
        lambda: _make_local(run.folder, config, characters, label_of, make, read)
    )
    whose = zip(*(part.writers for part in parts), strict=True)
    writers = [next(writer for writer in each if writer is not None) for each in whose]
    seconds = max(part.seconds for part in parts)
    metrics = {"num_images": len(writers), "images_per_s": round(len(writers) / seconds, 1)}
    if read:
        metrics["num_misread"] = sum(len(part.misread) for part in parts)
        metrics["num_still_misread"] = sum(part.num_still_misread for part in parts)
    _write_manifest(run.folder, characters, writers, facts)
    run.sample("sheet", _sheet(run.folder, characters, config.generation.num_per_character))
    return run.finish(metrics, [run.folder / name for name in (MANIFEST, "writers.json", FACTS)])


def redrawing_recogniser(config: Config, corpus: Corpus) -> Weights | None:
    """The recogniser of ``generation.redraw``, None if it is unset.

    Raises:
        InputError: it is missing, of other characters or another size, or has seen validation or
            test writers.
    """
    named = config.generation.redraw
    if named is None:
        return None
    arm = redraw_arm(config)
    home = run_folder(config) / "classifier" / arm / f"seed_{config.seed}" if arm else named
    weights = load_weights(home, "classifier", config.size_px)
    weights.require_characters(corpus.characters)
    check_new(weights.path, weights.facts["writers_seen"], held_out(corpus))
    return weights


def reading(recogniser: Weights, runtime: Runtime) -> ReadFn:
    """The function by which a recogniser reads images."""
    network = runtime.freeze(build(Classifier, recogniser))
    return lambda images: output(network, images, runtime).argmax(dim=1).numpy()


def generate_from_noise(
    config: Config, name: str, network_class: type[Network], num_values: str,
    draw: Callable[[Network, Tensor, Tensor], Tensor],
) -> Path:  # fmt: skip
    """Make images with a network that is conditioned on classes only; see :func:`generate`.

    Args:
        name: of the generator: its section, run folder, stage and kind of weights.
        num_values: the argument of ``network_class`` that says how many values Z of noise it takes.
        draw: noise (B, Z) and classes (B,) to images (B, 1, H, W) in [-1, 1].

    Raises:
        InputError: an unconditional network, or hands are given; and those of :func:`generate`.
    """
    if config.generation.hands:
        raise InputError(
            f"generation.hands: {name} cannot imitate hands; leave generation.hands out"
        )
    weights = load_weights(config.gen_weight or run_folder(config) / name, name, config.size_px)
    if not weights.arguments["num_classes"]:
        raise InputError(
            f"{weights.path} is unconditional, so its images would have no labels: train with "
            f"{name}.class_conditional=true"
        )

    def prepare(_: Corpus, __: Sequence[str], runtime: Runtime) -> Prepared:
        network = runtime.freeze(build(network_class, weights))

        @torch.inference_mode()
        def make(wanted: list[ImageRequest]) -> GeneratedBatch:
            labels = torch.tensor([one.label for one in wanted], device=runtime.device)
            z = noise(wanted, weights.arguments[num_values]).to(runtime.device)
            with runtime.autocast():
                images = draw(network, z, labels)
            return GeneratedBatch(to_uint8(images).cpu().numpy(), [UNKNOWN_WRITER] * len(wanted))

        return make, ()

    return generate(config, name, weights, prepare)


@main_only
def _write_manifest(
    folder: Path, characters: Sequence[str], writers: Sequence[str], facts: Mapping[str, object]
) -> None:
    jobs = itertools.product(characters, range(len(writers) // len(characters)))
    entries = (
        Entry(character, str(_path(folder, character, number)), writer)
        for (character, number), writer in zip(jobs, writers, strict=True)
    )
    write_json(folder / FACTS, facts)
    write_manifest(folder / MANIFEST, entries)


def _sheet(folder: Path, characters: Sequence[str], count: int) -> Uint8:
    """The first images of the first characters, a row for each."""
    rows, columns = MAX_SHOWN
    numbers = range(min(count, columns))
    return sheet([
        np.stack([255 - read_grey(_path(folder, character, number)) for number in numbers])
        for character in characters[:rows]
    ])  # fmt: skip


def _path(folder: Path, character: str, number: int) -> Path:
    return folder / f"U+{ord(character):04X}" / f"{number:05d}.png"


def _not_blank(made: Mapping[int, Uint8], size_px: int) -> dict[int, Uint8]:
    """The canonical form of those numbered images that are not blank."""
    found = {}
    for number, image in made.items():
        with contextlib.suppress(InputError):
            found[number] = canonical_drawn(image, size_px)
    return found


def _make_local(
    folder: Path, config: Config, characters: Sequence[str], label_of: Mapping[str, int],
    make: GenerateFn, read: ReadFn | None,
) -> Generated:  # fmt: skip
    """Make this process's batches, each written before the next is made.

    Args:
        read: the recogniser that must read the images; the last attempt is kept in any case.
    """
    # The images of an earlier run are overwritten from here on.
    (folder / MANIFEST).unlink(missing_ok=True)
    batch_size, count = config.generation.batch_size, config.generation.num_per_character
    done = Generated([None] * (len(characters) * count))
    batch_of = np.arange(len(done.writers)) // batch_size
    waiting = np.flatnonzero(batch_of % ranks.world_size() == ranks.rank()).tolist()
    for attempt in range(MAX_ATTEMPTS):
        refused: list[int] = []
        starts = range(0, len(waiting), batch_size)
        for start in progress(starts, len(starts), f"generating {folder.name}"):
            batch = waiting[start : start + batch_size]
            wanted = {}
            for i in batch:
                character = characters[i // count]
                rng = np.random.default_rng((config.seed, ord(character), i % count, attempt))
                wanted[i] = ImageRequest(character, label_of[character], rng)
            began = time.perf_counter()
            made = make([*wanted.values()])
            done.seconds += time.perf_counter() - began
            inks = _not_blank(dict(zip(batch, made.images, strict=True)), config.size_px)
            for i, writer in zip(batch, made.writers, strict=True):
                if i in inks:
                    done.writers[i] = sys.intern(writer)  # one string for millions of images
                    save_png(_path(folder, wanted[i].character, i % count), inks[i], flush=False)
            misread: set[int] = set()
            if read and inks:
                began = time.perf_counter()
                labels = read(np.stack([*inks.values()])).tolist()
                done.seconds += time.perf_counter() - began
                misread = {i for i, c in zip(inks, labels, strict=True) if c != wanted[i].label}
            done.misread |= misread
            refused += [i for i in batch if i not in inks or i in misread]
        waiting = refused
    if blank := [i for i in waiting if done.writers[i] is None]:
        names = " ".join(sorted({characters[i // count] for i in blank}))
        raise InputError(f"the generator makes blank images of {names}: train it for more steps")
    done.num_still_misread = len(waiting)
    return done
