"""A server that fails: each fault ends within a bound, in a typed error or in success, with nothing half written."""

from __future__ import annotations

import datetime as dt
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.fault_proxy import Fault, Proxy, Rule, proxy
from tests.support.processes import in_fork
from tests.support.service_aws import CREDENTIALS, use_dummy_credentials
from tests.support.stores import rclone

from cloakhouse.errors import CloakhouseError, IntegrityError, StorageError
from cloakhouse.keys.aws_place import Patience
from cloakhouse.lake.store.cache import Cache
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_uri import Place

pytestmark = pytest.mark.stores

QUICK = Patience(connect_s=3.0, read_s=1.5, attempts=3, begin_s=10.0)
LIMIT_S = 40.0
MIB = 1 << 20
SECRETS = (*CREDENTIALS.values(), "sekret text", "X-Amz-Signature")


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Proxy]:
    with proxy(tmp_path, rclone().port, rclone().authority.ca) as running:
        yield running


@pytest.fixture
def store(through: Proxy, tmp_path: Path) -> S3Store:
    return store_at(rclone().uri(f"faults/{tmp_path.name}", through.port, through.ca), tmp_path)


def store_at(uri: str, folder: Path, patience: Patience = QUICK) -> S3Store:
    return S3Store(Calls(Place.parse(uri), patience), Cache(folder / "cache", MIB), folder / "tmp", folder / "locks")


@pytest.fixture
def behind(store: S3Store, tmp_path: Path) -> S3Store:
    """The same lake, without the proxy."""
    return store_at(rclone().uri(f"faults/{tmp_path.name}"), tmp_path / "behind")


def put(store: S3Store, path: str, content: bytes) -> None:
    with store.staged(path) as local:
        local.write_bytes(content)


def refused(work: Callable[[], Any]) -> StorageError:
    """Return the error of `work`, which came within the bound and holds no secret."""
    started = time.monotonic()
    with pytest.raises(CloakhouseError) as refusal:
        work()
    assert time.monotonic() - started < LIMIT_S
    text = refusal.value.explain() + repr(refusal.value.__cause__)
    assert not [secret for secret in SECRETS if secret in text]
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    assert isinstance(refusal.value, StorageError)
    return refusal.value


def files(folder: Path) -> list[str]:
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and ".lock" not in p.name]


PASSING = {
    "time-out": Fault("hang"),
    "500": Fault("status", 500, "InternalError"),
    "503": Fault("status", 503, "SlowDown"),
    "reset": Fault("reset"),
    "lost answer": Fault("lose"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_is_not_noticed(fault: Fault, through: Proxy, store: S3Store, behind: S3Store) -> None:
    put(store, "zone/before", b"opens the client")
    through.rules += [
        Rule("^PUT", fault, times=1),
        Rule("^GET .*zone/a", fault, times=1),
        Rule("^HEAD", fault, times=1),
    ]
    put(store, "zone/a", b"content")
    assert store.read("zone/a") == b"content"
    assert store.create("zone/b", b"made") is True
    through.rules.append(Rule("^PUT", fault, times=1))
    assert store.create("zone/c", b"made") is True
    through.rules += [Rule("^GET .*list-type", fault, times=1), Rule("^DELETE", fault, times=1)]
    assert {i.path for i in store.list("zone")} == {"zone/a", "zone/b", "zone/c", "zone/before"}
    assert store.delete("zone/a")
    assert behind.stat("zone/a") is None


STAYING = {
    "time-out": (Fault("hang"), "storage.unreachable", "no answer in time"),
    "500": (Fault("status", 500, "InternalError"), "storage.unreachable", "trying again"),
    "503": (Fault("status", 503, "SlowDown"), "storage.throttled", "slow down"),
    "reset": (Fault("reset"), "storage.unreachable", "closed before an answer"),
    "403": (Fault("status", 403, "AccessDenied"), "storage.refused", "forbids"),
    "expired": (Fault("status", 400, "ExpiredToken"), "storage.credentials", "expired"),
    "unknown key": (Fault("status", 403, "InvalidAccessKeyId"), "storage.credentials", "does not know"),
    "clock": (Fault("status", 403, "RequestTimeTooSkewed"), "storage.credentials", "time"),
    "full": (Fault("status", 507, "InsufficientStorage"), "storage.no-space", "full"),
    "quota": (Fault("status", 403, "QuotaExceeded"), "storage.no-space", "used up"),
    "no S3": (Fault("status", 418, "Teapot"), "storage.protocol", "another one"),
}


@pytest.mark.parametrize(("fault", "code", "found"), STAYING.values(), ids=STAYING)
def test_a_fault_that_stays_is_told(
    fault: Fault, code: str, found: str, through: Proxy, store: S3Store, behind: S3Store, tmp_path: Path
) -> None:
    put(store, "zone/a", b"old")
    through.rules.append(Rule("zone", fault))
    for work in (
        lambda: put(store, "zone/a", b"new"),
        lambda: put(store, "zone/b", b"new"),
        lambda: store.read("zone/a"),
        lambda: store.stat("zone/a"),
        lambda: store.create("zone/c", b"made"),
    ):
        problem = refused(work)
        assert problem.code == code
        assert found in problem.found
        assert problem.retryable
    assert behind.read("zone/a") == b"old"
    assert [i.path for i in behind.list("zone")] == ["zone/a"]
    assert files(tmp_path / "tmp") == []
    assert files(tmp_path / "cache") == []


def test_a_truncated_body_is_fetched_again(through: Proxy, store: S3Store) -> None:
    content = os.urandom(3 * MIB)
    put(store, "zone/a", content)
    cut = Fault("truncate")
    through.rules.append(Rule("^GET .*zone/a", cut, times=2))
    assert store.fetched("zone/a").read_bytes() == content
    assert through.count("^GET .*zone/a") == 3
    through.rules.append(Rule("^GET .*zone/a", cut, times=2))
    assert store.read("zone/a") == content


def test_bodies_that_are_always_truncated_never_count(through: Proxy, store: S3Store, tmp_path: Path) -> None:
    put(store, "zone/a", os.urandom(MIB))
    through.rules.append(Rule("^GET .*zone/a", Fault("truncate")))
    assert refused(lambda: store.fetched("zone/a")).code == "storage.unreachable"
    assert refused(lambda: store.read("zone/a")).code == "storage.unreachable"
    assert files(tmp_path / "cache") == []


def test_an_object_that_was_changed_is_not_the_one_that_is_known(
    store: S3Store, behind: S3Store, tmp_path: Path
) -> None:
    import hashlib

    put(store, "zone/a", b"known")
    digest = hashlib.sha256(b"known").hexdigest()
    assert store.fetched("zone/a", digest).read_bytes() == b"known"
    put(behind, "zone/a", b"other")
    store.cache.drop(store._wanted("zone/a"))
    with pytest.raises(IntegrityError) as refusal:
        store.fetched("zone/a", digest)
    assert refusal.value.found == "other bytes"
    assert files(tmp_path / "cache") == []


PART = "^PUT .*partNumber=2"
BIG = b"0123456789abcdef" * (40 * MIB // 16)


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_part_that_is_disturbed_is_sent_again(fault: Fault, through: Proxy, store: S3Store, behind: S3Store) -> None:
    put(store, "zone/before", b"")
    through.rules.append(Rule(PART, fault, times=1))
    put(store, "zone/big", BIG)
    assert behind.read("zone/big") == BIG
    assert through.count("partNumber=2") == 2
    assert (through.count("^POST .*uploads"), through.count("^DELETE")) == (1, 0)


@pytest.mark.parametrize("kind", ["lose", "status", "reset"])
def test_the_end_of_an_upload_is_repeated(kind: str, through: Proxy, store: S3Store, behind: S3Store) -> None:
    """With the answer lost the server has made the object and forgotten the upload: the mark tells that it was ours."""
    put(store, "zone/before", b"")
    through.rules.append(Rule("^POST .*uploadId", Fault(kind), times=1))
    put(store, "zone/big", BIG)
    assert behind.read("zone/big") == BIG
    assert through.count("^POST .*uploadId") == 2


def test_an_upload_that_the_server_forgot_is_begun_again(through: Proxy, store: S3Store, behind: S3Store) -> None:
    put(store, "zone/before", b"")
    gone = Fault("status", 404, "NoSuchUpload")
    through.rules.append(Rule(PART, gone, times=1))
    put(store, "zone/big", BIG)
    assert behind.read("zone/big") == BIG
    assert through.count("^POST .*uploads") == 2
    through.rules.append(Rule(PART, gone))
    assert refused(lambda: put(store, "zone/other", BIG)).code == "storage.protocol"
    assert behind.stat("zone/other") is None


def test_an_upload_that_fails_in_the_middle_is_ended(
    through: Proxy, store: S3Store, behind: S3Store, tmp_path: Path
) -> None:
    put(store, "zone/big", b"old")
    through.rules.append(Rule(PART, Fault("reset")))
    assert refused(lambda: put(store, "zone/big", BIG)).code == "storage.unreachable"
    assert through.count(PART) == QUICK.attempts
    assert through.count("^DELETE .*uploadId") == 1
    assert behind.read("zone/big") == b"old"
    assert files(tmp_path / "tmp") == []
    assert left_in_the_bucket(f"faults/{tmp_path.name}") == ["zone/big"]


def test_a_writer_killed_in_the_middle_of_an_upload_shows_nothing(
    through: Proxy, store: S3Store, behind: S3Store, tmp_path: Path
) -> None:
    put(store, "zone/before", b"")

    def die() -> None:
        real = Calls.call

        def call(self: Calls, operation: str, *given: Any, **named: Any) -> Any:
            if named.get("PartNumber") == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, operation, *given, **named)

        Calls.call = call  # type: ignore[method-assign]
        put(store, "zone/big", BIG)

    assert in_fork(die) == -signal.SIGKILL
    assert behind.stat("zone/big") is None
    assert [i.path for i in behind.list("zone")] == ["zone/before"]
    assert len(list((tmp_path / "tmp").glob("lake-*"))) == 1
    assert store.clear_leftovers("zone", marked="other") == 1  # the folder of the killed process, whatever it was for
    assert store.clear_leftovers("zone", dt.timedelta(hours=1)) == 0
    assert store.clear_leftovers("zone") == 1
    assert list((tmp_path / "tmp").glob("lake-*")) == []
    put(store, "zone/big", BIG)
    assert behind.read("zone/big") == BIG


def left_in_the_bucket(prefix: str) -> list[str]:
    """Return what the server has on its disk below `prefix`, its own temporary files included."""
    folder = rclone().bucket / prefix
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_certificate_of_another_authority(through: Proxy, tmp_path: Path) -> None:
    wrong = store_at(rclone().uri("faults/tls", through.port, rclone().authority.ca), tmp_path)
    problem = refused(lambda: wrong.read("zone/a"))
    assert (problem.code, through.asked) == ("storage.tls", [])
    assert "not trusted" in problem.found


def test_a_server_without_tls_1_3(tmp_path: Path) -> None:
    old = ssl.TLSVersion.TLSv1_2
    with proxy(tmp_path, rclone().port, rclone().authority.ca, newest=old) as running:
        store = store_at(rclone().uri("faults/tls12", running.port, running.ca), tmp_path)
        for work in (lambda: store.read("zone/a"), lambda: store.calls.negotiated()):
            problem = refused(work)
            assert (problem.code, running.asked) == ("storage.tls", [])
            assert "no TLS 1.3" in problem.found


def test_what_a_server_is_asked_over(store: S3Store) -> None:
    protocol, cipher = store.calls.negotiated()
    assert protocol == "TLSv1.3"
    assert cipher.startswith("TLS_")


def test_nobody_there(tmp_path: Path) -> None:
    store = store_at("s3://lake?endpoint=https://127.0.0.1:9", tmp_path)
    assert refused(lambda: store.read("zone/a")).code == "storage.unreachable"
    assert refused(lambda: store.calls.negotiated()).code == "storage.unreachable"


def test_a_wrong_secret_is_refused_by_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rclone()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sekret text of another key")
    store = store_at(rclone().uri("faults/signature"), tmp_path, replace(QUICK, begin_s=5.5))
    assert refused(lambda: store.create("zone/a", b"")).code == "storage.credentials"


def test_no_credentials_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rclone()
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    store = store_at(rclone().uri("faults/none"), tmp_path, replace(QUICK, begin_s=5.4))
    problem = refused(lambda: store.read("zone/a"))
    assert problem.code == "storage.credentials"
    monkeypatch.undo()
    use_dummy_credentials()


def test_a_clock_that_is_wrong_for_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.auth

    rclone()
    behind_by = dt.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: dt.datetime.now(dt.UTC) - behind_by)
    store = store_at(rclone().uri("faults/clock"), tmp_path, replace(QUICK, begin_s=5.3))
    assert refused(lambda: store.create("zone/a", b"")).code in ("storage.credentials", "storage.refused")


def test_a_server_whose_clock_differs_is_told_as_such(through: Proxy, store: S3Store) -> None:
    put(store, "zone/a", b"")
    there = "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
    for code in ("AccessDenied", "SignatureDoesNotMatch"):
        through.rules = [Rule("zone", Fault("status", 403, code, there))]
        for work in (lambda: store.read("zone/a"), lambda: store.stat("zone/a")):
            problem = refused(work)
            assert problem.code == "storage.credentials"
            assert "clock" in problem.remedy


def test_no_such_bucket(tmp_path: Path) -> None:
    uri = re.sub("s3://[a-z-]+", "s3://no-such-bucket", rclone().uri())
    with pytest.raises(CloakhouseError) as refusal:
        store_at(uri, tmp_path).stat("zone/a")
    assert refusal.value.code == "configuration.bucket"


def test_a_trickle_is_given_up(through: Proxy, store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "zone/a", b"x" * 3 * MIB)
    monkeypatch.setattr("cloakhouse.lake.store.s3_calls.SLOWEST", 1e12)
    through.rules.append(Rule("^GET .*zone", Fault("slow")))
    problem = refused(lambda: store.read("zone/a"))
    assert (problem.code, problem.found) == ("storage.unreachable", "fewer")


def test_a_full_disk_here_is_told_as_such(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "zone/a", b"x" * 3 * MIB)

    def limited() -> None:
        from tests.support.crash import limit_file_size

        limit_file_size(MIB)
        for work in (lambda: store.fetched("zone/a"), lambda: store.edited("zone/a").__enter__()):
            problem = refused(work)
            assert problem.code == "storage.no-space", problem

    assert in_fork(limited) == 0
