"""Holds on persons whom a file names: placed and lifted by those whom the keys of rights tokens open for.

A hold goes before every erasure that is not done (`cloakhouse.ledger.subject_holds`). The file is read as for an
erasure (`cloakhouse.stages.erasure_request`), and lines that can't be read refuse it all: a hold that silently misses
somebody would be worth nothing. So does a reason that names one of the persons. Persons whom the lake doesn't know can
be held as well: their rows may come later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from cloakhouse.errors import NotFound
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, check_reason, refusals_recorded
from cloakhouse.stages.erasure_request import whole_file
from cloakhouse.stages.request_reason import UNCHECKED
from cloakhouse.stages.subject_file import Tolerance
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_lookup import union


@dataclass(frozen=True)
class Held:
    """What became of a file of persons.

    Attributes:
        persons: how many it names, also such as the lake doesn't know.
        changed: of them, whose hold changed.
        missed: lines with another identifier that no customer master has: whoever they mean isn't held.
    """

    persons: int
    changed: int
    missed: int


def place(settings: Settings, path: Path, reason: str, tolerance: Tolerance) -> Held:
    """Hold the persons whom the file at `path` names. Repeated, nothing changes.

    Raises ConfigurationError, DeliveryError, NotFound (nobody is named), AccessRefused, KeyServiceError, StorageError.
    """
    return _change(settings, Action.HOLD_SUBJECT, path, reason, tolerance)


def lift(settings: Settings, path: Path, reason: str, tolerance: Tolerance) -> Held:
    """Lift every hold on the persons whom the file at `path` names. Raises as `place`."""
    return _change(settings, Action.LIFT_SUBJECT_HOLD, path, reason, tolerance)


def _change(settings: Settings, action: Action, path: Path, reason: str, tolerance: Tolerance) -> Held:
    why = check_reason(reason)
    log, event = asked(settings, action, "persons of a file", UNCHECKED, 0, platform=True)
    with refusals_recorded(log, event):
        _, found = whole_file(settings, Identifiers.of(settings), path, tolerance, why)
        persons: pa.Array = union([found.persons, found.unknown_persons])
        if not len(persons):
            raise _nobody(path)
    holds, told = SubjectHolds(settings.database), replace(event, count=len(persons), reason=why)
    changed = holds.place(persons, told) if action is Action.HOLD_SUBJECT else holds.lift(persons, told)
    return Held(len(persons), changed, found.unknown.count - len(found.unknown_persons))


def _nobody(path: Path) -> NotFound:
    return NotFound(
        where=path.name,
        expected="at least one person",
        found="none: lines that are empty, or identifiers that no customer master has",
        not_done="no hold was changed",
        remedy="name the persons by the subject's own column, by which they can be held before they are known",
    )
