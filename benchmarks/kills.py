"""Can a run be killed at any moment without losing anything? Linux and macOS only.

    python -m benchmarks.kills --kills 5
    python -m benchmarks.kills --kills 100 --out kills.json         # the whole line
    python -m benchmarks.kills --kills 20 --stages dcgan vae        # and what they need

Each stage runs to its end once, a few hundred tiny steps of ``experiment=smoke``. Then it is
started elsewhere, killed (SIGKILL) at a random moment and started again, until it ends; what it
wrote must be the same, byte for byte, but for durations and for keys made of files' times. It is
removed and made again until it has been killed often enough. A table counts, for each stage: kills;
resumes, the starts that went on from a checkpoint; ends; files that differ, are missing or are too
many; half files, which cannot be read or have a temporary name. Exits with 1 if there is a
difference, a half file or an error. Stages are forks of one process that has imported everything.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import pipeline
import prepare_simulated
from handwriting.config import Config, compose
from training_cdiffusion_model import generate_images as cdiffusion_images, train as cdiffusion
from training_character_classification import train as classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_dcgan import generate_images as dcgan_images, train as dcgan
from training_style_transfer import (
    generate_images as style_transfer_images,
    train as style_transfer,
)
from training_vae import generate_images as vae_images, train as vae

NUM_STEPS = 300
STEPS = [
    f"{stage}.num_steps={NUM_STEPS}"
    for stage in (
        "image_encoder",
        "text_encoder",
        "clip",
        "dcgan",
        "vae",
        "cdiffusion",
        "classifier",
    )
]
OVERRIDES = [
    "experiment=smoke", "name=study", "runtime.num_threads=1", "runtime.checkpoint_every_s=0.2",
    *STEPS,
    *(f"style_transfer.num_steps.{step}=100" for step in style_transfer.STEP_ORDER),
    *(f"{stage}.sample_every=50" for stage in ("style_transfer", "dcgan", "vae", "cdiffusion")),
    "generation.num_per_character=100", f"evaluation.judge_steps={NUM_STEPS}",
]  # fmt: skip
OF_THE_MOMENT = {"commit", "duration_s", "images_per_s", "inputs", "key", "training_s"}
TEMPORARY = ("unfinished", "checkpoint", "lock")


@dataclass(frozen=True)
class Stage:
    """What is killed.

    Attributes:
        main: of the stage.
        folder: that it writes into, in the runs.
        needs: stages that must have run before.
        overrides: of the configuration, beside ``OVERRIDES``.
        fresh_cache: whether the cache is removed too when the stage is made again.
    """

    main: Callable[[Config], Path]
    folder: str
    needs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    fresh_cache: bool = False


STAGES = {
    "prepare_simulated": Stage(
        prepare_simulated.main, "study/simulated", (), ("data.num_writers=100",), True
    ),
    "image_encoder": Stage(train_image_encoder.main, "study/image_encoder"),
    "text_encoder": Stage(train_text_encoder.main, "study/text_encoder"),
    "clip": Stage(train_clip.main, "study/clip", ("image_encoder", "text_encoder")),
    "style_transfer": Stage(style_transfer.main, "study/style_transfer", ("clip",)),
    "style_transfer_images": Stage(
        style_transfer_images.main, "study/generated/adain_clip", ("style_transfer",)
    ),
    "dcgan": Stage(dcgan.main, "study/dcgan"),
    "dcgan_images": Stage(dcgan_images.main, "study/generated/dcgan", ("dcgan",)),
    "vae": Stage(vae.main, "study/vae"),
    "vae_images": Stage(vae_images.main, "study/generated/vae", ("vae",)),
    "cdiffusion": Stage(cdiffusion.main, "study/cdiffusion"),
    "cdiffusion_images": Stage(
        cdiffusion_images.main, "study/generated/cdiffusion", ("cdiffusion",)
    ),
    "classifier": Stage(classifier.main, "study/classifier"),
    "pipeline": Stage(
        pipeline.main, "whole", (),
        ("name=whole", "pipeline.generators=[vae]", "pipeline.augmentations=[true]"), True,
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """What the kills of a stage showed."""

    kills: int = 0
    resumes: int = 0
    ends: int = 0
    whole_s: float = 0.0
    differences: list[str] = field(default_factory=list)
    half_files: list[str] = field(default_factory=list)
    error: str = ""


def attempt(stage: Stage, side: Path, kill_after_s: float | None) -> int:
    """Start a stage; kill it after so many seconds. Returns its exit code, negative if killed."""
    process = multiprocessing.get_context("fork").Process(target=work, args=(stage, side))
    process.start()
    process.join(kill_after_s)
    process.kill()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def work(stage: Stage, side: Path) -> None:
    """The stage's own process; what it prints goes to a log."""
    with (side / "log.txt").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    places = [f"runs_dir={side / 'runs'}", f"cache_dir={side / 'cache'}"]
    try:
        stage.main(compose([*OVERRIDES, *places, *stage.overrides]))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def kill_stage(stage: Stage, whole: Path, side: Path, kills: int, rng: random.Random) -> Outcome:
    """Kill a stage so many times, and compare what it writes with a run that nobody killed."""
    outcome = Outcome()
    started = time.perf_counter()
    if attempt(stage, whole, None) != 0:
        outcome.error = last_line(whole)
        return outcome
    outcome.whole_s = round(time.perf_counter() - started, 2)
    while outcome.kills < kills or not outcome.ends:
        shutil.rmtree(side / "runs" / stage.folder, ignore_errors=True)
        if stage.fresh_cache:
            shutil.rmtree(side / "cache", ignore_errors=True)
        (side / "log.txt").unlink(missing_ok=True)
        while True:
            enough = outcome.kills >= kills
            code = attempt(stage, side, None if enough else rng.uniform(0, outcome.whole_s))
            if code != -signal.SIGKILL:
                break
            outcome.kills += 1
        if code != 0:
            outcome.error = last_line(side)
            return outcome
        outcome.ends += 1
        outcome.resumes += (side / "log.txt").read_text().count("resumed at step")
        outcome.differences += differences(whole, side, f"runs/{stage.folder}")
        outcome.half_files += half_files(side)
    return outcome


def last_line(side: Path) -> str:
    return (side / "log.txt").read_text().strip().rpartition("\n")[2]


def files_in(folder: Path) -> dict[str, Path]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def differences(whole: Path, side: Path, folder: str) -> list[str]:
    """The files that a folder has on one side alone or whose content differs."""
    ours, theirs = files_in(whole / folder), files_in(side / folder)
    both = ours.keys() & theirs.keys()
    unequal = {name for name in both if content(ours[name], whole) != content(theirs[name], side)}
    return sorted((ours.keys() ^ theirs.keys()) | unequal)


def content(path: Path, side: Path) -> Any:
    """What must be the same in every run; a report tells durations, so it must only be there."""
    if path.suffix == ".json":
        return lasting(json.loads(path.read_text(encoding="utf-8").replace(str(side), "")))
    return None if path.suffix == ".html" else path.read_bytes()


def lasting(value: Any) -> Any:
    """A JSON value without what depends on the clock."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in OF_THE_MOMENT}
    return [lasting(item) for item in value] if isinstance(value, list) else value


def half_files(side: Path) -> list[str]:
    """Files with temporary names, and those that cannot be read to their end."""
    return [name for name, path in files_in(side).items() if is_half(path)]


def is_half(path: Path) -> bool:
    if any(word in path.name for word in TEMPORARY):
        return True
    try:
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".npy":
            np.load(path)
        elif path.suffix == ".pt":
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is not None
    except Exception:  # whatever broken bytes lead to
        return True
    return False


def in_order(names: list[str]) -> Iterator[str]:
    """The stages with all that they need, in the order in which they can run."""
    wanted = set(names)
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].needs)
    return (name for name in STAGES if name in wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=5, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--out", type=Path, help="JSON of all counts")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    found: dict[str, Outcome] = {}
    print(f"{'stage':22} {'whole s':>8} kills resumes ends differences half files")
    with tempfile.TemporaryDirectory() as name:
        sides = Path(name, "whole"), Path(name, "killed")
        for side in sides:
            side.mkdir()
        for stage in in_order(arguments.stages):
            found[stage] = o = kill_stage(STAGES[stage], *sides, arguments.kills, rng)
            counts = f"{o.kills:5} {o.resumes:7} {o.ends:4} {len(o.differences):11}"
            halves = f"{len(o.half_files):10} {o.error}"
            print(f"{stage:22} {o.whole_s:8.1f} {counts} {halves}", flush=True)
            for path in [*o.differences, *o.half_files][:5]:
                print(f"    {path}", flush=True)
    if arguments.out:
        counts_of = {stage: vars(outcome) for stage, outcome in found.items()}
        text = json.dumps({"seed": arguments.seed, "stages": counts_of}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(any(o.differences or o.half_files or o.error for o in found.values()))


if __name__ == "__main__":
    main()
