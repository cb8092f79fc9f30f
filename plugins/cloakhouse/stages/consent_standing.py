"""What counts of the choices of a person for a purpose, at a time.

1. The customer master speaks by changes. Its flag is a choice of the day on which it took this value; snapshots that
   show the same value again say nothing new.
2. What persons say themselves (file, API, Global Privacy Control) and what the master says is compared by time: the
   newest choice counts, and at the same instant a refusal.
3. But a refusal that a person made stands against a grant of the master, however new, unless that grant is a change:
   the snapshot before it showed a refusal. So a flag that was merely copied on undoes no objection.
4. `told` is no choice. Told of a purpose by their newest record, whoever says so, persons without a choice are used as
   their law's profile says; the master's profile goes before others, since it knows where persons live.
5. Without a record there is nothing to count: such a person is in no answer, and never allowed.

Source: GDPR Art. 7(3), 21(3); Cal. Civ. Code 1798.135(c)(4); 11 CCR 7025(c).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cloakhouse.contracts.jurisdictions import PROFILES, STRICTEST
from cloakhouse.ledger.consent_model import CHOICES, DIRECT, GRANTED, REFUSED, TOLD, UTC_TIME
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.tokens.subjects import RIGHTS_TYPE

REFUSED_CODE, TOLD_CODE, GRANTED_CODE = (CHOICES.index(choice) for choice in (REFUSED, TOLD, GRANTED))
LAWS = tuple(PROFILES)  # strictest first
_NEVER = np.iinfo(np.int64).min
_Codes = NDArray[np.int8]
_Times = NDArray[np.int64]


@dataclass(frozen=True)
class Standing:
    """Where persons stand for one purpose, in order of their rights tokens.

    Attributes:
        subjects: rights tokens, each once.
        allowed: bool[n]: whether their rows may be used.
        choices: int8[n]: what counts, as index into CHOICES.
        laws: int8[n]: whose law decides, as index into LAWS.
        since: int64[n]: when that was chosen (microseconds since 1970, UTC).
    """

    subjects: pa.FixedSizeBinaryArray
    allowed: NDArray[np.bool_]
    choices: _Codes
    laws: _Codes
    since: _Times


@dataclass(frozen=True)
class _Said:
    """Choices by person (number of the group), oldest first within each."""

    group: NDArray[np.int64]
    choice: _Codes
    law: _Codes
    at: _Times

    def of(self, rows: NDArray[Any]) -> _Said:
        return _Said(self.group[rows], self.choice[rows], self.law[rows], self.at[rows])


def standing(register: ConsentRegister, purpose: str, as_of: dt.datetime | None = None) -> Iterator[Standing]:
    """Yield where persons with a record for `purpose` stand as of a time, in order and in windows: memory stays flat.

    Raises StorageError.
    """
    for rows in register.windows(purpose, as_of):
        yield resolved(rows, purpose)


def resolved(rows: Sequence[Any], purpose: str) -> Standing:
    """Return what counts of `rows`, choices for `purpose` in order of subject and time (`ConsentRegister.windows`)."""
    tokens = pa.array([row.subject for row in rows], RIGHTS_TYPE)
    cells = np.frombuffer(tokens.buffers()[1], np.uint64, 2 * len(rows)).reshape(-1, 2)
    fresh = np.append(True, (cells[1:] != cells[:-1]).any(axis=1))
    said = _Said(
        np.cumsum(fresh) - 1,
        np.array([CHOICES.index(row.choice) for row in rows], np.int8),
        np.array(
            [LAWS.index(row.jurisdiction if row.jurisdiction in PROFILES else STRICTEST) for row in rows], np.int8
        ),
        _microseconds([row.chosen_at for row in rows]),
    )
    direct = np.array([row.source in DIRECT for row in rows], np.bool_)
    persons = int(said.group[-1]) + 1
    master = _of_master(said.of(~direct), persons)
    own = _of_persons(said.of(direct), persons)
    choices, since = _counted(master, own)
    laws = np.where(master.law >= 0, master.law, own.law).astype(np.int8)
    told = np.array([PROFILES[law].without_choice(purpose) for law in LAWS])[laws]
    allowed = (choices == GRANTED_CODE) | ((choices == TOLD_CODE) & told)
    return Standing(tokens.filter(pa.array(fresh)), allowed, choices, laws, since)


@dataclass(frozen=True)
class _Side:
    """What one side says of each person: choice, time and law, -1 and _NEVER where it says nothing of it.

    `changed` marks grants that came after a refusal on the same side.
    """

    choice: _Codes
    at: _Times
    law: _Codes
    changed: NDArray[np.bool_]

    @classmethod
    def silent(cls, persons: int) -> _Side:
        nothing = np.full(persons, -1, np.int8)
        return cls(nothing, np.full(persons, _NEVER), nothing.copy(), np.zeros(persons, np.bool_))


def _of_master(said: _Said, persons: int) -> _Side:
    """Return the last value of each person's flag, since when it has had it, and whether it was a refusal before."""
    side = _Side.silent(persons)
    if len(said.group) == 0:
        return side
    follows = np.append(False, said.group[1:] == said.group[:-1])
    same = follows & np.append(False, said.choice[1:] == said.choice[:-1])
    begin = np.maximum.accumulate(np.where(same, 0, np.arange(len(same))))
    last = np.flatnonzero(np.append(~follows[1:], True))
    first = begin[last]
    group = said.group[last]
    side.choice[group], side.at[group], side.law[group] = said.choice[last], said.at[first], said.law[last]
    side.changed[group] = follows[first] & (said.choice[first - 1] == REFUSED_CODE)
    return side


def _of_persons(said: _Said, persons: int) -> _Side:
    """Return the newest choice that each person made, and the law of the newest record; at one instant the stricter."""
    side = _Side.silent(persons)
    if len(said.group) == 0:
        return side
    newest = _last(said, -said.law)
    side.law[newest.group], side.at[newest.group] = newest.law, newest.at
    side.choice[newest.group] = TOLD_CODE
    made = said.of(said.choice != TOLD_CODE)
    if len(made.group):
        chosen = _last(made, -made.choice)
        side.choice[chosen.group], side.at[chosen.group] = chosen.choice, chosen.at
    return side


def _last(said: _Said, then: NDArray[Any]) -> _Said:
    """Return each person's last row by time, of those at one time the one with the highest `then`."""
    ordered = said.of(np.lexsort((then, said.at, said.group)))
    return ordered.of(np.append(ordered.group[1:] != ordered.group[:-1], True))


def _counted(master: _Side, own: _Side) -> tuple[_Codes, _Times]:
    """Return which choice counts of each person, and since when."""
    newer = (own.at > master.at) | ((own.at == master.at) & (own.choice == REFUSED_CODE))
    objected = (own.choice == REFUSED_CODE) & (master.choice == GRANTED_CODE) & ~master.changed
    chose = own.choice != TOLD_CODE
    said_nothing = (master.choice < 0) | ((master.choice == TOLD_CODE) & chose)
    by_person = (own.choice >= 0) & ((chose & (newer | objected)) | said_nothing)
    return (
        np.where(by_person, own.choice, master.choice).astype(np.int8),
        np.where(by_person, own.at, master.at).astype(np.int64),
    )


def _microseconds(moments: list[dt.datetime]) -> _Times:
    """Return moments, in UTC where they have no zone, as microseconds since 1970."""
    return np.asarray(pa.array(moments, UTC_TIME).cast(pa.int64()))
