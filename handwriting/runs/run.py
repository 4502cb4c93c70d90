"""A run: the folder of a stage, with what went in, what happened and what came out.

``config.json`` (the sections that matter), ``metrics.jsonl`` (a line per logged step),
``samples/``, ``lock`` and two checkpoints while it runs, then the weights, ``metrics.json`` and,
last, ``done.json`` with the key of everything that went in. A stage whose key is unchanged is not
run again; a stage that was interrupted goes on from its checkpoint. Of several processes the first
writes; they begin, stop and end together.
"""

import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handwriting.config import Config, Tracking
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import save_animation, save_png
from handwriting.parallel import ranks
from handwriting.parallel.progress import progress
from handwriting.parallel.ranks import all_reduce_mean_, main_only
from handwriting.parallel.signals import Stop
from handwriting.runs.checkpoint import read_checkpoint, save_checkpoint
from handwriting.runs.runtime import precision_of
from handwriting.storage.atomic import append_line, write_text
from handwriting.storage.json_files import plain, read_json, write_json
from handwriting.storage.keys import content_key, file_key
from handwriting.storage.locks import FolderLock
from handwriting.storage.places import git_commit

FORMAT = 2  # of what a run writes: folders of an earlier one are remade, not misread
LOG_EVERY = 50  # steps: losses stay on the device until then
AGREE_EVERY = 10  # steps: until then several processes do not ask each other whether to stop


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
        facts = {section: plain(getattr(config, section)) for section in sections}
        facts["precision"] = precision_of(config.runtime)
        keys = {k: file_key(v) if isinstance(v, Path) else plain(v) for k, v in inputs.items()}
        version = importlib.metadata.version("handwriting-augmentation")
        self.key = content_key(FORMAT, facts, keys, version)
        self._facts = {
            **facts, "inputs": keys, "key": self.key, "versions": versions(),
            "commit": git_commit(),
        }  # fmt: skip
        self._claim: FolderLock | None = None
        self._stateful: dict[str, Any] = {}
        self._rng: torch.Generator | None = None
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
            with FolderLock(self.folder):
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
        self._claim = FolderLock(self.folder)
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
        self, num_steps: int, stateful: Mapping[str, Any], rng: torch.Generator
    ) -> Iterator[int]:
        """The numbers of the steps to take, 1 to ``num_steps``, from a checkpoint if there is one.

        Args:
            num_steps: where training ends.
            stateful: networks, optimizers and averages, anything with ``state_dict`` and
                ``load_state_dict``, saved and restored by name.
            rng: that draws the data; torch's own is saved beside it.

        Ctrl-C and SIGTERM let the step end and a checkpoint be written, then stop the process.

        Raises:
            FloatingPointError: a logged value or a weight is not finite.
            InputError: the disk is full, or the folder was removed.
        """
        self._stateful, self._rng = dict(stateful), rng
        step = self._restore()
        self._forget_after(step)
        saved = time.monotonic()
        steps = progress(range(step + 1, num_steps + 1), num_steps - step, self.folder.name)
        with Stop() as stop:
            for step in steps:
                yield step
                if step % LOG_EVERY == 0 or step == num_steps:
                    self._flush(step)
                if ranks.world_size() > 1 and step % AGREE_EVERY and step != num_steps:
                    continue
                # By the first's clock, and by whomever a signal reached.
                is_due = time.monotonic() - saved > self._config.runtime.checkpoint_every_s
                due, number = ranks.all_reduce_max(
                    int(is_due and ranks.is_main()), stop.signal or 0
                )
                if number:
                    break
                if due:
                    self._save(step)
                    saved = time.monotonic()
        (number,) = ranks.all_reduce_max(stop.signal or 0)
        if number:
            stop.signal = number
            self._save(step)
            print(f"  stopped after step {step}: run the same command to resume", flush=True)
            stop.now()

    def log(self, **values: Tensor) -> None:
        """Note scalars, once a step; their means are written every ``LOG_EVERY`` steps."""
        for name, value in values.items():
            self._waiting.setdefault(name, []).append(value.detach())

    def warn(self, step: int, text: str) -> None:
        """Say that something looks wrong: now, in the log and in the study's report."""
        if not ranks.is_main():
            return
        print(f"  warning: step {step}: {text}", flush=True)
        append_line(self.folder / "metrics.jsonl", json.dumps({"step": step, "warning": text}))

    def _warnings(self) -> list[str]:
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        found = [line for line in map(json.loads, lines) if "warning" in line]
        return [f"step {line['step']}: {line['warning']}" for line in found]

    @main_only
    def last_logged(self) -> dict[str, float]:
        """The means of the last logged steps, by name."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {name: value for name, value in json.loads(lines[-1]).items() if name != "step"}

    def _flush(self, step: int) -> None:
        self._average_waiting()
        self._check_finite(step, self._waiting)
        self._check_folder()
        means = {
            name: float(torch.stack(values).float().mean())
            for name, values in self._waiting.items()
        }
        self._waiting.clear()
        if not ranks.is_main():
            return
        line = json.dumps({"step": step, **{name: round(v, 5) for name, v in means.items()}})
        append_line(self.folder / "metrics.jsonl", line)
        if self._tracker is not None:
            with self._tracking():
                self._tracker.log(means, step=step)

    def _average_waiting(self) -> None:
        """Average what was logged over the processes; twice is as once."""
        stacked = {name: torch.stack(values) for name, values in self._waiting.items()}
        all_reduce_mean_(list(stacked.values()))
        self._waiting = {name: list(values) for name, values in stacked.items()}

    def _check_finite(self, step: int, waiting: Mapping[str, list[Tensor]]) -> None:
        """Check what was logged up to a step, and the weights that it ended with."""
        first: dict[str, int] = {}
        for name, values in waiting.items():
            finite = torch.stack(values).isfinite().tolist()
            if not all(finite):
                first[name] = step - len(finite) + 1 + finite.index(False)
        for name, item in self._stateful.items():
            parameters = item.parameters() if isinstance(item, nn.Module) else ()
            if not all(bool(parameter.isfinite().all()) for parameter in parameters):
                first.setdefault(f"weights of {name}", step)
        if not first:
            return
        earliest = min(first.values())
        names = ", ".join(name for name, at in first.items() if at == earliest)
        raise FloatingPointError(
            f"{self.folder.name}: {names} not finite at step {earliest}. Run the same command to "
            f"resume after step {self._saved_step}, the last that was saved; if it stops there "
            "again, lower the learning rate or take runtime.precision=no"
        )

    def _check_folder(self) -> None:
        if self._claim is not None:
            self._claim.check()

    @property
    def _checkpoints(self) -> tuple[Path, Path]:
        """The last one and the one before."""
        return self.folder / "checkpoint.pt", self.folder / "checkpoint.pt.before"

    def _save(self, step: int) -> None:
        assert self._rng is not None
        self._average_waiting()
        self._check_finite(step, self._waiting)
        self._check_folder()
        state = {
            "step": step,
            "torch_rng": torch.get_rng_state(),
            "data_rng": self._rng.get_state(),
            "elapsed_s": time.perf_counter() - self._started,
            "waiting": {name: torch.stack(values) for name, values in self._waiting.items()},
            "states": {name: item.state_dict() for name, item in self._stateful.items()},
        }
        if ranks.is_main():
            last, before = self._checkpoints
            save_checkpoint(last, state, before)
        self._saved_step = step

    def _restore(self) -> int:
        """Load the last checkpoint that can be read; return its step, 0 without one."""
        path = self._last_checkpoint()
        if path is None:
            return 0
        try:
            self._load(read_checkpoint(path))
        except Exception as error:  # whatever values of other forms lead to
            raise InputError(
                f"{path} is no checkpoint of this run: move it away to start anew ({error})"
            ) from error
        print(f"  resumed at step {self._saved_step}", flush=True)
        return self._saved_step

    @main_only
    def _last_checkpoint(self) -> Path | None:
        """The last one that can be read; those that cannot are removed."""
        for path in self._checkpoints:
            if not path.is_file():
                continue
            try:
                read_checkpoint(path)
                return path
            except ValueError as error:
                print(
                    f"  warning: {path} is damaged ({error}), going on from what was before",
                    flush=True,
                )
                path.unlink()
        return None

    def _load(self, state: dict[str, Any]) -> None:
        assert self._rng is not None
        if type(state["step"]) is not int or state["step"] < 0:
            raise ValueError(f"step {state['step']}")
        for name, item in self._stateful.items():
            item.load_state_dict(state["states"][name])
        torch.set_rng_state(state["torch_rng"])
        self._rng.set_state(state["data_rng"])
        device = self._rng.device
        self._waiting = {k: list(values.to(device)) for k, values in state["waiting"].items()}
        self._started -= state["elapsed_s"]
        self._saved_step = state["step"]

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
        if not ranks.is_main():
            return
        self._check_folder()
        path = self.folder / "samples" / f"{name}.png"
        save_png(path, picture)
        if self._tracker is not None:
            with self._tracking():
                import wandb

                self._tracker.log({name.split("_")[0]: wandb.Image(str(path))})

    @main_only
    def animate(self, name: str, samples: Sequence[str]) -> None:
        """Write an animation of pictures that :meth:`sample` wrote."""
        folder = self.folder / "samples"
        save_animation(folder / f"{name}.gif", [folder / f"{sample}.png" for sample in samples])

    @main_only
    def finish(self, metrics: Mapping[str, Any], outputs: Sequence[Path] = ()) -> Path:
        """Write the metrics, mark the run as done, remove the checkpoints; return the folder."""
        self._check_folder()
        for output in outputs:
            assert output.is_file(), output
        seconds = round(time.perf_counter() - self._started, 2)
        warnings = self._warnings()
        metrics = {**plain(metrics), **({"warnings": warnings} if warnings else {}),
                   "duration_s": seconds}  # fmt: skip
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


def lock_folder(folder: Path, timeout_s: float | None = None) -> AbstractContextManager[object]:
    """The first process's :class:`FolderLock` to write into a folder; others may write below it."""
    if ranks.is_main():
        return FolderLock(folder, timeout_s, below=False)
    return nullcontext()


def versions() -> dict[str, str]:
    names = ("torch", "timm", "open_clip_torch", "numpy", "pillow", "kanjivg", "hydra-core")
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": platform.python_version(), **found}
