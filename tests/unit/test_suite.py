"""A suite whose failing files are run once more by themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests import suite
from tests.suite import LAST_FAILED, alone, failed_tests, run_suite

PASSES = "def test_passes():\n    assert True\n"
FAILS = "def test_fails():\n    assert False\n"
FAILS_ONCE = """
from pathlib import Path


def test_fails_once():
    been = Path(__file__).with_name("been")
    first = not been.exists()
    been.touch()
    assert not first
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project that pytest runs in."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS", "COV_CORE_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(project: Path, **texts: str) -> None:
    for name, text in texts.items():
        (project / f"test_{name}.py").write_text(text)


def test_a_suite_that_passes_is_run_once(project: Path) -> None:
    write(project, good=PASSES)
    runs: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> int:
        runs.append(arguments)
        return suite.pytest_of(arguments)

    assert run_suite(["-q"], project, run) == 0
    assert len(runs) == 1


def test_what_fails_beside_others_is_run_once_more_and_named(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, good=PASSES, once=FAILS_ONCE)
    assert run_suite(["-q"], project) == 0
    told = capfd.readouterr().out
    assert "failed beside others: test_once.py::test_fails_once" in told
    assert "failed beside others, passed alone: test_once.py\n" in told
    assert "failed twice: none" in told
    (project / "been").unlink()
    write(project, bad=FAILS)
    assert run_suite(["-q"], project) == 1
    assert "failed twice: test_bad.py" in capfd.readouterr().out


def test_a_file_that_cannot_be_read_is_not_run_again(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write(project, broken="import nothing_of_this_name\n")
    assert run_suite(["-q"], project) > 1
    assert "once more" not in capfd.readouterr().out


def test_more_failures_than_a_neighbour_causes_are_not_run_again(project: Path) -> None:
    runs: list[Sequence[str]] = []

    def run(arguments: Sequence[str]) -> int:
        runs.append(arguments)
        listed = project / LAST_FAILED
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(json.dumps({f"test_{number}.py::test": True for number in range(6)}))
        return 1

    assert run_suite(["-q"], project, run) == 1
    assert len(runs) == 1


def test_a_failure_of_an_earlier_run_is_forgotten(project: Path) -> None:
    write(project, good=PASSES)
    listed = project / LAST_FAILED
    listed.parent.mkdir(parents=True)
    listed.write_text(json.dumps({"test_good.py::test_passes": True}))
    assert run_suite(["-q"], project) == 0
    assert failed_tests(project) == ()


def test_coverage_below_its_floor_fails_a_suite_whose_failures_pass_alone(project: Path) -> None:
    write(project, once=FAILS_ONCE, good="def nobody_calls():\n    return 1\n\n\n" + PASSES)
    (project / ".coveragerc").write_text("[report]\nfail_under = 100\n[run]\nsource = .\n")
    assert run_suite(["-q", "--cov", "--cov-config=.coveragerc"], project) == 1


def test_coverage_below_its_floor_is_a_failure_though_no_test_failed(tmp_path: Path) -> None:
    assert run_suite(["--cov"], tmp_path, lambda _: 1) == 1
    assert not (tmp_path / LAST_FAILED).exists()


def test_alone_keeps_marker_and_settings_and_drops_processes_and_coverage() -> None:
    arguments = ["-n", "2", "--dist", "loadfile", "-m", "not path", "--cov"]
    assert alone(arguments, ["tests/test_a.py"]) == [
        "-p",
        "no:cacheprovider",
        "--no-cov",
        "-m",
        "not path",
        "tests/test_a.py",
    ]
    assert alone(["-q"], ["tests/test_a.py"])[-1:] == ["tests/test_a.py"]
    slow = ["-o", "faulthandler_timeout=1800", "-m", "cluster"]
    assert alone(slow, ["tests/test_a.py"])[3:] == [*slow, "tests/test_a.py"]
