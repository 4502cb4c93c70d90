"""Parallel jobs in processes that write a checkpoint and stop when their parent does.

Small networks gain more from a process per core than from threads that wait for each other.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from typing import TypeVar

import torch

from handwriting.errors import InputError
from handwriting.parallel import ranks
from handwriting.parallel.progress import progress
from handwriting.parallel.signals import Stop
from handwriting.parallel.starter import stop_after

Argument = TypeVar("Argument")


def run_parallel(
    jobs: Sequence[tuple[Callable[[Argument], object], Argument]], num_workers: int, doing: str = ""
) -> None:
    """Run jobs in parallel, started in the order given; a job is a function and its argument.

    Args:
        num_workers: the number of processes.
        doing: label of a progress bar over the jobs; empty: no bar, because jobs have their own.

    Ctrl-C and SIGTERM are passed on to the running jobs: each finishes its step and writes its
    checkpoint before this process stops; a second signal stops all at once. If this process is
    killed, its workers stop by themselves. In a process that is itself a worker, as in a sweep, and
    in several processes that compute each job together, jobs run one after another.

    Raises:
        Exception: what a job raised; the others stop as above.
        InputError: a worker was killed.
    """
    ended = _completed(jobs, num_workers)
    for _ in progress(ended, len(jobs), doing) if doing else ended:
        pass


def _completed(
    jobs: Sequence[tuple[Callable[[Argument], object], Argument]], num_workers: int
) -> Iterator[None]:
    """Yield once for each job that has ended."""
    if ranks.world_size() > 1 or multiprocessing.parent_process() is not None:
        num_workers = 1
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        for function, argument in jobs:
            function(argument)
            yield
        return
    # Forking a process with running threads may hang, so workers are forked from a server without.
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        multiprocessing.set_forkserver_preload(["torch"])  # once for all workers
    num_threads = max(1, torch.get_num_threads() // num_workers)
    pool = ProcessPoolExecutor(num_workers, context, _set_up, (num_threads,))
    broken: Exception | None = None
    with Stop() as stop:
        running: set[Future[None]] = set()
        workers: set[BaseProcess] = set()
        try:
            for function, argument in jobs:
                running.add(pool.submit(_work, function, argument))
                workers.update(multiprocessing.active_children())  # without those that have ended
            while running and stop.signal is None:
                ended, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                    yield
        except (BrokenProcessPool, ConnectionError, EOFError) as error:
            is_of_a_job = error.__cause__ is not None and not isinstance(error, BrokenProcessPool)
            if is_of_a_job:
                raise
            broken = error
        finally:
            _shut_down(pool, is_done=not running)
    if stop.signal is not None:
        stop.now()
    if broken is not None:
        raise InputError(
            f"a worker was killed{_killed_text(workers)}, perhaps for lack of memory: run the same "
            "command to resume; pipeline.num_workers=1 needs less memory"
        ) from broken


def _killed_text(workers: Iterable[BaseProcess]) -> str:
    """The workers that were killed by a signal, other than by SIGTERM, in parentheses."""
    ended = {worker.pid: -(worker.exitcode or 0) for worker in workers}
    killed = [
        f"process {pid}: {signal.Signals(number).name}"
        for pid, number in ended.items()
        if number > 0 and number != signal.SIGTERM
    ]
    return f" ({', '.join(killed)})" if killed else ""


def _shut_down(pool: ProcessPoolExecutor, is_done: bool) -> None:
    """Shut down the workers: busy ones at the end of their step, or at once on another signal."""
    workers = multiprocessing.active_children()  # Python 3.14 has pool.terminate_workers()
    try:
        for process in [] if is_done else workers:
            process.terminate()
        pool.shutdown(cancel_futures=True)
    except BaseException:
        for process in workers:
            process.kill()
        raise


def _set_up(num_threads: int) -> None:
    """Set up a worker: its number of threads, and what may stop it."""
    torch.set_num_threads(num_threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal signals all; the parent tells us
    parent = multiprocessing.parent_process()
    assert parent is not None
    stop_after(parent.join)


def _work(function: Callable[[Argument], object], argument: Argument) -> None:
    try:
        function(argument)
        return
    except SystemExit:  # by SIGTERM; the executor would return it and start the next job
        pass
    sys.stdout.flush()
    os._exit(128 + signal.SIGTERM)
