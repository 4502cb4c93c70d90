"""Logging of a run to Weights & Biases, if the configuration asks for it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Tracker:
    """Logs to wandb once started; ``offline``, to files in the run's folder.

    A failure only causes a warning and ends the tracking, not the run.
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
        self._try(init)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._try(lambda: self._run.log(values, step=step))

    def image(self, name: str, path: Path) -> None:
        self._try(lambda: self._run.log({name: self._to_image(str(path))}))

    def close(self, metrics: Mapping[str, Any]) -> None:
        """End the tracking with the run's results."""
        self._try(lambda: self._run.summary.update(metrics))
        self._try(lambda: self._run.finish())

    def _try(self, action: Callable[[], object]) -> None:
        if not self._is_on:
            return
        try:
            action()
        except Exception as error:
            self._is_on = False
            print(f"  warning: tracking failed, the run continues: {error!r}", flush=True)
