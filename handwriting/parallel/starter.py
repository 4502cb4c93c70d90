"""Processes that stop, as on SIGTERM, when their parent has ended, even if it was killed."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

STARTER = os.getppid()  # read before torch is imported, which takes seconds


def stop_after(wait: Callable[[], object]) -> None:
    """Stop this process as soon as ``wait`` returns."""

    def follow() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def following_starter() -> Iterator[None]:
    """Stop when torchrun, or the main process of a sweep, has ended; shells are not followed."""
    is_worker = multiprocessing.parent_process() is not None
    if is_worker or "TORCHELASTIC_RUN_ID" in os.environ:
        _follow()
    try:
        yield
    finally:
        if is_worker and os.getppid() != STARTER:  # joblib would wait forever for another job
            sys.stdout.flush()
            os._exit(128 + signal.SIGTERM)


@cache
def _follow() -> None:
    def wait() -> None:
        while os.getppid() == STARTER:
            time.sleep(0.5)

    stop_after(wait)
