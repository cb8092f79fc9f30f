"""When each principal last used each master key, for each purpose: what tells a grant that nobody needs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from cloakhouse.ledger import database as db
from cloakhouse.ledger.version_rows import aware


@dataclass(frozen=True)
class Use:
    """Uses of a master key by a principal for a purpose: the first, the last (UTC), and how many reads there were."""

    principal: str
    key: str
    purpose: str
    first_at: dt.datetime
    last_at: dt.datetime
    uses: int


class AccessUses:
    """Counts and lists uses of keys. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    def record(self, principal: str, keys: Iterable[str], purpose: str, at: dt.datetime | None = None) -> None:
        """Count one read that takes `keys`, all of them or none, at `at` (UTC; now if not given).

        Raises StorageError; what must be recorded must then not be read.
        """
        moment = at or dt.datetime.now(dt.UTC)
        rows = [
            {"principal": principal, "key": key, "purpose": purpose, "first_at": moment, "last_at": moment, "uses": 1}
            for key in sorted(set(keys))  # in one order, so that two readers don't wait for one another
        ]
        if not rows:
            return
        table = db.access_use
        dialect = postgresql if self._engine.dialect.name == "postgresql" else sqlite
        added = dialect.insert(table).values(rows)
        counted = added.on_conflict_do_update(
            index_elements=[table.c.principal, table.c.key, table.c.purpose],
            set_={"last_at": added.excluded.last_at, "uses": table.c.uses + 1},
        )
        with self._engine.begin() as connection:
            connection.execute(counted)

    def all(self) -> list[Use]:
        """Return every record, in order of principal, key and purpose. Raises StorageError."""
        table = db.access_use
        wanted = sa.select(table).order_by(table.c.principal, table.c.key, table.c.purpose)
        with self._engine.connect() as connection:
            return [_use(row) for row in connection.execute(wanted)]


def _use(row: sa.Row[tuple[object, ...]]) -> Use:
    fields = dict(row._mapping)
    for name in ("first_at", "last_at"):
        fields[name] = aware(fields[name])
    return Use(**fields)
