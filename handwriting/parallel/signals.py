"""Ctrl-C and SIGTERM, which wait for the end of a step."""

import multiprocessing
import signal
import threading
import time
from typing import Any

from handwriting.parallel import ranks

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
            ranks.world_size() == 1 or time.monotonic() - self._noted_at > REPEATED_S
        ):
            self.now()

    def now(self) -> None:
        """Stop as the signal would have done."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal.SIGTERM)
