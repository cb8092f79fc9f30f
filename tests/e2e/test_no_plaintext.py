"""No plaintext at rest: markers planted in every identifying column are in no byte that the run wrote."""

from __future__ import annotations

import base64
import gzip
import io
import sqlite3
import zipfile
from pathlib import Path

import pytest
from tests.e2e.conftest import FirstRun
from tests.support.planted import MARKERS
from tests.support.sweep import Sweep

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]


def test_the_run_wrote_no_marker_anywhere(first_run: FirstRun) -> None:
    first_run.sweep.folder(first_run.home)
    first_run.sweep.folder(first_run.outside)
    first_run.sweep.data("stdout", first_run.done.stdout.encode())
    first_run.sweep.data("stderr", first_run.done.stderr.encode())
    assert first_run.sweep.hits == set()


def test_the_sweep_looked_where_plaintext_would_be(first_run: FirstRun) -> None:
    seen = "\n".join(first_run.watch.seen)
    for place in (
        "lake/landing",
        "lake/protected",
        "lake/quarantine",
        "lake/evidence",
        "airflow/airflow.db",
        "control.db",
    ):
        assert place in seen
    assert "spark-" in seen
    assert first_run.watch.passes > 20
    assert (first_run.home / "airflow" / "airflow.db").stat().st_size > 0
    assert any((first_run.home / "logs").glob("run-*.log"))


def test_the_inbox_is_emptied_because_the_contracts_say_so(first_run: FirstRun) -> None:
    assert [p.name for p in (first_run.home / "inbox").iterdir()] == ["ABOUT-THIS-FEED.txt"]


def test_nothing_temporary_is_left(first_run: FirstRun) -> None:
    left = [p for p in (first_run.outside / "tmp").rglob("*") if p.is_file()]
    left += list(first_run.home.rglob("*.tmp"))
    assert left == []


def test_secret_files_are_for_their_owner_only(first_run: FirstRun) -> None:
    for name in (
        "keystore/keystore.json",
        "keystore/administration.pem",
        "keystore/identities/platform.txt",
        "airflow/passwords.json",
        "airflow/airflow.cfg",
        "airflow/secrets.json",
        "token-roots/tokens-root.json",
    ):
        assert (first_run.home / name).stat().st_mode & 0o077 == 0, name


@pytest.mark.parametrize("marker", sorted(MARKERS))
def test_the_sweep_would_find_each_marker(marker: str, tmp_path: Path) -> None:
    value = MARKERS[marker]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("inner", value)
    (tmp_path / "a.zip").write_bytes(archive.getvalue())
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"x" * 100 + value.encode()))
    with sqlite3.connect(tmp_path / "c.db") as database:
        database.execute("create table t (v text)")
        database.execute("insert into t values (?)", (value,))
    (tmp_path / "d.b64").write_text("eHh4" + base64.b64encode(b"?" + value.encode()).decode())
    sweep = Sweep(MARKERS)
    sweep.folder(tmp_path)
    found = {hit.path.split("/")[-1].split("|")[0] for hit in sweep.hits if hit.marker == marker}
    assert {"a.zip", "b.gz", "c.db", "d.b64"} <= found
