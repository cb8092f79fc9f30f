"""What a server is asked for, and what is refused of a bucket: on moto, which knows policies, versions, headers."""

from __future__ import annotations

import datetime as dt
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.stores import moto_client, moto_uri, rclone

from cloakhouse.errors import ConfigurationError, StorageError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_bucket import examined
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.settings import Settings
from cloakhouse.stages.connections import Finding, examine

pytestmark = pytest.mark.stores

BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


@pytest.fixture
def bucket() -> str:
    name = f"lake-{uuid.uuid4().hex[:12]}"
    moto_uri()
    moto_client().create_bucket(Bucket=name)
    return name


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({}).with_home(tmp_path / "home")


def at(settings: Settings, bucket: str, prefix: str = "lake", **parameters: str) -> S3Store:
    store = open_store(replace(settings, store=moto_uri(prefix, bucket, **parameters)))
    assert isinstance(store, S3Store)
    return store


def put(store: S3Store, path: str, content: bytes) -> None:
    with store.staged(path) as local:
        local.write_bytes(content)


def test_a_bucket_that_everybody_may_read_by_its_access_list_is_refused(settings: Settings, bucket: str) -> None:
    moto_client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    store = at(settings, bucket)
    works: list[Callable[[], Any]] = [
        lambda: store.read("zone/a"),
        lambda: put(store, "zone/a", b""),
        lambda: store.create("zone/a", b""),
        lambda: list(store.list()),
        lambda: store.clear_leftovers(""),
        lambda: store.fetched("zone/a"),
    ]
    for work in works:
        with pytest.raises(ConfigurationError) as refusal:
            work()
        assert refusal.value.code == "configuration.public-bucket"
        assert "Block Public Access" in refusal.value.remedy
    assert moto_client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_public_access_list_that_is_ignored_is_not_public(settings: Settings, bucket: str) -> None:
    moto_client().put_bucket_acl(Bucket=bucket, ACL="public-read")
    only = {**BLOCKED, "BlockPublicPolicy": False}
    moto_client().put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=only)
    assert "not public" in examined(at(settings, bucket).calls).told


def test_a_bucket_that_everybody_may_read_by_its_policy_is_refused(
    settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto doesn't evaluate policies: its answer to GetBucketPolicyStatus is put in here, in the form that S3 gives."""
    real = Calls.call

    def call(self: Calls, operation: str, *given: Any, **named: Any) -> dict[str, Any]:
        if operation == "get_bucket_policy_status":
            return {"PolicyStatus": {"IsPublic": True}}
        return real(self, operation, *given, **named)

    monkeypatch.setattr(Calls, "call", call)
    with pytest.raises(ConfigurationError) as refusal:
        at(settings, bucket).stat("zone/a")
    assert (refusal.value.code, "policy" in refusal.value.found) == ("configuration.public-bucket", True)


def test_blocked_access_is_told(settings: Settings, bucket: str) -> None:
    moto_client().put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=BLOCKED)
    assert examined(at(settings, bucket).calls).told == "public access is blocked"


@pytest.mark.parametrize("code", ["storage.refused", "storage.protocol"])
def test_questions_that_are_not_answered_are_told_and_stop_nothing(
    settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    real = Calls.call

    def call(self: Calls, operation: str, *given: Any, **named: Any) -> dict[str, Any]:
        if operation.startswith("get_") and operation != "get_object":
            problem = StorageError(where="", expected="", found="", not_done="", remedy="")
            problem.code = code
            raise problem
        return real(self, operation, *given, **named)

    monkeypatch.setattr(Calls, "call", call)
    store = at(settings, bucket)
    assert store.create("zone/a", b"")
    found = examined(store.calls)
    assert (found.told, found.versioned) == ("the server does not tell whether it is public", None)


def test_a_killed_removal_hides_nothing_that_still_stands(
    settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delete marker over a version that is left would keep it from every later collector."""
    moto_client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = at(settings, bucket)
    real = Calls.call
    for last in range(1, 5):
        path, done = f"zone/{last}/a", []
        for content in (b"1", b"2", b"3"):
            put(store, path, content)

        def killed(self: Calls, operation: str, *given: Any, **named: Any) -> dict[str, Any]:
            if operation == "delete_object":
                if len(done) == last:  # noqa: B023 - called before the next turn
                    raise KeyboardInterrupt
                done.append(named)  # noqa: B023
            return real(self, operation, *given, **named)

        monkeypatch.setattr(Calls, "call", killed)
        try:
            assert store.delete(path)
        except KeyboardInterrupt:
            assert last < 3
        monkeypatch.undo()
        left = moto_client().list_object_versions(Bucket=bucket, Prefix=f"lake/{path}").get("Versions", [])
        assert [info.path for info in store.list(f"zone/{last}")] == ([path] if left else [])
        if left:
            assert store.read(path) == b"3"
            assert store.delete(path)
        assert not moto_client().list_object_versions(Bucket=bucket, Prefix=f"lake/{path}").get("Versions")
        assert not moto_client().list_object_versions(Bucket=bucket, Prefix=f"lake/{path}").get("DeleteMarkers")


def test_the_bucket_is_looked_at_once(settings: Settings, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = Calls.call

    def call(self: Calls, operation: str, *given: Any, **named: Any) -> dict[str, Any]:
        asked.append(operation)
        return real(self, operation, *given, **named)

    monkeypatch.setattr(Calls, "call", call)
    for _ in range(3):
        at(settings, bucket).stat("zone/a")
    assert asked.count("head_bucket") == 1
    assert asked.count("get_public_access_block") == 1


@pytest.mark.parametrize("size", [10, 17 << 20])
def test_every_write_asks_for_encryption_and_no_access_list(
    settings: Settings, bucket: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    real = Calls.call

    def call(self: Calls, operation: str, *given: Any, **named: Any) -> dict[str, Any]:
        sent.append((operation, named))
        return real(self, operation, *given, **named)

    monkeypatch.setattr(Calls, "call", call)
    store = at(settings, bucket, kms_key="alias/lake")
    put(store, "zone/a", b"x" * size)
    store.create("zone/b", b"x" * size)
    with store.edited("zone/a") as local:
        local.write_bytes(b"y" * size)
    made = [named for operation, named in sent if operation in ("put_object", "create_multipart_upload")]
    assert len(made) == 3
    for named in made:
        assert (named["ServerSideEncryption"], named["SSEKMSKeyId"], named["BucketKeyEnabled"]) == (
            "aws:kms",
            "alias/lake",
            True,
        )
        assert not [name for name in named if "ACL" in name or "Grant" in name]
    bodies = [named for operation, named in sent if operation in ("put_object", "upload_part")]
    assert all(len(named["ContentMD5"]) == 24 for named in bodies)
    head = moto_client().head_object(Bucket=bucket, Key="lake/zone/a")
    assert head["ServerSideEncryption"] == "aws:kms"
    assert "alias/lake" in head["SSEKMSKeyId"]


def test_deleting_for_good_takes_every_version(settings: Settings, bucket: str) -> None:
    moto_client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store = at(settings, bucket)
    for content in (b"1", b"2", b"3"):
        put(store, "zone/a", content)
    put(store, "zone/ab", b"stays")
    assert store.delete("zone/a")
    left = moto_client().list_object_versions(Bucket=bucket, Prefix="lake/")
    assert [v["Key"] for v in left["Versions"]] == ["lake/zone/ab"]
    assert "DeleteMarkers" not in left
    assert not store.delete("zone/a")
    moto_client().delete_object(Bucket=bucket, Key="lake/zone/ab")
    assert store.stat("zone/ab") is None
    assert store.delete("zone/ab")  # a version stood there still
    assert "Versions" not in moto_client().list_object_versions(Bucket=bucket, Prefix="lake/")


def test_uploads_that_were_not_completed_are_ended(settings: Settings, bucket: str) -> None:
    client = moto_client()
    for key in ("lake/zone/set/a~1.parquet", "lake/zone/set/b.parquet", "lake/zone/other/c", "elsewhere/zone/set/d"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    store = at(settings, bucket)
    assert store.clear_leftovers("zone/set", dt.timedelta(hours=1)) in (0, 2)  # moto says that all began in 2010
    client.create_multipart_upload(Bucket=bucket, Key="lake/zone/set/a~2.parquet")
    marked = store.clear_leftovers("zone/set", marked="~")
    assert marked in (1, 2)
    store.clear_leftovers("zone/set")
    left = [u["Key"] for u in client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())]
    assert sorted(left) == ["elsewhere/zone/set/d", "lake/zone/other/c"]


def test_an_edit_that_somebody_overtook_is_not_made(settings: Settings, bucket: str, tmp_path: Path) -> None:
    store = at(settings, bucket)
    put(store, "zone/a", b"old")
    other = replace(store, locks=tmp_path / "other-locks")

    def overtaken() -> None:
        with store.edited("zone/a") as local:
            put(other, "zone/a", b"theirs")
            local.write_bytes(b"ours")

    with pytest.raises(StorageError) as refusal:
        overtaken()
    assert (refusal.value.code, store.read("zone/a")) == ("storage.conflict", b"theirs")


def test_doctor_on_moto_finds_plain_http(settings: Settings, bucket: str) -> None:
    (finding,) = (f for f in examine(replace(settings, store=moto_uri("lake", bucket))) if f.what == "lake")
    assert (finding.protocol, finding.ok) == ("HTTP (loopback)", False)
    assert "TLS 1.3" in finding.remedy


def test_doctor_on_a_server_over_tls(settings: Settings) -> None:
    uri = rclone().uri("doctor", kms_key="alias/lake")
    (finding,) = (f for f in examine(replace(settings, store=uri)) if f.what == "lake")
    told = "SSE-KMS asked for (alias/lake); the server does not tell whether it is public"
    assert finding == Finding("lake", finding.endpoint, "TLSv1.3", finding.detail, True)
    assert finding.detail.endswith(told)
    assert finding.endpoint == f"s3://lake-of-tests/doctor?endpoint={rclone().endpoint}"
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in json.dumps(finding.as_dict())


def test_doctor_on_a_server_that_is_not_there(settings: Settings) -> None:
    away = replace(settings, store="s3://lake?endpoint=https://127.0.0.1:9&region=eu-west-1")
    (finding,) = (f for f in examine(away) if f.what == "lake")
    assert (finding.ok, finding.protocol) == (False, "storage.unreachable")
