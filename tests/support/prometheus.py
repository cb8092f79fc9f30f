"""A real Prometheus for tests: the programs of Debian's package, from where they are installed or unpacked."""

from __future__ import annotations

import shutil
from pathlib import Path

TOOLS = Path(__file__).parents[2] / ".venv" / "prometheus" / "usr" / "bin"  # infra/get-prometheus.sh unpacks it there


def there_is_prometheus() -> bool:
    """Return whether `prometheus` and `promtool` are here."""
    return all(_found(name) for name in ("prometheus", "promtool"))


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`; for tests with the marker `prometheus`."""
    found = _found(name)
    assert found is not None, f"{name} is not here: run infra/get-prometheus.sh"
    return found


def _found(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=str(TOOLS))
