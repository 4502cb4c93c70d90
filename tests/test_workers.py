"""Jobs side by side: workers stop with their parent, after a checkpoint, and hand back errors."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import pytest
import torch
from conftest import ROOT

from handwriting import script
from handwriting.errors import InputError
from handwriting.parallel.workers import run_parallel
from handwriting.runs.weights import load_weights

DEADLINE_S = 300.0  # a busy machine is slow, not wrong
NUM_STEPS = 500
# Two jobs that add random numbers; also the main module of the workers.
STUDY = f"""
import sys, time
from dataclasses import replace
import torch
from torch import nn
from handwriting.script import compose
from handwriting.runs.run import Run
from handwriting.runs.weights import save_weights
from handwriting.parallel.workers import run_parallel

def stage(config):
    run = Run(config, f"toy/{{config.seed}}", ("seed",), {{}}).begin()
    rng = torch.Generator().manual_seed(config.seed)
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    for step in run.steps({NUM_STEPS}, {{"network": network}}, rng):
        network.weight.data += torch.rand((), generator=rng)
        time.sleep(float(sys.argv[1]))
    path = save_weights(run.folder / "toy.safetensors", "toy", {{}}, {{}}, network.state_dict())
    return run.finish({{}}, [path])

if __name__ == "__main__":
    config = compose(sys.argv[2:])
    run_parallel([(stage, replace(config, seed=seed)) for seed in (0, 1)], 2)
"""


def start(folder: Path, step_s: float, checkpoint_every_s: float) -> "subprocess.Popen[str]":
    script = folder / "study.py"
    script.write_text(STUDY, encoding="utf-8")
    overrides = [f"runs_dir={folder}", f"runtime.checkpoint_every_s={checkpoint_every_s}"]
    return subprocess.Popen(
        [sys.executable, str(script), str(step_s), "name=study", *overrides],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def wait_for(what: Callable[[], bool]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)


def stopped_by(number: signal.Signals, folder: Path) -> str:
    """Start the study, stop it once both jobs have written a checkpoint; what it said."""
    began = time.time()
    parent = start(folder, 0.2, 0)

    def have_written() -> bool:
        written = (folder / "study" / "toy").glob("*/checkpoint.pt")
        return sum(path.stat().st_mtime > began for path in written) == 2

    wait_for(lambda: have_written() or parent.poll() is not None)
    assert parent.poll() is None
    if number == signal.SIGINT:  # as a terminal does, to all
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    said, _ = parent.communicate(timeout=DEADLINE_S)  # until the workers have closed it, too
    assert parent.returncode == (143 if number == signal.SIGTERM else -number)
    return said


@pytest.mark.slow
def test_workers_write_a_checkpoint_and_stop_with_their_parent(tmp_path: Path) -> None:
    for i, number in enumerate((signal.SIGTERM, signal.SIGINT, signal.SIGKILL)):
        said = stopped_by(number, tmp_path)
        assert said.count("stopped after step") == 2
        assert said.count("resumed at step") == (2 if i else 0)
    said, _ = start(tmp_path, 0, 60).communicate(timeout=DEADLINE_S)
    assert said.count("resumed at step") == 2
    for seed in (0, 1):
        rng, expected = torch.Generator().manual_seed(seed), torch.zeros(())
        for _ in range(NUM_STEPS):
            expected += torch.rand((), generator=rng)
        weights = load_weights(tmp_path / "study" / "toy" / str(seed), "toy")
        assert weights.state["weight"] == expected


FOLLOWER = """
import sys, time
from handwriting.parallel.starter import following_starter
with following_starter():
    print("begun", flush=True)
    time.sleep(float(sys.argv[1]))
print("ended")
"""


@pytest.mark.parametrize("by_torchrun", [True, False])
def test_what_torchrun_started_stops_when_torchrun_was_killed(by_torchrun: bool) -> None:
    sleep_s = 300 if by_torchrun else 2
    starter = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])",
         sys.executable, "-c", FOLLOWER, str(sleep_s)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, **({"TORCHELASTIC_RUN_ID": "none"} if by_torchrun else {})},
    )  # fmt: skip
    assert starter.stdout is not None
    assert starter.stdout.readline() == "begun\n"
    starter.kill()
    said, _ = starter.communicate(timeout=DEADLINE_S)  # until what it started has closed it, too
    assert said == ("" if by_torchrun else "ended\n")


def test_a_worker_of_a_sweep_that_was_killed_is_told() -> None:
    jobs = [
        joblib.delayed(signal.raise_signal)(number) for number in (signal.SIGCHLD, signal.SIGKILL)
    ]
    with pytest.raises(SystemExit, match="a worker was killed.*run the same command to resume"):
        script._run(lambda: joblib.Parallel(2)(jobs))


def raise_end_of_file(what: str) -> None:
    raise EOFError(what)


@pytest.mark.parametrize("error", [EOFError, ConnectionResetError, BrokenPipeError])
def test_what_starts_workers_may_be_killed_too(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(*_: object) -> None:
        raise error

    monkeypatch.setattr(ProcessPoolExecutor, "submit", submit)
    with pytest.raises(InputError, match="a worker was killed"):
        run_parallel([(int, 1), (int, 2)], 2)


def test_what_a_job_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        run_parallel([(int, "1"), (int, "one")], 2)
    assert "_work" in str(caught.value.__cause__)  # the worker's traceback
    with pytest.raises(
        InputError, match=r"a worker was killed \(process \d+: SIGKILL\), .*to resume"
    ):
        run_parallel([(int, 1), (signal.raise_signal, signal.SIGKILL)], 2)
    with pytest.raises(EOFError, match="of a job"):
        run_parallel([(int, 1), (raise_end_of_file, "of a job")], 2)


@pytest.mark.parametrize("failure", [(int, "one"), (os._exit, 9)])
def test_a_failure_stops_the_other_jobs(failure: tuple[Callable[..., object], object]) -> None:
    started = time.monotonic()
    with pytest.raises((ValueError, RuntimeError)):
        run_parallel([(time.sleep, 9999), failure, (time.sleep, 9999)], 2)
    assert time.monotonic() - started < DEADLINE_S


def note_threads(path: Path) -> None:
    path.write_text(str(torch.get_num_threads()))


def test_workers_share_the_threads(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        run_parallel([(note_threads, tmp_path / name) for name in "ab"], 2)
    finally:
        torch.set_num_threads(threads)
    assert [(tmp_path / name).read_text() for name in "ab"] == ["2", "2"]
