"""How many persons stand where, by purpose and law: for people, and never fewer than the register tells."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.consent_standing import GRANTED_CODE, LAWS, REFUSED_CODE, TOLD_CODE, standing


@dataclass(frozen=True)
class Count:
    """Persons with a record for one purpose under one law: by what counts of them, and how many may be used."""

    purpose: str
    jurisdiction: str
    persons: int
    granted: int
    refused: int
    told: int
    allowed: int


def counts(settings: Settings, purposes: Iterable[str] = PURPOSES, as_of: dt.datetime | None = None) -> list[Count]:
    """Return where persons stand as of a time (default: now), in order of purposes, laws without persons left out.

    Raises StorageError.
    """
    register = ConsentRegister(settings.database)
    found = []
    for purpose in purposes:
        totals = np.zeros((len(LAWS), 4), np.int64)
        for window in standing(register, purpose, as_of):
            for column, code in enumerate((GRANTED_CODE, REFUSED_CODE, TOLD_CODE)):
                totals[:, column] += np.bincount(window.laws[window.choices == code], minlength=len(LAWS))
            totals[:, 3] += np.bincount(window.laws[window.allowed], minlength=len(LAWS))
        for law, (granted, refused, told, allowed) in zip(LAWS, totals.tolist(), strict=True):
            persons = granted + refused + told
            if persons:
                found.append(Count(purpose, law, persons, granted, refused, told, allowed))
    return sorted(found, key=lambda count: (PURPOSES.index(count.purpose), count.jurisdiction))
