"""Calls into a PKCS#11 module that end within a bound, come from one thread, and survive a fork.

python-pkcs11 gives C_Initialize no arguments, which promises the module that one thread at most calls it (PKCS#11
v2.40, section 5.4); SoftHSM2 then takes no locks. So one thread per process makes every call to a module, and callers
wait for it with a time-out. A C call can't be interrupted: while one hangs, callers are refused at once, and when it
returns the module serves again.

A forked child must not go on with its parent's state of the module (section 5.4 again): the fork waits until no call
runs, and the child finalizes and initializes the module, and logs in anew, at its first call.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pkcs11

T = TypeVar("T")
FORK_WAIT_S = 5.0
_modules: dict[str, Module] = {}
_at_fork = threading.local()


class Module:
    """A module (shared library) in this process, and the thread that calls it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sessions: dict[str, pkcs11.Session] = {}  # by token label; logged in
        self._forked = False
        self._torn = False
        self._begin()

    def _begin(self) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._idle = threading.Lock()
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._given_up: Future[Any] | None = None  # the call that somebody stopped waiting for while it ran

    @property
    def hangs(self) -> bool:
        """Whether a call that was given up still runs."""
        return self._given_up is not None and not self._given_up.done()

    def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """Return what `work()` returns in the module's thread. Raises TimeoutError after `timeout_s` seconds."""
        if self._torn or self.hangs:
            raise TimeoutError
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="pkcs11", daemon=True)
                self._thread.start()
        future: Future[T] = Future()
        self._jobs.put((future, work))
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if not future.cancel() and not future.done():
                self._given_up = future
            raise

    def _serve(self) -> None:
        while True:
            future, work = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            with self._idle:
                try:
                    result = work()
                except BaseException as fault:  # noqa: BLE001  # it is the caller's
                    future.set_exception(fault)
                else:
                    future.set_result(result)
            del future, work

    def library(self) -> Any:
        """Return python-pkcs11's handle of the module, initialized in this very process. For the module's thread."""
        import pkcs11

        library = pkcs11.lib(self.path)
        if self._forked:
            # a module that noticed the fork itself says that it is not initialized
            with contextlib.suppress(pkcs11.PKCS11Error):
                library.finalize()
            library.initialize()
            self._forked = False
        return library

    def before_fork(self) -> bool:
        """Return whether no call runs, and none will until `after_fork_in_parent`."""
        return not self.hangs and self._idle.acquire(timeout=FORK_WAIT_S)

    def after_fork_in_parent(self) -> None:
        """Let calls run again."""
        self._idle.release()

    def after_fork_in_child(self, *, quiet: bool) -> None:
        """Forget the parent's thread and sessions. If a call ran at the fork, the module can't be used here."""
        self._torn = self._torn or not quiet
        self._forked = True
        self.sessions.clear()
        self._begin()


def module_at(path: str) -> Module:
    """Return the module at `path`: one, with its one thread, for all services of a process."""
    return _modules.setdefault(path, Module(path))  # atomic; the thread starts at the first call


def _before_fork() -> None:
    _at_fork.quiet = [module for module in list(_modules.values()) if module.before_fork()]


def _after_fork_in_parent() -> None:
    for module in _at_fork.quiet:
        module.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for module in list(_modules.values()):
        module.after_fork_in_child(quiet=module in _at_fork.quiet)


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
