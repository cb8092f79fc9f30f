"""A real Prometheus for tests: the programs of Debian's package, from where they are installed or unpacked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / ".venv" / "prometheus" / "usr" / "bin"  # infra/get-prometheus.sh unpacks it there


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`. Skips the test where it isn't here; with CI=true it fails."""
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        tell = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        tell(f"{name} is not here: run infra/get-prometheus.sh")
    return str(found)
