"""The register of versions: which are published, what each name stands for, and everything that was done to them.

A number is reserved, and that is committed, before the release is written; the version is there from the moment that
its row is. Whoever changes something holds `dataset_head` (`cloakhouse.ledger.writing`) and does it in one transaction,
with an event in `version_event`, to which rows are only ever added, and one in the audit log. Readers don't wait.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from cloakhouse.errors import CloakhouseError
from cloakhouse.ledger import database as db
from cloakhouse.ledger import version_refusals as refusals
from cloakhouse.ledger import version_rows as rows
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.version_changes import Change
from cloakhouse.ledger.version_model import DatasetVersion, Hold, Selector, VersionEvent, VersionState
from cloakhouse.ledger.writing import retried, writing

__all__ = ["DatasetVersion", "Hold", "Selector", "VersionEvent", "VersionRegister", "VersionState"]

TAG = re.compile(r"[a-z][a-z0-9-]{0,30}")


class VersionRegister:
    """Reads and changes the versions of all datasets. Safe from many processes; a repeated change changes nothing, but
    for a rollback that names no version, which goes one back each time. `by` is an event that says who makes a change,
    why and in which run: what it says of action, object and count is replaced.

    Every method raises StorageError. Those that name a version raise NotFound when there is none of that number.
    """

    def __init__(self, url: str) -> None:
        self._engine = db.open_database(url)

    def resolve(self, selector: Selector) -> DatasetVersion:
        """Return the published version that `selector` asks for.

        A day asks for what the name stood for at its end (UTC); of today, for what it stands for now. Raises NotFound,
        VersionWithdrawn with the reason, VersionGone for a version that was expired or collected.
        """
        with self._engine.connect() as connection:
            number = self._number(connection, selector)
            found = rows.read_version(connection, selector.name, number) if number is not None else None
            if found is None:
                raise self._unknown(connection, selector)
            if found.state is not VersionState.PUBLISHED:
                raise self._unreadable(connection, found)
            return found

    def refusal(self, version: DatasetVersion) -> CloakhouseError | None:
        """Return why `version`, which was resolved before, can't be read any more, as `resolve` would raise it now;
        None when it still is published in the same files."""
        with self._engine.connect() as connection:
            found = rows.read_version(connection, version.dataset, version.version)
            if found is None:
                return self._unknown(connection, Selector(version.dataset, version.version))
            if found.state is not VersionState.PUBLISHED:
                return self._unreadable(connection, found)
        return None if found.manifest == version.manifest else refusals.rewritten(version)

    def versions(self, dataset: str | None = None) -> list[DatasetVersion]:
        """Return all versions (of `dataset`, or of all), in every state, ordered by dataset and number."""
        query = rows.version_query()
        with self._engine.connect() as connection:
            return rows.read_versions(connection, query if dataset is None else query.where(rows.of(dataset)))

    def datasets(self) -> list[str]:
        """Return the names of the datasets that have versions, in whatever state; in order."""
        table = db.dataset_version
        with self._engine.connect() as connection:
            return list(connection.execute(sa.select(table.c.dataset).distinct().order_by(table.c.dataset)).scalars())

    def heads(self) -> list[DatasetVersion]:
        """Return the version that each name stands for, ordered by name, in one query."""
        with self._engine.connect() as connection:
            return rows.read_versions(connection, rows.version_query(heads_only=True))

    def published(self, dataset: str, fingerprint: str) -> DatasetVersion | None:
        """Return the version of `dataset` that was published with this fingerprint, in whatever state; or None."""
        with self._engine.connect() as connection:
            return _of_fingerprint(connection, dataset, fingerprint)

    def events(self, dataset: str) -> list[VersionEvent]:
        """Return everything that was done to the versions of `dataset`, oldest first."""
        with self._engine.connect() as connection:
            return rows.read_events(connection, dataset)

    def kept(self, dataset: str) -> list[DatasetVersion]:
        """Return the versions of `dataset` whose files are all kept, in whatever state: those that the collector has
        not begun with."""
        with self._engine.connect() as connection:
            condemned = {e.version for e in rows.read_events(connection, dataset) if e.action == "collect"}
            found = rows.read_versions(connection, rows.version_query().where(rows.of(dataset)))
        return [version for version in found if version.version not in condemned]

    def holds(self, dataset: str | None = None) -> list[Hold]:
        """Return the holds in force (of `dataset`, or of all), oldest first."""
        with self._engine.connect() as connection:
            return rows.read_holds(connection, dataset)

    def reserved(self, dataset: str) -> int:
        """Return the highest number that was ever given to a version of `dataset`, 0 before the first."""
        with self._engine.connect() as connection:
            return rows.read_head(connection, dataset)[1]

    @retried
    def reserve(self, dataset: str, fingerprint: str) -> int | DatasetVersion:
        """Return a number that is never given again, or the version that has this fingerprint already."""
        with writing(self._engine, db.dataset_head) as connection:
            known = _of_fingerprint(connection, dataset, fingerprint)
            if known is not None:
                return known
            number = rows.read_head(connection, dataset)[1] + 1
            table = db.dataset_head
            if number == 1:
                connection.execute(sa.insert(table).values(dataset=dataset, version=None, reserved=1))
            else:
                connection.execute(sa.update(table).where(table.c.dataset == dataset).values(reserved=number))
            return number

    @retried
    def publish(self, version: DatasetVersion, by: Event) -> DatasetVersion:
        """Make `version`, whose number was reserved, visible, and return it; the one that has its fingerprint already,
        as it is by now, if there is one. The name stands for it unless a higher number was published meanwhile.

        Raises IntegrityError (`integrity.catalogue-old`) for a number that was not reserved, or is taken.
        """
        with self._changing(by) as change:
            connection = change.connection
            known = _of_fingerprint(connection, version.dataset, version.fingerprint)
            if known is not None:
                return known
            taken = rows.read_versions(connection, rows.version_query().where(rows.of(version.dataset)))
            unreserved = version.version > rows.read_head(connection, version.dataset)[1]
            if unreserved or any(v.version == version.version for v in taken):
                raise refusals.never_reserved(version.dataset, version.version)
            return change.publish(version, newest=not taken or taken[-1].version < version.version)

    @retried
    def rollback(self, dataset: str, version: int | None, by: Event) -> DatasetVersion:
        """Have the name stand for `version`, by default the published one before, and return it.

        Raises NotFound when there is none before, ConfigurationError for a version that isn't published.
        """
        with self._changing(by) as change:
            return change.rollback(dataset, version)

    @retried
    def withdraw(self, dataset: str, version: int, by: Event) -> DatasetVersion:
        """Withdraw a version for good, in whatever state it is, and return it; its tags go. The name stands for the
        newest published version below where it stood for this one. The first reason stays."""
        with self._changing(by) as change:
            return change.withdraw(dataset, version)

    @retried
    def expire(self, dataset: str, versions: Collection[int], by: Event) -> list[DatasetVersion]:
        """Expire all `versions`, or none, and return them; those that aren't published any more stay as they are.

        Raises AccessRefused (`access.needed`) for one that the name stands for, that has a tag, or that is held.
        """
        with self._changing(by) as change:
            return change.expire(dataset, sorted(set(versions)))

    @retried
    def tag(self, dataset: str, version: int, tag: str, by: Event) -> DatasetVersion:
        """Tag a published version and return it. Raises ConfigurationError for another, and for a text that is no
        tag: a letter of a-z, then at most 30 of a-z, 0-9 and -."""
        if not TAG.fullmatch(tag):
            raise refusals.bad_tag(f"another text of {len(tag)} characters")
        with self._changing(by) as change:
            return change.tag(dataset, version, tag)

    @retried
    def untag(self, dataset: str, version: int, tag: str, by: Event) -> DatasetVersion:
        """Take `tag` off a version and return it."""
        with self._changing(by) as change:
            return change.untag(dataset, version, tag)

    @retried
    def hold(self, dataset: str, version: int, by: Event) -> DatasetVersion:
        """Hold a version, whatever becomes of it, and return it; one hold for each reason.

        Raises VersionGone (`gone.collected`) when the collector has begun to remove its files.
        """
        with self._changing(by) as change:
            return change.hold(dataset, version)

    @retried
    def lift(self, dataset: str, version: int, by: Event) -> DatasetVersion:
        """Lift every hold of a version and return it."""
        with self._changing(by) as change:
            return change.lift(dataset, version)

    @retried
    def condemn(self, dataset: str, version: int, by: Event) -> bool:
        """Return whether the files of a version may be removed now: it was withdrawn or expired, and nobody holds it.
        From then on nobody can: the collector has begun."""
        with self._changing(by) as change:
            return change.condemn(dataset, version)

    @retried
    def collected(self, dataset: str, version: int, by: Event) -> None:
        """Record that the files of a version which was condemned are gone."""
        with self._changing(by) as change:
            change.collected(dataset, version)

    @retried
    def replace_manifest(self, old: ManifestRef, new: ManifestRef) -> bool:
        """Have the release `new` stand wherever `old` does: the same rows in other files. Return whether `old` did."""
        table = db.dataset_version
        stood = (table.c.manifest_path == old.path) & (table.c.manifest_sha256 == old.sha256)
        with writing(self._engine, db.dataset_head) as connection:
            values = {"manifest_path": new.path, "manifest_sha256": new.sha256}
            return connection.execute(sa.update(table).where(stood).values(values)).rowcount > 0

    @contextmanager
    def _changing(self, by: Event) -> Iterator[Change]:
        with writing(self._engine, db.dataset_head) as connection:
            change = Change(connection, by)
            yield change
            change.log()

    def _number(self, connection: sa.Connection, selector: Selector) -> int | None:
        """Return the number that is asked for; None when there is none."""
        if selector.version is not None:
            return selector.version
        if selector.tag is not None:
            wanted = (db.version_tag.c.tag == selector.tag) & (
                db.dataset_version.c.state == VersionState.PUBLISHED.value
            )
            tagged = rows.read_versions(connection, rows.version_query().where(rows.of(selector.name) & wanted))
            return tagged[-1].version if tagged else None
        if selector.day is not None:
            return self._at_end_of(connection, selector, selector.day)
        head, reserved = rows.read_head(connection, selector.name)
        if head is None and reserved and rows.read_events(connection, selector.name):
            raise refusals.no_head(selector.name)
        return head

    def _at_end_of(self, connection: sa.Connection, selector: Selector, day: dt.date) -> int | None:
        if day > dt.datetime.now(dt.UTC).date():
            raise refusals.future(selector)
        events = rows.read_events(connection, selector.name)
        moved = [event for event in events if event.detail.startswith("head ") and event.at.date() <= day]
        return rows.head_in(moved[-1].detail) if moved else None

    def _unknown(self, connection: sa.Connection, selector: Selector) -> CloakhouseError:
        table = db.dataset_version
        query = sa.select(table.c.version).where(table.c.dataset == selector.name).order_by(table.c.version)
        numbers = list(connection.execute(query).scalars())
        names = connection.execute(sa.select(table.c.dataset).distinct().order_by(table.c.dataset)).scalars()
        return refusals.unknown(selector, numbers, list(names))

    def _unreadable(self, connection: sa.Connection, version: DatasetVersion) -> CloakhouseError:
        events = rows.read_events(connection, version.dataset, version.version)
        return refusals.unreadable(version, events, rows.read_head(connection, version.dataset)[0])


def _of_fingerprint(connection: sa.Connection, dataset: str, fingerprint: str) -> DatasetVersion | None:
    wanted = rows.of(dataset) & (db.dataset_version.c.fingerprint == fingerprint)
    found = rows.read_versions(connection, rows.version_query().where(wanted))
    return found[0] if found else None
