"""One delivery of the customer master, as the consent register reads it: persons, their choices, and whose law decides.

Rows are decrypted and parsed as for pseudonymization, but the columns of the register alone: what is wrong with another
column takes nobody's choice away. A row whose own columns can't be read is counted and left out. Where a person is
there twice the stricter flag counts, and the stricter law.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cloakhouse.contracts.jurisdictions import profile_of
from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.subject import Register, Subject
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Delivery
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record
from cloakhouse.stages.consent_standing import GRANTED_CODE, LAWS, REFUSED_CODE, TOLD_CODE
from cloakhouse.stages.parsing import parse
from cloakhouse.stages.reads import read_of
from cloakhouse.stages.token_roots import ensure_roots
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_tokens, rights_uses

NAME = "S16"  # rights tokens for numpy: compared byte by byte; zeros at their end make no two of them equal
Codes = NDArray[np.int8]


@dataclass(frozen=True)
class Master:
    """The persons of a delivery, in order and each once, and what it says of them.

    Attributes:
        persons: rights tokens, as NAME.
        choices: int8[n] by purpose, index into CHOICES.
        laws: int8[n], index into LAWS.
        unreadable: rows whose person or choices couldn't be read.
    """

    persons: NDArray[np.bytes_]
    choices: dict[str, Codes]
    laws: Codes
    unreadable: int


def customer_master(settings: Settings) -> Contract | None:
    """Return the contract whose `subject` has a register, None where there is none."""
    contracts = load_contracts(settings.contracts).values()
    return next((c for c in contracts if c.rights.subject is not None and c.rights.subject.register is not None), None)


def required_master(settings: Settings) -> Contract:
    """Return the contract of the customer master. Raises ConfigurationError (`configuration.register`) without one."""
    contract = customer_master(settings)
    if contract is None:
        raise ConfigurationError(
            where="the contracts",
            expected="a feed whose `subject` has a `register`",
            found="none",
            not_done="nothing was registered",
            remedy="declare it in the contract of the customer master",
            code="register",
        )
    return contract


def declared(contract: Contract) -> tuple[Subject, Register]:
    """Return the subject and the register of the customer master's contract."""
    subject = contract.rights.subject
    assert subject is not None
    assert subject.register is not None
    return subject, subject.register


def read_master(settings: Settings, contract: Contract, delivery: Delivery) -> Master:
    """Return who is in a delivery, and what its flags say; the reading is recorded first.

    Memory: about 20 bytes a person. Raises IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    subject, register = declared(contract)
    column = contract.column(subject.column)
    ensure_roots(settings, [use.root for use in rights_uses(column)])
    ring = open_ring(settings)
    keys = TokenKeys(ring.service, settings.token_roots)
    persons: list[pa.Array] = []
    flags: dict[str, list[Codes]] = {purpose: [] for purpose in register.purposes}
    laws: list[Codes] = []
    unreadable = 0
    by = event(settings, Action.READ, contract.name)
    record(settings, read_of(by, "landing", contract.name, 1, delivery.rows, "consent register"))
    for table, bad in _batches(settings, contract, delivery, ring):
        unreadable += bad
        persons.append(rights_tokens(table.column(column.name), column, keys))
        for purpose, name in register.purposes.items():
            flags[purpose].append(_choice_codes(table.column(name)))
        laws.append(_law_codes(table.column(register.jurisdiction)))
    return _merged(persons, {p: np.concatenate([*f, _empty()]) for p, f in flags.items()}, laws, unreadable)


def _batches(
    settings: Settings, contract: Contract, delivery: Delivery, ring: KeyRing
) -> Iterator[tuple[pa.Table, int]]:
    """Yield the register's columns of the rows that can be read, and how many can't."""
    store, slim, feed = open_store(settings), _slim(contract), contract.feed
    assert feed is not None
    content = read_manifest(store, delivery.manifest)
    with opened(store, LandedObject(contract.name, delivery.partition, content["object"]), ring) as stream:
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
        for parsed in parse(plain, slim, feed):
            yield parsed.table, len(parsed.bad.reasons)


def _slim(contract: Contract) -> Contract:
    """Return the contract with the columns of the register alone; all but the person may be missing."""
    subject, register = declared(contract)
    person = contract.column(subject.column)
    names = dict.fromkeys([*register.purposes.values(), register.jurisdiction])
    others = [replace(contract.column(name), required=False, pattern=None) for name in names]
    return replace(contract, columns=(person, *others))


def _choice_codes(flags: pa.ChunkedArray) -> Codes:
    codes = pc.fill_null(pc.if_else(flags, GRANTED_CODE, REFUSED_CODE), TOLD_CODE)
    return np.asarray(codes.to_numpy(), np.int8)


def _law_codes(countries: pa.ChunkedArray) -> Codes:
    words = countries.combine_chunks().dictionary_encode(null_encoding="encode")
    known = np.array([LAWS.index(profile_of(word or "").name) for word in words.dictionary.to_pylist()], np.int8)
    return known[words.indices.to_numpy()] if len(words) else _empty()


def _empty() -> Codes:
    return np.empty(0, np.int8)


def _merged(persons: list[pa.Array], flags: dict[str, Codes], laws: list[Codes], unreadable: int) -> Master:
    """Return every person once, with the stricter of flags and laws that contradict each other."""
    tokens = _as_names(pa.concat_arrays([*persons, pa.array([], RIGHTS_TYPE)]))
    order = np.argsort(tokens, kind="stable")
    ordered = tokens[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else np.empty(0, np.int64)

    def strictest(codes: Codes) -> Codes:
        return np.minimum.reduceat(codes[order], first) if len(first) else codes

    choices = {purpose: strictest(codes) for purpose, codes in flags.items()}
    return Master(ordered[first], choices, strictest(np.concatenate([*laws, _empty()])), unreadable)


def _as_names(tokens: pa.Array) -> NDArray[np.bytes_]:
    return np.frombuffer(tokens.buffers()[1], NAME, len(tokens)) if len(tokens) else np.empty(0, NAME)
