"""Processes that share a run's work, and that end with the process that started them, whatever ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe, wait
from threading import Thread


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; they end in the middle of what they do when the block fails or this process is gone.

    What they had not committed is rolled back by the database.
    """
    watched, held = Pipe(duplex=False)
    with watched, held:
        pool = ProcessPoolExecutor(
            workers, mp_context=get_context("spawn"), initializer=_end_with, initargs=(watched,)
        )
        try:
            yield pool
        except BaseException:
            # Nobody else holds this end: that it is closed is what the workers wait for, and the kernel closes it
            # if we cannot. Without its workers the pool gives up what is left to do.
            held.close()
            raise
        finally:
            pool.shutdown()


def _end_with(watched: Connection) -> None:
    """End this process when nobody holds the other end any more."""
    # Ctrl-C reaches the whole group; who started us decides what follows from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_at_last, args=(watched,), daemon=True).start()


def _end_at_last(watched: Connection) -> None:
    wait([watched])
    os._exit(1)
