"""Can a run be killed at any moment without losing anything? Linux and macOS only.

    python -m benchmarks.kills --kills 5
    python -m benchmarks.kills --kills 8 --out kills.json           # all stages
    python -m benchmarks.kills --kills 20 --stages dcgan vae        # these, and what they need

Each stage runs to its end once, with 120 tiny steps of ``experiment=smoke``. Then it is started in
another folder, killed (SIGKILL) and started again until it ends; its output must be the same, byte
for byte, except for durations and keys that depend on files' times. This is repeated until the
stage has been killed often enough. If its row names a kind of file, three of four kills come
shortly after the stage has written one: a checkpoint, a part of a preparation, or the ``done.json``
of one of its own stages, to hit the moments between these. All other kills come at random times. If
there are worker processes, every other kill hits one of them, or the process that starts them.

After every kill each file with a final name is read; after every end no temporary name may be left.
After the kill of a worker, the output must say so, and how to resume, without a traceback. A table
counts for each stage: kills; kills of a worker; kills with a checkpoint to resume from; kills that
left a half-written file under a temporary name (writing); resumes, the starts that resumed from a
checkpoint (a start may be killed again before it does); ends; files that differ, are missing or are
surplus; half-written files under final names; starts that ended with any other message. Exits with
1 if any of the last three is not zero, or on an error. Stages are forks of one process that has
imported everything.
"""

import argparse
import importlib.util
import json
import os
import random
import re
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
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import safetensors.torch
import torch._dynamo  # noqa: F401  the first optimizer imports it: here once for all forks
from PIL import Image

import evidence
import pipeline
import prepare_etl
import prepare_recogniser
import prepare_simulated
from handwriting.config import Config
from handwriting.etl import SETS
from handwriting.script import run_script
from handwriting.storage.locks import LOCK_FILE
from training_cdiffusion_model import generate_images as cdiffusion_images, train as cdiffusion
from training_character_classification import judge, test, train as classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_dcgan import generate_images as dcgan_images, train as dcgan
from training_redrawn import generate_images as redrawn_images, train as redrawn
from training_stroke_reader import train as stroke_reader, train_judge as stroke_judge
from training_style_transfer import (
    generate_images as style_transfer_images,
    train as style_transfer,
)
from training_style_transfer.feed import STEPS
from training_vae import generate_images as vae_images, train as vae
from training_warped import generate_images as warped_images, train as warped

ROOT = Path(__file__).resolve().parents[1]
NUM_STEPS = 120
OVERRIDES = [
    "experiment=smoke", "name=study", "runtime.num_threads=1", "runtime.checkpoint_every_s=0.1",
    *(
        f"{stage}.num_steps={NUM_STEPS}"
        for stage in ("image_encoder", "text_encoder", "clip", "dcgan", "vae", "cdiffusion",
                      "stroke_reader", "stroke_judge", "classifier")
    ),
    *(f"style_transfer.num_steps.{step}=40" for step in STEPS),
    *(
        f"{stage}.sample_every=40"
        for stage in ("style_transfer", "dcgan", "vae", "cdiffusion", "stroke_reader")
    ),
    "generation.num_per_character=100", f"evaluation.judge_steps={NUM_STEPS}",
]  # fmt: skip
ENCODERS = ("image_encoder", "text_encoder", "clip")
FEWER = ["vae.num_steps=40", "classifier.num_steps=40", "evaluation.judge_steps=40"]
WHOLE_LINE = ["pipeline.generators=[vae]", "pipeline.augmentations=[true]", *FEWER]
FROM_BASE = ("name=based", "weights=base", *(f"{one}.num_steps=40" for one in ENCODERS))
GRID = [
    "evidence.arms=[real,real+fonts+classical,real+fonts+vae+classical]", "evidence.seeds=[0]",
    "evidence.people=[1]", "evidence.named_arm=real+fonts+vae+classical",
    "evidence.recipe_people=[]", *FEWER,
]  # fmt: skip
ZERO_REAL = (
    "name=zero", "classifier.use_real=false", "classifier.use_fonts=true",
    "classifier.use_simulated=true", "data.num_simulated_writers=3", "redrawn.morphing=0.5",
    "classifier.roughness=1", "classifier.kana=5", "classifier.embedding_dim=8",
)  # fmt: skip
LONGEST_IN_LOOP_S = 1.0  # between a checkpoint and a kill
LONGEST_BETWEEN_S = 0.1  # between the end of a stage, or a part of a preparation, and a kill
OF_THE_MOMENT = {
    "commit", "duration_s", "images_per_s", "inputs", "key", "records", "training_s"
}  # fmt: skip
LAST_BYTES = {"png": b"IEND\xaeB`\x82", "gif": b";"}
TEMPORARY = ("unfinished", "checkpoint", "lock")
TOLD = re.compile(r"^error: .* killed.*run the same command to resume", re.MULTILINE)
OF_TORCHRUN = re.compile(r"^Traceback.*(?:\n .*)+\ntorch\S+ChildFailedError: $", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """A stage to kill.

    Attributes:
        main: of the stage.
        folder: that it writes into, in the runs.
        needs: stages that must have run before.
        overrides: of the configuration, in addition to ``base``.
        fresh_cache: whether the cache is removed too when the stage is made again.
        marks: patterns of the files after which most kills come; empty: kills come at any time.
        base: what all stages have in common.
        with_workers: whether every other kill hits a worker.
        script: started by torchrun with two processes, in place of ``main``.
    """

    main: Callable[[Config], Path]
    folder: str
    needs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    fresh_cache: bool = False
    marks: tuple[str, ...] = ("checkpoint.pt*",)
    base: tuple[str, ...] = tuple(OVERRIDES)
    with_workers: bool = False
    script: str = ""


@dataclass(frozen=True)
class Kill:
    """When to kill, and which process.

    Attributes:
        after_s: seconds after the start, or after ``mark``.
        mark: pattern of files of which one must have been written first; empty: none.
        which: of the workers, from 0 to 1; None: the stage itself.
    """

    after_s: float
    mark: str = ""
    which: float | None = None


ETL = (
    "data=etl_paper", "data.characters=あい亜哀アイ", "data.etl.png=true",
    "data.etl.folder=${runs_dir}/../../ETL",
)  # fmt: skip
PARTS = ("*.npz", "images.npy", "U+*/*.png")  # of prepared files, in the order they are written
STAGES = {
    "prepare_simulated": Stage(
        prepare_simulated.main, "study/simulated", (), ("data.num_writers=100",), True, ()
    ),
    "prepare_etl": Stage(
        prepare_etl.main, "etl", (), (*ETL, "data.etl.output=${runs_dir}/etl"), True, PARTS
    ),
    "prepare_etl, 2 workers": Stage(
        prepare_etl.main, "etl2", (),
        (*ETL, "data.etl.output=${runs_dir}/etl2", "pipeline.num_workers=2"), True, PARTS,
        with_workers=True,
    ),
    "image_encoder": Stage(train_image_encoder.main, "study/image_encoder"),
    "text_encoder": Stage(train_text_encoder.main, "study/text_encoder"),
    "clip": Stage(train_clip.main, "study/clip", ("image_encoder", "text_encoder")),
    "style_transfer": Stage(style_transfer.main, "study/style_transfer", ("clip",)),
    "style_transfer_images": Stage(
        style_transfer_images.main, "study/generated/adain_clip", ("style_transfer",), marks=()
    ),
    "image_encoder, base": Stage(
        train_image_encoder.main, "based/image_encoder", (), FROM_BASE
    ),
    "clip, base": Stage(train_clip.main, "based/clip", ("image_encoder, base",), FROM_BASE),
    "style_transfer, base": Stage(
        style_transfer.main, "based/style_transfer", ("clip, base",), FROM_BASE
    ),
    "style_transfer_images, base": Stage(
        style_transfer_images.main, "study/generated/base", (),
        ("gen_weight=base", "size_px=64", "generation.output=generated/base"), marks=(),
    ),
    "dcgan": Stage(dcgan.main, "study/dcgan"),
    "dcgan_images": Stage(dcgan_images.main, "study/generated/dcgan", ("dcgan",), marks=()),
    "vae": Stage(vae.main, "study/vae"),
    "vae_images": Stage(vae_images.main, "study/generated/vae", ("vae",), marks=()),
    "cdiffusion": Stage(cdiffusion.main, "study/cdiffusion"),
    "cdiffusion_images": Stage(
        cdiffusion_images.main, "study/generated/cdiffusion", ("cdiffusion",), marks=()
    ),
    "stroke_reader": Stage(stroke_reader.main, "study/stroke_reader", (), (), True),
    "stroke_judge": Stage(stroke_judge.main, "study/stroke_judge", (), (), True),
    "redrawn": Stage(redrawn.main, "study/redrawn", (), (), True, ()),
    "redrawn_images": Stage(
        redrawn_images.main, "study/generated/redrawn", ("redrawn",), marks=()
    ),
    "classifier": Stage(classifier.main, "study/classifier/real+classical"),
    "recogniser": Stage(prepare_recogniser.main, "zero", (), ZERO_REAL, True),
    "redrawn_images, redraw": Stage(
        redrawn_images.main, "study/generated/read", ("redrawn", "classifier"),
        ("generation.redraw=real+classical", "generation.output=generated/read"), marks=(),
    ),
    "redrawn_images, hands": Stage(
        redrawn_images.main, "study/generated/files", ("redrawn",),
        ("generation.hands=${runs_dir}/study/redrawn/hands", "generation.output=generated/files"),
        marks=(),
    ),
    "morphed_images": Stage(
        redrawn_images.morphed, "study/generated/morphed", ("redrawn",), marks=()
    ),
    "warped": Stage(warped.main, "study/warped", (), (), True, ()),
    "warped_images": Stage(warped_images.main, "study/generated/warped", ("warped",), marks=()),
    "judge_classifier": Stage(
        classifier.main, "study/classifier/judge", (),
        ("classifier.name=judge",),
    ),
    "judge": Stage(judge.main, "study/judge", ("judge_classifier", "vae_images"), marks=()),
    "test": Stage(test.main, "study/test", ("classifier",), marks=()),
    "pipeline": Stage(pipeline.main, "whole", (), ("name=whole", *WHOLE_LINE), True),
    "pipeline, between stages": Stage(
        pipeline.main, "between", (), ("name=between", *WHOLE_LINE), True, ("done.json",)
    ),
    "pipeline, 2 workers": Stage(
        pipeline.main, "workers", (), ("name=workers", *WHOLE_LINE, "pipeline.num_workers=2"), True,
        ("checkpoint.pt*", "done.json"), with_workers=True,
    ),
    "evidence": Stage(evidence.main, "grid", (), ("name=grid", *GRID), True),
    "sweep, 2 workers": Stage(
        vae.main, "sweep", (),
        ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1",
         "name=sweep/${seed}", "hydra.sweep.dir=${runs_dir}/hydra"),
        base=("-m", *OVERRIDES), with_workers=True,
    ),
    "torchrun, 2 processes": Stage(
        classifier.main, "ranks", (), ("name=ranks",), with_workers=True,
        script="training_character_classification/train.py",
    ),
}  # fmt: skip


@dataclass
class Outcome:
    """The counts for one stage."""

    kills: int = 0
    of_workers: int = 0
    with_checkpoint: int = 0
    writing: int = 0
    resumes: int = 0
    ends: int = 0
    differences: list[str] = field(default_factory=list)
    half_files: list[str] = field(default_factory=list)
    other_words: list[str] = field(default_factory=list)
    whole_s: float = 0.0
    error: str = ""


def attempt(stage: Stage, side: Path, kill: Kill | None = None) -> tuple[int, bool]:
    """Start a stage and kill it or a worker; it may end before.

    Returns:
        Its exit code, negative if killed, and whether anything was killed.
    """
    began, killed = time.time(), False
    mark, of_worker = (kill.mark, kill.which is not None) if kill else ("", False)
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        work(stage, side)
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code, killed and (of_worker or code == -signal.SIGKILL)
        if mark and any(newer(path, began) for path in written(stage, side, mark)):
            mark, began = "", time.time()
        if kill and not (mark or killed) and time.time() - began > kill.after_s:
            killed = kill_one(process, kill.which)
        time.sleep(0.005)


def kill_one(process: int, which: float | None) -> bool:
    """Kill a process, or one of its workers; return False if there is none."""
    victims = [process]
    if which is not None:
        below = psutil.Process(process).children(recursive=True)
        victims = [one.pid for one in below if is_worker(one)]
    try:
        os.kill(victims[int((which or 0) * len(victims))], signal.SIGKILL)
    except (IndexError, ProcessLookupError):
        return False
    return True


def is_worker(process: psutil.Process) -> bool:
    """Whether a process works or starts workers; Python's own trackers do not."""
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return False
    return bool(words) and "resource_tracker" not in words


def written(stage: Stage, side: Path, mark: str) -> list[Path]:
    paths = files_in(side / "runs" / stage.folder).values()
    return [path for path in paths if path.match(mark)]


def checkpoints(stage: Stage, side: Path) -> list[Path]:
    return written(stage, side, "checkpoint.pt*")


def newer(path: Path, than: float) -> bool:
    try:
        return path.stat().st_mtime > than
    except FileNotFoundError:
        return False


def work(stage: Stage, side: Path) -> None:
    """Run the stage in its own process, with its output in a log."""
    code: int | str | None = 1
    try:
        sys.stdout = sys.stderr = log = (side / "log.txt").open("a")
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        places = [f"runs_dir={side / 'runs'}", f"cache_dir={side / 'cache'}"]
        sys.argv = ["", *stage.base, *places, *stage.overrides]
        if stage.script:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
            command = [sys.executable, *torchrun, str(ROOT / stage.script), *sys.argv[1:]]
            os.execv(sys.executable, command)
        started = sys.modules["__main__"] = ModuleType("__main__")  # what workers import, too
        started.__file__ = sys.modules[stage.main.__module__].__file__
        run_script(stage.main)
        code = 0
    except SystemExit as end:
        code = end.code
    except Exception:
        traceback.print_exc()
    finally:
        if isinstance(code, str):  # as Python would
            print(code, file=sys.stderr)
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


def kill_stage(stage: Stage, whole: Path, side: Path, kills: int, rng: random.Random) -> Outcome:
    """Kill a stage a number of times, and compare its output with an uninterrupted run's."""
    outcome = Outcome()
    started = time.perf_counter()
    if attempt(stage, whole)[0] != 0:
        outcome.error = last_line(whole)
        return outcome
    outcome.whole_s = round(time.perf_counter() - started, 2)
    log = side / "log.txt"
    while outcome.kills < kills or not outcome.ends:
        shutil.rmtree(side / "runs" / stage.folder, ignore_errors=True)
        if stage.fresh_cache:
            shutil.rmtree(side / "cache", ignore_errors=True)
        log.write_bytes(b"")
        code = -1
        while code != 0:
            kill = next_kill(stage, outcome, rng) if outcome.kills < kills else None
            size = log.stat().st_size
            code, was_killed = attempt(stage, side, kill)
            told = log.read_bytes()[size:].decode(errors="replace")
            of_worker = was_killed and kill is not None and kill.which is not None
            if code != 0 and not was_killed:
                outcome.error = last_line(side)
                return outcome
            if code != 0:
                outcome.other_words += other_words(told, is_told=of_worker)
                outcome.with_checkpoint += bool(checkpoints(stage, side))
                outcome.writing += any("unfinished-" in name for name in files_in(side))
                outcome.half_files += half_files(side, ended=False)
            outcome.kills += was_killed
            outcome.of_workers += of_worker
        outcome.ends += 1
        outcome.resumes += log.read_text().count("resumed at step")
        outcome.differences += differences(whole, side, f"runs/{stage.folder}")
        outcome.half_files += half_files(side, ended=True)
    return outcome


def next_kill(stage: Stage, outcome: Outcome, rng: random.Random) -> Kill:
    is_marked = bool(stage.marks) and outcome.kills % 4 != 3
    mark = rng.choice(stage.marks) if is_marked else ""
    longest_s = LONGEST_IN_LOOP_S if "checkpoint" in mark else LONGEST_BETWEEN_S
    of_worker = stage.with_workers and outcome.kills % 8 < 4
    return Kill(
        rng.uniform(0, longest_s if mark else outcome.whole_s), mark,
        rng.random() if of_worker else None,
    )  # fmt: skip


def other_words(told: str, is_told: bool) -> list[str]:
    """What a start printed after a kill, if it fails to say what happened and how to resume.

    Args:
        is_told: whether it should; a process that was killed itself says nothing.
    """
    without = OF_TORCHRUN.sub("", told)
    if "Traceback" in without or (is_told and not TOLD.search(told)):
        return [told.strip()[-2000:]]
    return []


def last_line(side: Path) -> str:
    return (side / "log.txt").read_text().strip().rpartition("\n")[2]


def files_in(folder: Path) -> dict[str, Path]:
    """All files below a folder, even while others write there, which breaks ``rglob``."""
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return {path.relative_to(folder).as_posix(): path for path in sorted(paths)}


def differences(whole: Path, side: Path, folder: str) -> list[str]:
    """The files that only one of two folders has, or whose content differs."""
    ours, theirs = files_in(whole / folder), files_in(side / folder)
    both = ours.keys() & theirs.keys()
    unequal = {name for name in both if content(ours[name], whole) != content(theirs[name], side)}
    return sorted((ours.keys() ^ theirs.keys()) | unequal)


def content(path: Path, side: Path) -> Any:
    """The content that must be the same in every run; a report, with durations, need only exist."""
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
    """Whether a file exists and cannot be read to its end."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return not is_whole(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@cache
def is_whole(path: Path, *_: int) -> bool:
    """Whether a file can be read to its end, tried once."""
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
    """The stages and all that they depend on, in an order in which they can run."""
    wanted = set(names)
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].needs)
    return (name for name in STAGES if name in wanted)


def draw_etl(folder: Path) -> None:
    """Write small ETL files as the tests do, and shrink the definitions of all sets to match."""
    path = ROOT / "tests" / "etl_encoder.py"
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
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
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
            for path in [*outcome.differences, *outcome.half_files, *outcome.other_words][:5]:
                print(f"    {path}", flush=True)
    if arguments.out:
        counts_of = {stage: vars(outcome) for stage, outcome in found.items()}
        text = json.dumps({"seed": arguments.seed, "stages": counts_of}, indent=1)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    wrong = [o.differences or o.half_files or o.other_words or o.error for o in found.values()]
    sys.exit(any(wrong))


if __name__ == "__main__":
    main()
