"""The synthesis job on real Spark: workers count and sample in parts, and the rows are those of the sealed model."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.house import PRIVATE, House
from tests.support.keys import forms, keys_of
from tests.support.spark_projects import private, project_with

from cloakhouse.errors import StageError
from cloakhouse.flow.submit import Job, run_job
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import sampling
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.synthesize import plan, synthesize
from cloakhouse.stages.views import read_side

pytestmark = [pytest.mark.spark, pytest.mark.path]

SMALL_PARTS = {"views": "SHARD_ROWS = 400\n", "sampling": "CHUNK_ROWS = 400\n"}


@pytest.fixture
def place(tmp_path: Path) -> House:
    """An installation whose baskets wait to be synthesized."""
    return house.stocked().copy(tmp_path / "own house")


def submit(place: House, settings: Settings, **options: Any) -> dict[str, Any]:
    """Run the real job and return the manifest of the synthesis."""
    request = plan(place.settings, place.contracts[PRIVATE])
    assert request is not None
    arguments = ("--request", request.path, "--sha256", request.sha256)
    job = Job("synthesize", arguments, **{"timeout_s": 240.0, "master": "local[2]", **options})
    return read_manifest(FolderStore(place.settings.lake), ManifestRef.of(run_job(job, settings)), "synthesis")


def rows_of(place: House, content: dict[str, Any]) -> pa.Table:
    return pa.concat_tables([place.store.read(entry) for entry in file_entries(content["files"])])


def states(place: House) -> list[str]:
    return [spend.state for spend in PrivacyLedger(place.settings.database).spends()]


def unlisted(place: House, content: dict[str, Any] | None) -> set[str]:
    """Return rows in the lake's zones of a synthesis that the manifest doesn't list."""
    lists = [] if content is None else [content["files"], content["training"]["files"], content["holdout"]["files"]]
    listed = {item["path"] for items in lists for item in items}
    lake = place.settings.lake
    return {str(p.relative_to(lake)) for z in ("views", "synthetic") for p in (lake / z).rglob("*.parquet")} - listed


def test_the_job_counts_and_samples_in_parts_what_the_sealed_model_gives_anywhere(
    place: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = project_with(place.settings, tmp_path / "project", SMALL_PARTS)
    logs = tmp_path / "events"
    logs.mkdir()
    events = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": logs.as_uri(), "spark.eventLog.compress": "false"}
    told = private(tmp_path / "told.conf", events)
    content = submit(place, settings, cluster=told)
    assert len(content["training"]["files"]) > 2
    assert len(content["files"]) == len(content["chunks"]) > 2
    assert unlisted(place, content) == set()
    assert states(place) == ["committed"]

    monkeypatch.setattr(sampling, "CHUNK_ROWS", 400)
    again = synthesize(place.settings, place.contracts[PRIVATE])  # here, from the model that the job sealed
    assert again is not None
    local = read_manifest(FolderStore(place.settings.lake), again)
    assert (local["model"], local["spend"], local["chunks"]) == (content["model"], content["spend"], content["chunks"])
    assert rows_of(place, local).equals(rows_of(place, content))
    assert states(place) == ["committed"]

    views = read_side(place.settings, file_entries(content["training"]["files"]))
    values = {struct.pack("<d", v) for v in views.column("value").to_pylist() if v > 10 and round(v * 100) % 10}
    assert len(values) > 100
    written = b"".join(path.read_bytes() for path in logs.rglob("*") if path.is_file())
    assert b"MapInArrow" in written
    assert not [value for value in values if value in written]
    assert not [t for t in set(views.column("__unit").to_pylist()) if t.hex().encode() in written or t in written]
    secrets = keys_of(place.settings.home)
    assert secrets
    assert not [name for name, key in secrets.items() if any(form in written for form in forms(key).values())]


@pytest.mark.parametrize("module", ["counting", "sampling"])
def test_a_worker_that_fails_ends_the_job_without_values_and_without_rows(
    place: House, tmp_path: Path, module: str
) -> None:
    bomb = 'raise ValueError("4111111111111111 of Jane Doe")'
    more = {
        "counting": {"views": f"def read_side(*_):\n    {bomb}\n"},
        "sampling": {"sampling": f"def open_sealed(*_):\n    {bomb}\n"},
    }[module]
    settings = project_with(place.settings, tmp_path / "project", more)
    with pytest.raises(StageError) as caught:
        submit(place, settings)
    assert caught.value.code == "stage.task"
    assert "4111" not in str(caught.value)
    assert "ValueError" in str(caught.value)
    assert states(place) == (["released"] if module == "counting" else ["committed"])
    assert unlisted(place, None) == set()
