"""How the control database stands: where it is, how it is reached, which revision it has. And what its users may do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError, NotFound
from cloakhouse.ledger import database as db
from cloakhouse.ledger.database_engine import engine_of
from cloakhouse.ledger.database_url import database_url, place_of
from cloakhouse.ledger.revisions import HEAD, KNOWN, UNVERSIONED, revision_of, upgrade

CURRENT, EMPTY, OLDER, UNKNOWN = "current", "empty", "older", "unknown"
ONLY_ADDED_TO = (
    db.alert,
    db.alert_acknowledgement,
    db.approval,
    db.audit_checkpoint,
    db.audit_entry,
    db.contract_version,
    db.delivery,
    db.key_fingerprint,  # what tells a public key that somebody replaced
    db.privacy_entry,
    db.version_event,
)


READ_BY_CLIENTS = (
    db.dataset_version,
    db.dataset_head,
    db.version_tag,
    db.version_hold,
    db.version_event,
    db.key_fingerprint,
)


@dataclass(frozen=True)
class Standing:
    """How the control database stands.

    Attributes:
        kind: `SQLite` or `PostgreSQL`.
        place: file name, hosts, or `local socket`.
        protocol: `in process`, `local`, `TLSv1.3`, or `TLS` where this machine's own database speaks an older one.
        revision: of its tables; empty where they have none.
        expected: the revision that this version works with.
        state: `current`, `empty`, `older`, `unversioned`, or `unknown` (newer, or another program's).
    """

    kind: str
    place: str
    protocol: str
    revision: str
    expected: str
    state: str

    @property
    def usable(self) -> bool:
        """Whether it can be opened as it is; a SQLite file is made and upgraded by whoever opens it."""
        return self.state == CURRENT or (self.kind == "SQLite" and self.state in (EMPTY, OLDER))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return {**asdict(self), "usable": self.usable}


def standing(text: str) -> Standing:
    """Return how the control database at the URL `text` stands; nothing is made. Raises as `open_database`."""
    url = database_url(text)
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not (url.database and Path(url.database).exists()):
        return Standing("SQLite", place_of(url), "in process", "", HEAD, EMPTY)
    with engine_of(url).connect() as connection:
        found, protocol = revision_of(connection), "in process" if sqlite else _protocol(url, connection)
    known = OLDER if found in KNOWN else EMPTY if found is None else found if found == UNVERSIONED else UNKNOWN
    state = CURRENT if found == HEAD else known
    revision = "" if found in (None, UNVERSIONED) else str(found)
    return Standing("SQLite" if sqlite else "PostgreSQL", place_of(url), protocol, revision, HEAD, state)


def bring_up(text: str, role: str = "", reader: str = "") -> str | None:
    """Bring the control database at the URL `text` to HEAD, and return the revision that it had: None when empty.

    On PostgreSQL `role`, if one is given, may then do what the platform does: read every table, add to those that are
    only ever added to (audit log, contracts, deliveries, fingerprints of keys, the privacy ledger's entries, the
    versions' history), change the others. `reader`, a role of those who open published datasets, may read what is
    published and note its own reads, and nothing else. Doing it again changes nothing. Raises as `upgrade`; NotFound
    for an unknown role, ConfigurationError for a role on SQLite, before anything is done.
    """
    engine = engine_of(database_url(text))
    for option, name in (("--grant-to", role), ("--grant-reading-to", reader)):
        if name:
            _check_role(engine, option, name)
    before = upgrade(engine)
    with engine.begin() as connection:
        if role:
            _grant(connection, role)
        if reader:
            _grant_reading(connection, reader)
    return before


def _check_role(engine: sa.Engine, option: str, role: str) -> None:
    fields = {"where": option, "not_done": "the database was not changed"}
    if engine.dialect.name == "sqlite":
        raise ConfigurationError(
            expected="a control database on PostgreSQL, to grant a role something",
            found="a SQLite file",
            remedy=f"leave {option} out: who may write the file may change all of it",
            **fields,
        )
    query = sa.select(sa.func.count()).select_from(sa.text("pg_roles")).where(sa.column("rolname") == role)
    with engine.connect() as connection:
        known = connection.execute(query).scalar_one()
    if not known:
        remedy = "make it first (CREATE ROLE ... LOGIN), or correct the name"
        raise NotFound(expected="a role of this PostgreSQL", found="none of that name", remedy=remedy, **fields)


def _grant(connection: sa.Connection, role: str) -> None:
    preparer = connection.dialect.identifier_preparer
    whom = preparer.quote(role)
    connection.exec_driver_sql(f"GRANT SELECT ON alembic_version TO {whom}")
    for table in db.METADATA.sorted_tables:
        name = preparer.format_table(table)
        rights = "SELECT, INSERT" if table in ONLY_ADDED_TO else "SELECT, INSERT, UPDATE, DELETE"
        if table in ONLY_ADDED_TO:  # some of them could be changed once
            connection.exec_driver_sql(f"REVOKE ALL ON {name} FROM {whom}")
        connection.exec_driver_sql(f"GRANT {rights} ON {name} TO {whom}")
        if table.autoincrement_column is not None:
            connection.exec_driver_sql(f"GRANT USAGE ON SEQUENCE {table.name}_id_seq TO {whom}")


def _grant_reading(connection: sa.Connection, role: str) -> None:
    preparer = connection.dialect.identifier_preparer
    whom = preparer.quote(role)
    names = {table: preparer.format_table(table) for table in db.METADATA.sorted_tables}
    for name in names.values():
        connection.exec_driver_sql(f"REVOKE ALL ON {name} FROM {whom}")
    for name in ("alembic_version", *(names[table] for table in READ_BY_CLIENTS)):
        connection.exec_driver_sql(f"GRANT SELECT ON {name} TO {whom}")
    connection.exec_driver_sql(f"GRANT SELECT, INSERT, UPDATE ON {names[db.access_use]} TO {whom}")


def _protocol(url: sa.URL, connection: sa.Connection) -> str:
    session: Any = connection.connection.driver_connection
    if not session.pgconn.ssl_in_use:
        return "local"
    return str(url.query.get("ssl_min_protocol_version", "TLS"))
