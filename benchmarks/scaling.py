"""How time and memory grow with classes and images, on one core. Linux only.

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.scaling --out scaling.json
    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.scaling --works draw train --fewer

Every point is measured in its own process, forked from one that has imported everything, after
another has filled the caches (glyphs of fonts):

    pack      a manifest of PNG files, checked and packed
    open      a prepared corpus, opened and joined with its fonts
    draw      100 batches of 256 of its images
    train     a recogniser: 8 steps of 128, then 1,000 validation images
    generate  images in the style of its writers, by an untrained generator of the default sizes:
              drawn, brought to canonical form, written as PNG files

Memory is the peak anonymous memory (``RssAnon``, sampled every 10 ms) and the peak resident memory
(``VmHWM``), which includes pages of mapped files that the system can reclaim. CPU time and
anonymous memory are fitted by a + b images + c classes with non-negative coefficients and least
squares of relative errors. Files are in a temporary folder, at most 3 GB.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls
from torch.utils.flop_counter import FlopCounterMode

from handwriting.characters.classes import class_list
from handwriting.config import Config
from handwriting.corpus.bank import ImageBank
from handwriting.corpus.corpus import open_corpus
from handwriting.images.canonical import Uint8, canonical
from handwriting.images.manifest import read_manifest
from handwriting.images.packed import UnpackedImages, concatenate, pack_manifest, save_packed
from handwriting.images.sheets import save_png
from handwriting.runs.weights import save_weights
from handwriting.script import compose
from handwriting.sources.simulated_writers import simulate
from handwriting.storage.json_files import write_json
from training_character_classification import train
from training_style_transfer import generate_images
from training_style_transfer.model import Generator

SIZE_PX = 64
CLASSES = (100, 1000, 3057)
IMAGES = (10_000, 100_000, 600_000)
NUM_WRITERS = 200
CROSS = [(100, n) for n in IMAGES] + [(k, 100_000) for k in CLASSES[1:]]
POINTS = {  # work: (classes, images)
    "pack": [(100, n) for n in IMAGES],
    "open": CROSS,
    "draw": CROSS,
    "train": CROSS,
    "generate": [(100, 500), (100, 2000), (1000, 2000), (3057, 3057)],
}
FROM = 100_000  # images from which generated ones take their styles


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        seconds: of the work.
        cpu_seconds: of a processor; a core that others use too makes them no more.
        start_mb: anonymous memory before it, with everything imported.
        anonymous_mb, resident_mb: the most of it.
    """

    work: str
    classes: int
    images: int
    seconds: float
    cpu_seconds: float
    start_mb: float
    anonymous_mb: float
    resident_mb: float


# Memory -------------------------------------------------------------------------------------------


def status_mb(name: str) -> float:
    """A value of /proc/self/status, which is in kB, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def watched() -> Iterator[list[float]]:
    """The anonymous memory of this process in MB, sampled until the end."""
    samples, done = [status_mb("RssAnon")], threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            samples.append(status_mb("RssAnon"))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.append(status_mb("RssAnon"))


# Inputs -------------------------------------------------------------------------------------------


def drawn() -> Uint8:
    """A thousand images, which are repeated."""
    return np.concatenate([*simulate(class_list("kanji_300")[:100], 10, 1, 0, SIZE_PX).images])


def parts(images: Uint8, count: int) -> Iterator[Uint8]:
    for start in range(0, count, len(images)):
        yield images[: count - start]


def study(folder: Path, classes: int, images: int, *more: str) -> Config:
    """A study whose corpus is made on first use."""
    listed = folder / f"{classes}.txt"
    listed.write_text("\n".join(class_list("all")[:classes]), encoding="utf-8")
    output = folder / f"corpus_{classes}_{images}"
    config = compose(
        ["data=etl_paper", f"data.characters={listed}", f"data.etl.output={output}",
         f"size_px={SIZE_PX}", f"cache_dir={folder}/cache", f"runs_dir={folder}/runs",
         f"name={classes}_{images}", "runtime.num_threads=1", *more]
    )  # fmt: skip
    if not (output / "prepared.json").is_file():
        make_corpus(output, config, classes, images)
    return config


def make_corpus(output: Path, config: Config, classes: int, images: int) -> None:
    """Prepared splits; those with the same number of images share one file of images."""
    some = drawn()
    for split, count in (("train", images), ("validation", 1000), ("test", 1000)):
        numbers = np.arange(count)
        names = tuple(f"{split} {number}" for number in range(NUM_WRITERS))
        made = UnpackedImages(
            parts(some, count), numbers % classes, numbers // classes % NUM_WRITERS,
            class_list("all")[:classes], names, SIZE_PX,
        )  # fmt: skip
        twins = [*output.parent.glob(f"corpus_*_{images}/{split}/images.npy")]
        save_packed(output / split, made._replace(images=()) if twins else made)
        if twins:
            (output / split / "images.npy").unlink()
            os.link(twins[0], output / split / "images.npy")
    write_json(output / "prepared.json", {"settings": config.data.settings(SIZE_PX)})


def many_files(folder: Path, classes: int, images: int) -> Path:
    """A manifest of many links to few PNG files, which are as much work to read as many files."""
    home = folder / f"files_{images}"
    if not (home / "manifest.json").is_file():
        some, listing = drawn(), {}
        for i in range(len(some)):
            save_png(home / f"{i}.png", some[i], flush=False)
        for i, character in enumerate(class_list("all")[:classes]):
            (home / str(i)).mkdir()
            listing[character] = [f"{i}/writer_{j}.png" for j in range(images // classes)]
            for j, file in enumerate(listing[character]):
                os.link(home / f"{(i * len(listing[character]) + j) % len(some)}.png", home / file)
        write_json(home / "manifest.json", listing)
    return home / "manifest.json"


# Works: each prepares its input and returns the function that is measured -------------------------


def pack(folder: Path, classes: int, images: int) -> Callable[[], object]:
    path, cache = many_files(folder, classes, images), folder / f"packed_{time.time_ns()}"
    return lambda: pack_manifest(read_manifest(path), SIZE_PX, cache)


def open_(folder: Path, classes: int, images: int) -> Callable[[], object]:
    config = study(folder, classes, images)
    return lambda: bank_of(config)


def bank_of(config: Config) -> ImageBank:
    return ImageBank(concatenate([*open_corpus(config).sources.values()]), torch.device("cpu"))


def draw(folder: Path, classes: int, images: int) -> Callable[[], object]:
    bank, rng = bank_of(study(folder, classes, images)), torch.Generator().manual_seed(0)
    return lambda: [bank.take(bank.draw(256, rng)) for _ in range(100)]


def train_(folder: Path, classes: int, images: int) -> Callable[[], object]:
    name = f"classifier.name=arm_{time.time_ns()}"
    config = study(folder, classes, images, "classifier.num_steps=8", name)
    return lambda: train.main(config)


def generate(folder: Path, classes: int, images: int) -> Callable[[], object]:
    config = study(
        folder, classes, FROM, "model_mode=adain", f"gen_weight={folder}/{classes}.safetensors",
        f"generation.num_per_character={images // classes}",
        f"generation.output={folder}/generated_{time.time_ns()}",
    )  # fmt: skip
    characters, network = class_list("all")[:classes], untrained(config, classes)
    facts = {
        "characters": characters, "drawable": characters, "size_px": SIZE_PX, "writers_seen": [],
    }  # fmt: skip
    save_weights(
        folder / f"{classes}.safetensors",
        "generator",
        network.arguments,
        facts,
        network.state_dict(),
    )  # fmt: skip
    return lambda: generate_images.main(config)


def untrained(config: Config, classes: int) -> Generator:
    torch.manual_seed(0)
    sizes = config.style_transfer
    return Generator(
        "adain", classes, config.clip.embedding_dim, sizes.dim, sizes.dim_mults, sizes.num_blocks,
        sizes.patch_px, sizes.full_attention, is_inking=False,
    )  # fmt: skip


WORKS: dict[str, Callable[[Path, int, int], Callable[[], object]]] = {
    "pack": pack, "open": open_, "draw": draw, "train": train_, "generate": generate,
}  # fmt: skip


# Measuring ----------------------------------------------------------------------------------------


def measure(work: str, folder: Path, classes: int, images: int) -> Point:
    """Measure one point in this process."""
    torch.set_num_threads(1)
    measured = WORKS[work](folder, classes, images)
    with watched() as samples:
        started, cpu_started = time.perf_counter(), time.process_time()
        measured()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    numbers = (seconds, cpu_seconds, samples[0], max(samples), status_mb("VmHWM"))
    return Point(work, classes, images, *(round(number, 2) for number in numbers))


def get_ready(work: str, folder: Path, classes: int, images: int) -> None:
    """Make the files and fill the caches for the process that is measured."""
    WORKS[work](folder, classes, images)
    if work != "pack":
        open_corpus(study(folder, classes, FROM if work == "generate" else images))


def fitted(points: list[Point], value: str) -> tuple[list[float], float]:
    """a, b and c of a + b images + c classes, and the largest relative error of a point."""
    y = np.array([getattr(point, value) for point in points])
    columns = np.array([[1.0, point.images, point.classes] for point in points])
    if len({point.classes for point in points}) == 1:  # c is not identifiable
        columns[:, 2] = 0
    coefficients, _ = nnls(columns / y[:, None], np.ones(len(y)))
    return coefficients.tolist(), float(np.abs(columns @ coefficients / y - 1).max())


def per_image(folder: Path) -> dict[str, float]:
    """Per image: multiplications and additions of the generator, CPU seconds to write it."""
    network = untrained(compose([f"size_px={SIZE_PX}"]), 100).eval()
    images, labels = torch.zeros(1, 1, SIZE_PX, SIZE_PX), torch.zeros(1, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(images, network.style(images), labels)
    some = drawn()
    started = time.process_time()
    inks = [canonical(image, SIZE_PX) for image in some]
    between = time.process_time()
    for i, ink in enumerate(inks):
        save_png(folder / "written" / f"{i}.png", ink, flush=False)
    ended = time.process_time()
    return {
        "generator_flops": counter.get_total_flops(),
        "canonical_s": (between - started) / len(some),
        "png_s": (ended - between) / len(some),
    }


HEADER = " classes   images  seconds  CPU s  before MB  anonymous MB  resident MB"


def row(point: Point) -> str:
    """A line of the table."""
    return (
        f"{point.classes:8,} {point.images:8,} {point.seconds:8.2f} {point.cpu_seconds:6.2f} "
        f"{point.start_mb:10.0f} {point.anonymous_mb:13.0f} {point.resident_mb:12.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=[*WORKS])
    parser.add_argument(
        "--fewer", action="store_true", help="leave out the points with most images"
    )
    parser.add_argument("--folder", type=Path, help="for the files; default: a temporary one")
    parser.add_argument("--out", type=Path, help="JSON of all points and fits")
    arguments = parser.parse_args()
    processes = multiprocessing.get_context("fork")
    results: dict[str, Any] = {"points": [], "fits": {}}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for work in arguments.works:
            points = []
            print(f"{work}\n{HEADER}")
            for classes, images in POINTS[work]:
                if arguments.fewer and images == IMAGES[-1]:
                    continue
                for function in (get_ready, measure):
                    with processes.Pool(1) as pool:
                        point = pool.apply(function, (work, Path(name), classes, images))
                points.append(point)
                print(row(point), flush=True)
            results["points"] += map(asdict, points)
            for value in ("cpu_seconds", "anonymous_mb"):
                (a, b, c), error = fitted(points, value)
                results["fits"][f"{work} {value}"] = {"a": a, "b": b, "c": c, "error": error}
                print(f"{value} = {a:.3g} + {b:.3g} images + {c:.3g} classes, within {error:.0%}")
        results["per_image"] = per_image(Path(name))
        print(results["per_image"])
    if arguments.out:
        write_json(arguments.out, results)


if __name__ == "__main__":
    main()
