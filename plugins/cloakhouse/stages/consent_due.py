"""Who has withdrawn, and where their rows still are: protected partitions and published versions, with their deadlines.

- A protected partition holds rows of the persons that its subject column names. Those who don't allow the purpose now
  are due `withdrawWithinDays` after they said so; who never was in the register is due at once.
- A published version may hold whoever was on the list of the snapshot that it was made under: of these, those who don't
  allow the purpose now are counted, which is the most it can be. One that was made under no snapshot, or under one that
  isn't kept, has a count that nobody knows, and is due at once.
- `take_out` cuts persons out of protected partitions whose record doesn't allow the purpose, but for those under a
  hold. Persons without a record stay listed and aren't cut: a register that wasn't fed would empty the zone. A version
  is never changed: the next run makes one without them, and the old one is then to be withdrawn.

What was landed, and what was set aside, is used for nothing; retention and erasures reach it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.subject import Consent
from cloakhouse.errors import StageError
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.consent import allowed_persons
from cloakhouse.stages.consent_shedding import versions_under
from cloakhouse.stages.consent_standing import standing
from cloakhouse.stages.cutting import cut_partition
from cloakhouse.stages.reads import reads
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_of_tokens


@dataclass(frozen=True)
class Due:
    """A partition or version that holds persons who don't allow its purpose now.

    Attributes:
        dataset: its name.
        part: the partition, or `dataset@version`.
        purpose: what is no longer allowed.
        persons: how many there are; of a version, at most; None where nobody knows.
        held: those of them who are under a hold: they stay.
        deadline: of the first of them, UTC.
        overdue: whether it has passed.
    """

    dataset: str
    part: str
    purpose: str
    persons: int | None
    held: int
    deadline: dt.datetime
    overdue: bool


@dataclass(frozen=True)
class TakenOut:
    """What was cut out of one protected partition."""

    dataset: str
    partition: str
    rows: int


@dataclass(frozen=True)
class _Withdrawn:
    """Who may be used for a purpose now, and since when others may not."""

    allowed: pa.Array
    others: pa.Array
    since: NDArray[np.int64]  # microseconds since 1970, of `others`


@dataclass
class _Looker:
    """Looks at one installation; reads the register once for each purpose."""

    settings: Settings
    now: dt.datetime
    held: pa.Array
    _known: dict[str, _Withdrawn] = field(default_factory=dict)

    def withdrawn(self, purpose: str) -> _Withdrawn:
        if purpose not in self._known:
            windows = list(standing(ConsentRegister(self.settings.database), purpose, self.now))
            none = pa.array([], RIGHTS_TYPE)
            self._known[purpose] = _Withdrawn(
                pa.concat_arrays([none, *(w.subjects.filter(pa.array(w.allowed)) for w in windows)]),
                pa.concat_arrays([none, *(w.subjects.filter(pa.array(~w.allowed)) for w in windows)]),
                np.concatenate([np.empty(0, np.int64), *(w.since[~w.allowed] for w in windows)]),
            )
        return self._known[purpose]

    def due(self, contract: Contract, part: str, persons: pa.Array) -> Due | None:
        """Return what is due of `persons`, rights tokens of those in `part`, each once; None when nothing is."""
        consent = contract.rights.consent
        assert consent is not None
        gone = self.not_allowed(consent, persons)
        if not len(gone):
            return None
        withdrawn = self.withdrawn(consent.purpose)
        at = pc.index_in(gone, value_set=withdrawn.others)
        since = withdrawn.since[at.drop_null().to_numpy()]
        within = dt.timedelta(days=consent.withdraw_within_days)
        deadline = self.now if at.null_count else dt.datetime.fromtimestamp(0, dt.UTC) + _span(since) + within
        held = int(pc.sum(pc.is_in(gone, value_set=self.held)).as_py() or 0)
        return Due(
            contract.name, part, consent.purpose, len(gone), held, deadline, deadline <= self.now and held < len(gone)
        )

    def not_allowed(self, consent: Consent, persons: pa.Array) -> pa.Array:
        allowed = self.withdrawn(consent.purpose).allowed
        return persons.filter(pc.invert(pc.is_in(persons, value_set=allowed)))

    def withdrawn_among(self, consent: Consent, persons: pa.Array) -> pa.Array:
        """Return those of `persons` whose record doesn't allow the purpose, and who aren't held: these may be cut."""
        gone = persons.filter(pc.is_in(persons, value_set=self.withdrawn(consent.purpose).others))
        return gone.filter(pc.invert(pc.is_in(gone, value_set=self.held)))


def consents_due(settings: Settings, now: dt.datetime | None = None) -> list[Due]:
    """Return what holds persons who don't allow its purpose, what is due first, first. Nothing is changed.

    Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    looker = _looker(settings, now)
    contracts = load_contracts(settings.contracts)
    found = [
        due
        for contract in contracts.values()
        for partition, persons in _persons_of(settings, contract)
        if (due := looker.due(contract, partition.partition, persons)) is not None
    ]
    found += _versions_due(settings, looker, contracts)
    return sorted(found, key=lambda due: (due.deadline, due.dataset, due.part))


def take_out(settings: Settings, reason: str = "", now: dt.datetime | None = None) -> list[TakenOut]:
    """Cut everybody whose record doesn't allow the purpose, and who isn't held, out of protected partitions.

    Each partition is published before the next is begun; killed anywhere, the next call goes on. Raises as
    `consents_due`, and StageError for a dataset that is busy for ten minutes.
    """
    looker, cut = _looker(settings, now), []
    for contract in load_contracts(settings.contracts).values():
        consent = contract.rights.consent
        for partition, persons in _persons_of(settings, contract):
            assert consent is not None
            gone = looker.withdrawn_among(consent, persons)
            if not len(gone):
                continue
            facts: dict[str, str | int] = {"because": "withdrawn", "persons": len(gone), "use": consent.purpose}
            what = f"{contract.name} {partition.partition}"
            by = event(settings, Action.ERASE, what, dataset=contract.name, reason=reason, facts=facts)
            rows = cut_partition(settings, contract, partition, gone, by).rows
            cut.append(TakenOut(contract.name, partition.partition, rows))
    return cut


def _looker(settings: Settings, now: dt.datetime | None) -> _Looker:
    return _Looker(settings, now or dt.datetime.now(dt.UTC), SubjectHolds(settings.database).held())


def _persons_of(settings: Settings, contract: Contract) -> Iterator[tuple[ProtectedPartition, pa.Array]]:
    """Yield the protected partitions of a feed that asks for a consent, with the persons in each, by rights token."""
    subject = contract.rights.subject
    if contract.kind is not Kind.FEED or contract.rights.consent is None or subject is None:
        return
    partitions = list(Catalogue(settings.database).protected(contract.name).values())
    if not partitions:
        return
    record(settings, *reads(event(settings, Action.READ, contract.name), {contract.name: partitions}, "consents due"))
    store, keys = TableStore(open_store(settings), open_ring(settings)), token_keys(settings)
    column = contract.column(subject.column)
    for partition in partitions:
        files = partition_files(settings, partition.manifest)
        tokens = [store.read(entry, [column.name]).column(0) for entry in files if entry.rows]
        if tokens:
            unique = pc.unique(pa.chunked_array([chunk for column in tokens for chunk in column.chunks]))
            yield partition, rights_of_tokens(unique, column, keys)


def _versions_due(settings: Settings, looker: _Looker, contracts: dict[str, Contract]) -> list[Due]:
    found = []
    for name, sha256 in versions_under(settings):
        contract = contracts.get(name.partition("@")[0])
        if contract is None or contract.rights.consent is None:
            continue
        persons = _listed(settings, sha256)
        if persons is not None:
            due = looker.due(contract, name, persons)
            found += [due] if due is not None else []
        else:
            purpose = contract.rights.consent.purpose
            found.append(Due(contract.name, name, purpose, None, 0, looker.now, overdue=True))
    return found


def _listed(settings: Settings, sha256: str) -> pa.Array | None:
    try:
        return allowed_persons(settings, sha256) if sha256 else None
    except StageError:  # it isn't kept
        return None


def _span(since: NDArray[np.int64]) -> dt.timedelta:
    return dt.timedelta(microseconds=int(since.min()))
