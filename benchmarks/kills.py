"""Can a run be killed at any moment without losing anything? Linux and macOS only.

    python -m benchmarks.kills --kills 5
    python -m benchmarks.kills --kills 8 --out kills.json           # of each stage
    python -m benchmarks.kills --kills 20 --stages dcgan vae        # and what they need

Each stage runs to its end once, 120 tiny steps of ``experiment=smoke``. Then it is
started elsewhere, killed (SIGKILL) and started again until it ends; what it wrote must be the same,
byte for byte, but for durations and for keys made of files' times. It is removed and made again
until it has been killed often enough. Three kills of four in a stage that trains come some time
after it has written a checkpoint, the fourth at any time; elsewhere all come at any time.

After every kill each file with a final name is read; after every end no other name may be there.
A table counts, for each stage: kills; those with a checkpoint to go on from; those that left a file
half written under a temporary name (writing); resumes, the starts that went on from a checkpoint (a
start may be killed again before it does); ends; files that differ, are missing or are too many;
half files. Exits with 1 if there is a difference, a half file or an error. Stages are forks of one
process that has imported everything; when a stage has workers only their parent is killed.
"""

import argparse
import importlib.util
import json
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
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch._dynamo  # noqa: F401  the first optimizer imports it: here once for all forks
from PIL import Image

import evidence
import pipeline
import prepare_etl
import prepare_simulated
from handwriting.config import Config
from handwriting.etl import SETS
from handwriting.script import compose
from handwriting.storage.locks import LOCK_FILE
from training_cdiffusion_model import generate_images as cdiffusion_images, train as cdiffusion
from training_character_classification import judge, test, train as classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_dcgan import generate_images as dcgan_images, train as dcgan
from training_style_transfer import (
    generate_images as style_transfer_images,
    train as style_transfer,
)
from training_style_transfer.feed import STEPS
from training_vae import generate_images as vae_images, train as vae

NUM_STEPS = 120
OVERRIDES = [
    "experiment=smoke", "name=study", "runtime.num_threads=1", "runtime.checkpoint_every_s=0.1",
    *(
        f"{stage}.num_steps={NUM_STEPS}"
        for stage in ("image_encoder", "text_encoder", "clip", "dcgan", "vae", "cdiffusion",
                      "classifier")
    ),
    *(f"style_transfer.num_steps.{step}=40" for step in STEPS),
    *(f"{stage}.sample_every=40" for stage in ("style_transfer", "dcgan", "vae", "cdiffusion")),
    "generation.num_per_character=100", f"evaluation.judge_steps={NUM_STEPS}",
]  # fmt: skip
FEWER = ["vae.num_steps=40", "classifier.num_steps=40", "evaluation.judge_steps=40"]
WHOLE_LINE = ["pipeline.generators=[vae]", "pipeline.augmentations=[true]", *FEWER]
GRID = [
    "evidence.arms=[real,real+fonts+classical,real+fonts+vae+classical]", "evidence.seeds=[0]",
    "evidence.people=[1]", "evidence.recipe_arm=real+fonts+vae+classical",
    "evidence.recipe_people=[]", *FEWER,
]  # fmt: skip
LONGEST_IN_LOOP_S = 1.0  # between a checkpoint and a kill
OF_THE_MOMENT = {
    "commit", "duration_s", "images_per_s", "inputs", "key", "records", "training_s"
}  # fmt: skip
LAST_BYTES = {"png": b"IEND\xaeB`\x82", "gif": b";"}
TEMPORARY = ("unfinished", "checkpoint", "lock")


@dataclass(frozen=True)
class Stage:
    """What is killed.

    Attributes:
        main: of the stage.
        folder: that it writes into, in the runs.
        needs: stages that must have run before.
        overrides: of the configuration, beside ``base``.
        fresh_cache: whether the cache is removed too when the stage is made again.
        trains: whether it writes checkpoints.
        base: what all stages have in common.
    """

    main: Callable[[Config], Path]
    folder: str
    needs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    fresh_cache: bool = False
    trains: bool = True
    base: tuple[str, ...] = tuple(OVERRIDES)


STAGES = {
    "prepare_simulated": Stage(
        prepare_simulated.main, "study/simulated", (), ("data.num_writers=100",), True, False
    ),
    "prepare_etl": Stage(
        prepare_etl.main, "etl", (),
        ("data=etl_paper", "data.characters=あい亜哀アイ", "data.etl.png=true",
         "data.etl.folder=${runs_dir}/../../ETL", "data.etl.output=${runs_dir}/etl"), True, False,
    ),
    "image_encoder": Stage(train_image_encoder.main, "study/image_encoder"),
    "text_encoder": Stage(train_text_encoder.main, "study/text_encoder"),
    "clip": Stage(train_clip.main, "study/clip", ("image_encoder", "text_encoder")),
    "style_transfer": Stage(style_transfer.main, "study/style_transfer", ("clip",)),
    "style_transfer_images": Stage(
        style_transfer_images.main, "study/generated/adain_clip", ("style_transfer",), trains=False
    ),
    "dcgan": Stage(dcgan.main, "study/dcgan"),
    "dcgan_images": Stage(dcgan_images.main, "study/generated/dcgan", ("dcgan",), trains=False),
    "vae": Stage(vae.main, "study/vae"),
    "vae_images": Stage(vae_images.main, "study/generated/vae", ("vae",), trains=False),
    "cdiffusion": Stage(cdiffusion.main, "study/cdiffusion"),
    "cdiffusion_images": Stage(
        cdiffusion_images.main, "study/generated/cdiffusion", ("cdiffusion",), trains=False
    ),
    "classifier": Stage(classifier.main, "study/classifier/real+classical"),
    "judge_classifier": Stage(
        classifier.main, "study/classifier/judge", (),
        ("classifier.name=judge", "classifier.splits=[validation,test]",
         "classifier.use_fonts=true"),
    ),
    "judge": Stage(judge.main, "study/judge", ("judge_classifier", "vae_images"), trains=False),
    "test": Stage(test.main, "study/test", ("classifier",), trains=False),
    "pipeline": Stage(pipeline.main, "whole", (), ("name=whole", *WHOLE_LINE), True),
    "pipeline, 2 workers": Stage(
        pipeline.main, "workers", (), ("name=workers", *WHOLE_LINE, "pipeline.num_workers=2"), True
    ),
    "evidence": Stage(evidence.main, "grid", (), ("name=grid", *GRID), True),
}  # fmt: skip


@dataclass
class Outcome:
    """What the kills of a stage showed."""

    kills: int = 0
    with_checkpoint: int = 0
    writing: int = 0
    resumes: int = 0
    ends: int = 0
    differences: list[str] = field(default_factory=list)
    half_files: list[str] = field(default_factory=list)
    whole_s: float = 0.0
    error: str = ""


def attempt(stage: Stage, side: Path, kill_after_s: float | None, in_loop: bool = False) -> int:
    """Start a stage; kill it after so many seconds. Returns its exit code, negative if killed.

    Args:
        stage: to start.
        side: its folder.
        kill_after_s: None: it may end.
        in_loop: the seconds count from when it has written a checkpoint.
    """
    began = time.time()
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        work(stage, side)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if in_loop and any(newer(path, began) for path in checkpoints(stage, side)):
            in_loop, began = False, time.time()
        if kill_after_s is not None and not in_loop and time.time() - began > kill_after_s:
            os.kill(process, signal.SIGKILL)
            kill_after_s = None
        time.sleep(0.01)


def checkpoints(stage: Stage, side: Path) -> list[Path]:
    return list((side / "runs" / stage.folder).rglob("checkpoint.pt*"))


def newer(path: Path, than: float) -> bool:
    return path.exists() and path.stat().st_mtime > than


def work(stage: Stage, side: Path) -> None:
    """The stage's own process; what it prints goes to a log."""
    code = 1
    try:
        sys.stdout = sys.stderr = log = (side / "log.txt").open("a")
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        places = [f"runs_dir={side / 'runs'}", f"cache_dir={side / 'cache'}"]
        stage.main(compose([*stage.base, *places, *stage.overrides]))
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


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
            in_loop = stage.trains and outcome.kills % 4 != 3
            after_s = rng.uniform(0, LONGEST_IN_LOOP_S if in_loop else outcome.whole_s)
            enough = outcome.kills >= kills
            code = attempt(stage, side, None if enough else after_s, in_loop and not enough)
            if code != -signal.SIGKILL:
                break
            outcome.kills += 1
            outcome.with_checkpoint += bool(checkpoints(stage, side))
            outcome.writing += any("unfinished-" in name for name in files_in(side))
            outcome.half_files += half_files(side, ended=False)
        if code != 0:
            outcome.error = last_line(side)
            return outcome
        outcome.ends += 1
        outcome.resumes += (side / "log.txt").read_text().count("resumed at step")
        outcome.differences += differences(whole, side, f"runs/{stage.folder}")
        outcome.half_files += half_files(side, ended=True)
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


def half_files(side: Path, ended: bool) -> list[str]:
    """Files that cannot be read to their end; after the end, temporary names too."""
    return [
        name
        for name, path in files_in(side).items()
        if (ended and path.name != LOCK_FILE and any(word in path.name for word in TEMPORARY))
        or ("unfinished" not in path.name and is_half(path))
    ]


def is_half(path: Path) -> bool:
    """Whether a file is there and cannot be read to its end."""
    stat = path.stat() if path.exists() else None
    return stat is not None and not is_whole(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@cache
def is_whole(path: Path, *_: int) -> bool:
    """Whether a file can be read to its end; looked at once."""
    kind = path.name.removesuffix(".before").rpartition(".")[2]
    try:
        if kind == "json":
            json.loads(path.read_text(encoding="utf-8"))
        elif kind == "jsonl":
            [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        elif kind in LAST_BYTES:
            with Image.open(path) as picture:
                picture.load()
            return path.read_bytes().endswith(LAST_BYTES[kind])
        elif kind == "npy":
            np.load(path)
        elif kind == "safetensors":
            safetensors.torch.load_file(path)
        elif kind in ("pt", "npz"):
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
    except FileNotFoundError:  # a worker of a killed parent still wrote
        return True
    except Exception:  # whatever broken bytes lead to
        return False
    return True


def in_order(names: list[str]) -> Iterator[str]:
    """The stages with all that they need, in the order in which they can run."""
    wanted = set(names)
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].needs)
    return (name for name in STAGES if name in wanted)


def draw_etl(folder: Path) -> None:
    """Small ETL files as the tests draw them; all sets are as small as they are from now on."""
    path = Path(__file__).resolve().parents[1] / "tests" / "etl_encoder.py"
    spec = importlib.util.spec_from_file_location("etl_encoder", path)
    assert spec is not None
    assert spec.loader is not None
    encoder = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(encoder)
    SETS.update(encoder.small_sets(SETS, encoder.drawn_files(folder)))


def row(name: str, outcome: Outcome) -> str:
    """A line of the table."""
    values = [getattr(outcome, column.name) for column in fields(Outcome)[:-1]]
    cells = [str(len(value) if isinstance(value, list) else value) for value in values]
    return f"| {name} | {' | '.join(cells)} | {outcome.error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=5, help="of each stage")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--out", type=Path, help="JSON of all counts")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    found: dict[str, Outcome] = {}
    columns = [column.name.replace("_", " ") for column in fields(Outcome)[:-1]]
    print(f"| stage | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    with tempfile.TemporaryDirectory() as name:
        draw_etl(Path(name, "ETL"))
        sides = Path(name, "whole"), Path(name, "killed")
        for side in sides:
            side.mkdir()
        for stage in in_order(arguments.stages):
            wanted = arguments.kills if stage in arguments.stages else 0
            found[stage] = outcome = kill_stage(STAGES[stage], *sides, wanted, rng)
            print(row(stage, outcome), flush=True)
            for path in [*outcome.differences, *outcome.half_files][:5]:
                print(f"    {path}", flush=True)
    if arguments.out:
        counts_of = {stage: vars(outcome) for stage, outcome in found.items()}
        text = json.dumps({"seed": arguments.seed, "stages": counts_of}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(any(o.differences or o.half_files or o.error for o in found.values()))


if __name__ == "__main__":
    main()
