"""Crashes and full disks, for real: children that kill themselves at a chosen system call, limits, a small tmpfs."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import in_fork

CALLS = ("mkdir", "open", "write", "fsync", "close", "replace", "rename", "link", "unlink")


class _TornStream:
    """A file whose writes reach the disk one half at a time."""

    def __init__(self, stream: Any, step: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._stream = stream
        self._step = step

    def write(self, data: Any) -> int:
        data = bytes(data)
        half = len(data) // 2
        for part in (data[:half], data[half:]):
            self._step("write", lambda part=part: self._stream.write(part))
        return len(data)

    def __enter__(self) -> _TornStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def die_at(number: int, *, before: bool) -> Callable[[], int]:
    """Patch this process's `os` so that it kills itself around the `number`-th call that touches the disk (with 0 at
    none); return what tells how many there were."""
    count = 0

    def step(name: str, call: Callable[[], Any]) -> Any:
        nonlocal count
        count += 1
        if count == number and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call()
        if count == number and not before:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def patched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: step(name, lambda: real(*given, **named))

    for name in CALLS:
        if name != "write":
            setattr(os, name, patched(name, getattr(os, name)))
    real_fdopen = os.fdopen
    os.fdopen = lambda handle, mode, buffering=0: _TornStream(real_fdopen(handle, mode, buffering=0), step)  # type: ignore[assignment, misc]
    return lambda: count


def crash_everywhere(
    prepare: Callable[[], None], work: Callable[[], None], check: Callable[[bool], None], every: int = 1
) -> int:
    """Run `work` in children killed at each step in turn, `check(finished)` after each; return the number of steps.

    With `every` at each second, third... step, of work whose steps are many and dear to prepare.
    """
    number = 1 - every
    while True:
        number += every
        ended = []
        for before in (True, False):
            prepare()

            def child(number: int = number, before: bool = before) -> None:
                die_at(number, before=before)
                work()

            code = in_fork(child)
            assert code in (0, -signal.SIGKILL), code
            ended.append(code == 0)
            check(code == 0)
        if all(ended):
            return number - 1


def calls_of(work: Callable[[], None]) -> int:
    """Run `work` in a child, whole; return how many of its calls touched the disk."""
    with tempfile.TemporaryFile() as told:

        def child() -> None:
            count = die_at(0, before=True)
            work()
            os.pwrite(told.fileno(), str(count()).encode(), 0)

        code = in_fork(child)
        assert code == 0, code
        return int(os.pread(told.fileno(), 20, 0))


def crash_midway(
    prepare: Callable[[], None], work: Callable[[], None], check: Callable[[bool], None], every: int = 1
) -> int:
    """Run `work` in a child as it is, and in one that is killed half way; `check(finished)` after each; return the
    number of steps. It is `crash_everywhere` for those in a hurry, who needn't say `every`."""
    prepare()
    steps = calls_of(work)
    check(True)
    prepare()

    def child() -> None:
        die_at(steps // 2, before=True)
        work()

    code = in_fork(child)
    assert code == -signal.SIGKILL, code
    check(False)
    return steps


def crashing(*marks: pytest.MarkDecorator) -> pytest.MarkDecorator:
    """Have a test run with a `crash` that kills half way, marked so, and with one that kills everywhere."""
    every = pytest.param(crash_everywhere, id="everywhere", marks=pytest.mark.kills)
    return pytest.mark.parametrize("crash", [pytest.param(crash_midway, id="midway", marks=marks), every])


crashes, quick_crashes = crashing(pytest.mark.path), crashing()
Crash = Callable[..., int]


def limit_file_size(limit: int) -> None:
    """Let this process write files of at most `limit` bytes; a longer write fails with EFBIG."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a tmpfs of `size` bytes on `folder` where that is permitted; yield whether it was."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
