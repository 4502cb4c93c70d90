"""Function calls in another process, with limits on CPU time and memory.

For parsing files of unknown origin: a font of 2 kB can keep FreeType busy forever.
"""

import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from handwriting.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

MAX_CPU_S = 20  # CPU time of a call; on a busy machine, wall-clock time would stop harmless ones
MAX_BYTES = 2**30  # of the process
OUT_OF_MEMORY = "out of memory"  # FreeType's message

_child: subprocess.Popen[bytes] | None = None  # serves all calls; exits when its stdin is closed


def call_limited(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The value of a function, which must be importable by name.

    Raises:
        InputError: the function raised any exception, or its process was killed.
    """
    global _child
    if _child is None or _child.poll() is not None:
        _child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for this process only
        )
    assert _child.stdin is not None
    assert _child.stdout is not None
    try:
        pickle.dump((function, args, kwargs, MAX_CPU_S, MAX_BYTES), _child.stdin)
        _child.stdin.flush()
        answer = pickle.load(_child.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(_how_it_ended(_child.wait())) from error
    except BaseException:  # otherwise the next call would read this call's answer
        _child.kill()
        _child.wait()
        raise
    if isinstance(answer, InputError):
        raise answer
    return answer


def _how_it_ended(status: int) -> str:
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    if name == "SIGXCPU":
        return f"takes more than {MAX_CPU_S} s of CPU time"
    return f"crashes the process that reads it ({name})"


def _serve() -> None:
    """Answer calls until stdin is closed."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints must not end up among the answers
    logging.disable()  # fontTools warns of much that is harmless
    with suppress(EOFError):
        while True:
            function, args, kwargs, max_cpu_s, max_bytes = pickle.load(sys.stdin.buffer)
            _limit(max_cpu_s, max_bytes)
            try:
                answer: Any = function(*args, **kwargs)
            except Exception as error:  # parsers raise whatever broken bytes lead to
                answer = InputError(str(error) or type(error).__name__)
                if isinstance(error, MemoryError) or str(error) == OUT_OF_MEMORY:
                    answer = InputError(f"needs more than {max_bytes / 2**30:.2g} GB of memory")
            pickle.dump(answer, answers)
            answers.flush()


def _limit(max_cpu_s: int, max_bytes: int) -> None:
    if sys.platform == "win32":  # has no such limits; a crash at least ends only this process
        return
    import resource

    until_s = math.ceil(time.process_time()) + max_cpu_s
    limits = {"RLIMIT_CPU": until_s, "RLIMIT_AS": max_bytes, "RLIMIT_CORE": 0}
    for kind, limit in ((getattr(resource, name), limit) for name, limit in limits.items()):
        _, most = resource.getrlimit(kind)
        with suppress(ValueError):  # macOS does not limit memory
            resource.setrlimit(kind, (min(limit, most if most >= 0 else limit), most))


if __name__ == "__main__":
    _serve()
