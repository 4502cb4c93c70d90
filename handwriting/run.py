"""A run: the folder of a stage, with what went in, what happened and what came out.

``config.json`` (the sections that matter), ``metrics.jsonl`` (a line per logged step),
``samples/``, ``checkpoint.pt`` while it runs, then ``metrics.json``, the weights and, last,
``done.json`` with the key of everything that went in. A stage whose key is unchanged is not run
again; a stage that was interrupted goes on from its checkpoint.
"""

import errno
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handwriting.config import Config, Tracking
from handwriting.errors import InputError
from handwriting.files import (
    append_line,
    content_key,
    read_json,
    write_atomically,
    write_json,
    write_text,
)
from handwriting.images import Uint8, save_png
from handwriting.progress import progress

LOG_EVERY = 50  # steps: losses stay on the device until then


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
        facts["precision"] = config.runtime.precision
        keys = {k: file_key(v) if isinstance(v, Path) else _plain(v) for k, v in inputs.items()}
        self.key = content_key(facts, keys, importlib.metadata.version("handwriting-augmentation"))
        self._facts = {**facts, "inputs": keys, "key": self.key, "versions": _versions()}
        self._stateful: dict[str, Any] = {}
        self._generator: torch.Generator | None = None
        self._waiting: dict[str, list[Tensor]] = {}
        self._tracker: Any = None
        self._started = time.perf_counter()

    @property
    def is_done(self) -> bool:
        """Whether this run ended with the same inputs before, and what it made is still there."""
        path = self.folder / "done.json"
        done = read_json(path) if path.is_file() else {}
        outputs = [self.folder / name for name in done.get("outputs", [])]
        return done.get("key") == self.key and all(output.is_file() for output in outputs)

    def begin(self) -> "Run":
        """Open the folder for writing; a checkpoint of other inputs is removed."""
        (self.folder / "done.json").unlink(missing_ok=True)
        old = self.folder / "config.json"
        if not old.is_file() or read_json(old).get("key") != self.key:
            (self.folder / "checkpoint.pt").unlink(missing_ok=True)
            (self.folder / "metrics.jsonl").unlink(missing_ok=True)
        write_json(old, self._facts)
        name = os.path.relpath(self.folder, run_folder(self._config))
        print(f"[{name}] -> {self.folder}", flush=True)
        if self._config.tracking is not Tracking.disabled:
            import wandb

            self._tracker = wandb.init(
                project="handwriting-augmentation",
                name=f"{self._config.name}/{name}",
                mode=self._config.tracking.value,
                dir=self.folder,
                config=self._facts,
            )
        return self

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

        Raises:
            FloatingPointError: a logged value is not finite.
        """
        self._stateful, self._generator = dict(stateful), generator
        first = self._restore() + 1
        self._forget_from(first)
        saved = time.monotonic()
        steps = progress(range(first, num_steps + 1), num_steps - first + 1, self.folder.name)
        for step in steps:
            yield step
            if step % LOG_EVERY == 0 or step == num_steps:
                self._flush(step)
            if time.monotonic() - saved > self._config.runtime.checkpoint_every_s:
                self._save(step)
                saved = time.monotonic()

    def log(self, **values: Tensor) -> None:
        """Note scalars of this step; their means are written every ``LOG_EVERY`` steps."""
        for name, value in values.items():
            self._waiting.setdefault(name, []).append(value.detach())

    def last_logged(self) -> dict[str, float]:
        """The means of the last logged steps, by name."""
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {name: value for name, value in json.loads(lines[-1]).items() if name != "step"}

    def _flush(self, step: int) -> None:
        means = {k: float(torch.stack(v).float().mean()) for k, v in self._waiting.items()}
        self._waiting.clear()
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise FloatingPointError(
                f"{self.folder.name}: {', '.join(broken)} not finite at or before step {step}"
            )
        line = json.dumps({"step": step, **{k: round(v, 5) for k, v in means.items()}})
        append_line(self.folder / "metrics.jsonl", line)
        if self._tracker is not None:
            self._tracker.log(means, step=step)

    def _save(self, step: int) -> None:
        assert self._generator is not None
        state = {
            "step": step,
            "torch_rng": torch.get_rng_state(),
            "data_rng": self._generator.get_state(),
            "elapsed_s": time.perf_counter() - self._started,
            "waiting": {name: torch.stack(values) for name, values in self._waiting.items()},
            "states": {name: item.state_dict() for name, item in self._stateful.items()},
        }
        _save_tensors(self.folder / "checkpoint.pt", state)

    def _restore(self) -> int:
        """Load the checkpoint; return its step, 0 without one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return 0
        state = torch.load(path, weights_only=True)
        for name, item in self._stateful.items():
            item.load_state_dict(state["states"][name])
        torch.set_rng_state(state["torch_rng"])
        assert self._generator is not None
        self._generator.set_state(state["data_rng"])
        self._waiting = {name: list(values) for name, values in state["waiting"].items()}
        self._started -= state["elapsed_s"]
        step: int = state["step"]
        print(f"  resumed at step {step}", flush=True)
        return step

    def _forget_from(self, first: int) -> None:
        """Remove logged steps that will be taken again, and a line cut short by a kill."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        write_text(path, "".join(f"{line}\n" for line in lines if json.loads(line)["step"] < first))

    # Results ----------------------------------------------------------------------------------

    def sample(self, name: str, picture: Uint8) -> None:
        """Write a picture of samples, bright ink on dark."""
        path = self.folder / "samples" / f"{name}.png"
        save_png(path, picture)
        if self._tracker is not None:
            import wandb

            self._tracker.log({name.split("_")[0]: wandb.Image(str(path))})

    def finish(self, metrics: Mapping[str, Any], outputs: Sequence[Path] = ()) -> Path:
        """Write the metrics, mark the run as done, remove the checkpoint; return the folder."""
        for output in outputs:
            assert output.is_file(), output
        seconds = round(time.perf_counter() - self._started, 2)
        metrics = {**_plain(metrics), "duration_s": seconds}
        write_json(self.folder / "metrics.json", metrics)
        if self._tracker is not None:
            self._tracker.summary.update(metrics)
            self._tracker.finish()
        names = [os.path.relpath(output, self.folder) for output in outputs]
        write_json(self.folder / "done.json", {"key": self.key, "outputs": names})
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        return self.folder


def run_folder(config: Config) -> Path:
    """The folder of the study."""
    return Path(config.runs_dir).absolute() / config.name


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


def _save_tensors(path: Path, value: Any) -> None:
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

    write_atomically(path, write)


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
