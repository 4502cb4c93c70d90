"""``metrics.jsonl``: means of a run's scalars over a few steps per line, and its warnings."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handwriting.errors import InputError, cannot_write
from handwriting.parallel import ranks
from handwriting.parallel.ranks import all_reduce_mean_
from handwriting.storage.atomic import write_text


class MetricsLog:
    """The log in a run's folder.

    Attributes:
        waiting: values of the steps since the last line, by name. They stay on the device.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.jsonl"
        self.waiting: dict[str, list[Tensor]] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add the scalars of a step."""
        for name, value in values.items():
            self.waiting.setdefault(name, []).append(value.detach())

    def average(self) -> None:
        """Average the waiting values over the processes; doing it twice changes nothing."""
        stacked = {name: torch.stack(values) for name, values in self.waiting.items()}
        all_reduce_mean_(list(stacked.values()))
        self.waiting = {name: list(values) for name, values in stacked.items()}

    def not_finite(self, step: int) -> dict[str, int]:
        """The first step up to ``step`` at which a waiting value is not finite, by its name."""
        found = {}
        for name, values in self.waiting.items():
            finite = torch.stack(values).isfinite().tolist()
            if not all(finite):
                found[name] = step - len(finite) + 1 + finite.index(False)
        return found

    def flush(self, step: int) -> dict[str, float]:
        """Write a line with the means of the waiting values; return them."""
        means = {k: float(torch.stack(v).float().mean()) for k, v in self.waiting.items()}
        self.waiting.clear()
        if ranks.is_main():
            self._write({"step": step, **{name: round(v, 5) for name, v in means.items()}})
        return means

    def warn(self, step: int, text: str) -> None:
        """Print and log a warning."""
        if ranks.is_main():
            print(f"  warning: step {step}: {text}", flush=True)
            self._write({"step": step, "warning": text})

    def last(self) -> dict[str, float]:
        """The means of the last line.

        Raises:
            InputError: the log was deleted after the last checkpoint.
        """
        lines = [line for line in self._lines() if "warning" not in line]
        if not lines:
            raise InputError(f"{self.path} is missing: delete {self.path.parent} to train again")
        line = lines[-1]
        return {name: value for name, value in line.items() if name != "step"}

    def warnings(self) -> list[str]:
        lines = [line for line in self._lines() if "warning" in line]
        return [f"step {line['step']}: {line['warning']}" for line in lines]

    def forget_after(self, step: int) -> None:
        """Remove the lines of steps that will be repeated, and one truncated by a kill."""
        if self.path.is_file():
            kept = [json.dumps(line) + "\n" for line in self._lines() if line["step"] <= step]
            write_text(self.path, "".join(kept))

    def _write(self, line: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        *texts, _ = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        lines = []
        for text in texts:
            with suppress(ValueError):  # a damaged line is lost
                lines.append(json.loads(text))
        return [o for o in lines if isinstance(o, dict) and isinstance(o.get("step"), int)]
