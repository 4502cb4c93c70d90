"""Ctrl-C and SIGTERM, deferred to the end of a training step."""

import multiprocessing
import signal
import threading
import time
from typing import Any

from handwriting.parallel import ranks

REPEATED_S = 2.0  # torchrun and the scheduler may both forward one signal


class Stop:
    """Defers Ctrl-C and SIGTERM to the end of a step; a second signal stops at once.

    With several processes, each of which may receive one signal twice, the second must come more
    than ``REPEATED_S`` later. A worker ignores it: the same signal reaches it from the scheduler,
    which signals all processes, and from its parent.

    Attributes:
        signal: the signal received, None before that.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._noted_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():  # only it may set handlers
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
            ranks.world_size() == 1 or time.monotonic() - self._noted_at > REPEATED_S
        ):
            self.now()

    def now(self) -> None:
        """Stop as the signal would have done."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)
