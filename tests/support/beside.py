"""Processes at work beside the test's, forked, that stop where the test says and go on when it lets them."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

from cloakhouse.errors import CloakhouseError

WAIT_S = 120.0
_FORKS = multiprocessing.get_context("fork")


class Gate:
    """A place where a process waits until the test opens it."""

    def __init__(self) -> None:
        self._reached, self._open = _FORKS.Event(), _FORKS.Event()

    def stop(self, *_: object) -> None:
        """Say that the process is here, and wait."""
        self._reached.set()
        assert self._open.wait(WAIT_S), "nobody opened the gate"

    def before(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work` behind this gate."""

        def gated(*given: Any, **named: Any) -> Any:
            self.stop()
            return work(*given, **named)

        return gated

    def at(self, name: str) -> Callable[[str], None]:
        """Return what is told of steps, and stops at the step `name`."""
        return lambda step: self.stop() if step == name else None

    def reached(self) -> None:
        """Wait until the process is here."""
        assert self._reached.wait(WAIT_S), "nobody came to the gate"

    def open(self) -> None:
        """Let the process go on."""
        self._open.set()


class Beside:
    """A process that does `work`; what it came to is the code of its refusal, or nothing."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._said: Any = _FORKS.SimpleQueue()

        def child() -> None:
            try:
                work()
            except CloakhouseError as refusal:
                self._said.put(refusal.code)
            else:
                self._said.put("")

        self.process = _FORKS.Process(target=child)

    def ended(self) -> str:
        """Wait for its end and return the code of its refusal; empty when it did its work."""
        self.process.join(WAIT_S)
        assert self.process.exitcode == 0, self.process.exitcode
        code: str = self._said.get()
        return code


@contextlib.contextmanager
def beside(work: Callable[[], object]) -> Iterator[Beside]:
    """Yield the process that does `work`, which is ended with the block."""
    other = Beside(work)
    other.process.start()
    try:
        yield other
    finally:
        other.process.kill()
        other.process.join(WAIT_S)
