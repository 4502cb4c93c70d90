"""A run: the folder of a stage, with a record of its inputs, its progress and its outputs.

``config.json`` (the sections that matter), ``metrics.jsonl`` (a line per logged step),
``samples/``, ``lock`` and two checkpoints while it runs, then the weights, ``metrics.json`` and,
last, ``done.json`` with the key of all inputs and the stamps of all outputs. A stage whose key is
unchanged and whose files are intact is skipped; an interrupted stage resumes from its checkpoint.
With several processes, only rank 0 writes; they start, stop and end together.
"""

import importlib.metadata
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from handwriting.config import Config
from handwriting.errors import InputError
from handwriting.images.canonical import Uint8
from handwriting.images.sheets import save_animation, save_png
from handwriting.parallel import ranks
from handwriting.parallel.progress import progress
from handwriting.parallel.ranks import main_only
from handwriting.parallel.signals import Stop
from handwriting.runs.checkpoint import Checkpoints, read_checkpoint
from handwriting.runs.folder import (
    changes,
    damage_of,
    date_of,
    images_key,
    require_kind,
    run_folder,
    versions,
)
from handwriting.runs.metrics_log import MetricsLog
from handwriting.runs.runtime import precision_of
from handwriting.runs.tracking import Tracker
from handwriting.storage.json_files import plain, read_or_empty, write_json
from handwriting.storage.keys import content_key, file_key
from handwriting.storage.locks import HOLDER_FILE, FolderLock
from handwriting.storage.places import git_commit
from handwriting.storage.stamps import stamps

FORMAT = 3  # version of what a run writes: folders of an earlier one are remade, not misread
LOG_EVERY = 50  # steps: losses stay on the device until then
AGREE_EVERY = 10  # steps between two agreements of several processes on whether to stop


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
        self._tracker = Tracker(config.tracking)
        self.folder = run_folder(config) / folder
        self._name = os.path.relpath(self.folder, run_folder(config))
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
        self._kind = sections[-1]  # the stage's own section
        self._lock: FolderLock | None = None
        self._log = MetricsLog(self.folder)
        self._checkpoints = Checkpoints(self.folder)
        self._stateful: dict[str, Any] = {}
        self._rng = torch.Generator()
        self._saved_step = 0
        self._started = time.perf_counter()

    # Begin and end ----------------------------------------------------------------------------

    @property
    @main_only
    def is_done(self) -> bool:
        """Whether this run has finished with the same inputs before, and its files are intact.

        If so, leftovers of a kill between its end and its clean-up are removed.

        Raises:
            InputError: a record is missing or damaged, and the run took long.
        """
        path = self.folder / "done.json"
        if not path.exists():
            return False
        done = read_or_empty(path)
        if done.get("key", self.key) != self.key:
            return False
        if problem := damage_of(self.folder, done):
            self.tell(f"{problem}: re-running this stage")
            return False
        if self._checkpoints or (self.folder / HOLDER_FILE).is_file():
            with FolderLock(self.folder):
                self._checkpoints.remove()
        return True

    def begin(self) -> "Run":
        """Open the folder for writing; checkpoints of other inputs are removed.

        Raises:
            InputError: it holds something else, another run is writing into it, or it cannot be
                written to.
        """
        self._open()
        return self

    @main_only
    def _open(self) -> None:
        require_kind(self.folder, self._kind)
        self._lock = FolderLock(self.folder)
        done, facts = self.folder / "done.json", self.folder / "config.json"
        before = read_or_empty(facts)
        if before.get("key", self.key) != self.key and (done.exists() or self._checkpoints):
            result = f"the result of {date_of(done)}" if done.exists() else "an unfinished run"
            differing = changes(before, self._facts)
            self.tell(f"re-running, {differing}: replaces {result}")
        if before.get("key") != self.key:
            self._checkpoints.remove()
            self._log.path.unlink(missing_ok=True)
        write_json(facts, self._facts)
        done.unlink(missing_ok=True)  # at any time, one of the two files tells what the folder is
        self.tell(f"-> {self.folder}")
        self._tracker.start(f"{self._config.name}/{self._name}", self.folder, self._facts)

    def tell(self, text: str) -> None:
        """Print a line that begins with the run's name: several runs may be in progress."""
        print(f"[{self._name}] {text}", flush=True)

    @main_only
    def finish(self, metrics: Mapping[str, Any], outputs: Sequence[Path] = ()) -> Path:
        """Write the metrics, mark the run as done, remove the checkpoints; return the folder."""
        self._check_folder()
        results = plain(metrics)
        if warnings := self._log.warnings():
            results["warnings"] = warnings
        results["duration_s"] = round(time.perf_counter() - self._started, 2)
        write_json(self.folder / "metrics.json", results)
        self._tracker.close(results)
        records = [self.folder / name for name in ("config.json", "metrics.json", "metrics.jsonl")]
        records += sorted((self.folder / "samples").glob("[!.]*.*"))
        done = {
            "key": self.key,
            "duration_s": results["duration_s"],
            "outputs": stamps(self.folder, outputs),
            "records": stamps(self.folder, filter(Path.is_file, records)),
            "images": images_key(self.folder),
        }
        write_json(self.folder / "done.json", done)
        self._checkpoints.remove()
        if self._lock is not None:
            self._lock.release()
        return self.folder

    # Training ---------------------------------------------------------------------------------

    def steps(
        self, num_steps: int, stateful: Mapping[str, Any], rng: torch.Generator
    ) -> Iterator[int]:
        """The numbers of the steps to take, up to ``num_steps``, resuming from a checkpoint if any.

        Args:
            num_steps: the last step.
            stateful: networks, optimizers and averages, anything with ``state_dict`` and
                ``load_state_dict``, saved and restored by name.
            rng: draws the data; saved together with torch's own generators.

        On Ctrl-C or SIGTERM, the step ends and a checkpoint is written; then the process stops.

        Raises:
            FloatingPointError: a logged value or a weight is not finite.
            InputError: the disk is full, or the folder was removed.
        """
        self._stateful, self._rng = dict(stateful), rng
        step = self._restore()
        main_only(self._log.forget_after)(step)
        saved = time.monotonic()
        steps = progress(range(step + 1, num_steps + 1), num_steps - step, self.folder.name)
        with Stop() as stop:
            for step in steps:
                yield step
                if step % LOG_EVERY == 0 or step == num_steps:
                    self._check(step)
                    self._tracker.log(self._log.flush(step), step)
                if ranks.world_size() > 1 and step % AGREE_EVERY and step != num_steps:
                    continue
                # By rank 0's clock, and for a signal to any rank.
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
            if number:  # if a neighbour has stopped, a worker gets it again while it saves
                stop.signal = number
                self._save(step)
                self.tell(f"stopped after step {step}: run the same command to resume")
                stop.now()

    def log(self, **values: Tensor) -> None:
        """Add scalars, once per step; their means are written every ``LOG_EVERY`` steps."""
        self._log.add(values)

    def warn(self, step: int, text: str) -> None:
        """Warn that something looks wrong: here, in the log and in the study's report."""
        self._log.warn(step, text)

    @main_only
    def last_logged(self) -> dict[str, float]:
        """The means of the last logged steps, by name."""
        return self._log.last()

    def sample(self, name: str, picture: Uint8) -> None:
        """Write a picture of samples, given as bright ink on dark."""
        if not ranks.is_main():
            return
        self._check_folder()
        path = self.folder / "samples" / f"{name}.png"
        save_png(path, picture)
        self._tracker.image(name.split("_")[0], path)

    @main_only
    def animate(self, name: str, samples: Sequence[str]) -> None:
        """Write an animation of pictures that :meth:`sample` wrote."""
        folder = self.folder / "samples"
        save_animation(folder / f"{name}.gif", [folder / f"{sample}.png" for sample in samples])

    # Checkpoints ------------------------------------------------------------------------------

    def _save(self, step: int) -> None:
        self._check(step)
        state = {
            "step": step,
            "torch_rng": torch.get_rng_state(),
            "data_rng": self._rng.get_state(),
            "elapsed_s": time.perf_counter() - self._started,
            "waiting": {name: torch.stack(values) for name, values in self._log.waiting.items()},
            "states": {name: item.state_dict() for name, item in self._stateful.items()},
        }
        if self._rng.device.type == "cuda":  # dropout draws there
            state["cuda_rng"] = torch.cuda.get_rng_state(self._rng.device)
        if ranks.is_main():
            self._checkpoints.save(state)
        self._saved_step = step

    def _restore(self) -> int:
        """Load the last checkpoint that can be read; return its step, 0 without one."""
        path = main_only(self._checkpoints.last)()
        if path is None:
            return 0
        try:
            state = read_checkpoint(path)
            for name, item in self._stateful.items():
                item.load_state_dict(state["states"][name])
            torch.set_rng_state(state["torch_rng"])
            if self._rng.device.type == "cuda":
                if "cuda_rng" not in state:
                    raise ValueError("it was made on a CPU, and this run is on a GPU")
                torch.cuda.set_rng_state(state["cuda_rng"], self._rng.device)
            self._rng.set_state(state["data_rng"])
            waiting = {k: list(v.to(self._rng.device)) for k, v in state["waiting"].items()}
            self._log.waiting = waiting
            self._started -= state["elapsed_s"]
            self._saved_step = state["step"]
        except (RuntimeError, ValueError, LookupError) as error:
            raise InputError(
                f"{path} is not a checkpoint of this run: move it away to start afresh ({error})"
            ) from error
        self.tell(f"resumed at step {self._saved_step}")
        return self._saved_step

    def _check(self, step: int) -> None:
        """Check the logged values and the weights after a step, and the folder."""
        self._log.average()
        first = self._log.not_finite(step)
        for name, item in self._stateful.items():
            parameters = item.parameters() if isinstance(item, nn.Module) else ()
            if not all(bool(parameter.isfinite().all()) for parameter in parameters):
                first.setdefault(f"weights of {name}", step)
        if first:
            earliest = min(first.values())
            names = ", ".join(name for name, at in first.items() if at == earliest)
            raise FloatingPointError(
                f"{self.folder.name}: {names} not finite at step {earliest}. Run the same command "
                f"to resume after step {self._saved_step}, the last that was saved; if it fails "
                "there again, lower the learning rate or set runtime.precision=no"
            )
        self._check_folder()

    def _check_folder(self) -> None:
        if self._lock is not None:
            self._lock.check()
