"""Jobs side by side: workers stop with their parent, after a checkpoint, and hand back errors."""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ComposeSmoke

from handwriting.errors import InputError
from handwriting.parallel.workers import run_parallel
from handwriting.runs.run import run_folder
from handwriting.runs.weights import load_weights

ROOT = Path(__file__).resolve().parents[1]
NUM_STEPS = 400
# A stage that adds random numbers, in two jobs at a time; also the main module of the workers.
STUDY = f"""
import sys, time
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from handwriting.config import Config
from handwriting.script import compose
from handwriting.runs.run import Run
from handwriting.runs.weights import save_weights
from handwriting.parallel.workers import run_parallel

def stage(config: Config) -> Path:
    run = Run(config, f"toy/{{config.seed}}", ("seed",), {{}})
    if run.is_done:
        return run.folder
    run.begin()
    generator = torch.Generator().manual_seed(config.seed)
    network = nn.Linear(1, 1)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    for step in run.steps({NUM_STEPS}, {{"network": network}}, generator):
        drawn = torch.rand((), generator=generator)
        network.weight.data += drawn
        run.log(loss=drawn)
        time.sleep(float(sys.argv[1]))
    path = save_weights(run.folder / "toy.safetensors", "toy", {{}}, {{}}, network.state_dict())
    return run.finish({{}}, [path])

if __name__ == "__main__":
    config = compose(sys.argv[3:])
    jobs = [(stage, replace(config, seed=seed)) for seed in (0, 1)]
    run_parallel(jobs, int(sys.argv[2]))
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, cache_dir: Path) -> Start:
    """Start the study: seconds a step, workers, the name of its folder."""
    script = tmp_path / "study.py"
    script.write_text(STUDY, encoding="utf-8")

    def started(step_s: float, num_workers: int, name: str) -> "subprocess.Popen[str]":
        overrides = [f"runs_dir={tmp_path / 'runs'}", f"cache_dir={cache_dir}", f"name={name}"]
        return subprocess.Popen(
            [sys.executable, str(script), str(step_s), str(num_workers), *overrides],
            stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    return started


def wait_for(what: Callable[[], bool], at_most_s: float = 120.0) -> None:
    ends = time.monotonic() + at_most_s
    while not what():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_write_a_checkpoint_and_stop_with_their_parent(
    number: signal.Signals, start: Start, smoke: ComposeSmoke, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = run_folder(smoke("name=study")) / "toy"
    parent = start(0.02, 2, "study")
    wait_for(lambda: len(list(folder.glob("*/metrics.jsonl"))) == 2)  # 50 steps
    if number == signal.SIGINT:  # as a terminal does, to all
        os.killpg(parent.pid, number)
    else:
        parent.send_signal(number)
    again = start(0.0, 2, "study") if number == signal.SIGKILL else None
    said, _ = parent.communicate(timeout=120)
    assert parent.returncode == (143 if number == signal.SIGTERM else -number)
    assert said.count("stopped after step") == 2
    said, _ = (again or start(0.0, 2, "study")).communicate(timeout=120)
    assert said.count("resumed at step") == 2
    monkeypatch.setattr(sys, "argv", ["", "0"])
    stage = runpy.run_path(str(tmp_path / "study.py"))["stage"]
    for seed in "01":
        whole = stage(smoke("name=whole", f"seed={seed}"))
        states = [
            load_weights(f / "toy.safetensors", "toy", "").state for f in (whole, folder / seed)
        ]
        assert torch.equal(states[0]["weight"], states[1]["weight"])


def test_what_a_job_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        run_parallel([(int, "1"), (int, "one")], 2)
    assert "In a worker" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="a worker ended with exit code 7"):
        run_parallel([(int, 1), (os._exit, 7)], 2)
    with pytest.raises(InputError, match="num_workers=0: at least 1"):
        run_parallel([(int, "1")], 0)


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
