"""What kills in tests: half way is between the first call and the last, and work that can't be killed is no proof."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.crash import calls_of, crash_midway

CALLS = 6


def work(folder: Path) -> None:
    for number in range(CALLS):
        os.mkdir(folder / str(number))  # noqa: PTH102  # the call that is counted


def test_half_way_is_before_the_call_in_the_middle(tmp_path: Path) -> None:
    made, folders = list[tuple[bool, int]](), list[Path]()

    def prepare() -> None:
        folders.append(tmp_path / str(len(folders)))
        folders[-1].mkdir()

    def check(finished: bool) -> None:
        made.append((finished, len(list(folders[-1].iterdir()))))

    assert crash_midway(prepare, lambda: work(folders[-1]), check, every=3) == CALLS
    assert made == [(True, CALLS), (False, CALLS // 2 - 1)]


def test_work_that_touches_no_disk_or_fails_is_no_proof() -> None:
    assert calls_of(lambda: None) == 0
    with pytest.raises(AssertionError):
        crash_midway(lambda: None, lambda: None, lambda _finished: None)
    with pytest.raises(AssertionError):
        calls_of(lambda: os.mkdir("/nowhere/at/all"))  # noqa: PTH102
