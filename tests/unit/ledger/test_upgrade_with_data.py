"""Databases of every earlier revision, with rows in every table, come to the newest with these rows as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support import databases
from tests.support.audit_logs import event

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger import revisions
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import encode
from cloakhouse.ledger.audit_verify import verify
from cloakhouse.ledger.database import METADATA, open_database
from cloakhouse.ledger.database_engine import engine_of
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.merkle import Frontier, leaf_hash
from cloakhouse.ledger.revisions import HEAD, KNOWN, revision_of, upgrade

ROWS = 3  # of every table
EVENTS = 50
MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)
MOVED = {"audit_event"}  # tables that a later revision turns into others


@pytest.fixture(params=databases.NAMES)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    with databases.bare(request.param, tmp_path) as url:
        yield url


def engine(url: str) -> sa.Engine:
    return engine_of(database_url(url))


def at_revision(url: str, revision: str) -> sa.MetaData:
    """Make the tables of `revision` by its own steps, and return them as they are."""
    with pytest.MonkeyPatch.context() as before:
        before.setattr(revisions, "HEAD", revision)
        upgrade(engine(url))
    tables = sa.MetaData()
    tables.reflect(engine(url))
    return tables


def value(column: sa.Column[Any], number: int) -> Any:
    """Return what row `number` has in `column`: nothing that two rows have in common."""
    kind = column.type
    if isinstance(kind, sa.DateTime):
        return MOMENT + dt.timedelta(days=number)
    if isinstance(kind, sa.Boolean):
        return bool(number % 2)
    if isinstance(kind, sa.Integer):
        return number + 1
    if isinstance(kind, sa.LargeBinary):
        return bytes([number]) * 16
    longest = getattr(kind, "length", None) or 80
    return f"{column.name} {number}"[:longest]


def entries() -> list[dict[str, Any]]:
    """Return the rows of a log."""
    frontier, found = Frontier(0, []), []
    for number in range(EVENTS):
        one = event(number)
        content = encode(one)
        copied = {name: getattr(one, name) for name in ("action", "actor", "dataset", "decision", "run", "count", "at")}
        found.append({**copied, "number": number, "content": content, "hashes": frontier.add(leaf_hash(content))})
    return found


def fill(url: str, tables: sa.MetaData) -> None:
    with engine(url).begin() as connection:
        for table in tables.sorted_tables:
            if table.name == "audit_entry":
                rows = entries()
            elif table.name == "alembic_version":
                continue
            else:
                rows = [{column.name: value(column, number) for column in table.columns} for number in range(ROWS)]
            if table.name == "audit_event":
                rows = [{**row, "decision": "allowed"} for row in rows]
            connection.execute(sa.insert(table), rows)


def content(url: str, tables: sa.MetaData) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `tables` in the columns that these have."""
    found = {}
    with engine(url).connect() as connection:
        for table in tables.sorted_tables:
            if table.name not in MOVED and table.name != "alembic_version":
                wanted = sa.select(table).order_by(*table.primary_key.columns)
                found[table.name] = [dict(row._mapping) for row in connection.execute(wanted)]
    return found


@pytest.mark.parametrize("revision", KNOWN)
def test_rows_of_every_earlier_revision_come_through(empty: str, revision: str) -> None:
    tables = at_revision(empty, revision)
    assert len(tables.tables) > 10
    fill(empty, tables)
    before = content(empty, tables)
    assert all(len(rows) == (EVENTS if name == "audit_entry" else ROWS) for name, rows in before.items())
    assert upgrade(engine(empty)) == revision
    assert content(empty, tables) == before
    with open_database(empty).connect() as connection:
        assert revision_of(connection) == HEAD
        for table in METADATA.sorted_tables:  # each can be read as the code reads it
            connection.execute(sa.select(table)).all()
    log = AuditLog(empty)
    assert log.size() == (EVENTS if "audit_entry" in tables.tables else ROWS)
    found = verify(log)
    assert [one.kind for one in found.findings] == []
    log.record(event(99))
    assert verify(log).size == found.size + 1
    if "audit_event" in tables.tables:
        assert [entry.event.actor for entry in log.entries(limit=ROWS)] == [f"actor {number}" for number in range(ROWS)]


@pytest.mark.parametrize("revision", KNOWN[:-1])
def test_an_older_software_refuses_what_was_upgraded(empty: str, revision: str) -> None:
    """There is no downgrade: the older version knows no later revision, opens nothing and changes nothing."""
    tables = at_revision(empty, revision)
    fill(empty, tables)
    upgrade(engine(empty))
    before = content(empty, tables)
    with pytest.MonkeyPatch.context() as older:
        older.setattr(revisions, "HEAD", revision)
        older.setattr(revisions, "KNOWN", KNOWN[: KNOWN.index(revision) + 1])
        for call in (lambda: open_database(empty), lambda: upgrade(engine(empty))):
            with pytest.raises(ConfigurationError) as refusal:
                call()
            assert refusal.value.code == "configuration.schema"
            assert "newer" in refusal.value.found
            assert "install the version" in refusal.value.remedy
    assert content(empty, tables) == before


def test_no_step_goes_backwards() -> None:
    folder = Path(revisions.__file__).parent / "migrations" / "versions"
    steps = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("[0-9]*.py"))]
    assert len(steps) == len(KNOWN)
    assert not any("def downgrade" in step for step in steps)
