"""Persons by rights token, as tables of the control database and lists of the lake hold them."""

from __future__ import annotations

import datetime as dt
import hashlib

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.tokens.subjects import RIGHTS_TYPE

BY = Event("ann", Action.REQUEST_ERASURE, "persons of a file", reason="ticket 4711")


def persons(*numbers: int) -> pa.Array:
    """Return tokens that tell numbers apart, sorted as the numbers are."""
    return pa.array([number.to_bytes(16, "big") for number in sorted(numbers)], RIGHTS_TYPE)


def many(count: int, seed: int = 1) -> pa.Array:
    """Return `count` random tokens, sorted and unique."""
    found = np.random.default_rng(seed).bytes(16 * count)
    return pa.array(sorted({found[16 * i : 16 * i + 16] for i in range(count)}), RIGHTS_TYPE)


def numbers(tokens: pa.Array) -> list[int]:
    """Return the numbers that `persons` was given."""
    return [int.from_bytes(token, "big") for token in tokens.to_pylist()]


def requested(url: str, batch: str, who: pa.Array) -> Erasure:
    """Request the erasure of `who` in a control database alone, without a list in a lake."""
    about = {DIGEST: hashlib.sha256(b"".join(who.to_pylist())).hexdigest(), "persons": len(who)}
    request = ManifestRef(f"rights/{batch}/erasure-request-0.json", "0" * 64)
    erasure = Erasure(batch, "ann", "ticket 4711", len(who), request, dt.datetime.now(dt.UTC))
    return Erasures(url).request(erasure, who, about, BY)


class Keys:
    """Keys for tests, without a key service."""

    def key(self, use: KeyUse) -> SecretKey:
        """Return a key that only `use` has."""
        return SecretKey(hashlib.sha256(repr(use).encode()).digest())


def identifiers() -> Identifiers:
    """Return the identifiers of the shipped contracts, under keys of tests."""
    contracts = load_contracts(Settings.from_environment({}).contracts)
    return Identifiers(contracts, contracts["customers"], Keys())
