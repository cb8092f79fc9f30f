"""The copy of one person's data, for an authorised officer, sealed to the key of whoever asked for it.

1. The request is sound: a reason that can stand, a recipient's public key. One that isn't leaves no record.
2. Who asks is a principal, whose role lets it read every column of `landing` and `protected` for this purpose. What is
   refused from here on is recorded. The platform's own identity is refused: a copy has to be somebody's. So is every
   copy in a restored home that isn't settled: it could hold what was erased or changed after the backup.
3. The day's limit of this principal holds, and the event is recorded, with the number of feeds, deliveries and
   partitions that will be read: in one transaction, before anything is decrypted. Its reason isn't kept yet, for it
   may name the person (`request_reason`).
4. The person is looked up: one, whom the lake knows. One who was erased is told with day and batch. A legal hold keeps
   data from being erased and nobody from seeing them: the copy is made, and the hold is told to the officer alone.
5. The copy is made as it is sealed, row by row: the person's lines as they were delivered, what they are in the
   protected zone, what was consented to, and what the law has a controller tell about all of it. Plaintext is in this
   process's memory alone, a few rows at a time.
6. A second event says why, and what left: digest and bytes of the sealed file, how many rows. Only then may it be
   handed out.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import AccessRefused, DeliveryError, NotFound
from cloakhouse.keys.recipients import recipient_of, seal_stream
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.settings import EXPORT_LIMIT, Settings
from cloakhouse.stages.authority import asked, check_reason, refusals_recorded
from cloakhouse.stages.erasure_request import Tolerance, whole_file
from cloakhouse.stages.reading_access import access_of, reading_ring, record_use
from cloakhouse.stages.request_reason import UNCHECKED
from cloakhouse.stages.residency import check_residency
from cloakhouse.stages.restored import require_open_for_reading
from cloakhouse.stages.subject_archive import Page, Rows, archive
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_landed import LandedRows
from cloakhouse.stages.subject_lookup import names_of, union
from cloakhouse.stages.subject_rows import CONSENTS, consent_rows, protected_columns, protected_rows

ACTION = Action.EXPORT_SUBJECT
WINDOW = dt.timedelta(days=1)
WHAT = "a copy of one person's data"
LANDED, PROTECTED, REGISTER = "landed", "protected", "consents"
Counts = Mapping[str, Mapping[str, int]]  # rows by dataset and part; of the register under ""
About = Callable[[Counts], Mapping[str, bytes]]


@dataclass(frozen=True)
class Request:
    """What an officer asks for: a file that names the person (see `subject_file`), for whom, and why."""

    subject_file: Path
    recipient: str
    reason: str
    column: str | None = None


@dataclass
class Copy:
    """What was given out.

    Attributes:
        counts: rows by dataset and part. unclear: lines that name the person and can't be told apart from others'.
        held: whether the person is under a legal hold.
        sha256 / bytes: of the sealed file.
    """

    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    unclear: int = 0
    held: bool = False
    sha256: str = ""
    bytes: int = 0

    @property
    def rows(self) -> int:
        """How many rows are in it."""
        return sum(sum(parts.values()) for parts in self.counts.values())


def export_subject(settings: Settings, request: Request, sink: BinaryIO, about: About) -> Copy:
    """Write the sealed copy to `sink`, which nobody may see before this returns; return what is in it.

    `about` gives the pages that go with it, once the rows are counted. Raises ConfigurationError (reason, recipient,
    file), AccessRefused (`access.role`, `access.platform`, `access.rate`, `access.restored`, or no grant), NotFound
    (`not-found.subject`, `not-found.erased`), DeliveryError (lines that name nobody, or several persons),
    IntegrityError, KeyServiceError, StorageError.
    """
    recipient = recipient_of(request.recipient)
    why = check_reason(request.reason)
    log, event = asked(settings, ACTION, WHAT, UNCHECKED, 1)
    with refusals_recorded(log, event):
        require_open_for_reading(settings)
        _authorised(settings)
        identifiers = Identifiers.of(settings)
    told = replace(event, facts=_to_read(settings, identifiers))
    limit = settings.subject_export_limit
    log.record_within(told, limit, WINDOW, of="persons", setting=EXPORT_LIMIT)
    with refusals_recorded(log, replace(told, count=0, facts={})):
        person = _person(settings, identifiers, request)
        copy = Copy(held=_is_in(person, SubjectHolds(settings.database).held()))
        counted = _Counted(sink)
        pieces = archive(_parts(settings, identifiers, person, copy, about), settings.temporary())
        seal_stream(pieces, cast(BinaryIO, counted), recipient)
        copy.sha256, copy.bytes = counted.sha256, counted.bytes
    _record(log, replace(told, reason=why), copy)
    return copy


def _authorised(settings: Settings) -> None:
    """Return if the policy shows who asks every column of both zones, once the reads are recorded."""
    decide = access_of(settings)
    feeds = [c for c in load_contracts(settings.contracts).values() if c.feed and c.rights.subject]
    for zone in ("landing", "protected"):
        for contract in feeds:
            check_residency(settings, contract, zone)
            columns = contract.columns if zone == "landing" else contract.kept_columns
            access = decide(zone, contract.name, {column.name: column.column_class for column in columns})
            if len(access.readable) < len(columns):
                raise _masked(zone, contract)
            record_use(settings, access, zone, access.readable)


def _to_read(settings: Settings, identifiers: Identifiers) -> dict[str, str | int]:
    catalogue = Catalogue(settings.database)
    landed = [catalogue.deliveries(contract.name) for contract in identifiers.feeds]
    return {
        "feeds": len(identifiers.feeds),
        "deliveries": sum(len(revisions) for found in landed for revisions in found.values()),
        "partitions": sum(len(catalogue.protected(contract.name)) for contract in identifiers.feeds),
    }


def _person(settings: Settings, identifiers: Identifiers, request: Request) -> bytes:
    """Return the rights token of the one person whom the file names. Raises NotFound, DeliveryError."""
    _, found = whole_file(settings, identifiers, request.subject_file, Tolerance(column=request.column), request.reason)
    everybody = union([found.persons, found.unknown_persons])
    if len(everybody) > 1 or (len(everybody) and found.unknown.count > len(found.unknown_persons)):
        raise _several(len(everybody))
    for person in everybody.to_pylist():
        stone = Tombstones(settings.database).of(person)
        if stone is not None:
            raise _erased(*stone)
    if not len(found.persons):
        raise _unknown()
    token: bytes = found.persons[0].as_py()
    return token


def _parts(
    settings: Settings, identifiers: Identifiers, person: bytes, copy: Copy, about: About
) -> Iterator[Rows | Page]:
    """Yield the parts of the archive; what was counted of each is in `copy` when the next is asked for."""
    ring, keys = reading_ring(settings), identifiers.keys
    names = names_of(settings, identifiers, pa.array([person], pa.binary(16)))
    store = TableStore(open_store(settings), ring)
    for contract in identifiers.feeds:
        lines = LandedRows(settings, contract, person, names, keys, ring)
        yield (part := Rows(f"{LANDED}/{contract.name}", lines.columns, lines))
        copy.counts[contract.name] = {LANDED: part.count}
        copy.unclear += lines.unclear
        rows = protected_rows(settings, store, contract, person, keys)
        yield (part := Rows(f"{PROTECTED}/{contract.name}", protected_columns(contract), rows))
        copy.counts[contract.name][PROTECTED] = part.count
    yield (part := Rows(REGISTER, CONSENTS, consent_rows(settings, person)))
    copy.counts[""] = {REGISTER: part.count}
    for name, content in about(copy.counts).items():
        yield Page(name, content)


def _record(log: AuditLog, told: Event, copy: Copy) -> None:
    counted = {"bytes": copy.bytes, "rows": copy.rows, "unclear": copy.unclear}
    facts: dict[str, str | int] = {"sha256": copy.sha256, **counted}
    log.record(replace(told, count=0, facts=facts, at=None))


def _is_in(person: bytes, persons: pa.Array) -> bool:
    return bool(pc.is_in(pa.scalar(person, persons.type), value_set=persons).as_py())


class _Counted:
    """Passes bytes on, and knows their number and digest."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Write `data` whole."""
        self._sink.write(data)
        self._digest.update(data)
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Write what waits."""
        self._sink.flush()

    @property
    def sha256(self) -> str:
        """Digest of what was written (hex)."""
        return self._digest.hexdigest()


def _masked(zone: str, contract: Contract) -> AccessRefused:
    return AccessRefused(
        where=f"{zone}/{contract.name}",
        expected="a role that may read every column of it for this purpose",
        found="one that some are masked for",
        not_done="nothing was decrypted: a copy with gaps is none",
        remedy="have the role of the privacy officer read all classes of `landing` and `protected`",
        code="role",
    )


def _unknown() -> NotFound:
    return NotFound(
        where="the person whom the file names",
        expected="one whom the lake knows",
        found="nobody",
        not_done="no copy was made",
        remedy="check the identifier; if it is right, tell the person that nothing is held (GDPR Art. 15(1))",
        code="subject",
    )


def _erased(batch: str, at: dt.datetime) -> NotFound:
    return NotFound(
        where="the person whom the file names",
        expected="one whose data are held",
        found=f"one whose erasure was requested on {at:%Y-%m-%d} (batch {batch})",
        not_done="no copy was made",
        remedy=f"tell the person so; `cloakhouse erase show {batch}` says how far it is",
        code="erased",
    )


def _several(count: int) -> DeliveryError:
    return DeliveryError(
        where="the file of the request",
        expected="one person",
        found=f"{count:,} persons, or lines of others beside",
        not_done="no copy was made",
        remedy="make a file, and a copy, for each of them: nobody is to be given another's data",
        code="subjects",
    )
