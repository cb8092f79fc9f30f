"""The key service as stages and commands see it: whatever is done with a master key is an event of the audit log.

| call | event | when it is written |
| --- | --- | --- |
| wrap, unwrap | `use key` of the master key | before the key, or its wrapped form, is handed out |
| generate | `make key`: a version of a dataset key | before it is handed out |
| rotate, disable, enable, destroy, grant, revoke | `rotate key` ... `revoke` | before it is done |
| names, describe, grants, connection | none: no key is used | |

An event that can't be written stops what it describes: StorageError. What is refused is one event, `refused`
(AccessRefused) or `failed` (anything else) with its code. A change is recorded first, and so has two when it is refused
then: the second names the first (fact `entry`), which it takes back.

A dataset key stays opened in the key ring for five minutes, so a file, a row or a value is no event of its own.

Spark's workers have no control database, so that their settings give the plain key service; the driver records what
they may open before they start (`leased`). Readers of published data may have a control database that they can't write:
`reading_service` records what they are refused where they can; `cloakhouse.ledger.access_uses` counts their uses.

An event names master keys, dataset keys and principals. Of the encryption context it takes what are names of the
platform's own, by their form; the rest of it, and every key, wrapped or not, stays out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import sqlalchemy.exc

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys import service as plain
from cloakhouse.keys.dataset_keys import PART, DatasetKey
from cloakhouse.keys.protocol import Connection, Context, Grant, KeyDescription, KeyName, KeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey
from cloakhouse.ledger.acting import UNKNOWN, account, described, printable, unsuccessful
from cloakhouse.ledger.audit import log_of
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.settings import Settings

OTHER = "another name"  # in place of a name that isn't one of a master key
WORKERS = "spark workers"
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}(/[a-z][a-z0-9_-]{0,62}){1,2}")
_USES = frozenset({"dataset key", "token root", "signing key"})
T = TypeVar("T")


def service_of(settings: Settings, reason: str = "") -> KeyService:
    """Return the key service of an installation, as its principal and purpose see it, audited.

    `reason` goes into every event. Settings of workers, without a control database, give the plain service. Nothing is
    connected yet. Raises ConfigurationError.
    """
    service = plain.service_of(settings)
    return AuditedKeyService(service, KeyEvents(service, settings, reason)) if settings.database else service


def open_ring(settings: Settings, reason: str = "") -> KeyRing:
    """Return the dataset keys of an installation, over `service_of`. Raises ConfigurationError."""
    return KeyRing(service_of(settings, reason), settings.dataset_keys)


def reading_service(settings: Settings, seen: Callable[[KeyService], KeyService]) -> KeyService:
    """Return the key service for somebody who reads: `seen` of the plain one, of which refusals alone are recorded.

    Where the reader can't write the log, the refusal stands by itself. Raises ConfigurationError.
    """
    service = plain.service_of(settings)
    if not settings.database:
        return seen(service)
    return _RefusalsNoted(seen(service), KeyEvents(service, settings))


def leased(settings: Settings, keys: Iterable[DatasetKey | KeyName], job: str) -> None:
    """Record that workers of `job` may open `keys` (dataset keys, and master keys of token roots): one event each.

    Call it in the driver, before the job starts. One commit. Raises StorageError: the job must then not start.
    """
    names = sorted({(key.name, key.dataset) if isinstance(key, DatasetKey) else (key, "") for key in keys})
    if not names or not settings.database:
        return
    events = KeyEvents(plain.service_of(settings), settings)
    facts = {"operation": "lease", "by": WORKERS, "job": printable(job)}
    events.record(*(events.event(Action.USE_KEY, named(n), dataset=d, facts=facts) for n, d in names))


class KeyEvents:
    """Writes the events of one key service object. The actor is looked up once, at the first event."""

    def __init__(self, service: KeyService, settings: Settings, reason: str = "") -> None:
        self._service = service
        self._settings = settings
        self._reason = reason
        self._actor: str | None = None

    def event(
        self,
        action: Action,
        what: str,
        *,
        dataset: str = "",
        count: int = 1,
        facts: Mapping[str, str | int] | None = None,
    ) -> Event:
        """Return the event of whoever asks this service, not recorded yet."""
        return described(
            self._settings, self._who(), action, what, dataset=dataset, count=count, reason=self._reason, facts=facts
        )

    def record(self, *events: Event) -> int:
        """Add `events` and return the number of the first. Raises StorageError."""
        return log_of(self._settings.database).record(*events)

    def _who(self) -> str:
        if self._actor is None:
            try:
                self._actor = account(self._service)
            except CloakhouseError:  # the service, which is asked now or was, refuses this one
                return UNKNOWN
        return self._actor


class AuditedKeyService:
    """A KeyService that asks another one, and records it; see the module."""

    def __init__(self, service: KeyService, events: KeyEvents) -> None:
        self._service = service
        self._events = events

    def __repr__(self) -> str:
        return f"AuditedKeyService({self._service!r})"

    @property
    def uri(self) -> str:
        """See KeyService.uri."""
        return self._service.uri

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap. Raises StorageError, too, as every call that is recorded."""
        return self._used("wrap", name, context, lambda: self._service.wrap(name, key, context))

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap."""
        return self._used("unwrap", name, context, lambda: self._service.unwrap(name, wrapped, context))

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate."""
        return self._used("generate", name, context, lambda: self._service.generate(name, context))

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names."""
        return self._service.names()

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe."""
        return self._service.describe(name)

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate."""
        return self._changed(Action.ROTATE_KEY, name, lambda: self._service.rotate(name))

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable."""
        self._changed(Action.DISABLE_KEY, name, lambda: self._service.disable(name))

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable."""
        self._changed(Action.ENABLE_KEY, name, lambda: self._service.enable(name))

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy."""
        self._changed(Action.SHRED_KEY, name, lambda: self._service.destroy(name))

    def grants(self) -> tuple[Grant, ...]:
        """See KeyService.grants."""
        return self._service.grants()

    def grant(self, grant: Grant) -> None:
        """See KeyService.grant."""
        self._changed(Action.GRANT, grant.name, lambda: self._service.grant(grant), _facts_of(grant))

    def revoke(self, grant: Grant) -> None:
        """See KeyService.revoke."""
        self._changed(Action.REVOKE, grant.name, lambda: self._service.revoke(grant), _facts_of(grant))

    def connection(self) -> Connection:
        """See KeyService.connection."""
        return self._service.connection()

    def _used(self, operation: str, name: KeyName, context: Context, call: Callable[[], T]) -> T:
        try:
            found = call()
        except Exception as problem:
            self._not_used(operation, name, context, problem)
            raise
        self._has_used(operation, name, context)
        return found

    def _has_used(self, operation: str, name: KeyName, context: Context) -> None:
        self._events.record(self._use(operation, name, context))

    def _not_used(self, operation: str, name: KeyName, context: Context, problem: Exception) -> None:
        self._events.record(unsuccessful(self._use(operation, name, context), problem))

    def _use(self, operation: str, name: KeyName, context: Context) -> Event:
        key, use = _dataset_key(name, context), context.get("use", "")
        facts: dict[str, str | int] = {"operation": operation}
        if use in _USES:
            facts["use"] = use
        if key is not None:
            facts["version"] = int(context["v"])
        made = operation == "generate"
        what = key.name if key is not None and made else named(name)
        action = Action.MAKE_KEY if made else Action.USE_KEY
        return self._events.event(action, what, dataset=key.dataset if key else "", facts=facts)

    def _changed(
        self, action: Action, name: KeyName, call: Callable[[], T], facts: Mapping[str, str | int] | None = None
    ) -> T:
        with recorded_first(self._events.record, self._events.event(action, named(name), facts=facts)):
            return call()


@contextlib.contextmanager
def recorded_first(record: Callable[[Event], int], event: Event) -> Iterator[None]:
    """Record `event` before the block, which does what it describes; and again, with the code and the number of the
    first (fact `entry`), when the block raises. Raises StorageError, and then the block isn't begun."""
    entry = record(event)
    try:
        yield
    except Exception as problem:
        record(replace(unsuccessful(event, problem), facts={**event.facts, "entry": entry}))
        raise


class _RefusalsNoted(AuditedKeyService):
    """As a reader sees the service: uses are recorded elsewhere, and what is refused, where the log can be written."""

    def _has_used(self, operation: str, name: KeyName, context: Context) -> None:
        return

    def _not_used(self, operation: str, name: KeyName, context: Context, problem: Exception) -> None:
        with contextlib.suppress(CloakhouseError, sqlalchemy.exc.SQLAlchemyError, OSError):
            super()._not_used(operation, name, context, problem)


def _facts_of(grant: Grant) -> dict[str, str | int]:
    return {"principal": printable(grant.principal), "granted_for": printable(grant.purpose)}


def named(name: str) -> str:
    """Return the name of a master key or dataset key; OTHER for a text that isn't one, which may be anything."""
    return name if _NAME.fullmatch(name) else OTHER


def _dataset_key(name: KeyName, context: Context) -> DatasetKey | None:
    """Return the dataset key whose context this is, under master key `name`; None for another context."""
    parts = [context.get(part, "") for part in ("zone", "class", "dataset")]
    version = context.get("v", "")
    if context.get("use") != "dataset key" or not all(PART.fullmatch(part) for part in parts):
        return None
    key = DatasetKey(*parts)
    return key if key.master == name and re.fullmatch("[1-9][0-9]{0,8}", version) else None
