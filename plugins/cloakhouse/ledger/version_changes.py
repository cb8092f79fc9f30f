"""What somebody does to a version: the rows that change, and the events, within the transaction of the caller.

Each change has an event in the versions' own history, which readers see, and one in the audit log. The latter are
appended together, by `log`, as the last statements of the transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from cloakhouse.ledger import database as db
from cloakhouse.ledger import version_refusals as refusals
from cloakhouse.ledger import version_rows as rows
from cloakhouse.ledger.audit import append
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.version_model import DatasetVersion, Hold, Selector, VersionEvent, VersionState

GONE = (VersionState.WITHDRAWN, VersionState.EXPIRED)
ACTIONS = {  # in the audit log, by what the versions' own history calls it
    "publish": Action.PUBLISH,
    "rollback": Action.ROLL_BACK,
    "withdraw": Action.WITHDRAW,
    "expire": Action.EXPIRE,
    "tag": Action.TAG,
    "untag": Action.UNTAG,
    "hold": Action.HOLD,
    "lift": Action.LIFT_HOLD,
    "collect": Action.DELETE,  # from here on its files go
    "collected": Action.DELETE,  # they are gone
}


@dataclass(frozen=True)
class Change:
    """One change on a connection that holds `dataset_head`; `by` says who makes it, why and in which run."""

    connection: sa.Connection
    by: Event
    at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    _events: list[Event] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """Why, as whoever makes the change wrote it."""
        return self.by.reason

    def log(self) -> None:
        """Append what was changed to the audit log; nothing for what was so already. Nothing may follow."""
        if self._events:
            append(self.connection, self._events)

    def publish(self, version: DatasetVersion, *, newest: bool) -> DatasetVersion:
        """Make a version visible; the name stands for it if it is the `newest`."""
        row = {name: getattr(version, name) for name in ("dataset", "version", "fingerprint", "zone", "rows")}
        ref = {"manifest_path": version.manifest.path, "manifest_sha256": version.manifest.sha256}
        facts = {"published_at": version.published_at, "state": VersionState.PUBLISHED.value, "reason": ""}
        self.connection.execute(sa.insert(db.dataset_version).values({**row, **ref, **facts}))
        moved = rows.set_head(self.connection, version.dataset, version.version) if newest else ""
        self._record(version, "publish", moved)
        return self._now(version)

    def rollback(self, dataset: str, number: int | None) -> DatasetVersion:
        """Have the name stand for another published version."""
        head = rows.read_head(self.connection, dataset)[0]
        if number is None:
            number = rows.newest_below(self.connection, dataset, head) if head is not None else None
            if number is None:
                raise refusals.nothing_before(dataset)
        version = self._version(dataset, number)
        self._published(version, "the name stands for what it stood for")
        if not version.head:
            self._record(version, "rollback", rows.set_head(self.connection, dataset, number))
        return self._now(version)

    def withdraw(self, dataset: str, number: int) -> DatasetVersion:
        """Withdraw a version for good."""
        version = self._version(dataset, number)
        events = rows.read_events(self.connection, dataset, number)
        if any(event.action == "withdraw" for event in events):
            return version
        for tag in version.tags:
            self.untag(dataset, number, tag)
        moved = ""
        if version.head:
            below = rows.newest_below(self.connection, dataset, number)
            moved = rows.set_head(self.connection, dataset, below)
        kept = version.state if version.state is VersionState.COLLECTED else VersionState.WITHDRAWN
        self._set(version, kept)
        self._record(version, "withdraw", moved)
        return self._now(version)

    def expire(self, dataset: str, numbers: Sequence[int]) -> list[DatasetVersion]:
        """Expire versions, all or none."""
        versions = [self._version(dataset, number) for number in numbers]
        published = [version for version in versions if version.state is VersionState.PUBLISHED]
        for version in published:
            holds = self._holds(version)
            if version.head:
                raise refusals.needed(version, "the one that the name stands for")
            if version.tags:
                raise refusals.needed(version, f"one tagged {', '.join(version.tags)}")
            if holds:
                raise refusals.needed(version, f"one held: {holds[0].reason}")
        for version in published:
            self._set(version, VersionState.EXPIRED)
            self._record(version, "expire")
        return [self._now(version) for version in versions]

    def tag(self, dataset: str, number: int, tag: str) -> DatasetVersion:
        """Tag a published version."""
        version = self._version(dataset, number)
        self._published(version, "it was not tagged")
        if tag not in version.tags:
            row = {"dataset": dataset, "version": number, "tag": tag, "tagged_at": self.at}
            self.connection.execute(sa.insert(db.version_tag).values(row))
            self._record(version, "tag", tag)
        return self._now(version)

    def untag(self, dataset: str, number: int, tag: str) -> DatasetVersion:
        """Take a tag off a version."""
        version = self._version(dataset, number)
        if tag in version.tags:
            table = db.version_tag
            where = (table.c.dataset == dataset) & (table.c.version == number) & (table.c.tag == tag)
            self.connection.execute(sa.delete(table).where(where))
            self._record(version, "untag", tag)
        return self._now(version)

    def hold(self, dataset: str, number: int) -> DatasetVersion:
        """Hold a version for this reason."""
        version = self._version(dataset, number)
        if self._condemned(version):
            raise refusals.condemned(version)
        if all(hold.reason != self.reason for hold in self._holds(version)):
            row = {"dataset": dataset, "version": number, "reason": self.reason, "placed_at": self.at}
            self.connection.execute(sa.insert(db.version_hold).values(row))
            self._record(version, "hold")
        return version

    def lift(self, dataset: str, number: int) -> DatasetVersion:
        """Lift all holds of a version."""
        version = self._version(dataset, number)
        if self._holds(version):
            table = db.version_hold
            where = (table.c.dataset == dataset) & (table.c.version == number) & table.c.lifted_at.is_(None)
            self.connection.execute(sa.update(table).where(where).values(lifted_at=self.at))
            self._record(version, "lift")
        return version

    def condemn(self, dataset: str, number: int) -> bool:
        """Return whether the files of a version may be removed; from then on nobody can hold it."""
        version = self._version(dataset, number)
        if self._condemned(version):
            return True
        if version.state not in GONE or self._holds(version):
            return False
        self._record(version, "collect")
        return True

    def collected(self, dataset: str, number: int) -> None:
        """Record that the files of a version are gone."""
        version = self._version(dataset, number)
        if version.state in GONE and self._condemned(version):
            where = rows.of(dataset, number)
            state = VersionState.COLLECTED.value
            self.connection.execute(sa.update(db.dataset_version).where(where).values(state=state))
            self._record(version, "collected")

    def _version(self, dataset: str, number: int) -> DatasetVersion:
        found = rows.read_versions(self.connection, rows.version_query().where(rows.of(dataset)))
        for version in found:
            if version.version == number:
                return version
        raise refusals.unknown(Selector(dataset, number), [version.version for version in found], [])

    def _now(self, version: DatasetVersion) -> DatasetVersion:
        return self._version(version.dataset, version.version)

    def _published(self, version: DatasetVersion, not_done: str) -> None:
        if version.state is not VersionState.PUBLISHED:
            raise refusals.not_published(version, not_done)

    def _holds(self, version: DatasetVersion) -> list[Hold]:
        return [h for h in rows.read_holds(self.connection, version.dataset) if h.version == version.version]

    def _condemned(self, version: DatasetVersion) -> bool:
        events = rows.read_events(self.connection, version.dataset, version.version)
        return any(event.action == "collect" for event in events)

    def _set(self, version: DatasetVersion, state: VersionState) -> None:
        values = {"state": state.value, "reason": self.reason, "changed_at": self.at}
        where = rows.of(version.dataset, version.version)
        self.connection.execute(sa.update(db.dataset_version).where(where).values(values))

    def _record(self, version: DatasetVersion, action: str, detail: str = "") -> None:
        event = VersionEvent(self.at, version.dataset, version.version, action, self.by.actor, self.reason, detail)
        rows.add_event(self.connection, event)
        self._events.append(self._audited(version, action, detail))

    def _audited(self, version: DatasetVersion, action: str, detail: str) -> Event:
        facts: dict[str, str | int] = {**self.by.facts, "version": version.version, "release": version.manifest.sha256}
        facts |= {"detail": detail} if detail else {}
        facts |= {"step": action} if ACTIONS[action] is Action.DELETE else {}
        what, dataset, count = version.name, version.dataset, version.rows
        changed = {"action": ACTIONS[action], "object": what, "dataset": dataset, "count": count, "facts": facts}
        return replace(self.by, at=self.at, **changed)  # type: ignore[arg-type]
