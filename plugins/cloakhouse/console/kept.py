"""What takes long to compute, kept for a while: a page shows what is known and says of when it is."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cloakhouse.errors import CloakhouseError, StorageError, internal

WAIT_S = 5.0  # for a value that is being computed: a page says so sooner than a key service or a store gives up
T = TypeVar("T")


@dataclass(frozen=True)
class Dated(Generic[T]):
    """A value, and when it was computed (UTC)."""

    value: T
    at: dt.datetime


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of something that may fail: a value, or a problem. Both None: it is still under way."""

    value: T | None = None
    problem: CloakhouseError | None = None


def attempt(compute: Callable[[], T]) -> Outcome[T]:
    """Return what `compute` gives, or why it doesn't: one part of a page that is away leaves the others standing."""
    try:
        return Outcome(compute())
    except CloakhouseError as problem:
        return Outcome(problem=problem)
    except Exception as fault:  # noqa: BLE001  # its text could name a path or a value
        return Outcome(problem=internal("console", fault))


def within(compute: Callable[[], T]) -> T:
    """Return what `compute` gives. Raises what it does, and StorageError (`storage.slow`) when it takes too long."""
    return Kept(compute).get().value


class Kept(Generic[T]):
    """A value that is computed at most once in `fresh_s`, by one thread at a time, which nobody waits for longer than
    `wait_s`: those who ask share the server's threads with everything else.

    Whoever asks later is given the last one, up to `stale_s`, while a thread computes the next.
    """

    def __init__(
        self, compute: Callable[[], T], fresh_s: float = 15.0, stale_s: float = 300.0, wait_s: float | None = None
    ) -> None:
        self._compute, self._fresh_s, self._stale_s = compute, fresh_s, stale_s
        self._wait_s = WAIT_S if wait_s is None else wait_s
        self._lock, self._computing = threading.Lock(), threading.Lock()
        self._known: tuple[Dated[T], float] | None = None
        self._problem: CloakhouseError | None = None

    def get(self) -> Dated[T]:
        """Return the value. Raises what computing it does, which is not kept, and StorageError (`storage.slow`) when
        that takes too long; it goes on then, for whoever asks next."""
        known, age = self._look()
        if known is not None and age <= self._fresh_s:
            return known
        if known is not None and age <= self._stale_s:
            self._begin()
            return known
        self._begin()
        if not self._computing.acquire(timeout=self._wait_s):
            raise _slow()
        self._computing.release()
        with self._lock:
            if self._known is None:
                raise self._problem or _slow()
            return self._known[0]

    def peek(self) -> Outcome[Dated[T]]:
        """Return the value if there is one, and begin with the next when it is old; for what takes minutes."""
        known, age = self._look()
        if known is None or age > self._fresh_s:
            self._begin()
        return Outcome(known, None if known else self._problem)

    def _look(self) -> tuple[Dated[T] | None, float]:
        with self._lock:
            return (None, 0.0) if self._known is None else (self._known[0], time.monotonic() - self._known[1])

    def _begin(self) -> None:
        if self._computing.acquire(blocking=False):
            threading.Thread(target=self._in_background, daemon=True).start()

    def _in_background(self) -> None:
        try:
            outcome = attempt(self._renew)
            if outcome.problem is not None:
                with self._lock:
                    self._known, self._problem = None, outcome.problem
        finally:
            self._computing.release()

    def _renew(self) -> Dated[T]:
        dated = Dated(self._compute(), dt.datetime.now(dt.UTC))
        with self._lock:
            self._known, self._problem = (dated, time.monotonic()), None
        return dated


def _slow() -> StorageError:
    return StorageError(
        where="what this page shows",
        expected=f"an answer within {WAIT_S:g} s",
        found="none yet",
        not_done="it is still being looked up",
        remedy="open the page again in a moment; if it stays, run `cloakhouse doctor`",
        code="slow",
    )
