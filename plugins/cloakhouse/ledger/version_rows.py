"""Reading and writing the rows of versions, on a connection whose transaction the caller holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.version_model import DatasetVersion, Hold, VersionEvent, VersionState

_V, _HEAD, _TAG, _HOLD, _EVENT = (
    db.dataset_version,
    db.dataset_head,
    db.version_tag,
    db.version_hold,
    db.version_event,
)
NO_HEAD = "head none"


def aware(moment: dt.datetime) -> dt.datetime:
    """Return a moment of the database in UTC. SQLite doesn't keep the zone; PostgreSQL gives that of the session."""
    return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def version_query(*, heads_only: bool = False) -> sa.Select[Any]:
    """Return the query of versions with their tags, one row a tag: for `read_versions`."""
    is_head = (_HEAD.c.dataset == _V.c.dataset) & (_HEAD.c.version == _V.c.version)
    tagged = (_TAG.c.dataset == _V.c.dataset) & (_TAG.c.version == _V.c.version)
    source = _HEAD.join(_V, is_head) if heads_only else _V.join(_HEAD, is_head, isouter=True)
    columns = [*_V.c, _HEAD.c.version.label("head"), _TAG.c.tag.label("tag")]
    first = _HEAD.c.dataset if heads_only else _V.c.dataset  # the order of the smaller table
    query = sa.select(*columns).select_from(source.join(_TAG, tagged, isouter=True))
    return query.order_by(first, _V.c.version, _TAG.c.tag)


def of(dataset: str, version: int | None = None) -> sa.ColumnElement[bool]:
    """Return the condition for the versions of `dataset`, or for one of them."""
    named = _V.c.dataset == dataset
    return named if version is None else named & (_V.c.version == version)


def read_versions(connection: sa.Connection, query: sa.Select[Any]) -> list[DatasetVersion]:
    """Return the versions that a `version_query` finds, ordered by dataset and version."""
    found: list[DatasetVersion] = []
    rows: list[Any] = []
    for row in connection.execute(query):
        if rows and (rows[0].dataset, rows[0].version) != (row.dataset, row.version):
            found.append(_version(rows))
            rows = []
        rows.append(row)
    return [*found, _version(rows)] if rows else found


def read_version(connection: sa.Connection, dataset: str, version: int) -> DatasetVersion | None:
    """Return one version, None when there is none."""
    found = read_versions(connection, version_query().where(of(dataset, version)))
    return found[0] if found else None


def read_events(connection: sa.Connection, dataset: str, version: int | None = None) -> list[VersionEvent]:
    """Return what was done to the versions of `dataset`, or to one of them; oldest first."""
    query = sa.select(_EVENT).where(_EVENT.c.dataset == dataset).order_by(_EVENT.c.id)
    if version is not None:
        query = query.where(_EVENT.c.version == version)
    return [
        VersionEvent(aware(e.at), e.dataset, e.version, e.action, e.actor, e.reason, e.detail)
        for e in connection.execute(query)
    ]


def read_holds(connection: sa.Connection, dataset: str | None = None) -> list[Hold]:
    """Return the holds that were not lifted, oldest first."""
    query = sa.select(_HOLD).where(_HOLD.c.lifted_at.is_(None)).order_by(_HOLD.c.id)
    if dataset is not None:
        query = query.where(_HOLD.c.dataset == dataset)
    return [Hold(h.dataset, h.version, h.reason, aware(h.placed_at)) for h in connection.execute(query)]


def read_head(connection: sa.Connection, dataset: str) -> tuple[int | None, int]:
    """Return (the version that the bare name stands for, the highest number ever given: 0 before the first)."""
    query = sa.select(_HEAD.c.version, _HEAD.c.reserved).where(_HEAD.c.dataset == dataset)
    row = connection.execute(query).one_or_none()
    return (None, 0) if row is None else (row.version, row.reserved)


def newest_below(connection: sa.Connection, dataset: str, version: int) -> int | None:
    """Return the newest published version below `version`, None when there is none."""
    published = (_V.c.version < version) & (_V.c.state == VersionState.PUBLISHED.value)
    query = sa.select(sa.func.max(_V.c.version)).where(of(dataset) & published)
    found: int | None = connection.execute(query).scalar_one()
    return found


def add_event(connection: sa.Connection, event: VersionEvent) -> None:
    """Record what was done."""
    connection.execute(sa.insert(_EVENT).values(vars(event)))


def set_head(connection: sa.Connection, dataset: str, version: int | None) -> str:
    """Have the bare name stand for `version`; return what the event's detail says of it."""
    connection.execute(sa.update(_HEAD).where(_HEAD.c.dataset == dataset).values(version=version))
    return NO_HEAD if version is None else f"head {version}"


def head_in(detail: str) -> int | None:
    """Return the version in an event's detail that `set_head` gave."""
    return None if detail == NO_HEAD else int(detail.removeprefix("head "))


def _version(rows: list[Any]) -> DatasetVersion:
    f = rows[0]
    return DatasetVersion(
        f.dataset,
        f.version,
        f.fingerprint,
        f.zone,
        f.rows,
        ManifestRef(f.manifest_path, f.manifest_sha256),
        aware(f.published_at),
        VersionState(f.state),
        f.reason,
        tuple(row.tag for row in rows if row.tag is not None),
        f.head is not None,
    )
