"""A request to erase the persons whom a file names, and what is refused of it.

1. Who asks, and why: the reason can stand, and the keys of rights tokens open (`purposes/rights`, `tokens/root`): the
   key service decides. What is refused from here on is recorded.
2. The file is read. Lines that name nobody refuse the whole request, unless `skip_unreadable`; so do identifiers that
   several persons have had, unless `all_matches`. Nothing is requested in part without being asked for. A reason that
   names one of the persons is refused, and recorded nowhere.
3. Persons whom the lake doesn't know are left out, unless `also_unknown`: then they get a tombstone, too. Persons under
   a hold are left out. All are counted.
4. Where an open erasure is for the same persons, that one stands for the request.
5. The persons' list is written, encrypted, to the lake. Nothing refers to it yet: killed here, the next request an hour
   later drops it.
6. The erasure, its tombstones and the event of the audit log: one transaction. From here on no run uses the persons,
   and whoever goes on with open erasures finds this one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import DeliveryError, NotFound
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.erasure_model import Erasure
from cloakhouse.ledger.erasures import DIGEST, Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, check_reason, refusals_recorded
from cloakhouse.stages.erasure_batch import PREFIX, Batch, drop_abandoned, drop_list, write_list
from cloakhouse.stages.request_reason import UNCHECKED, require_nobody_named
from cloakhouse.stages.subject_file import Lines, Named, Tolerance, read_subjects
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_lookup import LookedUp, look_up, names_of, union
from cloakhouse.tokens.subjects import RIGHTS_TYPE

__all__ = ["Chosen", "Tolerance", "choose", "nobody", "request", "whole_file"]


@dataclass(frozen=True)
class Chosen:
    """Persons whom a request is about, and what was left out.

    Attributes:
        persons / names: as `cloakhouse.stages.erasure_batch.Batch` has them.
        counts: lines and persons by what became of them.
        lines: by reason, the lines that name nobody, nobody known, or several persons.
    """

    persons: pa.Array
    names: pa.Array
    counts: dict[str, int]
    lines: dict[str, Lines] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the persons' tokens in their order."""
        return hashlib.sha256(b"".join(self.persons.to_pylist())).hexdigest()

    def batch(self, name: str = "", reason: str = "") -> Batch:
        """Return them as a batch that was not requested, to be looked at."""
        return Batch(name, self.persons, reason, dt.datetime.now(dt.UTC), self.names)

    def as_dict(self) -> dict[str, Any]:
        """Return counts and numbers of lines, JSON-ready."""
        return {**self.counts, "lines_told": {name: vars(lines) for name, lines in self.lines.items()}}


def choose(settings: Settings, path: Path, tolerance: Tolerance, reason: str = "") -> Chosen:
    """Return the persons whom the file at `path` names, for a `reason`, where one is given, that names none of them.

    Raises DeliveryError (`delivery.subjects`, `delivery.ambiguous`) as the module says, ConfigurationError
    (`configuration.reason`), and as `read_subjects` and `look_up`. Nothing is written.
    """
    identifiers = Identifiers.of(settings)
    named, found = whole_file(settings, identifiers, path, tolerance, reason)
    everybody = union([found.persons, found.unknown_persons]) if tolerance.also_unknown else found.persons
    held = pc.is_in(everybody, value_set=SubjectHolds(settings.database).held())
    persons = everybody.filter(pc.invert(held))
    counts = {
        "lines": named.lines,
        "unreadable": named.unreadable,
        "repeated": found.repeated,
        "unknown": found.unknown.count,
        "ambiguous": found.ambiguous.count,
        "held": len(everybody) - len(persons),
        "persons": len(persons),
        "erased_before": pc.sum(pc.is_in(persons, value_set=Tombstones(settings.database).persons())).as_py() or 0,
    }
    lines = {**named.refused, "unknown": found.unknown, "ambiguous": found.ambiguous}
    names = names_of(settings, identifiers, persons) if len(persons) else pa.array([], RIGHTS_TYPE)
    return Chosen(persons, names, counts, {name: one for name, one in lines.items() if one.count})


def whole_file(
    settings: Settings, identifiers: Identifiers, path: Path, tolerance: Tolerance, reason: str = ""
) -> tuple[Named, LookedUp]:
    """Return what the file at `path` names, and whom, once neither `tolerance` nor `reason` stands against it.

    Raises as `choose`.
    """
    named = read_subjects(path, identifiers, tolerance.column)
    if named.unreadable and not tolerance.skip_unreadable:
        raise _unreadable(path, named)
    found = look_up(settings, identifiers, named)
    if found.ambiguous.count and not tolerance.all_matches:
        raise _ambiguous(path, found)
    if reason:
        require_nobody_named(settings, identifiers, reason, named, found)
    return named, found


def request(settings: Settings, path: Path, reason: str, tolerance: Tolerance) -> tuple[Erasure | None, Chosen]:
    """Request the erasure of the persons whom `path` names; return it, and who was chosen; None when nobody is left.

    Killed anywhere, the same call goes on. Raises as `choose`, ConfigurationError (`configuration.reason`),
    AccessRefused, KeyServiceError, StorageError, StageError (`stage.held`).
    """
    why = check_reason(reason)
    log, event = asked(settings, Action.REQUEST_ERASURE, "persons of a file", UNCHECKED, 0, platform=True)
    with refusals_recorded(log, event):
        chosen = choose(settings, path, tolerance, why)
    if not len(chosen.persons):
        return None, chosen
    erasures = Erasures(settings.database)
    standing = erasures.open_for(chosen.digest, chosen.persons)
    if standing is not None:
        return standing, chosen
    drop_abandoned(settings)
    now = dt.datetime.now(dt.UTC)
    name = f"{PREFIX}{now:%Y%m%d}-{secrets.token_hex(4)}"
    manifest = write_list(settings, name, chosen.persons, chosen.names)
    erasure = Erasure(name, event.actor, why, len(chosen.persons), manifest, now)
    facts: dict[str, str | int] = {key: count for key, count in chosen.counts.items() if key != "persons"}
    told = replace(event, object=name, count=len(chosen.persons), facts=facts, reason=why)
    done: Erasure | None = None
    try:
        done = erasures.request(erasure, chosen.persons, {**chosen.counts, DIGEST: chosen.digest}, told)
    finally:
        if done is None or done.batch != name:  # refused, or somebody else asked for the same persons meanwhile
            drop_list(settings, name)
    return done, chosen


def nobody(path: Path, chosen: Chosen) -> NotFound:
    """Return the error for a file that names nobody who may be erased."""
    counts = chosen.counts
    return NotFound(
        where=path.name,
        expected="at least one person whom the lake knows and whom no hold keeps",
        found=f"{counts['unknown']:,} unknown, {counts['held']:,} held",
        not_done="nothing was requested",
        remedy="correct the identifiers; --also-unknown gives unknown persons a tombstone; holds must be lifted first",
    )


def _unreadable(path: Path, named: Named) -> DeliveryError:
    kinds = (f"{lines.count:,} {reason} (line {_numbers(lines)})" for reason, lines in sorted(named.refused.items()))
    return DeliveryError(
        where=path.name,
        expected="one person a line",
        found=f"{named.unreadable:,} of {named.lines:,} lines that name nobody: " + "; ".join(kinds),
        not_done="nothing was requested",
        remedy="correct these lines, or pass over them with --skip-unreadable",
        code="subjects",
    )


def _ambiguous(path: Path, found: LookedUp) -> DeliveryError:
    return DeliveryError(
        where=path.name,
        expected="identifiers that one person has had",
        found=f"{found.ambiguous.count:,} that several have had (line {_numbers(found.ambiguous)})",
        not_done="nothing was requested",
        remedy="name these persons by the subject's own column, or take all of them with --all-matches",
        code="ambiguous",
    )


def _numbers(lines: Lines) -> str:
    return ", ".join(map(str, lines.first)) + (", ..." if lines.count > len(lines.first) else "")
