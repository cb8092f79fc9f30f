"""What a closing search looked at, and what it found: places, counts and digests, never a value.

A person's rows are gone when no searched byte holds what names the person, and when nothing stood that could not be
searched: what can't be opened may hold anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloakhouse.contracts.model import content_digest
from cloakhouse.errors import StageError

SWEEP = "sweep"
STOPPING = ("persons", "found", "hits", "unopened", "unopened_places", "clean")  # what is told of one that isn't clean
MOST_PLACES = 50  # named one by one


@dataclass(frozen=True)
class Hit:
    """One place that still holds what names a person.

    Attributes:
        zone, dataset: the first two folders of an object; `database` and the table; a folder of the home.
        part: the column, or `bytes` for what was found in none.
        sha256: of the file as it lies; empty for a table.
        hits: values that were found there.
    """

    zone: str
    dataset: str
    part: str
    sha256: str
    hits: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Findings:
    """What one search came to.

    Attributes:
        persons: whose traces were looked for.
        patterns: values and tokens that were looked for, by the way they were (`anywhere`, `fields`).
        searched: by zone: `objects`, `raw_bytes` (as they lie) and `plain_bytes` (decrypted and decoded).
        tables: of the control database, by name: rows.
        left_out: by place: files that were not searched on purpose, such as deliveries that wait.
        hits: every place with a hit.
        unopened: places that couldn't be searched, as `Hit` with the number of files.
        shared: values that other persons have, too, so that they name nobody alone.
    """

    persons: int
    patterns: Mapping[str, int]
    searched: Mapping[str, Mapping[str, int]]
    tables: Mapping[str, int]
    left_out: Mapping[str, int]
    hits: tuple[Hit, ...]
    unopened: tuple[Hit, ...]
    shared: int = 0

    @property
    def found(self) -> int:
        """How many values were found."""
        return sum(hit.hits for hit in self.hits)

    @property
    def clean(self) -> bool:
        """Whether nothing was found, and nothing was left that couldn't be searched."""
        return not self.hits and not self.unopened

    @property
    def step(self) -> str:
        """The step of the erasure that it is recorded as: `sweep`, or for one that isn't clean, one by its places."""
        if self.clean:
            return SWEEP
        places = [[hit.as_dict() for hit in found] for found in (self.hits, self.unopened)]
        return f"{SWEEP}/found/{content_digest(places)[:16]}"

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready: counts, places and digests."""
        return {
            "persons": self.persons,
            "patterns": dict(self.patterns),
            "searched": {zone: dict(counts) for zone, counts in sorted(self.searched.items())},
            "tables": dict(sorted(self.tables.items())),
            "left_out": dict(sorted(self.left_out.items())),
            "hits": [hit.as_dict() for hit in self.hits[:MOST_PLACES]],
            "found": self.found,
            "unopened": [hit.as_dict() for hit in self.unopened[:MOST_PLACES]],
            "unopened_places": len(self.unopened),
            "shared": self.shared,
            "clean": self.clean,
        }

    def recorded(self) -> dict[str, Any]:
        """Return what the step holds: all of it, or what isn't clean."""
        whole = self.as_dict()
        return whole if self.clean else {name: whole[name] for name in STOPPING}


def require_clean(findings: Findings, batch: str) -> None:
    """Raise StageError (`stage.found`) for a search that found something, or couldn't look everywhere."""
    if findings.clean:
        return
    places = Counter(f"{hit.zone}/{hit.dataset}" for hit in (*findings.hits, *findings.unopened))
    raise StageError(
        where=f"closing search of erasure {batch}",
        expected="nothing that names a person of the batch, in files that can all be searched",
        found=f"{findings.found:,} values in {len(findings.hits)} places, {len(findings.unopened)} places not "
        f"searched: {_listed(places)}",
        not_done="the erasure was not closed, and no certificate was given",
        remedy=f"`cloakhouse erase show {batch} --output json` lists the places in the step `{findings.step}`; clear "
        f"or restore them, then `cloakhouse erase resume {batch}`",
        code="found",
    )


def _listed(places: Iterable[str]) -> str:
    named = sorted(set(places))
    return ", ".join(named[:5]) + (f" and {len(named) - 5} more" if len(named) > 5 else "")
