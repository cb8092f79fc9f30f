"""The closing search: it finds persons wherever they stand, and nobody else."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from tests.support import house as houses
from tests.support.elsewhere import bytes_of
from tests.support.house import House

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import StageError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.stages.auditing import event
from cloakhouse.stages.erasure_batch import Batch, write_list
from cloakhouse.stages.erasure_worklist import collect, drop
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.sweep import Findings, require_clean, sweep
from cloakhouse.stages.sweep_readers import layers, read_elsewhere
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.stages.worklist_values import SCHEMA, VALUE, deliveries, others_have, parsed
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

NAME = "er-20261122-0000cafe"


@dataclass
class Searched:
    """An installation with a collected worklist for one household, whose sources are gone."""

    house: House
    batch: Batch
    master: dict[str, object]

    def sweep(self) -> Findings:
        return sweep(self.house.settings, self.batch)

    def places(self) -> set[tuple[str, str, str]]:
        return {(hit.zone, hit.dataset, hit.part) for hit in self.sweep().hits}


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    house = houses.protected().copy(tmp_path_factory.mktemp("before"))
    settings, customers = house.settings, house.contracts["customers"]
    column = customers.column("household_id")
    ensure_roots(settings, [use.root for use in rights_uses(column)])
    [block] = parsed(settings, customers, next(deliveries(settings, customers)))
    table = block.table
    weeks = deliveries(settings, house.contracts["transactions"])
    lines = next(parsed(settings, house.contracts["transactions"], next(weeks))).table
    who = lines["household_id"][0].as_py()
    [master] = table.filter(pc.equal(table["household_id"], who)).to_pylist()
    rights = rights_tokens(pa.array([who], pa.int64()), column, token_keys(settings))
    batch = Batch(NAME, rights, "asked for it", dt.datetime.now(dt.UTC), rights.slice(0, 0))
    request = write_list(settings, NAME, batch.rights, batch.names)
    by = event(settings, Action.REQUEST_ERASURE, f"erasure {NAME}")
    erasure = Erasure(NAME, by.actor, batch.reason, 1, request, batch.requested_at)
    Erasures(settings.database).request(erasure, batch.rights, {DIGEST: "0" * 64}, by)
    counts = collect(settings, batch)
    assert counts["values"] > 5
    assert counts == collect(settings, batch)
    return Searched(house, batch, master)


@pytest.fixture
def after(before: Searched, tmp_path: Path) -> Searched:
    """The installation without landed files, protected rows and quarantine: nobody is left in it."""
    house = before.house.copy(tmp_path / "home")
    for zone in ("landing", "protected", "quarantine"):
        shutil.rmtree(house.settings.lake / zone)
    with db.open_database(house.settings.database).begin() as connection:
        connection.execute(sa.delete(db.delivery))
        connection.execute(sa.delete(db.protected_partition))
    return replace(before, house=house)


def test_before_anything_is_cut_the_person_is_found_wherever_the_path_puts_rows(before: Searched) -> None:
    found = before.places()
    assert ("landing", "customers", "bytes") in found
    assert ("landing", "customers", "household_id") in found
    assert ("landing", "transactions", "household_id") in found
    for column in ("household_id", "email", "card_number", "loyalty_card"):
        assert ("protected", "customers", column) in found
    assert ("protected", "transactions", "household_id") in found
    with pytest.raises(StageError) as refused:
        require_clean(before.sweep(), NAME)
    assert refused.value.code == "stage.found"
    assert str(before.master["email"]) not in refused.value.explain()


def test_when_all_are_gone_nothing_is_found_and_all_bytes_were_looked_at(after: Searched) -> None:
    findings = after.sweep()
    assert findings.clean, findings.as_dict()
    require_clean(findings, NAME)
    home = after.house.settings.home
    lists = after.house.settings.lake / "rights" / NAME
    files = [p for p in home.rglob("*") if p.is_file() and not p.is_relative_to(lists)]
    files = [p for p in files if not p.is_relative_to(after.house.settings.inbox)]
    assert sum(counts["objects"] for counts in findings.searched.values()) >= len(files)
    assert set(findings.tables) == {table.name for table in db.METADATA.sorted_tables}


def test_a_value_is_found_in_logs_archives_and_strange_objects(after: Searched) -> None:
    settings, email = after.house.settings, str(after.master["email"])
    (settings.home / "airflow" / "logs").mkdir(parents=True)
    (settings.home / "airflow" / "logs" / "task.log").write_text(f"row of {email}, refused\n")
    (settings.home / "tmp").mkdir(exist_ok=True)
    (settings.home / "tmp" / "left.gz").write_bytes(gzip.compress(f"{after.master['card_number']},1\n".encode()))
    (settings.lake / "synthetic" / "old").mkdir(parents=True)
    (settings.lake / "synthetic" / "old" / ".part.tmp").write_bytes(b"\0\1" + email.encode() + b"\0")
    found = {(hit.zone, hit.part) for hit in after.sweep().hits}
    assert found == {("airflow", "bytes"), ("tmp", "bytes"), ("synthetic", "bytes")}


def test_what_lies_elsewhere_is_searched_where_it_lies(
    after: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, email = after.house.settings, str(after.master["email"])
    shutil.move(settings.lake, tmp_path / "disk")
    settings.lake.symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "synthetic").mkdir(exist_ok=True)
    (tmp_path / "disk" / "synthetic" / "left.txt").write_text(email)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    left, others = f"{settings.scratch}spark-1", f"{replace(settings, home=tmp_path).scratch}spark-1"
    for name in (left, others):
        (settings.temporary() / name).mkdir()
        (settings.temporary() / name / "part.csv").write_text(email)
    old, new = (sqlite3.connect(path) for path in (settings.home / "control.db", tmp_path / "elsewhere.db"))
    with contextlib.closing(old), contextlib.closing(new):
        old.backup(new)
    for path in settings.home.glob("control.db*"):
        path.unlink()
    moved = replace(settings, database=f"sqlite:///{tmp_path / 'elsewhere.db'}")
    findings = sweep(moved, after.batch)
    assert sorted((hit.zone, hit.hits) for hit in findings.hits) == [("home", 1), ("synthetic", 1)]
    assert findings.searched["database"]["objects"] >= 1
    assert findings.left_out["links"] == 1


def test_folders_that_cannot_be_listed_are_told(after: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = after.house.settings.home / "airflow", os.scandir
    folder.mkdir(exist_ok=True)

    def refusing(path: str) -> object:
        if str(path) == str(folder):
            raise PermissionError(13, "no", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert [(one.zone, one.part) for one in after.sweep().unopened] == [("airflow", "unreadable")]


@pytest.mark.parametrize("depth", [2, 5])
def test_archives_in_archives_are_unpacked_or_told(after: Searched, depth: int) -> None:
    packed = str(after.master["email"]).encode()
    for _ in range(depth):
        packed = gzip.compress(packed)
    (after.house.settings.home / "left.gz").write_bytes(packed)
    findings = after.sweep()
    assert (findings.found, len(findings.unopened)) == ((1, 0) if depth == 2 else (0, 1))


@pytest.mark.parametrize("lost", [1, 30, 200])
def test_a_torn_zip_is_told_as_unreadable(after: Searched, lost: int) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("left.csv", f"{after.master['email']}\n" * 100)
        archive.writestr("more.csv", f"{after.master['card_number']}\n" * 100)
    (after.house.settings.home / "left.zip").write_bytes(packed.getvalue()[:-lost])
    findings = after.sweep()
    assert [(one.zone, one.part, one.hits) for one in findings.unopened] == [("home", "unreadable", 1)]
    assert not findings.clean


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("value", [b"ann@example.org", b"\x01" * 16])
def test_what_is_split_at_the_edge_of_what_is_unpacked_is_found_or_told(value: bytes, beyond: bool) -> None:
    inner = gzip.compress(b"." * 100 + value + b"." * 100, 0)  # stored, so that the value stands in its bytes
    edge = inner.index(value) + len(value) // 2 if beyond else len(inner)
    found, told = b"", False
    try:
        for layer in layers(io.BytesIO(gzip.compress(inner)), largest=edge):
            found += layer.read(1 << 20)
    except OSError:
        told = True
    assert (value in found, told) == (not beyond, beyond)


def test_a_value_that_spans_two_blocks_is_found_once(after: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    size, email = 1 << 16, str(after.master["email"]).encode()
    monkeypatch.setattr("cloakhouse.stages.sweep_readers.BLOCK", size)
    shifts = (size - 20, size - 1, size - len(email), size - len(email) + 1, size)
    for number, shift in enumerate(shifts):
        (after.house.settings.home / f"spool-{number}.txt").write_bytes(b" " * shift + email + b" " * 64)
    (after.house.settings.home / "longer.txt").write_bytes(b" " * (size - len(email)) + email + b"mer ")
    assert after.sweep().found == len(shifts)


def test_a_rights_token_may_stand_in_tombstones_and_nowhere_else(after: Searched) -> None:
    [token] = after.batch.rights.to_pylist()
    (after.house.settings.home / "left.bin").write_bytes(b"x" + token + b"y")
    with db.open_database(after.house.settings.database).begin() as connection:
        row = {"purpose": "analytics", "choice": "granted", "jurisdiction": "gdpr", "policy": "1", "source": "file"}
        now = dt.datetime.now(dt.UTC)
        connection.execute(sa.insert(db.consent_record).values(subject=token, chosen_at=now, recorded_at=now, **row))
    found = {(hit.zone, hit.dataset, hit.part, hit.hits) for hit in after.sweep().hits}
    assert found == {("database", "consent_record", "subject", 1), ("home", "", "bytes", 1)}


def test_tokens_are_found_in_encrypted_files_that_no_manifest_lists(after: Searched, before: Searched) -> None:
    house, partition = before.house, before.house.catalogue.protected("customers")
    [entry] = partition_files(house.settings, next(iter(partition.values())).manifest)[:1]
    table = house.store.read(entry, ["household_id", "email"])
    classes = dict.fromkeys(table.column_names, ColumnClass.DIRECT)
    after.house.store.write("views/customers/stray/part-0.parquet", table, classes)
    assert ("views", "customers", "household_id") in after.places()
    assert ("views", "customers", "email") in after.places()


def test_what_cannot_be_opened_is_told_and_not_passed_over(after: Searched) -> None:
    path = after.house.settings.lake / "views" / "customers" / "part.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PARE" + b"\0" * 100 + b"PARE")
    findings = after.sweep()
    assert not findings.hits
    assert [(one.zone, one.dataset) for one in findings.unopened] == [("views", "customers")]
    assert not findings.clean


def test_values_that_others_share_are_not_looked_for(before: Searched) -> None:
    house, persons = before.house, before.batch.rights
    [owner] = persons.to_pylist()
    texts = [str(before.master["email"]).encode(), b"another@person.example"]
    table = pa.table([[owner] * 2, [VALUE] * 2, ["email"] * 2, texts], schema=SCHEMA)
    found = others_have(house.settings, house.contracts, persons, token_keys(house.settings), table)
    assert found.tolist() == [False, False]
    customers = house.contracts["customers"]
    [block] = parsed(house.settings, customers, next(deliveries(house.settings, customers)))
    mine = str(before.master["email"])
    other = next(value for value in block.table["email"].to_pylist() if value != mine)
    table = pa.table([[owner], [VALUE], ["email"], [other.encode()]], schema=SCHEMA)
    found = others_have(house.settings, house.contracts, persons, token_keys(house.settings), table)
    assert found.tolist() == [True]


def test_without_its_worklist_a_search_is_refused_and_dropping_is_repeatable(after: Searched) -> None:
    assert drop(after.house.settings, NAME) >= 2
    assert drop(after.house.settings, NAME) == 0
    with pytest.raises(StageError) as refused:
        after.sweep()
    assert refused.value.code == "stage.worklist"


def test_a_search_lets_no_lock_of_sqlite_go(tmp_path: Path) -> None:
    file = tmp_path / "some.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as here:
        here.execute("CREATE TABLE t (a)")
        here.execute("BEGIN IMMEDIATE")
        with read_elsewhere(file) as stream:
            assert stream.read() == bytes_of(file)
        assert locked_for_others(file)
        here.execute("ROLLBACK")
    with pytest.raises(FileNotFoundError), read_elsewhere(tmp_path / "none.db"):
        pass


def locked_for_others(file: Path) -> bool:
    """Return whether another process is kept from writing to a SQLite database."""
    code = f"import sqlite3; sqlite3.connect({str(file)!r}, timeout=0).execute('BEGIN IMMEDIATE')"
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    return b"database is locked" in ended.stderr
