"""Never lose a run: signals, two at once, damaged checkpoints, full disks, broken tracking."""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ComposeSmoke
from torch import Tensor, nn
from torch.optim import AdamW

from handwriting.errors import InputError, WriteError
from handwriting.images.packed import PackedImages, cached, save_array
from handwriting.images.sheets import save_png
from handwriting.runs import run as run_module
from handwriting.runs.checkpoint import Checkpoints
from handwriting.runs.run import Run
from handwriting.runs.runtime import Runtime
from handwriting.runs.weights import save_weights
from handwriting.sources.fonts import find_fonts
from handwriting.sources.glyphs import font_images
from handwriting.storage import locks, places
from handwriting.storage.atomic import write_atomically
from handwriting.storage.json_files import write_json
from handwriting.storage.locks import LOCK_FILE, FolderLock
from handwriting.storage.places import git_commit

ROOT = Path(__file__).resolve().parents[1]
EACH_STEP = "runtime.checkpoint_every_s=-1"
DuringStep = Callable[[int], None]


class Toy:
    """A stage that adds random numbers, 12 of them, and so tells whether any was lost."""

    def __init__(self, smoke: ComposeSmoke, *overrides: str) -> None:
        self.run = Run(smoke(EACH_STEP, *overrides), "toy", ("seed",), {})
        self.folder = self.run.folder
        self.network = nn.Linear(1, 1)
        self.finished: list[int] = []

    def main(self, during: DuringStep = lambda step: None) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        nn.init.zeros_(self.network.weight)
        self.run.begin()
        for step in self.run.steps(12, {"network": self.network}, generator):
            drawn = torch.rand((), generator=generator)
            self.network.weight.data += drawn
            during(step)
            self.run.log(loss=drawn)
            self.finished.append(step)
        self.run.finish({})
        return self.network.weight.detach().clone()


@pytest.fixture(autouse=True)
def log_every_five_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "LOG_EVERY", 5)


@pytest.fixture(autouse=True)
def signals_as_in_the_foreground() -> Iterator[None]:
    """A shell lets what it starts in the background ignore SIGINT, and these tests with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK_FILE}


def at(step: int, act: Callable[[], object]) -> DuringStep:
    return lambda now: act() if now == step else None  # type: ignore[return-value]


def send(*numbers: int) -> Callable[[], None]:
    def act() -> None:
        for number in numbers:
            os.kill(os.getpid(), number)

    return act


# Signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 5, 12])
@pytest.mark.parametrize(
    ("number", "stops", "code"),
    [(signal.SIGINT, KeyboardInterrupt, ()), (signal.SIGTERM, SystemExit, (143,))],
)
def test_a_signal_waits_for_the_step_and_its_checkpoint(
    number: int, stops: type[BaseException], code: tuple[int, ...], step: int, smoke: ComposeSmoke,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = Toy(smoke, "name=whole").main()
    before = signal.getsignal(number)
    stopped = Toy(smoke)
    with pytest.raises(stops) as caught:
        stopped.main(at(step, send(number)))
    assert caught.value.args == code
    assert signal.getsignal(number) is before
    assert stopped.finished[-1] == step
    assert f"stopped after step {step}: run the same command to resume" in capsys.readouterr().out
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole)
    assert stopped.finished + resumed.finished == list(range(1, 13))


def test_the_second_signal_stops_at_once(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        toy.main(at(3, send(signal.SIGINT, signal.SIGINT)))
    assert toy.finished == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_that_is_ignored_stays_ignored(
    smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        toy = Toy(smoke)
        toy.main(at(3, send(signal.SIGINT)))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(toy.finished) == 12


def test_outside_the_main_thread_signals_are_left_alone(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    thread = threading.Thread(target=toy.main)
    thread.start()
    thread.join()
    assert (toy.folder / "done.json").is_file()


# Checkpoints --------------------------------------------------------------------------------------


def stop_after(step: int, smoke: ComposeSmoke, *overrides: str) -> Toy:
    toy = Toy(smoke, *overrides)
    with pytest.raises(SystemExit):
        toy.main(at(step, send(signal.SIGTERM)))
    return toy


def truncated(content: bytes) -> bytes:
    return content[:-200]


class Call:
    """Pickled as a call, which unpickling would make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("code of a checkpoint was executed",)


def with_code(content: bytes) -> bytes:
    state = torch.load(io.BytesIO(content))
    changed = io.BytesIO()
    torch.save({**state, "more": Call()}, changed)
    return changed.getvalue()


def flipped(content: bytes) -> bytes:
    """One bit of a weight is another, in the middle of a file that opens."""
    place = content.index(torch.tensor(-1.25).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [truncated, flipped, with_code, lambda _: b""])
@pytest.mark.parametrize(("damaged", "goes_on_at"), [(1, 7), (2, 1)])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage: Callable[[bytes], bytes], damaged: int, goes_on_at: int, smoke: ComposeSmoke,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = Toy(smoke, "name=whole").main()
    toy = Toy(smoke)
    toy.network.bias.data.fill_(-1.25)
    with pytest.raises(SystemExit):
        toy.main(at(7, send(signal.SIGTERM)))
    names = ("checkpoint.pt", "checkpoint.pt.before")
    for name in names[:damaged]:
        path = toy.folder / name
        path.write_bytes(damage(path.read_bytes()))
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole)
    assert resumed.finished[0] == goes_on_at
    warned = capsys.readouterr().out
    assert [f"{toy.folder / name} is damaged" in warned for name in names] == [True, damaged == 2]
    logged = (toy.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in logged] == [5, 10, 12]
    assert names_in(toy.folder) == {
        "config.json", "metrics.jsonl", "metrics.json", "done.json"
    }  # fmt: skip


def test_a_checkpoint_of_another_network_is_named(smoke: ComposeSmoke) -> None:
    stop_after(7, smoke)
    changed = Toy(smoke)
    changed.network = nn.Linear(2, 1)
    with pytest.raises(InputError, match=r"checkpoint\.pt is no checkpoint .*move it away"):
        changed.main()


def test_a_kill_between_two_checkpoints_leaves_the_one_before(smoke: ComposeSmoke) -> None:
    toy = stop_after(7, smoke)
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
    assert (toy.folder / "checkpoint.pt").is_file()
    assert Toy(smoke).run.is_done
    assert names_in(toy.folder) == {
        "config.json", "metrics.jsonl", "metrics.json", "done.json"
    }  # fmt: skip


def test_what_a_killed_process_left_half_written_is_removed(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)

    def killed(temporary: Path) -> None:
        temporary.write_text("half")
        shutil.copy(temporary, temporary.with_name(f"{temporary.name}.left"))

    for name in ("toy.safetensors", "samples/step.png"):
        write_atomically(toy.folder / name, killed)
    assert len(list(toy.folder.rglob(".*"))) == 2
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
        seen.append((folder / "lock").read_text().split()[1])
        return packed

    assert len(cached(folder, make)) == 1
    assert seen == [str(os.getpid())]
    names = {"images.npy", "labels.npy", "writers.npy", "meta.json"}
    assert names_in(folder) == names


def test_a_full_disk_is_no_reason_to_leave_out_a_font(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", refuse)
    with pytest.raises(WriteError, match=r"^cannot write .*labels.npy: No space left"):
        font_images(find_fonts()[:2], "あい", 16, tmp_path)


# Two at once --------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from handwriting.storage.locks import LOCK_FILE, FolderLock
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
    holder: "subprocess.Popen[str]", smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_TIMEOUT_S", 0.1)
    toy = Toy(smoke)
    with pytest.raises(InputError, match=rf"toy is being written by .* process {holder.pid} on "):
        toy.main()
    assert names_in(toy.folder) == {"lock"}
    holder.kill()
    holder.wait()
    assert (toy.folder / "lock").is_file()
    toy.main()
    assert not (toy.folder / "lock").exists()


def test_a_run_says_who_writes_and_leaves_no_lock(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    lock = toy.folder / "lock"
    seen = []
    toy.main(at(2, lambda: seen.append(lock.read_text())))
    assert seen[0].startswith(f"process {os.getpid()} on ")
    assert not lock.exists()
    stopped = stop_after(3, smoke, "seed=1")
    del stopped
    assert not lock.exists()


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
    code: int, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Toy(smoke, "name=whole").main()
    toy = Toy(smoke)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(InputError) as caught:
        toy.main(at(7, lambda: monkeypatch.setattr(torch, "save", refuse)))
    reason = os.strerror(code)
    assert str(caught.value).startswith(f"cannot write {toy.folder / 'checkpoint.pt'}: {reason}. ")
    assert ("make space on the disk" in str(caught.value)) == (code == errno.ENOSPC)
    monkeypatch.undo()
    monkeypatch.setattr(run_module, "LOG_EVERY", 5)
    steps = [torch.load(path)["step"] for path in sorted(toy.folder.glob("checkpoint.pt*"))]
    assert steps == [6, 5]
    resumed = Toy(smoke)
    assert torch.equal(resumed.main(), whole)
    assert resumed.finished[0] == 7


NOISE = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
WRITERS: dict[str, Callable[[Path], object]] = {
    "a.json": lambda path: write_json(path, NOISE.tolist()),
    "a.png": lambda path: save_png(path, NOISE),
    "a.npy": lambda path: save_array(path, NOISE),
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
    assert "make space on the disk" in str(caught.value)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(name, "before")]


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
    with pytest.raises(InputError, match=r"cannot write .*a.json: File exists"):
        write_json(tmp_path / "runs" / "a.json", 1)


@pytest.mark.parametrize("every_s", ["-1", "1000"])
def test_a_folder_that_is_removed_stops_the_run_and_is_not_made_again(
    every_s: str, smoke: ComposeSmoke
) -> None:
    toy = Toy(smoke, f"runtime.checkpoint_every_s={every_s}")
    with pytest.raises(InputError, match=r"toy was removed, moved or made anew"):
        toy.main(at(7, lambda: shutil.rmtree(toy.folder)))
    assert toy.finished[-1] == (7 if every_s == "-1" else 10)
    assert not toy.folder.exists()


def test_a_folder_that_another_run_made_anew_is_left_to_it(smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)

    def make_anew() -> None:
        shutil.rmtree(toy.folder)
        write_json(toy.folder / "lock", "of another")

    with pytest.raises(InputError, match=r"toy was removed, moved or made anew"):
        toy.main(at(7, make_anew))
    del toy.run
    assert names_in(toy.folder) == {"lock"}


# Losses that are not finite -----------------------------------------------------------------------


@pytest.mark.parametrize("where", ["critic", "weights of network"])
def test_what_is_not_finite_is_never_saved(where: str, smoke: ComposeSmoke) -> None:
    toy = Toy(smoke)
    nan = torch.tensor(float("nan"))

    def spoil() -> None:
        if where == "critic":
            toy.run.log(critic=nan)
        else:
            toy.network.weight.data.fill_(float("nan"))

    with pytest.raises(FloatingPointError) as caught:
        toy.main(at(7, spoil))
    assert f"toy: {where} not finite at step 7" in str(caught.value)
    assert "resume after step 6" in str(caught.value)
    assert toy.finished[-1] == 7
    assert torch.load(toy.folder / "checkpoint.pt")["step"] == 6


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


# Facts and tracking -------------------------------------------------------------------------------


def test_the_commit_is_read_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_CHECKOUT", tmp_path)
    assert git_commit() is None
    git = tmp_path / ".git"
    write_atomically(git / "HEAD", lambda path: path.write_text("a" * 40 + "\n") and None)
    assert git_commit() == "a" * 40
    (git / "HEAD").write_text("ref: refs/heads/topic/one\n")
    assert git_commit() is None  # a branch without a commit
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/topic/one\n")
    assert git_commit() == "b" * 40
    (git / "refs/heads/topic").mkdir(parents=True)
    (git / "refs/heads/topic/one").write_text("c" * 40 + "\n")
    assert git_commit() == "c" * 40
    worktree = tmp_path / "worktree"
    (git / "worktrees/two").mkdir(parents=True)
    (git / "worktrees/two/HEAD").write_text("ref: refs/heads/topic/one\n")
    (git / "worktrees/two/commondir").write_text("../..\n")
    worktree.mkdir()
    (worktree / ".git").write_text(f"gitdir: {git}/worktrees/two\n")
    monkeypatch.setattr(places, "_CHECKOUT", worktree)
    assert git_commit() == "c" * 40


def test_a_run_records_the_commit(smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Toy(smoke).run.key
    monkeypatch.setattr(run_module, "git_commit", lambda: "d" * 40)
    toy = Toy(smoke)
    toy.main()
    assert json.loads((toy.folder / "config.json").read_text())["commit"] == "d" * 40
    assert toy.run.key == key  # the same work under another commit is not done again


@pytest.mark.parametrize("at_", ["import", "init", "log", "update", "finish"])
def test_tracking_that_fails_is_named_once_and_costs_nothing(
    at_: str, smoke: ComposeSmoke, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def call(name: str, value: Any = None) -> Callable[..., Any]:
        def called(*_: object, **__: object) -> Any:
            if name == at_:
                raise RuntimeError("the server is away")
            return value

        return called

    summary = SimpleNamespace(update=call("update"))
    tracker = SimpleNamespace(log=call("log"), finish=call("finish"), summary=summary)
    fake = None if at_ == "import" else SimpleNamespace(init=call("init", tracker))
    monkeypatch.setitem(sys.modules, "wandb", fake)
    toy = Toy(smoke, "tracking=online")
    toy.main()
    assert toy.finished == list(range(1, 13))
    assert (toy.folder / "metrics.json").is_file()
    assert capsys.readouterr().out.count("warning: tracking ended, the run goes on: ") == 1


def test_a_tracker_that_there_is_not_is_named(smoke: ComposeSmoke) -> None:
    with pytest.raises(InputError, match="tracking=wandb: expected one of disabled, offline"):
        Toy(smoke, "tracking=wandb")
