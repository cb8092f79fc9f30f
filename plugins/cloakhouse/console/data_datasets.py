"""What the console asks of datasets: their names, page by page, and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger import version_rows as rows
from cloakhouse.ledger.version_model import DatasetVersion, Hold, VersionEvent

_V, _HEAD, _P, _D = db.dataset_version, db.dataset_head, db.protected_partition, db.delivery


@dataclass(frozen=True)
class Listed:
    """One dataset of the list.

    Attributes:
        name: of the dataset.
        head: the version that the name stands for, None for none.
        versions: how many there are, in whatever state.
        partitions: how many are protected.
    """

    name: str
    head: DatasetVersion | None
    versions: int
    partitions: int


def names(connection: sa.Connection, wanted: str, *, published_only: bool) -> list[str]:
    """Return the names of datasets that hold `wanted`, in order: all that were published, or landed at all."""
    sources: list[sa.Select[tuple[str]]] = [sa.select(_HEAD.c.dataset)]
    if published_only:  # a number may have been given, and nothing published under it
        sources = [sources[0].where(sa.exists().where(_V.c.dataset == _HEAD.c.dataset))]
    else:
        sources += [sa.select(_P.c.dataset).distinct(), sa.select(db.contract_version.c.dataset)]
    every = sa.union(*sources).subquery()
    query = sa.select(every.c.dataset).order_by(every.c.dataset)
    if wanted:
        query = query.where(every.c.dataset.contains(wanted.lower(), autoescape=True))
    return [str(name) for name in connection.execute(query).scalars()]


def listed(connection: sa.Connection, chosen: Sequence[str]) -> list[Listed]:
    """Return what the list shows of `chosen`, in their order."""
    heads = rows.read_versions(connection, rows.version_query(heads_only=True).where(_V.c.dataset.in_(chosen)))
    by_name = {version.dataset: version for version in heads}
    counted = [_counts(connection, table, chosen) for table in (_V, _P)]
    return [Listed(name, by_name.get(name), counted[0].get(name, 0), counted[1].get(name, 0)) for name in chosen]


def versions(connection: sa.Connection, dataset: str) -> list[DatasetVersion]:
    """Return all versions of `dataset`, the newest first."""
    return rows.read_versions(connection, rows.version_query().where(rows.of(dataset)))[::-1]


def version(connection: sa.Connection, dataset: str, number: int) -> DatasetVersion | None:
    """Return one version, None when there is none."""
    return rows.read_version(connection, dataset, number)


def history(connection: sa.Connection, dataset: str, number: int | None = None) -> list[VersionEvent]:
    """Return what was done to a dataset's versions, or to one of them, the newest first."""
    return rows.read_events(connection, dataset, number)[::-1]


def holds(connection: sa.Connection, dataset: str) -> list[Hold]:
    """Return the holds in force."""
    return rows.read_holds(connection, dataset)


def is_known(connection: sa.Connection, dataset: str, *, published_only: bool) -> bool:
    """Return whether there is such a dataset, to somebody who sees only published ones or all."""
    tables = [_V] if published_only else [_HEAD, _P, _D, db.contract_version]
    return any(
        connection.execute(sa.select(table.c.dataset).where(table.c.dataset == dataset).limit(1)).first()
        for table in tables
    )


def partitions(connection: sa.Connection, dataset: str) -> tuple[int, int]:
    """Return how many partitions of `dataset` are protected, and how many of these are validated."""
    validated = sa.func.coalesce(sa.func.sum(sa.case((_P.c.validated, 1), else_=0)), 0)
    row = connection.execute(sa.select(sa.func.count(), validated).where(_P.c.dataset == dataset)).one()
    return int(row[0]), int(row[1])


def derived(connection: sa.Connection, chosen: Sequence[str]) -> dict[str, int]:
    """Return the head of each of `chosen` that has one."""
    query = sa.select(_HEAD.c.dataset, _HEAD.c.version).where(_HEAD.c.dataset.in_(chosen), _HEAD.c.version.is_not(None))
    return {row.dataset: int(row.version) for row in connection.execute(query)}


def _counts(connection: sa.Connection, table: sa.Table, chosen: Sequence[str]) -> dict[str, int]:
    query = sa.select(table.c.dataset, sa.func.count()).where(table.c.dataset.in_(chosen)).group_by(table.c.dataset)
    return {row[0]: int(row[1]) for row in connection.execute(query)}
