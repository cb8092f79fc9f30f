"""Log lines: JSON with known fields; and every log call of the package is a constant filled with what was reviewed."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cloakhouse
from cloakhouse import logs
from cloakhouse.errors import ConfigurationError
from cloakhouse.progress import Progress

PACKAGE = Path(cloakhouse.__file__).parent
PROJECT = PACKAGE.parents[1]
CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
LOGGERS = {"log", "logger", "_log", "logging"}
REVIEWED = {  # what log messages are filled with: names, states, counts, and errors, which hold no value
    *("self.stage", "self.dataset", "told", "finding", "step", "self._name", "dataset", "decision.decision"),
    *("result.name", "result.state", "action", "type(fault).__qualname__", "line.rstrip()"),
    *("problem.explain()", "other.explain()", "totals['files']", "totals['lines']"),
    *("one.notifier", "one.receiver", "one.sent", "one.waiting", "one.backlog"),
    "f'; {one.trouble}' if one.trouble else ''",
}
FIELDS = {"time", "level", "logger", "event", "message", "stage", "dataset", "counts", "dag", "run", "task", "fault"}
RUN = {
    "AIRFLOW_CTX_DAG_ID": "protect_transactions",
    "AIRFLOW_CTX_DAG_RUN_ID": "scheduled__2026-11-22T00:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "pseudonymize",
}


@pytest.fixture
def platform() -> Iterator[logging.Logger]:
    """The platform's logger, as it was before when the test ends."""
    logger = logging.getLogger(logs.ROOT)
    before = logger.handlers[:], logger.propagate, logger.level
    yield logger
    logger.handlers, logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every call of a logger in the package, with where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
                of = node.func.value
                if isinstance(of, ast.Name) and of.id in LOGGERS:
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_json_lines_tell_progress_with_its_run(platform: logging.Logger) -> None:
    stream = io.StringIO()
    assert logs.configure(stream, {logs.VARIABLE: "json", **RUN})
    progress = Progress("land", "customers")
    progress.step(1, 3, "files")
    progress.finish("3 files landed", files=3)
    first, second = written(stream)
    assert first.keys() | second.keys() <= FIELDS
    assert (first["event"], first["stage"], first["dataset"]) == ("step", "land", "customers")
    assert first["counts"] == {"done": 1, "total": 3}
    assert second["counts"].keys() == {"files", "seconds"}
    assert first["run"] == RUN["AIRFLOW_CTX_DAG_RUN_ID"]
    assert (first["dag"], first["task"]) == ("protect_transactions", "pseudonymize")
    assert first["time"].endswith("+00:00")
    assert (first["level"], first["logger"]) == ("info", "cloakhouse.progress")


def test_a_line_is_json_for_everybody_whatever_is_in_it(platform: logging.Logger) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    logs.configure(stream, {logs.VARIABLE: "json"})
    fields = {"event": "finish", "share": float("nan"), "rows": 3}
    logging.getLogger("cloakhouse.x").info("a\nb \udcff ü", extra={logs.EXTRA: fields})
    stream.flush()
    (line,) = raw.getvalue().decode("ascii").splitlines()
    told = json.loads(line, parse_constant=pytest.fail)
    assert (told["message"], told["counts"]) == ("a\nb \udcff ü", {"rows": 3})


def test_the_event_is_the_message_without_what_was_filled_in(platform: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure(stream, {logs.VARIABLE: "json"})
    logging.getLogger("cloakhouse.flow.tasks").warning("rewrite of %s: %s", "customers", "done")
    (line,) = written(stream)
    assert (line["event"], line["message"]) == ("rewrite of %s: %s", "rewrite of customers: done")
    assert "run" not in line


def test_of_an_exception_there_is_the_class_alone(platform: logging.Logger) -> None:
    stream = io.StringIO()
    logs.configure(stream, {logs.VARIABLE: "json"})
    try:
        raise ValueError("jane@example.org")
    except ValueError:
        logging.getLogger("cloakhouse.x").error("not done", exc_info=True)
    assert "jane" not in stream.getvalue()
    assert written(stream)[0]["fault"] == "ValueError"


def test_libraries_keep_their_own_form_and_configuring_twice_writes_once(platform: logging.Logger) -> None:
    stream = io.StringIO()
    for _ in range(2):
        logs.configure(stream, {logs.VARIABLE: "json"})
    logging.getLogger("boto3").error("a value")
    logging.getLogger("cloakhouse.x").info("once")
    assert [line["event"] for line in written(stream)] == ["once"]


def test_text_is_the_default_and_changes_nothing(platform: logging.Logger) -> None:
    before = platform.handlers[:], platform.propagate
    assert not logs.configure(environment={})
    assert not logs.configure(environment={logs.VARIABLE: "text"})
    assert (platform.handlers, platform.propagate) == before
    with pytest.raises(ConfigurationError, match=logs.VARIABLE):
        logs.configure(environment={logs.VARIABLE: "xml"})


def test_the_command_line_refuses_another_format() -> None:
    command = [sys.executable, "-c", "from cloakhouse.client.cli import main; main()"]
    environment = {**os.environ, logs.VARIABLE: "xml"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"configuration at {logs.VARIABLE}")


def test_every_log_call_is_a_constant_filled_with_what_was_reviewed() -> None:
    found = list(calls())
    assert len(found) >= 10
    unknown = []
    for where, call in found:
        message, *filled = call.args
        assert isinstance(message, ast.Constant), f"{where}: the message is no constant"
        assert isinstance(message.value, str), where
        assert isinstance(call.func, ast.Attribute)
        assert call.func.attr != "exception", f"{where}: a traceback may quote values"
        assert {word.arg for word in call.keywords} <= {"extra"}, f"{where}: exc_info and its like may quote values"
        unknown += [(where, text) for one in filled if (text := ast.unparse(one)) not in REVIEWED]
    assert unknown == []  # may it be logged? Then add it to REVIEWED.


def test_nothing_is_logged_past_the_loggers_that_are_looked_at() -> None:
    """A logger by another name would not be found by `calls`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and "logging.getLogger(__name__)" in ast.unparse(node.value):
                assert {ast.unparse(target) for target in node.targets} <= LOGGERS, path
