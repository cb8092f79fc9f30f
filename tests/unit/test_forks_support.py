"""Processes at once: their answers come, and one that fails or hangs is told and not waited for."""

from __future__ import annotations

import os
import time

import pytest
from tests.support.forks import at_once


def test_every_answer_comes() -> None:
    assert sorted(at_once(lambda number: [str(number)] * 2, 5)) == sorted("0011223344")


def test_large_answers_come() -> None:
    assert at_once(lambda _: ["x" * 1_000_000], 3) == ["x" * 1_000_000] * 3


def test_one_that_ends_without_an_answer_is_told() -> None:
    def work(number: int) -> list[str]:
        if number == 1:
            os._exit(1)
        return ["done"]

    with pytest.raises(AssertionError, match="1 of 3 processes ended without an answer"):
        at_once(work, 3)


def test_one_that_hangs_is_ended() -> None:
    def work(number: int) -> list[str]:
        time.sleep(60 if number == 1 else 0)
        return ["done"]

    began = time.monotonic()
    with pytest.raises(AssertionError, match="1 of 3 processes gave no answer in 1 s"):
        at_once(work, 3, 1.0)
    assert time.monotonic() - began < 30
