"""How much quicker two processes on two cores are than one process on one core.

    torchrun --nproc_per_node 2 benchmarks/processes.py
    torchrun --nproc_per_node 2 benchmarks/processes.py experiment=katakana

Prints images a second of training steps and of generation, with one process (the first alone, while
the others wait) and with all, in turns: medians, and the median of the ratios. A batch is of all
processes together, so that both do the same work. Where other programs take the cores, whoever is
held up holds up the others; the ratio of the processors' seconds, of one process alone to the first
of all, then says what the ratio would be without them.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from handwriting import processes
from handwriting.config import Config, StepType, compose
from handwriting.corpus import open_corpus
from handwriting.run import Run
from training_character_classification import train as train_classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import (
    generate_images as generate_style_transfer,
    train as train_style_transfer,
)

REPEATS = 5
WARM_UP = 3  # steps before the clock starts
NUM_STEPS = 13
Clock = tuple[float, float]  # seconds, and seconds of this process's processor

run_steps = Run.steps
started: Clock


def clock() -> Clock:
    return time.perf_counter(), time.process_time()


def since(before: Clock) -> Clock:
    now = clock()
    return now[0] - before[0], now[1] - before[1]


def steps_after_warm_up(self: Run, num_steps: int, *arguments: object) -> Iterator[int]:
    """The steps of a training; the clock starts when some are done."""
    global started
    for step in run_steps(self, num_steps, *arguments):  # type: ignore[arg-type]
        if step == WARM_UP + 1:
            started = clock()
        yield step


def seconds(stage: Callable[[Config], Path], config: Config) -> Clock:
    """Of a stage from its start, or from the end of its warm-up; its folder is removed."""
    global started
    started = clock()
    folder = stage(config)
    taken = since(started)
    processes.main_only(shutil.rmtree)(folder)
    return taken


def main() -> None:
    processes.join("cpu")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[processes.rank() % len(cores)]})
    folder = Path(processes.main_only(tempfile.mkdtemp)())
    Run.steps = steps_after_warm_up  # type: ignore[method-assign, assignment]
    per_step = ",".join(f"{step}:{NUM_STEPS}" for step in ("step1", "step2", "step3", "step_end"))
    config = compose(
        [
            "experiment=demo", "runtime.precision=no", *sys.argv[1:], f"runs_dir={folder}/runs",
            f"cache_dir={folder}/cache", "runtime.num_threads=1", "image_encoder.num_steps=3",
            "text_encoder.num_steps=3", "clip.num_steps=3", f"classifier.num_steps={NUM_STEPS}",
            f"style_transfer.num_steps={{{per_step}}}", "generation.num_per_character=20",
        ]
    )  # fmt: skip
    for stage in (train_image_encoder, train_text_encoder, train_clip):
        stage.main(config)
    train_style_transfer.main(replace(config, step_type=StepType.step1))
    step1 = (
        Path(config.runs_dir) / config.name / "style_transfer" / config.model_mode.value / "step1"
    )
    # Its second step again and again, from the first.
    one_step = replace(config, step_type=StepType.step2)
    made = replace(config, gen_weight=str(step1))
    steps = NUM_STEPS - WARM_UP
    works = {
        "style transfer, training": (
            train_style_transfer.main, one_step, steps * config.style_transfer.batch_size,
        ),
        "recogniser, training": (
            train_classifier.main, config, steps * config.classifier.batch_size,
        ),
        "style transfer, generating": (
            generate_style_transfer.main, made, 20 * len(open_corpus(config).characters),
        ),
    }  # fmt: skip
    print(f"{config.name}, {processes.count()} processes, {config.runtime.precision=}")
    for name, (stage, of_stage, num_images) in works.items():
        one, every = [], []
        for _ in range(REPEATS):
            one.append(processes.main_only(seconds)(stage, of_stage))
            every.append(seconds(stage, of_stage))
        rates = [num_images / statistics.median(t for t, _ in taken) for taken in (one, every)]
        ratios = [
            statistics.median(a[kind] / b[kind] for a, b in zip(one, every, strict=True))
            for kind in range(2)
        ]
        print(
            f"{name:27} one {rates[0]:7.1f} images/s, all {rates[1]:7.1f} images/s, "
            f"ratio {ratios[0]:.2f} (by processors' seconds {ratios[1]:.2f})",
            flush=True,
        )
    processes.main_only(shutil.rmtree)(folder)


if __name__ == "__main__":
    main()
