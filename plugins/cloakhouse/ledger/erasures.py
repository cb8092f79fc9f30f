"""Erasures: requested once, done step by step, ended with a certificate. Each change is one transaction with its event.

What a step found and did is recorded once, when it is done, so that an erasure that was killed goes on where it stood.
Persons are not named here: their list lies encrypted in the lake (`cloakhouse.stages.erasure_batch`).
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from cloakhouse.errors import NotFound, StageError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import REQUESTED, Erasure, ErasureState, Step
from cloakhouse.ledger.subject_holds import read_held
from cloakhouse.ledger.tombstones import RIGHTS_LOCK, insert_tombstones
from cloakhouse.ledger.version_rows import aware
from cloakhouse.ledger.writing import alone, retried, take

_E, _S = db.erasure, db.erasure_step
DIGEST = "persons_sha256"  # in what was asked for: tells two requests for the same persons from others


class Erasures:
    """Records and lists erasures. Safe from many processes."""

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    @retried
    def request(self, erasure: Erasure, persons: pa.Array, asked: Mapping[str, Any], by: Event) -> Erasure:
        """Record `erasure`, the tombstones of `persons`, what was `asked` and `by`, in one transaction; return it.

        Where an open erasure asks for the same persons (`asked[DIGEST]`), and no hold took one of them out of it, that
        one is returned, and nothing changes. Raises StageError (`stage.held`) when one of `persons` came under a hold
        since they were chosen.
        """
        with alone(self._engine, RIGHTS_LOCK) as connection:
            standing = _open_for(connection, str(asked[DIGEST]), persons)
            if standing is not None:
                return standing
            if pc.any(pc.is_in(persons, value_set=read_held(connection)), min_count=0).as_py():
                raise _held(erasure.batch)
            now = dt.datetime.now(dt.UTC)
            whole = replace(erasure, requested_at=now)
            connection.execute(sa.insert(_E).values(_flat(whole)))
            content = json.dumps(dict(asked), sort_keys=True)
            connection.execute(sa.insert(_S).values(batch=whole.batch, step=REQUESTED, at=now, content=content))
            insert_tombstones(connection, persons, whole.batch, now)
            append(connection, [by])
            return whole

    def get(self, batch: str) -> Erasure:
        """Return an erasure. Raises NotFound, StorageError."""
        with self._engine.connect() as connection:
            found = _get(connection, batch)
        if found is None:
            raise _unknown()
        return found

    def open_for(self, digest: str, persons: pa.Array) -> Erasure | None:
        """Return the open erasure of `persons`, who have this digest; None when there is none that takes them all."""
        with self._engine.connect() as connection:
            return _open_for(connection, digest, persons)

    def all(self, *, open_only: bool = False) -> list[Erasure]:
        """Return all erasures, or the open ones, oldest first. Raises StorageError."""
        wanted = sa.select(_E).order_by(_E.c.requested_at, _E.c.batch)
        if open_only:
            wanted = wanted.where(_E.c.state == ErasureState.OPEN)
        with self._engine.connect() as connection:
            return [_erasure(row) for row in connection.execute(wanted)]

    def step(self, batch: str, step: str) -> Step | None:
        """Return a step that is done, None for one that isn't."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_S).where(_S.c.batch == batch, _S.c.step == step)).first()
        return None if row is None else _step(row)

    def steps(self, batch: str) -> list[Step]:
        """Return what is done of a batch, in the order in which it was."""
        wanted = sa.select(_S).where(_S.c.batch == batch).order_by(_S.c.at, _S.c.step)
        with self._engine.connect() as connection:
            return [_step(row) for row in connection.execute(wanted)]

    def steps_about(self, dataset: str) -> list[Step]:
        """Return what erasures, open or done, recorded of the derived `dataset`: what was found, and what went."""
        ends = [_S.c.step.endswith(f"/{dataset}{end}", autoescape=True) for end in ("", "/found")]
        with self._engine.connect() as connection:
            return [_step(row) for row in connection.execute(sa.select(_S).where(sa.or_(*ends)))]

    def within(self, connection: sa.Connection, batch: str, step: str, content: Mapping[str, Any]) -> bool:
        """Record a step as `done` does, within the transaction of `connection`, which records the event.

        On SQLite it must have begun as a writer. Raises as `done`.
        """
        take(connection, RIGHTS_LOCK)
        return _recorded(connection, batch, step, content)

    @retried
    def done(self, batch: str, step: str, content: Mapping[str, Any], by: Event) -> bool:
        """Record that `step` (at most 200 characters) of an open batch is done, and `by`; return whether it wasn't.

        `content` is what JSON holds: counts, digests, names of datasets and partitions. Repeated, nothing changes: what
        was recorded first stands. Raises NotFound, StageError (`stage.erasure-ended`), StorageError.
        """
        with alone(self._engine, RIGHTS_LOCK) as connection:
            fresh = _recorded(connection, batch, step, content)
            if fresh:
                append(connection, [by])
            return fresh

    @retried
    def end(self, batch: str, certificate: ManifestRef, by: Event) -> bool:
        """Record that a batch is done, with its certificate, and `by`; return whether it was open."""
        with alone(self._engine, RIGHTS_LOCK) as connection:
            values = {
                "state": ErasureState.DONE,
                "ended_at": dt.datetime.now(dt.UTC),
                "certificate_path": certificate.path,
                "certificate_sha256": certificate.sha256,
            }
            mine = (_E.c.batch == batch) & (_E.c.state == ErasureState.OPEN)
            changed = connection.execute(sa.update(_E).where(mine).values(values)).rowcount > 0
            if changed:
                append(connection, [by])
            elif _get(connection, batch) is None:
                raise _unknown()
            return changed


def _recorded(connection: sa.Connection, batch: str, step: str, content: Mapping[str, Any]) -> bool:
    """Add a step of an open batch; return whether it wasn't there."""
    known = connection.execute(sa.select(_S.c.step).where(_S.c.batch == batch, _S.c.step == step)).first()
    if known is not None:
        return False
    found = _get(connection, batch)
    if found is None:
        raise _unknown()
    if found.state is not ErasureState.OPEN:
        raise _ended(batch)
    text = json.dumps(dict(content), sort_keys=True)
    row = {"batch": batch, "step": step, "at": dt.datetime.now(dt.UTC), "content": text}
    connection.execute(sa.insert(_S).values(row))
    return True


def _open_for(connection: sa.Connection, digest: str, persons: pa.Array) -> Erasure | None:
    """Return the open erasure of these persons. One that a hold kept from somebody, who may be free again, is none."""
    both = _E.join(_S, (_S.c.batch == _E.c.batch) & (_S.c.step == REQUESTED))
    wanted: sa.Select[Any] = sa.select(*_E.c, _S.c.content.label("asked")).select_from(both)
    for row in connection.execute(wanted.where(_E.c.state == ErasureState.OPEN).order_by(_E.c.requested_at)):
        if json.loads(row.asked)[DIGEST] != digest:
            continue
        erasure = _erasure(row)
        passed_by = read_held(connection, erasure.requested_at)
        if not pc.any(pc.is_in(persons, value_set=passed_by), min_count=0).as_py():
            return erasure
    return None


def _get(connection: sa.Connection, batch: str) -> Erasure | None:
    row = connection.execute(sa.select(_E).where(_E.c.batch == batch)).first()
    return None if row is None else _erasure(row)


def _flat(erasure: Erasure) -> dict[str, Any]:
    fields = {name: value for name, value in vars(erasure).items() if name not in ("request", "certificate")}
    return {**fields, "request_path": erasure.request.path, "request_sha256": erasure.request.sha256}


def _erasure(row: sa.Row[Any]) -> Erasure:
    f = row._mapping
    return Erasure(
        f["batch"],
        f["actor"],
        f["reason"],
        f["subjects"],
        ManifestRef(f["request_path"], f["request_sha256"]),
        aware(f["requested_at"]),
        ErasureState(f["state"]),
        aware(f["ended_at"]) if f["ended_at"] else None,
        ManifestRef(f["certificate_path"], f["certificate_sha256"]) if f["certificate_path"] else None,
    )


def _step(row: sa.Row[Any]) -> Step:
    return Step(row.batch, row.step, aware(row.at), json.loads(row.content))


def _unknown() -> NotFound:
    return NotFound(
        where="the erasures of the control database",
        expected="an erasure of that name",
        found="none",
        not_done="nothing was erased or recorded",
        remedy="`cloakhouse erase list` shows their names",
    )


def _ended(batch: str) -> StageError:
    return StageError(
        where=f"erasure {batch}",
        expected="one that is open",
        found="one that is done",
        not_done="the step was not recorded",
        remedy="request an erasure anew for what came since",
        code="erasure-ended",
    )


def _held(batch: str) -> StageError:
    return StageError(
        where=f"erasure {batch}",
        expected="persons of whom none is under a hold",
        found="a hold that was placed while the request was made",
        not_done="nothing was requested",
        remedy="run again: persons under a hold are left out, and counted",
        code="held",
    )
