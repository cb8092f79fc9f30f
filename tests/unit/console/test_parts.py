"""Values that are kept, pictures, spreadsheet cells, numbers and times for people, and the plugin's deferred app."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import Any

import pytest

from cloakhouse.console import kept as module
from cloakhouse.console.deferred import Deferred
from cloakhouse.console.drawing import Box, Graph, burn_down, lineage
from cloakhouse.console.kept import Kept, Outcome, attempt
from cloakhouse.console.pages import ago, percent, query, stamp, whole
from cloakhouse.console.tables import csv_line
from cloakhouse.errors import NotFound, StageError, StorageError

NOW = dt.datetime(2026, 11, 22, 15, 0, tzinfo=dt.UTC)
MARKUP = "<b>&\"'"


def test_a_kept_value_is_computed_once_while_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, computed, gate = [0.0], [], threading.Event()
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])

    def compute() -> int:
        computed.append(1)
        if len(computed) == 2:
            gate.set()
        return len(computed)

    value = Kept(compute, 10, 100)
    assert [value.get().value, value.get().value] == [1, 1]
    clock[0] = 50.0
    assert value.get().value == 1
    assert gate.wait(10)
    clock[0] = 500.0
    assert value.get().value >= 2


def test_a_failure_is_not_kept() -> None:
    answers: list[Any] = [NotFound(where="w", expected="e", found="f", not_done="n", remedy="r"), 7]

    def compute() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return int(answer)

    value = Kept(compute)
    with pytest.raises(NotFound):
        value.get()
    assert value.get().value == 7


def test_nobody_waits_long_for_what_does_not_come() -> None:
    go, asked = threading.Event(), []

    def compute() -> int:
        asked.append(1)
        go.wait(10)
        return 3

    value = Kept(compute, wait_s=0.02)
    for _ in range(3):
        with pytest.raises(StorageError, match=r"storage\.slow"):
            value.get()
    assert len(asked) == 1
    go.set()
    for _ in range(500):
        if value.peek().value is not None:
            break
        threading.Event().wait(0.01)
    assert (value.get().value, len(asked)) == (3, 1)


def test_peeking_never_waits_and_tells_of_a_failure() -> None:
    go, done = threading.Event(), threading.Event()

    def compute() -> int:
        go.wait(10)
        done.set()
        raise ValueError("a value that must not be told")

    value = Kept(compute)
    assert value.peek() == Outcome()
    go.set()
    assert done.wait(10)
    for _ in range(500):
        if (problem := value.peek().problem) is not None:
            break
        threading.Event().wait(0.01)
    assert isinstance(problem, StageError)
    assert "must not be told" not in problem.explain()


def test_an_attempt_tells_a_value_or_a_problem() -> None:
    assert attempt(lambda: 3) == Outcome(3)
    assert attempt(lambda: 1 / 0).problem.code == "stage.internal"


def test_pictures_escape_what_they_are_told() -> None:
    graph = Graph(
        (("from", (Box(MARKUP, MARKUP, f'/x"{MARKUP}'),)), ("to", (Box("n" * 60, "b"),))), (((0, 0), (1, 0)),)
    )
    drawn = str(lineage(graph, MARKUP, MARKUP))
    assert "<b>" not in drawn
    assert drawn.count("<rect") == 2
    assert "…" in drawn
    assert "<title>&lt;b&gt;" in drawn


def test_a_staircase_falls_by_each_spend() -> None:
    end = NOW + dt.timedelta(days=10)
    drawn = str(burn_down([(NOW, 0.25), (NOW + dt.timedelta(days=5), 0.5)], 1.0, NOW, end, "t"))
    assert "2 spends; 25% of the budget" in drawn
    assert 'points="8.0,22.0 8.0,22.0 8.0,56.5 280.0,56.5 280.0,125.5 552.0,125.5"' in drawn
    assert "0% of the budget" in str(burn_down([(NOW, 3.0)], 0.0, NOW, NOW, "t"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, ""),
        (3, "3"),
        (1.5, "1.5"),
        ("=1", '"\'=1"'),
        ("\t=1", '"\'\t=1"'),
        ('a"b', '"a""b"'),
        ("-1", '"\'-1"'),
        (-1, "-1"),
    ],
)
def test_a_cell_of_a_spreadsheet(given: Any, shown: str) -> None:
    assert csv_line([given, "x"]) == f'{shown},"x"\r\n'


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (NOW, "just now"),
        (NOW - dt.timedelta(seconds=59), "just now"),
        (NOW - dt.timedelta(minutes=1), "1 minute ago"),
        (NOW - dt.timedelta(hours=5), "5 hours ago"),
        (NOW - dt.timedelta(days=2), "2 days ago"),
        (NOW + dt.timedelta(days=30), "in 30 days"),
    ],
)
def test_how_long_ago(at: dt.datetime, said: str) -> None:
    assert ago(at, NOW) == said


def test_numbers_and_times_for_people() -> None:
    assert [whole(12345), whole(None), whole(0.031234), whole(float("nan")), whole(2.0)] == [
        "12,345",
        "–",
        "0.03123",
        "–",
        "2",
    ]
    assert [percent(1.0), percent(0.99999), percent(None), percent(0.29)] == ["100 %", "99.9 %", "–", "29 %"]
    zone = dt.timezone(dt.timedelta(hours=2))
    assert stamp(NOW.astimezone(zone)) == "2026-11-22 15:00:00 UTC"
    assert [stamp(None), stamp(NOW.date())] == ["–", "2026-11-22"]
    assert query({"a": "x y", "b": "", "c": None}, page=2) == "?a=x+y&page=2"
    assert query({}) == ""


def test_a_deferred_app_is_made_once_and_tried_again_after_a_failure() -> None:
    made: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["answered"] = scope.get("answered", 0) + 1

    def make() -> Any:
        made.append(1)
        if len(made) == 1:
            raise OSError("not yet")
        return app

    async def ask() -> dict[str, Any]:
        deferred, scope = Deferred(make), {"type": "http"}
        with pytest.raises(OSError, match="not yet"):
            await deferred(scope, None, None)
        await asyncio.gather(*(deferred(scope, None, None) for _ in range(5)))
        return scope

    assert asyncio.run(ask())["answered"] == 5
    assert len(made) == 2
