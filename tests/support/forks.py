"""Many processes at once, forked: they have what is imported, and cost little."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

LIMIT_S = 240.0  # for all of them; one that waits for a database gives up after 30 s by itself


def at_once(work: Callable[[int], list[str]], processes: int, limit_s: float = LIMIT_S) -> list[str]:
    """Return what `work` says in that many forked children, all let go at the same moment.

    AssertionError when one ends without an answer, whose traceback is in the test's output, or none comes in time.
    """
    forks = multiprocessing.get_context("fork")
    go = forks.Event()

    def child(number: int, sender: Connection) -> None:
        go.wait(limit_s)
        sender.send(work(number))

    waiting: dict[Connection, ForkProcess] = {}
    for number in range(processes):
        receiver, sender = forks.Pipe(duplex=False)
        process = forks.Process(target=child, args=(number, sender), daemon=True)
        process.start()
        sender.close()  # so that no later child has it, and its end is the child's
        waiting[receiver] = process
    children = list(waiting.values())
    go.set()
    answers, silent, deadline = [], 0, time.monotonic() + limit_s
    while waiting:
        ready = [end for end in wait(list(waiting), max(deadline - time.monotonic(), 0)) if isinstance(end, Connection)]
        if not ready:
            break
        for receiver in ready:
            try:
                answers += receiver.recv()
            except EOFError:
                silent += 1
            del waiting[receiver]
    for process in waiting.values():
        process.kill()
    for process in children:
        process.join(60)
    assert not waiting, f"{len(waiting)} of {processes} processes gave no answer in {limit_s:.0f} s"
    assert not silent, f"{silent} of {processes} processes ended without an answer"
    assert [process.exitcode for process in children] == [0] * processes
    return answers
