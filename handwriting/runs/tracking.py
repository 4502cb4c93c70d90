"""Weights & Biases, which a run's values are logged to where the configuration says so."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Tracker:
    """Logs to wandb once started, ``offline`` to its files in the run's folder.

    A failure is a warning and ends the tracking, not the run.
    """

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._is_on = False

    def start(self, name: str, folder: Path, facts: dict[str, Any]) -> None:
        def init() -> None:
            import wandb

            self._to_image = wandb.Image
            self._run: Any = wandb.init(
                project="handwriting-augmentation", name=name, dir=folder, config=facts,
                mode=self._mode,  # type: ignore[arg-type]
            )  # fmt: skip

        self._is_on = self._mode != "disabled"
        self._tell(init)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._tell(lambda: self._run.log(values, step=step))

    def image(self, name: str, path: Path) -> None:
        self._tell(lambda: self._run.log({name: self._to_image(str(path))}))

    def close(self, metrics: Mapping[str, Any]) -> None:
        """The run has ended with these results."""
        self._tell(lambda: self._run.summary.update(metrics))
        self._tell(lambda: self._run.finish())

    def _tell(self, action: Callable[[], object]) -> None:
        if not self._is_on:
            return
        try:
            action()
        except Exception as error:
            self._is_on = False
            print(f"  warning: tracking ended, the run goes on: {error!r}", flush=True)
