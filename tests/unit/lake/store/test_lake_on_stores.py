"""Tables, manifests, sealed models, landed files and coverage on S3 servers: the lake asks nothing only disks do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.processes import in_fork
from tests.support.stores import SERVERS, settings_on
from tests.support.sweep import Sweep

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import IntegrityError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.signing import SigningKeys
from cloakhouse.lake.coverage import Kind, coverage
from cloakhouse.lake.landed import LandedObject, landing, opened, rewrap
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.reencryption import key_versions, reencrypt_landed, reencrypt_table
from cloakhouse.lake.sealed import seal, unseal
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.settings import Settings

pytestmark = pytest.mark.stores

MARKER = "Zwetschgenhuber"
TABLE = pa.table({"household": [1, 2, 3] * 50, "name": ["Ann", MARKER, None] * 50, "amount": [1.5, None, 7.25] * 50})
CLASSES = {"household": ColumnClass.DIRECT, "name": ColumnClass.SENSITIVE, "amount": ColumnClass.PLAIN}
PATH = "protected/people/part-0.parquet"
TARGET = LandedObject("people", "2017-01-02", "people.csv")


@pytest.fixture(params=SERVERS)
def settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """An empty lake; afterwards nothing on this machine's disk holds the marker, and nothing temporary is left."""
    monkeypatch.delenv("TMPDIR", raising=False)
    made = settings_on(str(request.param), tmp_path / "home")
    yield made
    sweep = Sweep({"name": MARKER})
    sweep.folder(made.home)
    assert sweep.files > 0
    assert sweep.hits == set()
    assert not [p for p in (made.home / "tmp").rglob("*") if p.is_file() and p.name != ".lake.lock"]


@pytest.fixture
def store(settings: Settings) -> S3Store:
    found = open_store(settings)
    assert isinstance(found, S3Store)
    return found


@pytest.fixture
def ring(settings: Settings) -> KeyRing:
    return KeyRing(AgeKeyService(settings.home / "keystore"), settings.dataset_keys)


def test_tables(store: S3Store, ring: KeyRing) -> None:
    tables = TableStore(store, ring)
    entry = tables.write(PATH, TABLE, CLASSES)
    assert tables.read(entry).equals(TABLE)
    assert tables.read(entry, ["amount"], [("household", "=", 3)]).num_rows == 50
    assert sum(batch.num_rows for batch in tables.batches(entry, rows=20)) == 150
    again = reencrypt_table(entry, tables)
    assert tables.read(again).equals(TABLE)
    assert len(key_versions(store, again.path, ring)) == 4


def test_a_table_that_is_missing_is_told_as_on_a_folder(store: S3Store, ring: KeyRing) -> None:
    tables = TableStore(store, ring)
    entry = tables.write(PATH, TABLE, CLASSES)
    assert store.delete(entry.path)
    with pytest.raises(IntegrityError) as refusal:
        tables.read(entry)
    assert refusal.value.found == "no file"


def test_a_table_of_another_file_is_refused(store: S3Store, ring: KeyRing) -> None:
    tables = TableStore(store, ring)
    entry = tables.write(PATH, TABLE, CLASSES)
    other = tables.write("protected/people/part-1.parquet", TABLE.slice(0, 10), CLASSES)
    with store.staged(PATH) as local:
        local.write_bytes(store.read(other.path))
    for reader in (tables, TableStore(store, ring)):
        with pytest.raises(IntegrityError):
            reader.read(entry)


def test_manifests(store: S3Store) -> None:
    reference = write_manifest(store, "protected/people", "protected", {"files": []})
    assert write_manifest(store, "protected/people", "protected", {"files": []}) == reference
    assert read_manifest(store, reference, "protected")["files"] == []
    with store.staged(reference.path) as local:
        local.write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        read_manifest(store, reference)


def test_sealed_models(store: S3Store, ring: KeyRing, settings: Settings) -> None:
    keys = SigningKeys(ring.service, settings.signing_keys)
    keys.ensure("artifacts")
    given = (store, "synthetic/people/model-1.chs")
    content = MARKER.encode() * 100
    file = seal(ring, keys.private("artifacts"), *given, content, "ctgan", "f" * 16)
    assert seal(ring, keys.private("artifacts"), *given, b"another", "ctgan", "f" * 16) == file
    assert unseal(ring, keys.public("artifacts"), store, file, "ctgan", "f" * 16) == content


def test_landed_files(store: S3Store, ring: KeyRing) -> None:
    content = b"name\n" + MARKER.encode() * 200_000  # three segments
    with landing(store, TARGET, ring, plain_bytes=len(content)) as writer:
        writer.write(content)
    for _ in range(3):
        ring.rotate(TARGET.key)
        assert rewrap(store, TARGET, ring)
        assert not rewrap(store, TARGET, ring)
        with opened(store, TARGET, ring) as stream:
            assert stream.read() == content
    reencrypt_landed(store, TARGET, ring)
    with opened(store, TARGET, ring) as stream:
        assert stream.read() == content


def test_a_rewrap_that_is_killed_changes_nothing(
    store: S3Store, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    with landing(store, TARGET, ring) as writer:
        writer.write(MARKER.encode())
    before = store.read(TARGET.path)
    ring.rotate(TARGET.key)

    def die() -> None:
        monkeypatch.setattr("cloakhouse.lake.store.s3.Upload.run", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        rewrap(store, TARGET, ring)

    assert in_fork(die) == -signal.SIGKILL
    assert store.read(TARGET.path) == before
    assert store.clear_leftovers("landing/people") == 1
    assert rewrap(store, TARGET, ring)


def test_coverage(store: S3Store, ring: KeyRing) -> None:
    entry = TableStore(store, ring).write(PATH, TABLE, CLASSES)
    with landing(store, TARGET, ring) as writer:
        writer.write(b"name\n" + MARKER.encode())
    write_manifest(store, "protected/people", "protected", {"files": []})
    found = coverage(store, ring, deep=True)
    assert (found.complete, found.byte_share, found.column_share) == (True, 1.0, 1.0)
    assert sum(p.encrypted + p.plaintext + p.structure for p in found.parts) == sum(i.bytes for i in store.list())
    assert all(p.checked == p.encrypted for p in found.parts)

    changed = bytearray(store.read(PATH))
    changed[entry.bytes // 2] ^= 1
    with store.staged(PATH) as local:
        local.write_bytes(changed)
    with store.staged("protected/people/notes.txt") as local:
        local.write_text("plain")
    client = store.calls.client()
    client.put_object(Bucket=store.calls.place.bucket, Key=store.calls.key("protected/odd name"), Body=b"odd")
    again = coverage(store, ring, deep=True)
    assert {f.path: f.kind for f in again.findings} == {
        PATH: Kind.DAMAGED,
        "protected/people/notes.txt": Kind.PLAINTEXT,
        "protected/odd name": Kind.UNREADABLE,
    }


def test_a_cached_copy_is_what_stands_on_the_server(store: S3Store, ring: KeyRing, settings: Settings) -> None:
    """The cache holds the same encrypted bytes, and serves another process of the same home without asking again."""
    entry = TableStore(store, ring).write(PATH, TABLE, CLASSES)
    assert TableStore(store, ring).read(entry).num_rows == 150
    copies = [p for p in settings.copies.rglob("*") if p.is_file()]
    assert [hashlib.sha256(p.read_bytes()).hexdigest() for p in copies] == [entry.sha256]
    copies[0].write_bytes(b"damaged")
    fresh = open_store(replace(settings, cache_bytes=settings.cache_bytes + 1))
    assert TableStore(fresh, ring).read(entry).equals(TABLE)
