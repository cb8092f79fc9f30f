"""The nightly tasks for versions: what they return is what Airflow's database may hold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from cloakhouse.flow import tasks
from cloakhouse.flow.xcom import allowed
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.stages.version_changes import Operator

RELEASE = ManifestRef(f"synthetic/baskets/releases/release-{'b' * 16}.json", "d" * 64)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path))


def test_expiry_returns_how_many_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tasks.expire_versions() == 0
    versions = [
        DatasetVersion("baskets", n, "f" * 64, "synthetic", 10, RELEASE, dt.datetime.now(dt.UTC)) for n in (1, 2)
    ]
    monkeypatch.setattr(Operator, "expire_due", lambda *_: versions)
    expired = tasks.expire_versions()
    assert expired == 2
    assert allowed(expired)


def test_collection_returns_its_report() -> None:
    report = tasks.collect_files()
    assert allowed(report)
    assert report["path"].startswith("evidence/collections/")
