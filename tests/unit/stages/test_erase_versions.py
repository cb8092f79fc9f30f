"""Old versions of a bucket's objects go, delete markers after them; what can't be asked or deleted stops an erasure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import stores

from cloakhouse.errors import StorageError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_refusals import CONFLICT, REFUSED, refuse
from cloakhouse.settings import Settings
from cloakhouse.stages.erase_versions import remove_versions

NOTE = "evidence/audit/checkpoints/000000000007.txt"


@pytest.fixture
def bucket() -> str:
    name = f"old-{uuid.uuid4().hex[:8]}"
    client = stores.moto_client()
    client.create_bucket(Bucket=name)
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


@pytest.fixture
def settings(bucket: str, tmp_path: Path) -> Settings:
    made = Settings.from_environment({}).with_home(tmp_path / "home")
    return replace(made, store=stores.moto_uri("lake", bucket))


def put(bucket: str, key: str, *contents: bytes) -> None:
    for content in contents:
        stores.moto_client().put_object(Bucket=bucket, Key=key, Body=content)


def lying(bucket: str) -> list[tuple[str, bool]]:
    found = stores.moto_client().list_object_versions(Bucket=bucket)
    return sorted((one["Key"], "Size" in one) for kind in ("Versions", "DeleteMarkers") for one in found.get(kind, ()))


def test_a_folder_keeps_none(tmp_path: Path) -> None:
    told = remove_versions(Settings.from_environment({}).with_home(tmp_path / "home"))
    assert told == {"versions": 0, "markers": 0, "told": "a folder keeps no versions"}


@pytest.mark.stores
def test_all_that_is_old_goes_but_checkpoints_and_what_is_of_others(settings: Settings, bucket: str) -> None:
    put(bucket, "lake/zone/written-again", b"1", b"2", b"3")
    put(bucket, "lake/zone/deleted", b"1", b"2")
    put(bucket, f"lake/{NOTE}", b"1", b"2")
    put(bucket, "lakeside", b"1", b"2")
    for key in ("lake/zone/deleted", "lake/zone/never"):
        stores.moto_client().delete_object(Bucket=bucket, Key=key)
    told = remove_versions(settings)
    assert (told["versions"], told["told"]) == (4, "no old version is left")
    assert told["markers"] in (1, 2)  # moto makes none for what never was
    left = [("lake/zone/written-again", True), (f"lake/{NOTE}", True), (f"lake/{NOTE}", True)]
    assert lying(bucket) == sorted([*left, ("lakeside", True), ("lakeside", True)])
    assert open_store(settings).read("zone/written-again") == b"3"
    assert remove_versions(settings) == {"versions": 0, "markers": 0, "told": "no old version is left"}


@pytest.mark.stores
def test_a_killed_removal_brings_nothing_back(settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, "lake/zone/deleted", b"1", b"2")
    stores.moto_client().delete_object(Bucket=bucket, Key="lake/zone/deleted")
    with monkeypatch.context() as broken:
        broken.setattr(Calls, "call", failing("delete_objects", after=1))
        with pytest.raises(StorageError):
            remove_versions(settings)
    assert lying(bucket) == [("lake/zone/deleted", False)]  # the marker alone: the versions went first
    remove_versions(settings)
    assert lying(bucket) == []


@pytest.mark.stores
def test_what_may_not_be_listed_or_deleted_stops_it(
    settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bucket, "lake/zone/a", b"1", b"2")
    for operation in ("list_object_versions", "delete_objects"):
        with monkeypatch.context() as broken:
            broken.setattr(Calls, "call", failing(operation))
            with pytest.raises(StorageError) as refusal:
                remove_versions(settings)
        assert refusal.value.code == "storage.refused"
    with monkeypatch.context() as locked:  # an answer that names what was not deleted, as Object Lock gives it
        locked.setattr(Calls, "call", answering("delete_objects", {"Errors": [{"Code": "AccessDenied"}]}))
        with pytest.raises(StorageError) as refusal:
            remove_versions(settings)
    assert refusal.value.code == "storage.refused"
    with monkeypatch.context() as idle:
        idle.setattr(Calls, "call", answering("delete_objects", {}))
        with pytest.raises(StorageError) as refusal:
            remove_versions(settings)
    assert refusal.value.code == f"storage.{CONFLICT.code}"


@pytest.mark.stores
def test_a_server_that_knows_no_versions_says_so(tmp_path: Path) -> None:
    settings = stores.settings_on("rclone", tmp_path / "home")
    open_store(settings).create("zone/a", b"1")
    assert remove_versions(settings)["told"] == "the server keeps no versions"


def failing(wanted: str, after: int = 0) -> Callable[..., Any]:
    """Return a way to call S3 to which `wanted` is forbidden, after some calls of it."""
    left, real = [after], Calls.call

    def call(self: Calls, operation: str, where: str, not_done: str, **named: Any) -> Any:
        left[0] -= operation == wanted
        if operation == wanted and left[0] < 0:
            raise refuse(REFUSED, where, not_done)
        return real(self, operation, where, not_done, **named)

    return call


def answering(wanted: str, answer: dict[str, Any]) -> Callable[..., Any]:
    """Return a way to call S3 that is told `answer` for `wanted`."""
    real = Calls.call

    def call(self: Calls, operation: str, where: str, not_done: str, **named: Any) -> Any:
        return answer if operation == wanted else real(self, operation, where, not_done, **named)

    return call
