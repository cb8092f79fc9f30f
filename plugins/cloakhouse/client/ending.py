"""Ending a command that works on a stream: at a place where nothing is half done, such as no half of a row."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import BinaryIO, Protocol

import click

from cloakhouse.client.show import note

FROM_SIGNAL = 128  # exit codes of processes that a signal ends start here


class Source(Protocol):
    """The one method of a stream that `watched` gives."""

    def read(self, size: int) -> bytes:
        """Return what is there, at most `size` bytes; wait for some if there is nothing. Empty at the end."""


class Ending:
    """While it is entered, SIGTERM and SIGINT end the command when it next waits for input, or at the second signal.

    SIGTERM gives exit code 143 (click's Exit), SIGINT a KeyboardInterrupt. Elsewhere than in the main thread, where
    signals can't be taken, nothing changes.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._waits = False
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._restore.callback(signal.signal, number, signal.signal(number, self._ask))
        return self

    def __exit__(self, *_fault: object) -> None:
        self._restore.close()

    def watched(self, stream: BinaryIO) -> Source:
        """Return `stream` as it may be left while it is waited for."""
        return _Watched(stream, self)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Let signals end the command at once during the block, and one that came before it now."""
        self._waits = True
        try:
            if self._asked:
                _end(self._asked)
            yield
        finally:
            self._waits = False

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._waits or self._asked:
            _end(number)
        self._asked = number


class _Watched:
    def __init__(self, stream: BinaryIO, ending: Ending) -> None:
        self._read = getattr(stream, "read1", None) or stream.read
        self._ending = ending

    def read(self, size: int) -> bytes:
        with self._ending.waiting():
            data: bytes = self._read(size)
            return data


def _end(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    note("ended by SIGTERM, between two rows")
    raise click.exceptions.Exit(FROM_SIGNAL + number)
