"""Tests whose program is missing are named as not run, and fail where CI=true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.processes import ROOT

TESTS = """
import pytest

@pytest.mark.spark
def test_with_spark(): raise AssertionError

@pytest.mark.hsm
@pytest.mark.parametrize("n", [1, 2])
def test_with_a_token(n): raise AssertionError

def test_with_nothing(): pass
"""
HIDDEN = {"JAVA_HOME": "/nonexistent", "SOFTHSM2_MODULE": "/nonexistent/libsofthsm2.so"}


def run_pytest(folder: Path, *options: str, **environment: str) -> tuple[int, str]:
    (folder / "test_needs.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\nmarkers =\n  spark: x\n  hsm: x\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    command += [*options, str(folder)]
    given = {**{k: v for k, v in os.environ.items() if k != "CI"}, **HIDDEN, **environment}
    done = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_each_test_that_was_not_run_is_named_with_what_it_needs(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path)
    assert code == 0, said
    assert "1 passed, 3 deselected" in said
    java, _, token = said.partition("not run: no SoftHSM2; apt-get install softhsm2")
    assert "not run: no Java 17 or newer; apt-get install openjdk-17-jre-headless" in java
    assert "test_needs.py::test_with_spark" in java
    assert "test_needs.py::test_with_a_token[1]" in token
    assert "test_needs.py::test_with_a_token[2]" in token
    assert "test_with_nothing" not in said


def test_where_nothing_may_be_left_out_it_is_a_failure(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, CI="true")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "1 tests not run: no Java" in said
    assert "2 tests not run: no SoftHSM2" in said
    assert "passed" not in said


def test_what_a_run_does_not_take_is_not_missing_from_it(tmp_path: Path) -> None:
    code, said = run_pytest(tmp_path, "-m", "not spark and not hsm", CI="true")
    assert code == 0, said
    assert "1 passed, 3 deselected" in said
    assert "not run" not in said
