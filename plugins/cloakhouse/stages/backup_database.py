"""The control database as lines of JSON, read in one snapshot and written back in one transaction.

    {"format":1,"revision":"0003"}
    {"table":"delivery","columns":["id","dataset",...]}
    [1,"customers",...]
    ...
    {"end":1234}                        how many rows there were

Bytes are `{"b":"<base64>"}`, times `{"t":"<ISO 8601, UTC>"}`. The form is the same for SQLite and PostgreSQL, so that a
backup of one can be restored on the other; and it is read row by row, so that no plain copy of the database is ever
written anywhere. The snapshot is one read transaction: of SQLite in WAL mode, which writers don't wait for, and
REPEATABLE READ of PostgreSQL.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import hashes_of
from cloakhouse.ledger.merkle import Frontier, peaks
from cloakhouse.ledger.revisions import revision_of
from cloakhouse.ledger.version_rows import aware
from cloakhouse.stages.backup_manifest import broken

FORMAT = 1
AT_ONCE = 5_000  # rows read or written together
TABLES = {table.name: table for table in db.METADATA.sorted_tables}


@dataclass(frozen=True)
class Snapshot:
    """The control database at one moment: an open transaction, and what it says of itself."""

    connection: sa.Connection = field(repr=False)
    revision: str
    at: dt.datetime
    log_size: int
    log_root: str
    reserved: dict[str, int]
    counts: dict[str, int]

    def lines(self) -> Iterator[bytes]:
        """Yield all of it, in pieces."""
        yield _line({"format": FORMAT, "revision": self.revision})
        rows = 0
        for table in TABLES.values():
            yield _line({"table": table.name, "columns": [column.name for column in table.columns]})
            wanted = sa.select(table).order_by(*table.primary_key.columns)
            with self.connection.execution_options(yield_per=AT_ONCE).execute(wanted) as found:
                for few in found.partitions():
                    rows += len(few)
                    yield b"".join(_line([_out(value) for value in row]) for row in few)
        yield _line({"end": rows})


@contextlib.contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """Yield the control database at `url` as it is now, until the block ends. Raises as `open_database`."""
    engine = db.open_database(url)
    isolation = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**isolation) as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        log = sa.select(sa.func.max(db.audit_entry.c.number))
        last = connection.execute(log).scalar_one()  # the first read, from which on the snapshot stands
        size = 0 if last is None else int(last) + 1
        heads = connection.execute(sa.select(db.dataset_head.c.dataset, db.dataset_head.c.reserved)).all()
        yield Snapshot(
            connection,
            str(revision_of(connection)),
            dt.datetime.now(dt.UTC),
            size,
            Frontier(size, hashes_of(connection, peaks(size))).root().hex(),
            {row.dataset: int(row.reserved) for row in heads},
            {
                "tombstones": _count(connection, db.tombstone),
                "consents": _count(connection, db.consent_record),
                "erasures": _count(connection, db.erasure),
            },
        )


class Loading:
    """Takes the bytes of `Snapshot.lines`, however they are cut, and gives each table's rows to `write`.

    Raises IntegrityError (`integrity.backup`) for other bytes. `finish` says that there are no more.
    """

    def __init__(self, revision: str, write: Callable[[sa.Table, list[dict[str, Any]]], None]) -> None:
        self._revision = revision
        self._write = write
        self._rest = b""
        self._table: sa.Table | None = None
        self._columns: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._count, self._lines, self._ended = 0, 0, False

    def write(self, data: bytes) -> int:
        """Take `data`."""
        *lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in lines:
            self._take(line)
        return len(data)

    def flush(self) -> None:
        """Do nothing: rows go on by the thousand."""

    def finish(self) -> None:
        """Write the last rows. Raises IntegrityError for lines that were cut short."""
        if self._rest or not self._ended:
            raise _other("one that was cut short")

    def _take(self, line: bytes) -> None:
        self._lines += 1
        try:
            content = json.loads(line)
            if self._ended:
                raise ValueError
            if self._lines == 1:
                if content != {"format": FORMAT, "revision": self._revision}:
                    raise ValueError
            elif isinstance(content, list):
                values = [_in(value) for value in content]
                self._rows.append(dict(zip(self._columns, values, strict=True)))
            elif "table" in content:
                self._empty()
                self._table, self._columns = TABLES[content["table"]], list(content["columns"])
                if self._columns != [column.name for column in self._table.columns]:
                    raise ValueError
            else:
                self._empty()
                if content != {"end": self._count}:
                    raise ValueError
                self._ended = True
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _other("another text") from None
        if len(self._rows) >= AT_ONCE:
            self._empty()

    def _empty(self) -> None:
        if self._rows:
            assert self._table is not None
            self._write(self._table, self._rows)
            self._count += len(self._rows)
            self._rows = []


def insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Add `rows` to `table`."""
    connection.execute(sa.insert(table), rows)


def set_sequences(connection: sa.Connection) -> None:
    """Have PostgreSQL number the next rows after those that were written with their numbers."""
    if connection.dialect.name == "sqlite":
        return
    for table in TABLES.values():
        column = table.autoincrement_column
        if column is not None:
            highest = connection.execute(sa.select(sa.func.max(column))).scalar_one()
            if highest is not None:
                connection.execute(sa.select(sa.func.setval(f"{table.name}_id_seq", highest)))


def is_empty(connection: sa.Connection) -> bool:
    """Return whether no table has a row."""
    return not any(_count(connection, table) for table in TABLES.values())


def _count(connection: sa.Connection, table: sa.Table) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _line(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _out(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return {"t": aware(value).astimezone(dt.UTC).isoformat()}
    if isinstance(value, bytes | memoryview):
        return {"b": base64.b64encode(bytes(value)).decode()}
    return value


def _in(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    [(kind, text)] = value.items()
    return dt.datetime.fromisoformat(text) if kind == "t" else base64.b64decode(text, validate=True)


def _other(found: str) -> Exception:
    return broken("the control database in the backup", "the lines that were written", found)
