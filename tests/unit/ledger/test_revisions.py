"""Revisions: one chain of steps that makes just the tables of `database`, once, by one process, all or nothing."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.support import databases
from tests.support.forks import at_once
from tests.support.processes import ROOT, in_fork, run

from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.ledger import database, revisions
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_verify import verify
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.database_engine import engine_of
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import HEAD, KNOWN, UNVERSIONED, revision_of, upgrade

SCRIPTS = ROOT / "plugins" / "cloakhouse" / "ledger" / "migrations"
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    with op.batch_alter_table("key_fingerprint") as table:
        table.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
    op.create_table("another", sa.Column("id", sa.Integer, primary_key=True))
"""


@pytest.fixture(params=databases.NAMES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    with databases.bare(request.param, tmp_path) as url:
        yield url


def engine(url: str) -> sa.Engine:
    return engine_of(database_url(url))


def revision(url: str) -> str | None:
    with engine(url).connect() as connection:
        return revision_of(connection)


def tables(url: str) -> set[str]:
    return set(sa.inspect(engine(url)).get_table_names())


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This version, with one step more than it has."""
    scripts = tmp_path / "ledger" / "migrations"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "0004_next.py").write_text(NEXT)
    monkeypatch.setattr(revisions, "files", lambda _: tmp_path / "ledger")
    monkeypatch.setattr(revisions, "KNOWN", (*KNOWN, "0004"))
    monkeypatch.setattr(revisions, "HEAD", "0004")
    return scripts


def test_the_constants_are_the_steps_that_there_are() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert tuple(step.revision for step in scripts.walk_revisions())[::-1] == KNOWN
    assert scripts.get_heads() == [HEAD]


def test_the_steps_make_just_the_tables_that_the_code_uses(empty: str) -> None:
    assert revision(empty) is None
    assert upgrade(engine(empty)) is None
    assert upgrade(engine(empty)) == HEAD == revision(empty)
    assert tables(empty) == {*database.METADATA.tables, "alembic_version"}
    with engine(empty).connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), database.METADATA) == []


def test_on_sqlite_the_statements_are_the_same_to_the_letter(sqlite_url: str) -> None:
    """What compare_metadata doesn't look at: names of constraints, defaults, the order of columns."""

    def schema(of: sa.Engine) -> set[str]:
        with of.connect() as connection:
            wanted = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type != 'trigger'"
            rows = connection.exec_driver_sql(wanted).all()
        return {" ".join(sql.split()) for name, sql in rows if name != "alembic_version"}

    plain = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    database.METADATA.create_all(plain)
    assert schema(database.open_database(sqlite_url)) == schema(plain)


def test_whoever_opens_sqlite_first_makes_it_and_postgresql_is_the_operators(empty: str) -> None:
    if empty.startswith("sqlite"):
        database.open_database(empty)
        assert revision(empty) == HEAD
        return
    with pytest.raises(ConfigurationError) as refusal:
        database.open_database(empty)
    assert refusal.value.code == "configuration.schema"
    assert refusal.value.found == "none: the database is empty"
    assert "`cloakhouse database upgrade`" in refusal.value.remedy
    assert not refusal.value.retryable
    assert tables(empty) == set()


@pytest.mark.parametrize("number", ["0000", "9999", "a1b2c3d4e5f6"])
def test_a_revision_that_is_not_known_is_refused_and_left_alone(url: str, number: str) -> None:
    opened = database.open_database(url)
    with opened.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": number})
    for call in (lambda: database.open_database(url), lambda: Catalogue(url), lambda: upgrade(opened)):
        with pytest.raises(ConfigurationError) as refusal:
            call()
        assert refusal.value.code == "configuration.schema"
        assert "newer" in refusal.value.found
        assert "install the version" in refusal.value.remedy
    assert revision(url) == number


def test_tables_of_no_revision_are_refused_and_left_alone(empty: str) -> None:
    opened = engine(empty)
    database.METADATA.create_all(opened)
    for _ in range(2):
        for call in (lambda: database.open_database(empty), lambda: upgrade(opened)):
            with pytest.raises(ConfigurationError, match="tables of no revision") as refusal:
                call()
            assert refusal.value.code == "configuration.schema"
        assert revision(empty) == UNVERSIONED
        with opened.begin() as connection:  # the same with a table for revisions that has none
            connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")


def test_an_older_revision_is_upgraded_on_sqlite_and_the_operators_on_postgresql(url: str, newer: Path) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.setattr(revisions, "KNOWN", KNOWN)
        before.setattr(revisions, "HEAD", HEAD)
        Catalogue(url).record_key_fingerprint("root", "f" * 16)
    if url.startswith("postgresql"):
        with pytest.raises(ConfigurationError) as refusal:
            Catalogue(url)
        assert (refusal.value.expected, refusal.value.found) == ("its tables at revision 0004", "revision 0003")
        assert "`cloakhouse database upgrade`" in refusal.value.remedy
        assert upgrade(engine(url)) == "0003"
    assert Catalogue(url).key_fingerprint("root") == "f" * 16
    assert revision(url) == "0004"
    assert upgrade(engine(url)) == "0004"
    assert "another" in tables(url)
    with pytest.MonkeyPatch.context() as before:
        before.setattr(revisions, "KNOWN", KNOWN)
        before.setattr(revisions, "HEAD", HEAD)
        with pytest.raises(ConfigurationError, match="newer"):
            Catalogue(url)


def test_steps_that_do_not_come_to_an_end_are_undone(empty: str, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _: real(config, "0001"))
    with pytest.raises(StageError) as fault:
        upgrade(engine(empty))
    assert fault.value.code == "stage.schema"
    assert tables(empty) == set()


def test_the_events_of_revision_0001_become_the_first_entries_of_the_log(empty: str) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.setattr(revisions, "HEAD", "0001")
        upgrade(engine(empty))
    row = {"actor": "ann", "action": "detokenize", "object": "customers.email", "reason": "case 1, a call"}
    row |= {"at": "2026-01-02 03:04:05.000006", "decision": "allowed", "code": "", "purpose": "care\nand \u2028 more"}
    columns = ", ".join([*row, "id", "count"])
    named = ", ".join(f"CAST(:{name} AS timestamp)" if name == "at" else f":{name}" for name in [*row, "id", "count"])
    if "sqlite" in empty:
        named = named.replace("CAST(:at AS timestamp)", ":at")
    with engine(empty).begin() as connection:
        rows = [{**row, "id": 2 * number + 1, "count": number} for number in range(2_100)]
        rows[7]["reason"] = "x" * 2_000
        connection.execute(sa.text(f"INSERT INTO audit_event ({columns}) VALUES ({named})"), rows)
    assert upgrade(engine(empty)) == "0001"
    log = AuditLog(empty)
    assert verify(log).sound
    entries = log.entries(limit=3_000)
    assert [entry.event.count for entry in entries] == list(range(2_100))
    first = entries[0].event
    assert (first.actor, first.object, first.purpose) == ("ann", "customers.email", "care\\nand \\u2028 more")
    assert first.at == dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
    assert entries[7].event.reason == "x" * 1_000
    assert "audit_event" not in tables(empty)


def test_twenty_processes_that_open_a_new_file_at_once_make_it_once(sqlite_url: str) -> None:
    def first(number: int) -> list[str]:
        return [Catalogue(sqlite_url).record_key_fingerprint("root", f"{number:016}")]

    assert len(set(at_once(first, 20))) == 1
    assert revision(sqlite_url) == HEAD


@pytest.mark.stores
def test_twenty_operators_at_once_make_the_tables_once() -> None:
    name = databases.shared().create()
    url = databases.shared().url(name)
    done = at_once(lambda _: [str(upgrade(engine(url)))], 20)
    assert sorted(done) == [HEAD] * 19 + ["None"]
    databases.shared().drop(name)


def test_a_kill_at_any_statement_of_an_upgrade_leaves_what_was_there(empty: str) -> None:
    upgrade_of = partial(upgrade, engine(empty))
    statements = 0

    def killed_at(number: int) -> None:
        count = 0

        def counted(*_: Any) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        sa.event.listen(sa.Engine, "after_cursor_execute", counted)
        upgrade_of()

    while True:
        statements += 4 if statements > 8 else 1
        ended = in_fork(partial(killed_at, statements))
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        assert tables(empty) == set()
    assert statements > len(database.METADATA.tables)
    assert revision(empty) == HEAD
    assert compare(empty) == []


def compare(url: str) -> list[Any]:
    with engine(url).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), database.METADATA))


def test_opening_what_is_there_does_not_import_alembic(sqlite_url: str) -> None:
    database.open_database(sqlite_url)
    code = """
    import sys
    from cloakhouse.ledger.catalogue import Catalogue
    Catalogue(sys.argv[1])
    print([name for name in ("alembic", "psycopg") if name in sys.modules])
    """
    assert run(code, sqlite_url)[:2] == (0, "[]\n")


def test_a_package_in_a_zip_has_its_steps_with_it(tmp_path: Path, sqlite_url: str) -> None:
    package = ROOT / "plugins"
    with zipfile.ZipFile(tmp_path / "cloakhouse.zip", "w") as archive:
        for path in (package / "cloakhouse").rglob("*.py"):
            archive.write(path, path.relative_to(package))
    code = """
    import sys
    sys.path.insert(0, sys.argv[1])
    from cloakhouse.ledger import database
    database.open_database(sys.argv[2])
    print(database.__file__)
    """
    status, out, err = run(code, tmp_path / "cloakhouse.zip", sqlite_url)
    assert status == 0, err
    assert out == f"{tmp_path}/cloakhouse.zip/cloakhouse/ledger/database.py\n"
    assert revision(sqlite_url) == HEAD


def test_an_installed_package_has_its_steps_with_it() -> None:
    setuptools = pytest.importorskip("setuptools")
    found = setuptools.find_namespace_packages(str(ROOT / "plugins"), include=["cloakhouse*"])
    assert {"cloakhouse.ledger.migrations", "cloakhouse.ledger.migrations.versions"} <= set(found)
