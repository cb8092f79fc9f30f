"""What the rules of alerts need to know of the audit log, as aggregates that the database makes.

The log is read from the first entry of a window on: by number, since entries of a time lie together. Memory is that of
the aggregates (actors, actions and hours), whatever the number of entries.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger.alert_rules_activity import BURSTS, WATCHED, Refused, Tally, Use
from cloakhouse.ledger.alert_rules_state import LogState, ReceiverState
from cloakhouse.ledger.audit import entry_of
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Action, Event
from cloakhouse.ledger.forwarding import Position
from cloakhouse.ledger.version_rows import aware

KEYED = (*BURSTS, Action.EXPORT_TOKENIZATION)  # what keys are asked for by a person
MOST = 1_000  # of runs of refusals, uses and steps back that are looked at: the rest is as bad as they
_T = db.audit_entry
_HOUR = "%Y-%m-%d %H"


class LogWindows:
    """Reads aggregates of the log. Every method raises StorageError; times are UTC."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"

    def tallies(self, begin: dt.datetime, end: dt.datetime) -> list[Tally]:
        """Return what each actor did of each watched action in each hour from `begin` to before `end`."""
        hour = sa.func.substr(_T.c.at, 1, 13) if self._sqlite else sa.func.to_char(_utc(_T.c.at), "YYYY-MM-DD HH24")
        wanted = (
            sa.select(
                _T.c.actor,
                _T.c.action,
                hour.label("hour"),
                sa.func.count().label("events"),
                sa.func.sum(_T.c.count).label("values"),
                sa.func.min(_T.c.number).label("first"),
                sa.func.max(_T.c.number).label("last"),
            )
            .where(_T.c.action.in_(WATCHED), _T.c.at >= begin, _T.c.at < end)
            .group_by(_T.c.actor, _T.c.action, "hour")
        )
        with self._engine.connect() as connection:
            rows = connection.execute(self._from(connection, wanted, begin))
            return [
                Tally(r.actor, r.action, _hour(r.hour), int(r.events), int(r.values), int(r.first), int(r.last))
                for r in rows
            ]

    def refusals(self, begin: dt.datetime, least: int) -> list[Refused]:
        """Return each actor's runs of at least `least` refusals since `begin` with nothing allowed in between.

        A key that was refused, and so what it was asked for, are two entries in a row, and one refusal.
        """
        refused = sa.case((_T.c.decision == REFUSED, 1), else_=0)

        def following(name: str) -> Any:
            return sa.func.coalesce(sa.func.lead(_T.c[name]).over(partition_by=_T.c.actor, order_by=_T.c.number), "")

        with self._engine.connect() as connection:
            some = (
                self._from(connection, sa.select(_T.c.actor), begin)
                .where(_T.c.decision == REFUSED)
                .group_by(_T.c.actor)
                .having(sa.func.count() >= least)
            )
            island = (
                self._from(
                    connection,
                    sa.select(
                        _T.c.actor,
                        _T.c.at,
                        _T.c.number,
                        _T.c.decision,
                        sa.and_(_T.c.action == Action.USE_KEY, following("action").in_(KEYED)).label("of_key"),
                        following("decision").label("next_decision"),
                        sa.func.sum(1 - refused).over(partition_by=_T.c.actor, order_by=_T.c.number).label("island"),
                    ),
                    begin,
                )
                .where(_T.c.actor.in_(some))
                .subquery()
            )
            count = sa.func.count().label("refusals")
            wanted = (
                sa.select(
                    island.c.actor,
                    count,
                    sa.func.min(island.c.at).label("since"),
                    sa.func.min(island.c.number).label("first"),
                    sa.func.max(island.c.number).label("last"),
                )
                .where(island.c.decision == REFUSED, ~sa.and_(island.c.of_key, island.c.next_decision == REFUSED))
                .group_by(island.c.actor, island.c.island)
                .having(count >= least)
                .order_by("first")
                .limit(MOST)
            )
            rows = connection.execute(wanted).all()
        return [Refused(r.actor, int(r.refusals), aware(r.since), r.first, r.last) for r in rows]

    def uses(self, begin: dt.datetime, since: dt.datetime) -> list[Use]:
        """Return the grants used since `since`: when first, and when last between `begin` and then.

        A grant is an actor's on a key, or on a column for detokenizing, for a purpose. Of published data, whose readers
        write no log, `access_use` tells the first use only.
        """
        late = _T.c.at >= since
        key, purpose = self._text("object"), self._text("purpose")
        keyed = (*KEYED, Action.USE_KEY)
        wanted = (
            sa.select(
                _T.c.actor,
                key.label("key"),
                purpose.label("purpose"),
                sa.func.min(sa.case((late, _T.c.number))).label("number"),
                sa.func.min(sa.case((late, _T.c.at))).label("at"),
                sa.func.max(sa.case((~late, _T.c.at))).label("before"),
            )
            .where(_T.c.action.in_(keyed), _T.c.decision == ALLOWED)
            .group_by(_T.c.actor, "key", "purpose")
            .having(sa.func.max(_T.c.at) >= since)
            .limit(MOST)
        )
        known = sa.select(db.access_use).where(db.access_use.c.first_at >= since).limit(MOST)
        with self._engine.connect() as connection:
            somebody = self._from(connection, sa.select(_T.c.actor), since).where(_T.c.action.in_(keyed)).distinct()
            rows = connection.execute(self._from(connection, wanted, begin).where(_T.c.actor.in_(somebody))).all()
            first = connection.execute(known).all()
        logged = [Use(r.actor, r.key or "", r.purpose or "", _at(r.at), r.number, _at_or_none(r.before)) for r in rows]
        seen = {(use.actor, use.key, use.purpose) for use in logged}
        fresh = [Use(r.principal, r.key, r.purpose, aware(r.first_at), None, None) for r in first]
        return logged + [use for use in fresh if (use.actor, use.key, use.purpose) not in seen]

    def health(self, begin: dt.datetime, clock_s: float) -> LogState:
        """Return how the log is; steps back of its clock are those since `begin` of more than `clock_s` seconds."""
        checkpoint = db.audit_checkpoint
        with self._engine.connect() as connection:
            last = connection.execute(sa.select(sa.func.max(_T.c.number))).scalar()
            if last is None:
                return LogState(0)
            first = connection.execute(sa.select(_T.c.at).order_by(_T.c.number).limit(1)).scalar_one()
            signed = connection.execute(
                sa.select(checkpoint.c.size, checkpoint.c.at).order_by(checkpoint.c.size.desc()).limit(1)
            ).first()
            passed, failed = (
                connection.execute(
                    sa.select(_T.c.number, _T.c.at)
                    .where(_T.c.action == Action.VERIFY_LOG, decided)
                    .order_by(_T.c.number.desc())
                    .limit(1)
                ).first()
                for decided in (_T.c.decision == ALLOWED, _T.c.decision != ALLOWED)
            )
            backwards = self._backwards(connection, begin, clock_s)
        still = failed is not None and (passed is None or failed.number > passed.number)
        return LogState(
            size=int(last) + 1,
            begin=aware(first),
            signed_size=int(signed.size) if signed else 0,
            signed_at=aware(signed.at) if signed else None,
            verified_at=aware(passed.at) if passed else None,
            failed=(int(failed.number), aware(failed.at)) if failed is not None and still else None,
            backwards=backwards,
        )

    def measured(self, since: dt.datetime) -> Event | None:
        """Return the newest measurement of how much of the lake is encrypted, made since then; None without one.

        Raises IntegrityError for an entry that isn't an event's bytes.
        """
        wanted = (
            sa.select(_T.c.number, _T.c.content)
            .where(_T.c.action == Action.MEASURE_COVERAGE, _T.c.at >= since)
            .order_by(_T.c.number.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            row = connection.execute(wanted).first()
        return entry_of(row.number, row.content).event if row else None

    def receiver(self, name: str, position: Position | None) -> ReceiverState:
        """Return how the receiver `name` is, whose position is `position`; None for one that got nothing yet."""
        begun = position.next if position else 0
        with self._engine.connect() as connection:
            last = connection.execute(sa.select(sa.func.max(_T.c.number))).scalar()
            oldest = connection.execute(sa.select(_T.c.at).where(_T.c.number == begun)).scalar()
        backlog = max(0, (0 if last is None else int(last) + 1) - begun)
        return ReceiverState(name, backlog, position.trouble if position else "", _at_or_none(oldest))

    def _from(self, connection: sa.Connection, wanted: sa.Select[Any], begin: dt.datetime) -> sa.Select[Any]:
        """Return `wanted`, of entries at `begin` or later: from the lowest number among them on, wherever the clock
        went in between."""
        first = connection.execute(sa.select(sa.func.min(_T.c.number)).where(_T.c.at >= begin)).scalar()
        return wanted.where(_T.c.number >= (0 if first is None else first), _T.c.at >= begin)

    def _backwards(
        self, connection: sa.Connection, begin: dt.datetime, clock_s: float
    ) -> tuple[tuple[int, dt.datetime, float], ...]:
        first = connection.execute(sa.select(sa.func.min(_T.c.number)).where(_T.c.at >= begin)).scalar()
        before = sa.func.lag(_T.c.at).over(order_by=_T.c.number)
        inner = sa.select(_T.c.number, _T.c.at, before.label("before")).where(_T.c.number >= (first or 0)).subquery()
        steps = sa.select(inner).where(self._seconds(inner.c.before, inner.c.at) > clock_s)
        rows = connection.execute(steps.order_by(inner.c.number).limit(MOST)).all()
        return tuple((r.number, aware(r.at), (_at(r.before) - _at(r.at)).total_seconds()) for r in rows)

    def _seconds(self, later: Any, earlier: Any) -> Any:
        if self._sqlite:
            return (sa.func.julianday(later) - sa.func.julianday(earlier)) * 86_400.0
        return sa.func.extract("epoch", later) - sa.func.extract("epoch", earlier)

    def _text(self, name: str) -> Any:
        """Return the text `name` of an entry's content, as the database reads it."""
        if self._sqlite:
            return sa.func.json_extract(sa.cast(_T.c.content, sa.Text), f"$.{name}")
        return sa.cast(sa.func.convert_from(_T.c.content, "UTF8"), sa.JSON)[name].as_string()


def _utc(column: Any) -> Any:
    return sa.func.timezone("UTC", column)


def _hour(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, _HOUR).replace(tzinfo=dt.UTC)


def _at(found: Any) -> dt.datetime:
    """Return a time as an aggregate gives it: SQLite forgets that a text is one."""
    return aware(dt.datetime.fromisoformat(found) if isinstance(found, str) else found)


def _at_or_none(found: Any) -> dt.datetime | None:
    return None if found is None else _at(found)
