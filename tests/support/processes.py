"""Real child processes for tests: run at once, killed by their own hand, or short of space."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start `code` in a fresh interpreter with `arguments` as sys.argv[1:]."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: object, timeout_s: float = 60) -> tuple[int, str, str]:
    """Run `code` to its end and return (exit code, stdout, stderr); a negative code is the signal."""
    process = start(code, *arguments)
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, out, err


def race(code: str, arguments: list[list[object]], timeout_s: float = 60) -> list[str]:
    """Run `code` once per argument list, all released at the same moment; return each stdout.

    The code calls `ready()` when its imports are done; every process then waits for the others.
    """
    prologue = "import sys\ndef ready():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
    processes = [start(prologue + textwrap.dedent(code), *given) for given in arguments]
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    results = []
    for process in processes:
        out, err = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, err
        results.append(out)
    return results


def in_fork(work: object, *, timeout_s: float = 60) -> int:
    """Call `work()` in a forked child and return its exit code (0 when it returned), negative for a signal.

    The child inherits what is imported, so hundreds of crashes cost little.
    """
    import time
    from collections.abc import Callable
    from typing import cast

    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            cast(Callable[[], None], work)()
            status = 0
        except BaseException:  # noqa: BLE001  # the child must end here, whatever happened
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child did not end")
