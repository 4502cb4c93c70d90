"""A run: goes on as if it had never stopped, is not repeated, loses nothing, executes nothing."""

import errno
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ComposeSmoke
from torch import Tensor

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.runs import run as run_module
from handwriting.runs.run import Run, run_folder
from handwriting.runs.weights import load_weights
from handwriting.storage.atomic import write_atomically
from handwriting.storage.json_files import write_json
from training_clip import train_image_encoder

SECTIONS = ("seed", "size_px", "image_encoder")
Interrupt = Callable[[int], None]


@pytest.fixture
def interrupt_at(monkeypatch: pytest.MonkeyPatch) -> Interrupt:
    """A function that makes the next run stop as if Ctrl-C were pressed in that step."""
    steps = Run.steps

    def interrupt(at: int) -> None:
        def interrupted(self: Run, *arguments: Any) -> Iterator[int]:
            for step in steps(self, *arguments):
                if step == at:
                    monkeypatch.setattr(Run, "steps", steps)
                    raise KeyboardInterrupt
                yield step

        monkeypatch.setattr(Run, "steps", interrupted)

    return interrupt


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_weights(folder, "image_encoder", "a test").state


def logged(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("stops", [[1], [4], [7, 12], [20]])
def test_a_stopped_and_resumed_run_equals_one_that_never_stopped(
    stops: list[int],
    smoke: ComposeSmoke,
    interrupt_at: Interrupt,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_module, "LOG_EVERY", 5)
    each_step = "runtime.checkpoint_every_s=-1"
    whole = train_image_encoder.main(smoke(each_step, runs_dir=tmp_path / "whole"))
    stopped = smoke(each_step, runs_dir=tmp_path / "stopped")
    for stop in stops:
        interrupt_at(stop)
        with pytest.raises(KeyboardInterrupt):
            train_image_encoder.main(stopped)
    folder = train_image_encoder.main(stopped)
    assert_same(weights_of(folder), weights_of(whole))
    assert logged(folder) == logged(whole)


def test_steps_after_the_last_checkpoint_are_logged_once(
    smoke: ComposeSmoke, interrupt_at: Interrupt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "LOG_EVERY", 5)
    config = smoke("runtime.checkpoint_every_s=1000")
    interrupt_at(13)
    with pytest.raises(KeyboardInterrupt):
        train_image_encoder.main(config)
    with (run_folder(config) / "image_encoder/metrics.jsonl").open("a") as file:
        file.write('{"step": 15, "lo')  # killed while writing
    folder = train_image_encoder.main(config)
    assert [line["step"] for line in logged(folder)] == [5, 10, 15, 20]


def test_a_seed_decides_the_weights(smoke: ComposeSmoke, tmp_path: Path) -> None:
    first, again, other = (
        weights_of(train_image_encoder.main(smoke(f"seed={seed}", runs_dir=tmp_path / name)))
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert_same(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_a_finished_run_is_not_repeated_until_what_it_depends_on_changes(
    smoke: ComposeSmoke,
) -> None:
    folder = train_image_encoder.main(smoke())
    weights = folder / "image_encoder.safetensors"

    def repeats(config: Config) -> bool:
        before = weights.stat().st_mtime_ns
        train_image_encoder.main(config)
        return weights.stat().st_mtime_ns != before

    assert not repeats(smoke())
    assert not repeats(smoke("classifier.width=16", "clip.num_steps=3", "tracking=disabled"))
    assert repeats(smoke("image_encoder.learning_rate=0.01"))
    assert repeats(smoke())
    assert repeats(smoke("runtime.precision=bf16"))


def test_a_finished_run_whose_output_was_deleted_is_repeated(smoke: ComposeSmoke) -> None:
    folder = train_image_encoder.main(smoke())
    (folder / "image_encoder.safetensors").unlink()
    train_image_encoder.main(smoke())
    assert (folder / "image_encoder.safetensors").is_file()


def test_a_checkpoint_of_another_configuration_is_not_resumed(
    smoke: ComposeSmoke, interrupt_at: Interrupt, tmp_path: Path
) -> None:
    interrupt_at(9)
    with pytest.raises(KeyboardInterrupt):
        train_image_encoder.main(smoke("runtime.checkpoint_every_s=-1", "seed=1"))
    folder = train_image_encoder.main(smoke())
    fresh = train_image_encoder.main(smoke(runs_dir=tmp_path / "fresh"))
    assert_same(weights_of(folder), weights_of(fresh))


def test_the_key_follows_sections_and_inputs(smoke: ComposeSmoke, tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("one")
    key = Run(smoke(), "a", SECTIONS, {"file": file, "n": 1}).key
    assert Run(smoke(), "b", SECTIONS, {"n": 1, "file": file}).key == key
    assert Run(smoke("seed=2"), "a", SECTIONS, {"file": file, "n": 1}).key != key
    assert Run(smoke(), "a", SECTIONS, {"file": file, "n": 2}).key != key
    file.write_text("two")
    assert Run(smoke(), "a", SECTIONS, {"file": file, "n": 1}).key != key


def test_a_run_leaves_its_facts_and_no_checkpoint(smoke: ComposeSmoke) -> None:
    folder = train_image_encoder.main(smoke("runtime.checkpoint_every_s=-1"))
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert facts["image_encoder"]["num_steps"] == 20
    assert facts["versions"].keys() >= {"python", "torch", "timm"}
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics.keys() == {"validation_top1", "duration_s"}
    assert not list(folder.glob("*checkpoint*"))


@pytest.mark.parametrize("runs_dir", ["absolute", "relative"])
def test_tracking_gets_the_losses_the_samples_and_the_result(
    runs_dir: str, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines: list[dict[str, Any]] = []
    started: dict[str, Any] = {}
    tracker = SimpleNamespace(
        log=lambda values, step=None: lines.append({"step": step, **values}),
        summary={}, finish=lambda: lines.append({"finished": True}),
    )  # fmt: skip
    fake = SimpleNamespace(init=lambda **k: started.update(k) or tracker, Image=str)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "runs" if runs_dir == "absolute" else Path("runs")
    run = Run(smoke("tracking=offline", runs_dir=place), "stage/one", SECTIONS, {}).begin()
    for _ in run.steps(2, {}, torch.Generator()):
        run.log(loss=torch.tensor(2.0))
    run.sample("step_000002", np.zeros((4, 4), np.uint8))
    run.finish({"top1": 0.5})
    assert (started["mode"], started["name"]) == ("offline", "smoke/stage/one")
    assert lines[0] == {"step": 2, "loss": 2.0}
    assert tracker.summary["top1"] == 0.5
    assert lines[-1] == {"finished": True}


def test_a_run_folder_may_lie_elsewhere(smoke: ComposeSmoke, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    run = Run(smoke(), str(elsewhere), SECTIONS, {}).begin()
    assert run.finish({}) == elsewhere
    assert (elsewhere / "done.json").is_file()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    bad: float, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "LOG_EVERY", 3)
    run = Run(smoke(), "stage", SECTIONS, {}).begin()
    taken = []

    def train() -> None:
        for step in run.steps(9, {}, torch.Generator()):
            taken.append(step)
            run.log(loss=torch.tensor(bad if step == 5 else 1.0), other=torch.tensor(0.0))

    with pytest.raises(FloatingPointError, match=r"stage: loss not finite at step 5"):
        train()
    assert taken == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("x")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    error: Exception, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"old": 1})

    def half(temporary: Path) -> None:
        temporary.write_text("half of")
        raise error

    with pytest.raises((InputError, KeyError)) as caught:
        write_atomically(path, half)
    if isinstance(error, OSError):
        assert str(caught.value).startswith(f"cannot write {path}: No space left on device")
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_written_into_folders_that_do_not_exist_yet(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "b" / "c.json", [1])
    assert json.loads((tmp_path / "a" / "b" / "c.json").read_text()) == [1]


def test_the_folder_of_a_study_is_absolute(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder(smoke(runs_dir=Path("runs"))) == tmp_path / "runs" / "smoke"
