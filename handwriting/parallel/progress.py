"""Progress bars on everything that takes more than a few seconds."""

import os
import sys
import threading
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process leaves behind


def progress(items: Iterable[T], total: int, description: str) -> Iterable[T]:
    """``items`` with a bar on a terminal; in a log file one line a minute at the most.

    Of several processes the first shows it.
    """
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        disable=os.environ.get("RANK", "0") != "0",  # as torchrun tells it
        desc=description,
        leave=False,
        delay=2.0,
        mininterval=0.2 if interactive else 60.0,
        ascii=not interactive,
    )
