"""The lease of a job away from home: it goes on only while the task that submitted it lives.

That task holds the dataset's lock, and watches for keys that are revoked or destroyed. When it ends without a word
(kill -9, a lost machine), so does the lock, and nobody watches: the driver notices that the lease isn't changed any
more, and ends itself. No clocks are compared.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator

from cloakhouse.errors import CloakhouseError
from cloakhouse.lake.store.protocol import ObjectStore

NAME = "lease"
RENEW_S = 30.0
LOOK_S = 15.0
LASTS_S = 180.0
LOST = 75  # exit code: EX_TEMPFAIL of sysexits.h
SHORT = 64  # bytes


class Lease:
    """The submitting task's side. `folder` is the bag's."""

    def __init__(self, store: ObjectStore, folder: str) -> None:
        self._store, self._path = store, f"{folder}/{NAME}"
        self._number, self._at = 0, float("-inf")

    def renew(self) -> None:
        """Change the lease, if the last time is long enough ago. Raises StorageError: it lasts a while without."""
        if time.monotonic() - self._at < RENEW_S:
            return
        self._number += 1
        self._store.delete(self._path)  # not written over: a bucket with versions would keep each of them
        self._store.create(self._path, str(self._number).encode())
        self._at = time.monotonic()


def _end() -> None:
    os._exit(LOST)  # at once: neither Python's nor Spark's own end may still write a result


@contextlib.contextmanager
def held(store: ObjectStore, folder: str, end: Callable[[], None] = _end) -> Iterator[None]:
    """Call `end` when the lease in `folder` wasn't changed for LASTS_S while the block runs; for the driver."""
    done = threading.Event()

    def watch() -> None:
        seen, since = b"", time.monotonic()
        while not done.wait(LOOK_S):
            with contextlib.suppress(CloakhouseError, OSError):  # unread counts as unchanged
                now = store.read(f"{folder}/{NAME}", SHORT)
                if now != seen:
                    seen, since = now, time.monotonic()
            if time.monotonic() - since > LASTS_S:
                end()
                return

    thread = threading.Thread(target=watch, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=LOOK_S)
