"""Waiting for something to come true, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], what: str, limit_s: float = 90) -> Any:
    """Return the first true answer of `condition`; AssertionError when none comes within `limit_s` (seconds)."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{what} within {limit_s} s")
