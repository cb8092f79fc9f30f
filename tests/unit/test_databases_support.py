"""The PostgreSQL of the tests ends with the process that started it, even when that is killed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.support import databases
from tests.support.processes import start
from tests.support.waiting import until

pytestmark = pytest.mark.stores
CODE = """
from tests.support import databases
server = databases.shared()
print(server.folder, server._process.pid, flush=True)
input()
"""


def test_a_session_that_is_killed_leaves_no_server_and_the_next_one_no_folder() -> None:
    process = start(CODE)
    assert process.stdout is not None
    folder, pid = process.stdout.readline().split()
    assert Path(f"/proc/{pid}").exists()
    process.kill()
    process.communicate()
    until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the server", 20)
    databases._sweep()
    assert not Path(folder).exists()


def test_a_session_that_ends_takes_everything_along() -> None:
    process = start(CODE)
    assert process.stdout is not None
    folder, pid = process.stdout.readline().split()
    process.communicate("\n")
    assert process.returncode == 0
    assert not Path(folder).exists()
    assert not Path(f"/proc/{pid}").exists()


def test_no_server_runs_as_root() -> None:
    owner = re.search(r"^Uid:\s+(\d+)", Path(f"/proc/{databases.shared()._process.pid}/status").read_text(), re.M)  # type: ignore[union-attr]
    assert owner is not None
    assert owner[1] != "0"
    assert os.geteuid() in (0, int(owner[1]))
