"""Events of long work: JSON lines, whole, from many processes; no more than stages, names and counts."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest
from tests.support.processes import race

from cloakhouse.progress import VARIABLE, Progress


def lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_events_are_lines_of_the_file_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv(VARIABLE, str(file))
    progress = Progress.of("land", "customers")
    progress.step(1, 3, "files")
    progress.finish("3 files landed", files=3)
    progress.trouble("stage.x at y")
    events = lines(file)
    assert [event["kind"] for event in events] == ["step", "finish", "trouble"]
    assert all((event["stage"], event["dataset"]) == ("land", "customers") for event in events)
    assert {k: events[0][k] for k in ("done", "total", "unit")} == {"done": 1, "total": 3, "unit": "files"}
    assert events[1]["files"] == 3
    assert isinstance(events[1]["seconds"], float)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_file_there_is_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    progress = Progress.of("land", "customers")
    assert progress.file is None
    with caplog.at_level(logging.INFO, "cloakhouse.progress"):
        progress.finish("3 files landed", files=3)
        progress.trouble("a message")
    assert "3 files landed" in caplog.text
    assert "a message" not in caplog.text  # who raised it logs it


def test_processes_share_a_file_without_tearing_lines(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    code = (
        "from pathlib import Path\nfrom cloakhouse.progress import Progress\n"
        "progress = Progress('synthesize', 'd' + sys.argv[2], Path(sys.argv[1]))\nready()\n"
        "for n in range(200):\n    progress.step(n, 200, 'rows' * 50)\n"
    )
    race(code, [[file, n] for n in range(3)])
    events = lines(file)
    assert len(events) == 600
    for n in range(3):
        assert [e["done"] for e in events if e["dataset"] == f"d{n}"] == list(range(200))
