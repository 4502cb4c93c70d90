"""A run: not repeated, resumed to the same result, never lost: kills, full disks, two at once."""

import errno
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, ComposeSmoke
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.damage import harm
from handwriting.config import Config
from handwriting.errors import InputError, WriteError
from handwriting.images.manifest import Entry, write_manifest
from handwriting.images.packed import PackedImages, cached
from handwriting.images.sheets import save_png
from handwriting.runs import folder as folders, run as run_module
from handwriting.runs.checkpoint import Checkpoints
from handwriting.runs.folder import changes, lock_folder, run_folder
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images
from handwriting.storage import locks, stamps
from handwriting.storage.atomic import write_atomically
from handwriting.storage.json_files import read_json, write_json
from handwriting.storage.locks import LOCK_FILE, FolderLock

FINISHED = {"config.json", "metrics.jsonl", "metrics.json", "done.json", "toy.bin"}
CHECKPOINTS = ("checkpoint.pt", "checkpoint.pt.before")
DuringStep = Callable[[int], object]


class Toy:
    """A stage that adds random numbers, 12 of them, and so tells whether any was lost."""

    def __init__(self, smoke: ComposeSmoke, *overrides: str, every_s: float = 0) -> None:
        config = smoke(f"runtime.checkpoint_every_s={every_s}", *overrides)
        self.run = Run(config, "toy", ("seed",), {})
        self.folder = self.run.folder
        self.network = nn.Linear(1, 1)
        self.finished: list[int] = []

    def main(self, during: DuringStep = lambda step: None) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        nn.init.zeros_(self.network.weight)
        self.run.begin()
        for step in self.run.steps(12, {"network": self.network}, rng):
            drawn = torch.rand((), generator=rng)
            self.network.weight.data += drawn
            during(step)
            self.run.log(loss=drawn)
            self.finished.append(step)
        (self.folder / "toy.bin").write_bytes(self.network.weight.detach().numpy().tobytes())
        self.run.finish({}, [self.folder / "toy.bin"])
        return self.network.weight.detach().clone()

    def logged(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").open()]


@pytest.fixture(autouse=True)
def log_every_five_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "LOG_EVERY", 5)


@pytest.fixture
def whole(smoke: ComposeSmoke) -> Toy:
    """The toy stage, run to its end elsewhere."""
    toy = Toy(smoke, "name=whole")
    toy.main()
    return toy


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK_FILE}


def at(step: int, act: Callable[[], object]) -> DuringStep:
    return lambda now: act() if now == step else None


def send(*numbers: int) -> Callable[[], None]:
    def act() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return act


def stop_after(step: int, toy: Toy) -> Toy:
    with pytest.raises(SystemExit):
        toy.main(at(step, send(signal.SIGTERM)))
    return toy


# Done or not --------------------------------------------------------------------------------------


def test_the_key_follows_sections_and_inputs(smoke: ComposeSmoke, tmp_path: Path) -> None:
    def key(config: Config, **inputs: Any) -> str:
        return Run(config, "any", ("seed", "size_px"), inputs).key

    file = tmp_path / "input"
    file.write_text("one")
    first = key(smoke(), file=file, n=1)
    assert key(smoke("tracking=offline", "clip.num_steps=3"), n=1, file=file) == first
    assert first not in {
        key(smoke("seed=2"), file=file, n=1),
        key(smoke("runtime.precision=bf16"), file=file, n=1),
        key(smoke(), file=file, n=2),
    }
    file.write_text("two")
    assert key(smoke(), file=file, n=1) != first


def test_a_run_is_done_until_its_inputs_change_or_what_it_made_is_gone(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    assert not toy.run.is_done
    toy.main()
    assert toy.run.is_done
    assert not Toy(smoke, "seed=1").run.is_done
    (toy.folder / "toy.bin").unlink()
    assert not toy.run.is_done


@pytest.fixture
def finished(smoke: ComposeSmoke) -> Toy:
    """The toy stage with samples and images, run to its end."""
    toy = Toy(smoke)
    toy.run.begin()
    toy.run.sample("sheet", NOISE)
    entries = [Entry("木", str(toy.folder / f"{n}.png"), "anna") for n in range(2)]
    for entry in entries:
        save_png(entry.path, NOISE)
    write_manifest(toy.folder / "manifest.json", entries)
    toy.main()
    return toy


LEFT = [
    "config.json", "metrics.json", "metrics.jsonl", "toy.bin", "samples/sheet.png", "done.json",
    "0.png", "manifest.json",
]  # fmt: skip


@pytest.mark.parametrize("damage", ["deleted", "flipped"])
@pytest.mark.parametrize("name", LEFT)
def test_whatever_a_run_left_is_made_again_when_it_is_lost(
    name: str, damage: str, finished: Toy, smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finished.run.is_done
    harm(finished.folder / name, damage)
    again = Toy(smoke)
    assert not again.run.is_done
    told = capsys.readouterr().out
    assert ("re-running this stage" in told) == ((name, damage) != ("done.json", "deleted"))
    assert torch.equal(again.main(), finished.network.weight)


@pytest.mark.parametrize("name", ["samples/sheet.png", "config.json", "done.json"])
def test_what_took_long_is_not_made_again_for_a_record_without_being_asked(
    name: str, finished: Toy, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_REPEATED_S", -1.0)
    harm(finished.folder / name, "flipped")
    if name == "done.json":
        (finished.folder / name).write_text("{")
    with pytest.raises(InputError, match=rf"{name} is damaged\. Restore it, or delete .*done"):
        _ = Toy(smoke).run.is_done
    (finished.folder / "done.json").unlink()
    assert not Toy(smoke).run.is_done


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"key": 3}', "\0", "NaN"])
@pytest.mark.parametrize("name", ["done.json", "config.json", "metrics.json", "lock"])
def test_no_content_of_its_own_files_keeps_a_run_from_ending(
    name: str, content: str, finished: Toy, smoke: ComposeSmoke
) -> None:
    if name == "config.json":
        (finished.folder / "done.json").unlink()
    (finished.folder / name).write_bytes(content.encode() + b"\xff" * (name == "lock"))
    again = Toy(smoke)
    if not again.run.is_done:
        again.main()
    assert Toy(smoke).run.is_done


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "a/../../outside.txt", "."])
def test_names_that_lead_out_of_a_folder_are_not_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(stamps, "is_whole", lambda *_: pytest.fail("it was read"))
    assert "is missing" in stamps.damage(tmp_path / "run", {name: "6 0"})


def test_a_run_leaves_its_facts_and_no_checkpoint(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Toy(smoke).run.key
    monkeypatch.setattr(run_module, "git_commit", lambda: "d" * 40)
    toy = Toy(smoke)
    toy.main()
    facts = read_json(toy.folder / "config.json")
    assert (facts["seed"], facts["key"], facts["commit"]) == (0, key, "d" * 40)
    assert facts["versions"].keys() >= {"python", "torch", "timm"}
    assert read_json(toy.folder / "metrics.json").keys() == {"duration_s"}
    assert names_in(toy.folder) == FINISHED


def test_folders_are_absolute_and_may_lie_elsewhere(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_folder(smoke(runs_dir=Path("runs"))) == tmp_path / "runs" / "smoke"
    elsewhere = tmp_path / "elsewhere"
    assert Run(smoke(), str(elsewhere), ("seed",), {}).begin().finish({}) == elsewhere
    assert (elsewhere / "done.json").is_file()


# Signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 5, 12])
@pytest.mark.parametrize(
    ("number", "stops", "code"),
    [(signal.SIGINT, KeyboardInterrupt, ()), (signal.SIGTERM, SystemExit, (143,))],
)
def test_a_signal_waits_for_the_step_and_its_checkpoint(
    number: int, stops: type[BaseException], code: tuple[int, ...], step: int, whole: Toy,
    smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = signal.getsignal(number)
    stopped = Toy(smoke, every_s=1000)
    with pytest.raises(stops) as caught:
        stopped.main(at(step, send(number)))
    assert caught.value.args == code
    assert signal.getsignal(number) is before
    assert stopped.finished[-1] == step
    assert f"stopped after step {step}: run the same command to resume" in capsys.readouterr().out
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole.network.weight)
    assert stopped.finished + resumed.finished == list(range(1, 13))
    assert resumed.logged() == whole.logged()


def test_the_second_signal_stops_at_once(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        toy.main(at(3, send(signal.SIGINT, signal.SIGINT)))
    assert toy.finished == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_worker_that_is_told_again_while_it_saves_stops_with_what_it_has(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def told_again(run: Run, step: int) -> None:
        send(signal.SIGTERM)()
        save(run, step)

    def lost(*_: object) -> None:
        pytest.fail("it stopped before it had saved")

    save = Run._save
    before = signal.signal(signal.SIGTERM, lost)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_save", told_again)
        patch.setattr(multiprocessing, "parent_process", lambda: "the executor's")
        stop_after(7, Toy(smoke, every_s=60))
    signal.signal(signal.SIGTERM, before)
    assert "stopped after step 7" in capsys.readouterr().out
    again = Toy(smoke)
    again.main()
    assert again.finished == [8, 9, 10, 11, 12]


def test_a_signal_that_is_ignored_stays_ignored(smoke: ComposeSmoke) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    toy = Toy(smoke)
    toy.main(at(3, send(signal.SIGINT)))
    assert len(toy.finished) == 12


def test_outside_the_main_thread_signals_are_left_alone(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    thread = threading.Thread(target=toy.main)
    thread.start()
    thread.join()
    assert (toy.folder / "done.json").is_file()


# Checkpoints --------------------------------------------------------------------------------------


class Call:
    """Pickled as a call, which unpickling would make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("code of a checkpoint was executed",)


def truncated(content: bytes) -> bytes:
    return content[:-200]


def flipped(content: bytes) -> bytes:
    """One bit of a weight is another, in the middle of a file that opens."""
    place = content.index(torch.tensor(-1.25).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_code(content: bytes) -> bytes:
    changed = io.BytesIO()
    torch.save({**torch.load(io.BytesIO(content)), "more": Call()}, changed)
    return changed.getvalue()


def bomb(content: bytes) -> bytes:
    """An archive that grows a thousandfold when it is read, its pickle under another name."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/DATA.PKL", bytes(10**7))
    return made.getvalue()


@pytest.mark.parametrize("damage", [truncated, flipped, with_code, bomb, lambda _: b""])
@pytest.mark.parametrize(("damaged", "goes_on_at"), [(1, 7), (2, 1)])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: Callable[[bytes], bytes], damaged: int, goes_on_at: int, whole: Toy,
    smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    toy = Toy(smoke)
    toy.network.bias.data.fill_(-1.25)
    stop_after(7, toy)
    for name in CHECKPOINTS[:damaged]:
        path = toy.folder / name
        path.write_bytes(damage(path.read_bytes()))
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole.network.weight)
    assert resumed.finished[0] == goes_on_at
    warned = capsys.readouterr().out
    assert [f"{toy.folder / name} is damaged" in warned for name in CHECKPOINTS] == [
        True, damaged == 2
    ]  # fmt: skip
    assert resumed.logged() == whole.logged()
    assert names_in(toy.folder) == FINISHED


def test_a_checkpoint_of_another_configuration_or_network(smoke: ComposeSmoke) -> None:
    stop_after(7, Toy(smoke, "seed=1"))
    changed = Toy(smoke, "seed=1")
    changed.network = nn.Linear(2, 1)
    with pytest.raises(InputError, match=r"checkpoint\.pt is not a checkpoint .*move it away"):
        changed.main()
    fresh = Toy(smoke)
    fresh.main()
    assert fresh.finished[0] == 1


def test_steps_after_the_last_checkpoint_are_logged_once(whole: Toy, smoke: ComposeSmoke) -> None:
    toy = stop_after(4, Toy(smoke, every_s=1000))
    with (toy.folder / "metrics.jsonl").open("w") as file:  # killed while writing the second line
        file.write('{"step": 5, "loss": 0.1}\n{"step": 10, "lo')
    resumed = Toy(smoke)
    resumed.main()
    assert resumed.logged() == whole.logged()


def test_a_kill_between_two_checkpoints_leaves_the_one_before(smoke: ComposeSmoke) -> None:
    toy = stop_after(7, Toy(smoke))
    (toy.folder / "checkpoint.pt").unlink()  # moved away, and the new one not yet there
    resumed = Toy(smoke)
    resumed.main()
    assert resumed.finished[0] == 7


def test_a_kill_between_the_end_and_tidying_up_leaves_nothing(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(smoke)
    monkeypatch.setattr(Checkpoints, "remove", lambda self: None)
    toy.main()
    monkeypatch.undo()
    (toy.folder / "lock").write_text("of a process that was killed")
    assert names_in(toy.folder) == FINISHED | {*CHECKPOINTS, "lock"}
    assert Toy(smoke).run.is_done
    assert names_in(toy.folder) == FINISHED


# Half files ---------------------------------------------------------------------------------------


def test_what_a_killed_process_left_half_written_is_removed(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    toy.run.begin()

    def killed(temporary: Path) -> None:
        temporary.write_text("half")
        shutil.copy(temporary, temporary.with_name(f"{temporary.name}.left"))

    for name in ("toy.safetensors", "samples/step.png"):
        write_atomically(toy.folder / name, killed)
    assert len(list(toy.folder.rglob(".*"))) == 3
    toy.run.begin()
    assert [path.name for path in toy.folder.rglob(".*")] == [LOCK_FILE]
    assert (toy.folder / "samples/step.png").is_file()


def test_what_a_kill_left_in_the_cache_is_removed_and_others_wait(tmp_path: Path) -> None:
    zero = np.zeros(1, np.int64)
    packed = PackedImages(np.zeros((1, 4, 4), np.uint8), zero, zero, ("あ",), ("writer",))
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / ".images.unfinished-12345678.npy").touch()
    seen = []

    def make() -> PackedImages:
        seen.append((folder / "lock").read_text())
        return packed

    assert len(cached(folder, make)) == 1
    assert seen[0].startswith(f"process {os.getpid()} on ")
    assert names_in(folder) == {"images.npy", "labels.npy", "writers.npy", "meta.json"}


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
WRITERS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: write_json(path, NOISE.tolist()),
    "a.png": lambda path: save_png(path, NOISE),
    "a.npy": lambda path: write_atomically(path, lambda name: np.save(name, NOISE)),
    "a.npz": lambda path: write_atomically(path, lambda name: np.savez(name, a=NOISE)),
    "a.safetensors": lambda path: save_weights(path, "a", {}, {}, {"a": torch.zeros(4096)}),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_what_cannot_be_written_whole_leaves_what_was_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # as if the disk were full
    try:
        with pytest.raises(WriteError) as caught:
            WRITERS[name](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(f"cannot write {path}: ")
    assert "free some disk space" in str(caught.value)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(name, "before")]


# Two at once --------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from handwriting.storage.locks import FolderLock
claim = FolderLock(Path(sys.argv[1]))
print("claimed", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes into the folder of the toy stage."""
    folder = tmp_path / "runs" / "smoke" / "toy"
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_killed(
    holder: "subprocess.Popen[str]",
    smoke: ComposeSmoke,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.1)
    toy = Toy(smoke)
    with pytest.raises(InputError, match=rf"toy is being written by .* process {holder.pid} on "):
        toy.main()
    assert f"  waiting for process {holder.pid} on " in capsys.readouterr().out
    assert names_in(toy.folder) == {"lock"}
    holder.kill()
    holder.wait()
    assert (toy.folder / "lock").is_file()
    toy.main()
    assert names_in(toy.folder) == FINISHED


def test_a_run_that_stopped_leaves_no_lock(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    folder = toy.folder
    stop_after(3, toy)
    assert (folder / "lock").is_file()
    del toy
    assert names_in(folder) == {"config.json", *CHECKPOINTS}


def test_a_run_that_failed_in_this_process_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    failed = FolderLock(tmp_path)
    claim = FolderLock(tmp_path)
    failed.release()
    claim.check()
    claim.release()
    assert names_in(tmp_path) == set()


# The disk -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_stops_the_run_and_keeps_its_checkpoints(
    code: int, whole: Toy, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Toy(smoke)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch, pytest.raises(InputError) as caught:
        toy.main(at(7, lambda: patch.setattr(torch, "save", refuse)))
    reason = os.strerror(code)
    assert str(caught.value).startswith(f"cannot write {toy.folder / 'checkpoint.pt'}: {reason}. ")
    assert ("free some disk space" in str(caught.value)) == (code == errno.ENOSPC)
    assert [torch.load(toy.folder / name)["step"] for name in CHECKPOINTS] == [6, 5]
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole.network.weight)
    assert resumed.finished[0] == 7


def test_a_full_disk_is_no_reason_to_leave_out_a_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", refuse)
    with pytest.raises(WriteError, match=r"^cannot write .*labels.npy: No space left"):
        font_images(find_fonts()[:2], "あい", 16, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_folder_without_permission(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    toy.folder.mkdir(parents=True)
    toy.folder.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot write .*toy/lock: Permission denied.*runs_dir="):
        toy.main()
    toy.folder.chmod(0o700)
    with pytest.raises(InputError, match=r"cannot write .*toy/metrics.jsonl|checkpoint.pt: Perm"):
        toy.main(at(7, lambda: toy.folder.chmod(0o500)))
    toy.folder.chmod(0o700)
    assert torch.load(toy.folder / "checkpoint.pt")["step"] == 6


def test_a_file_in_the_place_of_the_folder(smoke: ComposeSmoke, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write .*toy/lock: Not a directory.*runs_dir="):
        Toy(smoke).main()


@pytest.mark.parametrize("is_made_anew", [True, False])
@pytest.mark.parametrize(("every_s", "notices_at"), [(0, 7), (1000, 10)])
def test_a_folder_that_is_removed_stops_the_run_and_is_left_to_others(
    every_s: float, notices_at: int, is_made_anew: bool, smoke: ComposeSmoke
) -> None:
    toy = Toy(smoke, every_s=every_s)

    def remove() -> None:
        shutil.rmtree(toy.folder)
        if is_made_anew:
            write_json(toy.folder / "lock", "of another")

    with pytest.raises(InputError, match=r"toy was removed, moved or recreated"):
        toy.main(at(7, remove))
    assert toy.finished[-1] == notices_at
    del toy.run
    assert toy.folder.exists() == is_made_anew
    if is_made_anew:
        assert names_in(toy.folder) == {"lock"}


# Losses that are not finite -----------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["critic", "weights of network"])
@pytest.mark.parametrize(("every_s", "saved"), [(0, 6), (1000, 0)])
def test_what_is_not_finite_stops_the_run_and_is_never_saved(
    every_s: float, saved: int, where: str, bad: float, smoke: ComposeSmoke
) -> None:
    toy = Toy(smoke, every_s=every_s)

    def spoil() -> None:
        if where == "critic":
            toy.run.log(critic=torch.tensor(bad))
        else:
            toy.network.weight.data.fill_(bad)

    # Losses of steps stay on the device until they are logged: the step is named all the same.
    step = 7 if saved or where == "critic" else 10
    with pytest.raises(FloatingPointError, match=rf"toy: {where} not finite at step {step}\. "):
        toy.main(lambda now: spoil() if now == 7 else toy.run.log(critic=torch.zeros(())))
    assert toy.run._saved_step == saved
    assert (toy.folder / "checkpoint.pt").is_file() == bool(saved)


def test_a_gradient_that_is_not_finite_stops_the_run_and_leaves_the_weights(
    smoke: ComposeSmoke,
) -> None:
    toy, runtime = Toy(smoke), Runtime(smoke().runtime)
    optimizer = AdamW(toy.network.parameters(), lr=0.1, fused=True)

    def learn(step: int) -> None:
        loss = toy.network(torch.ones(1, 1)).sum() * (torch.inf if step == 7 else 1.0)
        optimizer.zero_grad()
        loss.backward()
        toy.run.log(gradient=runtime.step(optimizer))

    with pytest.raises(FloatingPointError, match="toy: gradient not finite at step 7"):
        toy.main(learn)
    assert bool(toy.network.weight.isfinite().all())


# Tracking -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", ["nowhere", "import", "init", "log", "image", "update", "finish"])
def test_tracking_gets_everything_or_is_named_once_and_costs_nothing(
    fails: str, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    told: list[Any] = []

    def call(name: str, value: Any = None) -> Callable[..., Any]:
        def called(*arguments: Any, **keywords: Any) -> Any:
            if name == fails:
                raise RuntimeError("the server is away")
            told.append((name, *arguments, keywords))
            return value

        return called

    wandb_run = SimpleNamespace(
        log=call("log"), finish=call("finish"), summary=SimpleNamespace(update=call("update"))
    )
    fake = SimpleNamespace(init=call("init", wandb_run), Image=call("image", "a picture"))
    monkeypatch.setitem(sys.modules, "wandb", None if fails == "import" else fake)
    toy = Toy(smoke, "tracking=online")
    toy.main(at(5, lambda: toy.run.sample("sheet_5", NOISE)))
    assert toy.finished == list(range(1, 13))
    assert (toy.folder / "metrics.json").is_file()
    warned = capsys.readouterr().out.count("warning: tracking failed, the run continues: ")
    assert warned == (fails != "nowhere")
    if fails == "nowhere":
        assert [name for name, *_ in told] == [
            "init", "image", "log", "log", "log", "log", "update", "finish"
        ]  # fmt: skip
        assert told[0][-1]["name"] == "smoke/toy"
        assert told[1][1] == str(toy.folder / "samples" / "sheet_5.png")
        assert told[2][1] == {"sheet": "a picture"}
        assert [keywords["step"] for name, *_, keywords in told[3:6]] == [5, 10, 12]


# Folders of somebody else's -----------------------------------------------------------------------

FOREIGN = ["manifest.json", "config.json", "done.json", "あ/writer_01.png", ".bashrc"]


@pytest.mark.parametrize("way", ["folder", "link", "dots", "below our own"])
@pytest.mark.parametrize("name", FOREIGN)
def test_nothing_is_written_into_a_folder_of_somebody_elses(
    name: str, way: str, tmp_path: Path, smoke: ComposeSmoke
) -> None:
    theirs = tmp_path / "handwriting"
    (theirs / name).parent.mkdir(parents=True)
    (theirs / name).write_text("{}")
    folder = theirs
    if way == "link":
        folder = tmp_path / "link"
        folder.symlink_to(theirs)
    elif way == "dots":
        folder = theirs / ".." / "handwriting"
    elif way == "below our own":  # as a home folder has a study somewhere below
        (theirs / "study" / "clip").mkdir(parents=True)
        (theirs / "study" / "clip" / LOCK_FILE).touch()
    left = {path: path.is_file() and path.read_bytes() for path in theirs.rglob("*")}
    with pytest.raises(InputError, match=f"handwriting|link holds {name.split('/')[0]}"):
        Run(smoke(), str(folder), ("seed",), {}).begin()
    with pytest.raises(InputError, match="new or empty"):
        FolderLock(folder)
    assert left == {path: path.is_file() and path.read_bytes() for path in theirs.rglob("*")}


@pytest.mark.parametrize("other", ["stage", "study", "prepared", "parent"])
def test_a_run_is_not_written_over_another_kind(
    other: str, smoke: ComposeSmoke, tmp_path: Path
) -> None:
    toy = Toy(smoke)
    toy.main()
    folder = {"stage": toy.folder, "study": toy.folder.parent, "parent": tmp_path / "runs"}.get(
        other, tmp_path / "prepared"
    )
    with FolderLock(folder) if other != "parent" else nullcontext():
        (folder / "images.npy").touch()
    with pytest.raises(InputError, match="another kind|not written by this project"):
        Run(smoke(), str(folder), ("seed", "generation"), {}).begin()
    with pytest.raises(InputError, match="folder of a stage"):
        lock_folder(toy.folder)


def test_new_empty_and_own_folders_are_written_into(smoke: ComposeSmoke, tmp_path: Path) -> None:
    killed = (LOCK_FILE, "lock", ".config.unfinished-1.json")
    for kept in ((), (LOCK_FILE,), (".DS_Store",), (".a.unfinished-1.png",), killed):
        folder = tmp_path / f"of {kept}"
        for name in kept:
            folder.mkdir(exist_ok=True)
            (folder / name).touch()
        Run(smoke(), str(folder), ("seed",), {}).begin()
    study = tmp_path / "runs" / "smoke"
    (study / "classifier" / "real" / "seed_0").mkdir(parents=True)
    (study / "classifier" / "real" / "seed_0" / LOCK_FILE).touch()
    (study / "sweep").mkdir()
    with lock_folder(study), lock_folder(tmp_path / "runs" / "new"):
        pass


def test_a_result_is_never_replaced_without_a_word(
    smoke: ComposeSmoke, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_after(5, Toy(smoke))
    assert "replaces" not in capsys.readouterr().out
    Toy(smoke, "seed=1").main()
    assert "[toy] re-running, seed 0 -> 1: replaces an unfinished run" in capsys.readouterr().out
    Toy(smoke, "seed=1").main()
    assert "replaces" not in capsys.readouterr().out
    Toy(smoke, "seed=2").main()
    found = capsys.readouterr().out
    assert re.search(r"seed 1 -> 2: replaces the result of \d{4}-\d\d-\d\d \d\d:\d\d\n", found)


def test_changes_are_named_shortly() -> None:
    old = {"a": {"b": 1, "c": [1, 2]}, "inputs": {"clip": "0f"}, "key": "x", "n": "long" * 99}
    new = {"a": {"b": 1, "c": [1]}, "inputs": {"clip": "1f"}, "key": "y", "n": "longer" * 99}
    text = "a.c [1, 2] -> [1], changed clip, n longlonglonglonglong... -> longerlongerlongerlo..."
    assert changes(old, new) == text
    assert changes(old, old) == "changed project version"
    many = changes({str(n): n for n in range(9)}, {})
    assert many == "0 0 -> None, 1 1 -> None, 2 2 -> None, 3 3 -> None, 4 4 -> None, 4 more"
