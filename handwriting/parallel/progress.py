"""Progress bars on everything that takes more than a few seconds."""

import os
import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

tqdm.set_lock(threading.RLock())  # tqdm's own is a semaphore, which a killed process leaks


def progress(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """``items`` with a progress bar on a terminal; in a log file, at most one line a minute.

    With several processes, only rank 0 shows it.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        disable=os.environ.get("RANK", "0") != "0",  # set by torchrun
        desc=description,
        leave=False,
        delay=2.0,
        mininterval=0.2 if interactive else 60.0,
        ascii=not interactive,
    )
