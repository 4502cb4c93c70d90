"""Jobs side by side, in processes that stop, with a checkpoint, when their parent does.

Small networks gain more from a process per core than from threads that wait for each other.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch

from handwriting.errors import InputError
from handwriting.parallel import ranks
from handwriting.parallel.progress import progress
from handwriting.parallel.signals import Stop

Argument = TypeVar("Argument")
_STOPPED = 128 + signal.SIGTERM  # the exit code of what SIGTERM has stopped


def run_parallel(
    jobs: Sequence[tuple[Callable[[Argument], object], Argument]], num_workers: int, doing: str = ""
) -> None:
    """Run jobs, so many processes at a time, in the order given; a job is a function's call.

    Args:
        jobs: functions and what to call them with.
        num_workers: processes.
        doing: what a progress bar over the jobs says; empty: no bar, jobs have their own.

    Ctrl-C and SIGTERM reach the jobs that are running: each ends its step and writes its checkpoint
    before this process stops; the second signal stops all at once. Should this process be killed,
    its workers stop by themselves. In a process that is itself a worker, as in a sweep, and in
    several that compute each job together, jobs run one after the other.

    Raises:
        InputError: fewer than one worker.
        Exception: what a job raised; the others stop as above.
        RuntimeError: a worker was killed.
    """
    if num_workers < 1:
        raise InputError(f"num_workers={num_workers}: at least 1")
    ended = _ended(jobs, num_workers)
    for _ in progress(ended, len(jobs), doing) if doing else ended:
        pass


def _ended(
    jobs: Sequence[tuple[Callable[[Argument], object], Argument]], num_workers: int
) -> Iterator[None]:
    """One value for each job that has ended."""
    if ranks.world_size() > 1 or multiprocessing.parent_process() is not None:
        num_workers = 1
    if min(num_workers, len(jobs)) <= 1:
        for function, argument in jobs:
            function(argument)
            yield
        return
    waiting = list(reversed(jobs))
    workers: dict[Connection, BaseProcess] = {}
    num_threads = max(1, torch.get_num_threads() // min(num_workers, len(jobs)))
    with Stop() as stop:
        try:
            for _ in range(min(num_workers, len(jobs))):
                pipe, process = _start(num_threads)
                workers[pipe] = process
                pipe.send(waiting.pop())
            busy = set(workers)
            while busy and stop.signal is None:
                ready = wait(busy, timeout=0.2)
                for pipe in [pipe for pipe in busy if pipe in ready]:
                    _raise_error(pipe, workers[pipe])
                    if waiting:
                        pipe.send(waiting.pop())
                    else:
                        busy.remove(pipe)
                    yield
            if not busy:
                for pipe in workers:
                    pipe.send(None)
                for process in workers.values():
                    process.join()
        finally:
            _end(list(workers.values()))
    if stop.signal is not None:
        stop.now()


def _start(num_threads: int) -> tuple[Connection, BaseProcess]:
    """A worker that waits for jobs, and the pipe to it."""
    # A fork of a process whose threads compute may hang: a server is forked that has only imported.
    if sys.platform == "win32":
        context = multiprocessing.get_context("spawn")
    else:
        context = multiprocessing.get_context("forkserver")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, num_threads))
    process.start()
    theirs.close()
    return ours, process


def _raise_error(pipe: Connection, process: BaseProcess) -> None:
    """Raise what the job of a worker has raised."""
    try:
        error = pipe.recv()
    except EOFError:
        process.join()
        if process.exitcode == _STOPPED:
            raise SystemExit(_STOPPED) from None
        raise RuntimeError(
            f"a worker ended with exit code {process.exitcode} (-9: killed, perhaps for want of "
            "memory). Start again, it goes on; pipeline.num_workers=1 needs less memory"
        ) from None
    if error is not None:
        raise error


def _end(workers: list[BaseProcess]) -> None:
    """Stop workers, each at the end of its step; at once when interrupted again."""
    try:
        for process in workers:
            process.terminate()
        for process in workers:
            process.join()
    except BaseException:
        for process in workers:
            process.kill()
        raise


def _work(pipe: Connection, num_threads: int) -> None:
    """A worker: does jobs as they come, on its share of the threads."""
    torch.set_num_threads(num_threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts all; the parent tells us
    threading.Thread(target=_follow_parent, daemon=True).start()
    while (job := pipe.recv()) is not None:
        function, argument = job
        try:
            function(argument)
        except Exception as error:
            error.add_note(f"In a worker:\n{traceback.format_exc()}")
            pipe.send(error)
        else:
            pipe.send(None)


def _follow_parent() -> None:
    """Stop this process when the one that started it has ended, however that happened."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
