"""Whether rows of a person who is held lie in what is due: then the whole file or partition waits.

A hold is a duty to keep a person's data (`cloakhouse.ledger.subject_holds`). It goes before retention as before an
erasure. Nothing is cut out around it: the rows of the others in that partition wait, too, and the plan says so. Without
any hold nothing is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.recut import rows_going
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Delivery, ProtectedPartition
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages.cutting import subject_rows
from cloakhouse.stages.landed_lines import header_of, line_blocks, plaintext
from cloakhouse.stages.raw_fields import Fields, RawFields
from cloakhouse.stages.raw_subjects import RawSubjects, nobody
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import token_keys

RECORD = "record"


@dataclass(frozen=True)
class HeldPersons:
    """Looks for the persons who are held now. Opens keys only where somebody is."""

    settings: Settings

    @cached_property
    def persons(self) -> pa.Array:
        """Rights tokens, sorted."""
        return SubjectHolds(self.settings.database).held()

    def concern(self, contract: Contract) -> bool:
        """Return whether rows of `contract` may be of somebody who is held."""
        return contract.rights.subject is not None and len(self.persons) > 0

    def in_protected(self, contract: Contract, partition: ProtectedPartition) -> bool:
        """Return whether a protected partition holds rows of theirs. Raises IntegrityError, KeyServiceError."""
        if not self.concern(contract):
            return False
        column, theirs = subject_rows(self.settings, contract, self.persons)
        tables = self._tables()
        files = file_entries(read_manifest(open_store(self.settings), partition.manifest)["files"])
        return any(rows_going(tables, entry, [column], theirs) for entry in files)

    def in_quarantine(self, contract: Contract, partition: ProtectedPartition) -> bool:
        """Return whether a quarantined record of a partition names one of them. Raises as `in_protected`."""
        if not self.concern(contract):
            return False
        tables, subjects, reader = self._tables(), self._subjects(contract), self._reader(contract, b"")
        for entry in file_entries(read_manifest(open_store(self.settings), partition.manifest)["quarantine"]):
            for batch in tables.batches(entry, [RECORD]):
                found = [reader.of_record(record, True) for record in batch.column(RECORD).to_pylist()]
                columns = zip(*(wanted for wanted, _ in found), strict=True)
                doubtful = tuple((number, fields) for number, (_, fields) in enumerate(found) if fields)
                fields = Fields(tuple(pa.array(column, pa.binary()) for column in columns), doubtful)
                if len(found) and subjects.whose(fields).goes.any():
                    return True
        return False

    def in_landed(self, contract: Contract, delivery: Delivery) -> bool:
        """Return whether a line of a landed file names one of them. Raises as `in_protected`."""
        if not self.concern(contract):
            return False
        assert contract.feed is not None
        store, ring, subjects = open_store(self.settings), open_ring(self.settings), self._subjects(contract)
        name = read_manifest(store, delivery.manifest, "delivery")["object"]
        with opened(store, LandedObject(contract.name, delivery.partition, name), ring) as stream:
            plain = plaintext(stream, contract.feed)
            reader = self._reader(contract, header_of(plain, contract.feed))
            return any(subjects.whose(reader.read(block)).goes.any() for block in line_blocks(plain))

    def _tables(self) -> TableStore:
        return TableStore(open_store(self.settings), open_ring(self.settings))

    def _subjects(self, contract: Contract) -> RawSubjects:
        return RawSubjects.of(contract, token_keys(self.settings), self.persons, nobody(), nobody())

    def _reader(self, contract: Contract, header: bytes) -> RawFields:
        subject = contract.rights.subject
        assert contract.feed is not None
        assert subject is not None
        return RawFields(contract, contract.feed, (subject.column, *subject.also), header)
