"""How much faster two processes on two cores are than one process on one core.

    torchrun --nproc_per_node 2 benchmarks/processes.py                  # 64 px, six minutes
    torchrun --nproc_per_node 2 benchmarks/processes.py experiment=demo  # small batches

Prints images per second of training steps and of generation, with one process (the first, while the
others wait) and with all of them, in alternation: medians, and the median of the ratios. A batch is
split over all processes, so that the work is the same. If other programs use the cores, a delayed
process delays the others; the ratio of CPU seconds, of one process alone to the first among all,
then shows what the ratio would be without them. Small batches spend their time on communication, so
the time of one message is printed, too.
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

import torch
import torch.distributed as dist

from handwriting.config import Config, StepType
from handwriting.corpus.corpus import open_corpus
from handwriting.parallel import ranks
from handwriting.runs.run import Run
from handwriting.script import compose
from training_character_classification import train as train_classifier
from training_clip import train_clip, train_image_encoder, train_text_encoder
from training_style_transfer import (
    generate_images as generate_style_transfer,
    train as train_style_transfer,
)

REPEATS = 3
WARM_UP = 2  # steps before the clock starts
NUM_STEPS = 10  # the last is not timed, as it writes samples and weights
NUM_IMAGES = 60  # generated of each character
Clock = tuple[float, float]  # wall-clock seconds, CPU seconds of this process

run_steps = Run.steps
started: Clock
ended: Clock | None


def clock() -> Clock:
    return time.perf_counter(), time.process_time()


def steps_with_clock(self: Run, num_steps: int, *arguments: object) -> Iterator[int]:
    """The steps of a training, timed from the end of the warm-up to before the last step."""
    global started, ended
    for step in run_steps(self, num_steps, *arguments):  # type: ignore[arg-type]
        if step == WARM_UP + 1:
            started = clock()
        elif step == num_steps:
            ended = clock()
        yield step


def seconds(stage: Callable[[Config], Path], config: Config) -> Clock:
    """Time a stage, or its steps if it trains; its folder is removed."""
    global started, ended
    started, ended = clock(), None
    folder = stage(config)
    last = ended or clock()
    ranks.main_only(shutil.rmtree)(folder)
    return last[0] - started[0], last[1] - started[1]


def message_s() -> float:
    """The median time of an all-reduce of a batch norm's size."""
    tensor, taken = torch.zeros(129), []
    for _ in range(200):
        began = time.perf_counter()
        dist.all_reduce(tensor)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    ranks.join("cpu")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[ranks.rank() % len(cores)]})
    folder = Path(ranks.main_only(tempfile.mkdtemp)())
    Run.steps = steps_with_clock  # type: ignore[method-assign, assignment]
    per_step = ",".join(f"{step}:{NUM_STEPS}" for step in ("step1", "step2", "step3", "step_end"))
    config = compose(
        [
            "data.characters=demo", "style_transfer.batch_size=32", "runtime.precision=no",
            *sys.argv[1:], f"runs_dir={folder}/runs", f"cache_dir={folder}/cache",
            "runtime.num_threads=1", "image_encoder.num_steps=3", "text_encoder.num_steps=3",
            "clip.num_steps=3", f"classifier.num_steps={NUM_STEPS}",
            f"style_transfer.num_steps={{{per_step}}}",
            f"generation.num_per_character={NUM_IMAGES}",
        ]
    )  # fmt: skip
    for stage in (train_image_encoder, train_text_encoder, train_clip):
        stage.main(config)
    train_style_transfer.main(replace(config, step_type=StepType.step1))
    step1 = (
        Path(config.runs_dir) / config.name / "style_transfer" / config.model_mode.value / "step1"
    )
    # Repeats its second step, each time from the first.
    one_step = replace(config, step_type=StepType.step2)
    made = replace(config, gen_weight=str(step1))
    steps = NUM_STEPS - WARM_UP - 1
    works = {
        "style transfer, training": (
            train_style_transfer.main, one_step, steps * config.style_transfer.batch_size,
        ),
        "recogniser, training": (
            train_classifier.main, config, steps * config.classifier.batch_size,
        ),
        "style transfer, generating": (
            generate_style_transfer.main, made, NUM_IMAGES * len(open_corpus(config).characters),
        ),
    }  # fmt: skip
    if ranks.world_size() > 1:
        text = f"{message_s() * 1000:.2f} ms a message"
        print(f"{config.name}, {config.size_px} px, {ranks.world_size()} processes, {text}")
    for name, (stage, of_stage, num_images) in works.items():
        one, every = [], []
        for _ in range(REPEATS):
            one.append(ranks.main_only(seconds)(stage, of_stage))
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
    ranks.main_only(shutil.rmtree)(folder)


if __name__ == "__main__":
    main()
