"""Work in numbered parts: answers in order, progress, and refusals that quote nothing."""

from __future__ import annotations

import pytest

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.stages.workers import LocalWorkers


def test_answers_come_in_order_and_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    answers = LocalWorkers().run("count", lambda n: bytes([n]), 3, "shards", lambda *step: told.append(step))
    assert answers == [b"\0", b"\1", b"\2"]
    assert told == [(1, 3, "shards"), (2, 3, "shards"), (3, 3, "shards")]
    assert LocalWorkers().run("count", lambda n: b"", 0, "shards", lambda *_: None) == []


def test_a_refusal_keeps_its_words() -> None:
    def work(number: int) -> bytes:
        raise IntegrityError(where=f"part {number}", expected="a", found="b", not_done="c", remedy="d", code="x")

    with pytest.raises(StageError) as caught:
        LocalWorkers().run("count", work, 2, "shards", lambda *_: None)
    assert caught.value.where == "count: integrity.x at part 0"
    assert (caught.value.expected, caught.value.found) == ("a", "b")
    assert caught.value.__cause__ is None


def test_what_nobody_foresaw_is_told_without_its_text() -> None:
    def work(number: int) -> bytes:
        raise ValueError("Jane Doe")

    with pytest.raises(StageError) as caught:
        LocalWorkers().run("count", work, 1, "shards", lambda *_: None)
    assert "Jane" not in caught.value.explain()
    assert "ValueError" in caught.value.explain()
