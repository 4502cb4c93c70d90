"""Processes that stop, as at SIGTERM, when the one that started them has ended, even if killed."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

STARTER = os.getppid()  # imported before torch, which takes seconds to load


def stop_after(wait: Callable[[], object]) -> None:
    """Stop this process when a function returns that waits for something."""

    def follow() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def following_starter() -> Iterator[None]:
    """Stop when torchrun, or the process that runs a sweep, has ended; not with a shell."""
    is_worker = multiprocessing.parent_process() is not None
    if is_worker or "TORCHELASTIC_RUN_ID" in os.environ:
        _follow()
    try:
        yield
    finally:
        if is_worker and os.getppid() != STARTER:  # joblib would wait for another job, for ever
            sys.stdout.flush()
            os._exit(128 + signal.SIGTERM)


@cache
def _follow() -> None:
    def wait() -> None:
        while os.getppid() == STARTER:
            time.sleep(0.5)

    stop_after(wait)
