"""Does memory stay flat in a long run? Linux only.

    python -m benchmarks.soak --minutes 30

Trains the two longest loops of ``experiment=demo`` side by side, as its pipeline does on two cores:
the last step of style transfer, and diffusion, with checkpoints, samples and the log at their usual
intervals. The memory of both is read every five seconds (RSS, and PSS, which counts shared pages
once). Growth is the median over the last fifth of the time relative to that over the first fifth
after the warm-up. At the end both get SIGTERM and must write a checkpoint and stop. Exits with 1 if
memory grew by 2 % or more, or a loop ended in any other way.
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import torch

from handwriting.config import Config
from handwriting.corpus.corpus import open_corpus
from handwriting.runs.folder import run_folder
from handwriting.script import compose
from training_cdiffusion_model import train as cdiffusion
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import train as style_transfer
from training_style_transfer.feed import STEPS

MAX_GROWTH = 0.02
INTERVAL_S = 5.0
ENDLESS = 10_000_000  # steps
# The stages before the loops run only so that these can start.
SHORT = [f"{stage}.num_steps=20" for stage in ("image_encoder", "text_encoder", "clip")]
SHORT += [f"style_transfer.num_steps.step{i}=1" for i in (1, 2, 3)]


def prepare(config: Config) -> None:
    """What the loops need: the corpus, CLIP, and the first steps of style transfer."""
    open_corpus(config)
    for stage in (train_image_encoder, train_text_encoder, train_clip):
        stage.main(config)
    for step in list(STEPS)[:-1]:
        style_transfer.train_step(config, step)


def train_style_transfer(config: Config) -> None:
    style_transfer.train_step(config, list(STEPS)[-1])


def train_cdiffusion(config: Config) -> None:
    cdiffusion.main(config)


LOOPS = {
    "style_transfer/adain_clip/step_end": train_style_transfer,
    "cdiffusion": train_cdiffusion,
}


def start(work: Callable[[Config], None], config: Config) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=work, args=(config,))
    process.start()
    return process


def memory_of(process: BaseProcess) -> tuple[float, float]:
    """RSS and PSS in MB."""
    found = psutil.Process(process.pid).memory_full_info()
    return found.rss / 1e6, found.pss / 1e6


def growth(values: list[float]) -> float:
    """The relative growth from the first fifth of the values to the last."""
    fifth = max(len(values) // 5, 1)
    first, last = statistics.median(values[:fifth]), statistics.median(values[-fifth:])
    return last / first - 1


def num_steps(folder: Path) -> int:
    """The number of steps that a loop had taken when it stopped."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return int(state["step"])


def watch(
    processes: dict[str, BaseProcess], seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """The memory of processes, every ``INTERVAL_S``, until one of them ends or time is up."""
    readings: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and all(p.is_alive() for p in processes.values()):
        for name, process in processes.items():
            readings[name].append(memory_of(process))
        time.sleep(INTERVAL_S)
    return readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=30.0, help="after the warm-up")
    parser.add_argument("--warm-up", type=float, default=5.0, help="minutes")
    parser.add_argument("--out", type=Path, help="JSON of all readings")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        config = compose(["experiment=demo", f"runs_dir={name}/runs", f"cache_dir={name}/cache",
                          f"style_transfer.num_steps.step_end={ENDLESS}",
                          f"cdiffusion.num_steps={ENDLESS}", *SHORT])  # fmt: skip
        before = start(prepare, config)
        before.join()
        if before.exitcode:
            sys.exit("what comes before the loops has failed")
        processes = {name: start(work, config) for name, work in LOOPS.items()}
        watch(processes, 60 * arguments.warm_up)
        readings = watch(processes, 60 * arguments.minutes)
        failed = False
        found: dict[str, Any] = {}
        print(f"\n{'loop':36} steps  RSS MB           PSS MB           growth RSS, PSS")
        for loop, process in processes.items():
            if process.is_alive():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGTERM)
            process.join()
            rss, pss = (list(column) for column in zip(*readings[loop], strict=True))
            grown = growth(rss), growth(pss)
            steps = num_steps(run_folder(config) / loop)
            failed |= max(grown) >= MAX_GROWTH or process.exitcode != 128 + signal.SIGTERM
            ranges = " ".join(f"{min(v):7.1f}-{max(v):7.1f} " for v in (rss, pss))
            print(f"{loop:36} {steps:5} {ranges} {grown[0]:8.2%} {grown[1]:8.2%}", flush=True)
            found[loop] = {"steps": steps, "exit": process.exitcode, "rss": rss, "pss": pss}
    if arguments.out:
        arguments.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
