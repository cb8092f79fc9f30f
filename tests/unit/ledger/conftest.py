"""Each test of this folder that takes a `url` runs on SQLite, and under the marker `stores` on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import databases


@pytest.fixture(params=databases.NAMES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a control database of its own, empty."""
    with databases.fresh(request.param, tmp_path / "sub") as made:
        yield made


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that isn't there yet."""
    return f"sqlite:///{tmp_path / 'control.db'}"
