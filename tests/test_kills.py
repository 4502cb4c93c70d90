"""The benchmark of kills must be able to fail: it finds what a broken resume changes."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from benchmarks import kills
from handwriting.config import Config
from handwriting.runs.run import Run
from handwriting.runs.weights import save_weights

Restore = Callable[[Run], int]


def toy(config: Config) -> Path:
    """A stage that adds random numbers with momentum, and writes half a file while it does."""
    run = Run(config, "toy", ("seed",), {}).begin()
    notes = run.folder / "notes.json"
    if not config.aug:
        notes.write_text('{"half": ', encoding="utf-8")
    generator = torch.Generator().manual_seed(config.seed)
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    first = 0
    for step in run.steps(60, {"network": network, "optimizer": optimizer}, generator):
        first = first or step
        while first == 1 < step and "killed" in run.folder.parts:
            time.sleep(0.01)  # until it is killed, after its first checkpoint
        loss = network(torch.rand(1, generator=generator)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        run.log(loss=loss)
    notes.write_text("{}", encoding="utf-8")
    path = save_weights(run.folder / "toy.safetensors", "toy", {}, {}, network.state_dict())
    return run.finish({}, [path])


def kill_toy(tmp_path: Path, *overrides: str) -> kills.Outcome:
    sides = tmp_path / "whole", tmp_path / "killed"
    for side in sides:
        side.mkdir()
    stage = kills.Stage(toy, "study/toy", overrides=("runtime.checkpoint_every_s=0", *overrides))
    return kills.kill_stage(stage, *sides, kills=1, rng=random.Random(0))


@pytest.fixture(autouse=True)
def soon_after_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "LONGEST_IN_LOOP_S", 0.1)


def test_a_killed_stage_is_resumed_and_ends_the_same(tmp_path: Path) -> None:
    outcome = kill_toy(tmp_path)
    assert (outcome.kills, outcome.with_checkpoint, outcome.resumes, outcome.ends) == (1, 1, 1, 1)
    assert (outcome.differences, outcome.half_files, outcome.error) == ([], [], "")


@pytest.mark.parametrize("lost", ["random state", "momentum"])
def test_a_resume_that_loses_something_is_found(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore: Restore = Run._restore

    def forgetful(self: Run) -> int:
        step = restore(self)
        if step and lost == "momentum":
            self._stateful["optimizer"].state.clear()
        elif step:
            self._rng.manual_seed(5)
        return step

    monkeypatch.setattr(Run, "_restore", forgetful)
    outcome = kill_toy(tmp_path)
    assert outcome.resumes == 1
    assert "toy.safetensors" in outcome.differences


def test_a_half_file_after_a_kill_is_found(tmp_path: Path) -> None:
    outcome = kill_toy(tmp_path, "aug=false")
    assert outcome.half_files == ["runs/study/toy/notes.json"]
    assert not outcome.differences


def test_half_files_of_every_kind_are_found_and_whole_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' * 3)
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros(9))
    np.savez(tmp_path / "a.npz", a=np.zeros(9))
    torch.save({"a": torch.zeros(9)}, tmp_path / "a.pt")
    assert kills.half_files(tmp_path, ended=True) == []
    for path in list(tmp_path.iterdir()):
        content = path.read_bytes()
        path.with_name(f"half{path.suffix}").write_bytes(content[: len(content) // 2])
        (tmp_path / f".a.unfinished-1{path.suffix}").touch()
    halves = {f"half.{kind}" for kind in ("json", "jsonl", "npy", "npz", "png", "pt")}
    assert set(kills.half_files(tmp_path, ended=False)) == halves
    assert len(kills.half_files(tmp_path, ended=True)) == 2 * len(halves)
