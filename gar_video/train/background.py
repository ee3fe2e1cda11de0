"""Drawing batches in another process, so that the model need not wait for pictures."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch

Batch = TypeVar("Batch")


def _work(make: Callable[..., Iterator[Any]], args: tuple[Any, ...], out: Any, parent: int) -> None:
    os.setsid()
    torch.set_num_threads(1)
    # Nobody waits for what is left in the queue.
    out.cancel_join_thread()
    for item in make(*args):
        # Plain bytes: tensors sent as shared memory would need a file descriptor each.
        data = pickle.dumps(item, protocol=5)
        while True:
            try:
                out.put(data, timeout=5)
                break
            except queue.Full:
                if os.getppid() != parent:
                    return


def in_background(
    make: Callable[..., Iterator[Batch]], *args: Any, ahead: int = 6
) -> Iterator[Batch]:
    """Run a generator in another process and yield what it yields.

    Args:
        make: A module's function that returns an endless iterator.
        *args: For it; must be picklable.
        ahead: Items prepared ahead.
    """
    context = multiprocessing.get_context("spawn")
    items = context.Queue(ahead)
    worker = context.Process(target=_work, args=(make, args, items, os.getpid()), daemon=True)
    worker.start()
    try:
        while True:
            try:
                yield pickle.loads(items.get(timeout=5))  # noqa: S301 - our own process's bytes
            except queue.Empty:
                if not worker.is_alive():
                    raise RuntimeError(
                        f"the process that draws batches ended with code {worker.exitcode}"
                    ) from None
    finally:
        worker.terminate()
