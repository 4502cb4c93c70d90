"""Trackers: who else is told of a run's values. Another service is a class and a row here."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

from handwriting.errors import InputError


class Tracker:
    """Tells nobody; the base of those that tell a service."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Scalars by name, at a step."""

    def image(self, name: str, path: Path) -> None:
        """A picture's file."""

    def close(self, metrics: Mapping[str, Any]) -> None:
        """The run has ended with these results."""


class WandbTracker(Tracker):
    """Tells Weights & Biases, or its files in the run's folder with ``mode="offline"``."""

    def __init__(
        self, mode: Literal["offline", "online"], name: str, folder: Path, facts: dict[str, Any]
    ) -> None:
        import wandb

        self._to_image = wandb.Image
        self._run = wandb.init(
            project="handwriting-augmentation", name=name, mode=mode, dir=folder, config=facts
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def image(self, name: str, path: Path) -> None:
        self._run.log({name: self._to_image(str(path))})

    def close(self, metrics: Mapping[str, Any]) -> None:
        self._run.summary.update(metrics)
        self._run.finish()


class SafeTracker(Tracker):
    """Another tracker, whose failure is a warning and ends it, not the run."""

    def __init__(self, start: Callable[[], Tracker]) -> None:
        self._tracker = Tracker()
        with self._warned():
            self._tracker = start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        with self._warned():
            self._tracker.log(values, step)

    def image(self, name: str, path: Path) -> None:
        with self._warned():
            self._tracker.image(name, path)

    def close(self, metrics: Mapping[str, Any]) -> None:
        with self._warned():
            self._tracker.close(metrics)

    @contextmanager
    def _warned(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._tracker = Tracker()
            print(f"  warning: tracking ended, the run goes on: {error!r}", flush=True)


TRACKERS: dict[str, Callable[[str, Path, dict[str, Any]], Tracker]] = {
    "disabled": lambda name, folder, facts: Tracker(),
    "offline": partial(WandbTracker, "offline"),
    "online": partial(WandbTracker, "online"),
}


def check_tracking(kind: str) -> None:
    """Refuse a tracker that there is not.

    Raises:
        InputError: an unknown word.
    """
    if kind not in TRACKERS:
        raise InputError(f"tracking={kind}: expected one of {', '.join(TRACKERS)}")


def start_tracker(kind: str, name: str, folder: Path, facts: dict[str, Any]) -> Tracker:
    """The tracker of a run, as configured."""
    return SafeTracker(lambda: TRACKERS[kind](name, folder, facts))
