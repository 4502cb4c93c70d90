"""A run: the folder of a stage, with what went in, what happened and what came out.

``config.json`` (the sections that matter), ``metrics.jsonl`` (a line per logged step),
``samples/``, ``lock`` and two checkpoints while it runs, then the weights, ``metrics.json`` and,
last, ``done.json`` with the key of everything that went in. A stage whose key is unchanged is not
run again; a stage that was interrupted goes on from its checkpoint. Of several processes the first
writes; they begin, stop and end together.
"""

import errno
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import signal
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handwriting import processes
from handwriting.config import Config, Tracking
from handwriting.errors import InputError
from handwriting.files import (
    Claim,
    append_line,
    content_key,
    git_commit,
    read_json,
    write_atomically,
    write_json,
    write_text,
)
from handwriting.images import Uint8, save_png
from handwriting.processes import main_only
from handwriting.progress import progress
from handwriting.runtime import precision_of

LOG_EVERY = 50  # steps: losses stay on the device until then
AGREE_EVERY = 10  # steps: until then several processes do not ask each other whether to stop
REPEATED_S = 2.0  # torchrun and the scheduler may both pass on one signal


class Stop:
    """Lets Ctrl-C and SIGTERM wait for the end of a step; the second one stops at once.

    Several processes, whom each signal may reach twice, need a moment between the two. Not in a
    worker: what comes to it again is the same order, from a scheduler that tells all and from the
    process that started it.

    Attributes:
        signal: that came, None before one does.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._noted_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, before)

    def _note(self, number: int, _: object) -> None:
        if self.signal is None:
            self.signal, self._noted_at = number, time.monotonic()
        elif multiprocessing.parent_process() is None and (
            processes.count() == 1 or time.monotonic() - self._noted_at > REPEATED_S
        ):
            self.now()

    def now(self) -> None:
        """Stop as the signal would have done."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)


def _plain(value: Any) -> Any:
    """Dataclasses and enums as JSON-able values."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def file_key(path: Path) -> str:
    """The content of a file, as a key."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


class Run:
    """The run folder of one stage.

    Args:
        config: the whole study.
        folder: of this run, relative to ``runs_dir/name``.
        sections: the parts of the configuration that this stage depends on.
        inputs: files that it reads (weights, manifests) or other JSON-able facts about its data.
    """

    def __init__(
        self, config: Config, folder: str, sections: Sequence[str], inputs: Mapping[str, Any]
    ) -> None:
        self.folder = run_folder(config) / folder
        self._config = config
        facts = {section: _plain(getattr(config, section)) for section in sections}
        facts["precision"] = precision_of(config.runtime)
        keys = {k: file_key(v) if isinstance(v, Path) else _plain(v) for k, v in inputs.items()}
        self.key = content_key(facts, keys, importlib.metadata.version("handwriting-augmentation"))
        self._facts = {
            **facts, "inputs": keys, "key": self.key, "versions": _versions(),
            "commit": git_commit(),
        }  # fmt: skip
        self._claim: Claim | None = None
        self._stateful: dict[str, Any] = {}
        self._generator: torch.Generator | None = None
        self._waiting: dict[str, list[Tensor]] = {}
        self._saved_step = 0
        self._tracker: Any = None
        self._started = time.perf_counter()

    @property
    def is_done(self) -> bool:
        """Whether this run ended with the same inputs before, and what it made is still there.

        What a kill between its end and its tidying up has left is then removed.
        """
        return self._is_done()

    @main_only
    def _is_done(self) -> bool:
        path = self.folder / "done.json"
        done = read_json(path) if path.is_file() else {}
        outputs = [self.folder / name for name in done.get("outputs", [])]
        if done.get("key") != self.key or not all(output.is_file() for output in outputs):
            return False
        if any(left.is_file() for left in (*self._checkpoints, self.folder / "lock")):
            with Claim(self.folder):
                self._remove_checkpoints()
        return True

    def begin(self) -> "Run":
        """Open the folder for writing; checkpoints of other inputs are removed.

        Raises:
            InputError: another run is writing into it, or it cannot be written.
        """
        self._open()
        return self

    @main_only
    def _open(self) -> None:
        self._claim = Claim(self.folder)
        (self.folder / "done.json").unlink(missing_ok=True)
        old = self.folder / "config.json"
        if not old.is_file() or read_json(old).get("key") != self.key:
            self._remove_checkpoints()
            (self.folder / "metrics.jsonl").unlink(missing_ok=True)
        write_json(old, self._facts)
        name = os.path.relpath(self.folder, run_folder(self._config))
        print(f"[{name}] -> {self.folder}", flush=True)
        if self._config.tracking is not Tracking.disabled:
            with self._tracking():
                import wandb

                self._tracker = wandb.init(
                    project="handwriting-augmentation",
                    name=f"{self._config.name}/{name}",
                    mode=self._config.tracking.value,
                    dir=self.folder,
                    config=self._facts,
                )

    @contextmanager
    def _tracking(self) -> Iterator[None]:
        """What goes wrong in here ends the tracking, not the run."""
        try:
            yield
        except Exception as error:
            self._tracker = None
            print(f"  warning: tracking ended, the run goes on: {error!r}", flush=True)

    # Training ---------------------------------------------------------------------------------

    def steps(
        self, num_steps: int, stateful: Mapping[str, Any], generator: torch.Generator
    ) -> Iterator[int]:
        """The numbers of the steps to take, 1 to ``num_steps``, from a checkpoint if there is one.

        Args:
            num_steps: where training ends.
            stateful: networks, optimizers and averages, anything with ``state_dict`` and
                ``load_state_dict``, saved and restored by name.
            generator: that draws the data; torch's own generator is saved beside it.

        Ctrl-C and SIGTERM let the step end and a checkpoint be written, then stop the process.

        Raises:
            FloatingPointError: a logged value or a weight is not finite.
            InputError: the disk is full, or the folder was removed.
        """
        self._stateful, self._generator = dict(stateful), generator
        step = self._restore()
        self._forget_after(step)
        saved = time.monotonic()
        steps = progress(range(step + 1, num_steps + 1), num_steps - step, self.folder.name)
        with Stop() as stop:
            for step in steps:
                yield step
                if step % LOG_EVERY == 0 or step == num_steps:
                    self._flush(step)
                if processes.count() > 1 and step % AGREE_EVERY and step != num_steps:
                    continue
                # By the first's clock, and by whomever a signal reached.
                is_due = time.monotonic() - saved > self._config.runtime.checkpoint_every_s
                due, number = processes.highest(
                    int(is_due and processes.is_main()), stop.signal or 0
                )
                if number:
                    break
                if due:
                    self._save(step)
                    saved = time.monotonic()
        (number,) = processes.highest(stop.signal or 0)
        if number:
            stop.signal = number
            self._save(step)
            print(f"  stopped after step {step}: start it again and it goes on", flush=True)
            stop.now()

    def log(self, **values: Tensor) -> None:
        """Note scalars, once a step; their means are written every ``LOG_EVERY`` steps."""
        for name, value in values.items():
            self._waiting.setdefault(name, []).append(value.detach())

    @main_only
    def last_logged(self) -> dict[str, float]:
        """The means of the last logged steps, by name."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {name: value for name, value in json.loads(lines[-1]).items() if name != "step"}

    def _flush(self, step: int) -> None:
        self._average_waiting()
        self._check_finite(step)
        self._check_folder()
        means = {k: float(torch.stack(v).float().mean()) for k, v in self._waiting.items()}
        self._waiting.clear()
        if not processes.is_main():
            return
        line = json.dumps({"step": step, **{k: round(v, 5) for k, v in means.items()}})
        append_line(self.folder / "metrics.jsonl", line)
        if self._tracker is not None:
            with self._tracking():
                self._tracker.log(means, step=step)

    def _average_waiting(self) -> None:
        """Average what was logged over the processes; twice is as once."""
        for name, values in self._waiting.items():
            self._waiting[name] = list(processes.mean(torch.stack(values)))

    def _check_finite(self, step: int) -> None:
        """Check what was logged up to a step, and the weights that it ended with."""
        first: dict[str, int] = {}
        for name, values in self._waiting.items():
            finite = torch.stack(values).isfinite().tolist()
            if not all(finite):
                first[name] = step - len(finite) + 1 + finite.index(False)
        for name, item in self._stateful.items():
            parameters = item.parameters() if isinstance(item, nn.Module) else ()
            if not all(bool(parameter.isfinite().all()) for parameter in parameters):
                first.setdefault(f"weights of {name}", step)
        if first:
            earliest = min(first.values())
            names = ", ".join(name for name, at in first.items() if at == earliest)
            raise FloatingPointError(
                f"{self.folder.name}: {names} not finite at step {earliest}. Started again, it "
                f"goes on after step {self._saved_step}, the last that was saved; if it stops "
                "there again, lower the learning rate or take runtime.precision=no"
            )

    def _check_folder(self) -> None:
        if self._claim is not None:
            self._claim.check()

    @property
    def _checkpoints(self) -> tuple[Path, Path]:
        """The last one and the one before."""
        return self.folder / "checkpoint.pt", self.folder / "checkpoint.pt.before"

    def _save(self, step: int) -> None:
        assert self._generator is not None
        self._average_waiting()
        self._check_finite(step)
        self._check_folder()
        state = {
            "step": step,
            "torch_rng": torch.get_rng_state(),
            "data_rng": self._generator.get_state(),
            "elapsed_s": time.perf_counter() - self._started,
            "waiting": {name: torch.stack(values) for name, values in self._waiting.items()},
            "states": {name: item.state_dict() for name, item in self._stateful.items()},
        }
        if processes.is_main():
            last, before = self._checkpoints
            _save_tensors(last, state, before)
        self._saved_step = step

    def _restore(self) -> int:
        """Load the last checkpoint that can be read; return its step, 0 without one."""
        path = self._last_checkpoint()
        if path is None:
            return 0
        state = torch.load(path, weights_only=True)
        for name, item in self._stateful.items():
            item.load_state_dict(state["states"][name])
        torch.set_rng_state(state["torch_rng"])
        assert self._generator is not None
        self._generator.set_state(state["data_rng"])
        self._waiting = {name: list(values) for name, values in state["waiting"].items()}
        self._started -= state["elapsed_s"]
        self._saved_step = state["step"]
        print(f"  resumed at step {self._saved_step}", flush=True)
        return self._saved_step

    @main_only
    def _last_checkpoint(self) -> Path | None:
        """The last one that can be read; those that cannot are removed."""
        for path in self._checkpoints:
            if path.is_file() and _is_damaged(path):
                print(f"  warning: {path} is damaged, going on from what was before", flush=True)
                path.unlink()
        return next((path for path in self._checkpoints if path.is_file()), None)

    def _remove_checkpoints(self) -> None:
        for path in self._checkpoints:
            path.unlink(missing_ok=True)

    @main_only
    def _forget_after(self, last: int) -> None:
        """Remove logged steps that will be taken again, and a line cut short by a kill."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        write_text(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] <= last))

    # Results ----------------------------------------------------------------------------------

    def sample(self, name: str, picture: Uint8) -> None:
        """Write a picture of samples, bright ink on dark."""
        if not processes.is_main():
            return
        self._check_folder()
        path = self.folder / "samples" / f"{name}.png"
        save_png(path, picture)
        if self._tracker is not None:
            with self._tracking():
                import wandb

                self._tracker.log({name.split("_")[0]: wandb.Image(str(path))})

    @main_only
    def finish(self, metrics: Mapping[str, Any], outputs: Sequence[Path] = ()) -> Path:
        """Write the metrics, mark the run as done, remove the checkpoints; return the folder."""
        self._check_folder()
        for output in outputs:
            assert output.is_file(), output
        seconds = round(time.perf_counter() - self._started, 2)
        metrics = {**_plain(metrics), "duration_s": seconds}
        write_json(self.folder / "metrics.json", metrics)
        if self._tracker is not None:
            with self._tracking():
                self._tracker.summary.update(metrics)
                self._tracker.finish()
        names = [os.path.relpath(output, self.folder) for output in outputs]
        write_json(self.folder / "done.json", {"key": self.key, "outputs": names})
        self._remove_checkpoints()
        if self._claim is not None:
            self._claim.release()
        return self.folder


def run_folder(config: Config) -> Path:
    """The folder of the study."""
    return Path(config.runs_dir).absolute() / config.name


def main_claim(folder: Path, patience_s: float | None = None) -> AbstractContextManager[object]:
    """The first process's :class:`Claim` to write into a folder; others may write below it."""
    if processes.is_main():
        return Claim(folder, patience_s, below=False)
    return nullcontext()


def _versions() -> dict[str, str]:
    names = ("torch", "timm", "open_clip_torch", "numpy", "pillow", "kanjivg", "hydra-core")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}


# Weights: what a stage hands to the next ----------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """A trained network as a file tells it.

    Attributes:
        path: the file.
        kind: which stage made it.
        arguments: of the network's constructor.
        facts: what a later stage must know: characters, vocabulary, model mode, writers seen.
        state: the weights.
    """

    path: Path
    kind: str
    arguments: dict[str, Any]
    facts: dict[str, Any]
    state: dict[str, Tensor]

    def require_characters(self, characters: Sequence[str]) -> None:
        """Check that the network knows the study's classes, in this order.

        Raises:
            InputError: it was trained on others.
        """
        own = list(self.facts["characters"])
        if own != list(characters):
            raise InputError(
                f"{self.path} was trained on {len(own)} other characters ({''.join(own[:10])}...) "
                f"than this study's {len(characters)} ({''.join(characters[:10])}...)"
            )


@main_only
def save_weights(
    path: Path, kind: str, arguments: Mapping[str, Any], facts: Mapping[str, Any],
    state: Mapping[str, Tensor],
) -> Path:  # fmt: skip
    """Write weights with what it takes to build the network again; no code is stored."""
    value = {
        "kind": kind,
        "arguments": _plain(arguments),
        "facts": _plain(facts),
        "state": {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
    }
    _save_tensors(path, value)
    return path


def _save_tensors(path: Path, value: Any, before: Path | None = None) -> None:
    """Write tensors; the file that was there takes the name ``before``, if one is given."""

    def write(temporary: Path) -> None:
        try:
            # By an open file: by a path, torch writes the file's temporary name into it, and equal
            # weights would have unequal bytes.
            with open(temporary, "wb") as file:
                torch.save(value, file)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(
                errno.EIO, f"torch cannot write it, is the disk full? ({error})"
            ) from error
        if before is not None and path.is_file():
            os.replace(path, before)

    write_atomically(path, write)


def _is_damaged(path: Path) -> bool:
    """Whether bytes of a file of tensors are missing or others than were written."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:  # torch does not look at the check sums
                return archive.testzip() is not None
        except Exception:  # zipfile raises whatever the broken bytes lead to
            return True


def load_weights(path: str | Path, kind: str, made_by: str) -> Weights:
    """Read weights without running any code from the file.

    Args:
        path: the file, or the run folder that holds ``<kind>.pt``.
        kind: what it must hold.
        made_by: the command that makes such weights, for the error.

    Raises:
        InputError: missing, not a weight file, or of another kind.
    """
    path = Path(path)
    if path.is_dir():
        path = path / f"{kind}.pt"
    if not path.is_file():
        raise InputError(f"no {kind} weights at {path}: run {made_by} first, or name them")
    try:
        value = torch.load(path, weights_only=True, map_location="cpu")
        weights = Weights(path, **value)
    except Exception as error:  # torch raises whatever the broken bytes lead to
        raise InputError(f"{path} is not a weight file of this project: {error}") from error
    if weights.kind != kind:
        raise InputError(f"{path} holds {weights.kind} weights, expected {kind} ({made_by})")
    return weights
