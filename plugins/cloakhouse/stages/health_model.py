"""What a check of an installation finds: what was looked at, what is expected, what was found, and what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cloakhouse.errors import CloakhouseError, IntegrityError, internal
from cloakhouse.settings import Settings


class State(StrEnum):
    """What came of a check."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is wrong
    WRONG = "wrong"
    SKIPPED = "skipped"  # not looked at: `found` says why


@dataclass(frozen=True)
class Found:
    """What one check found, in words without a value; `remedy` is what to do about it.

    `integrity`: what was stored is not what was written.
    """

    state: State
    text: str
    remedy: str = ""
    integrity: bool = False


@dataclass(frozen=True)
class Health:
    """One check with what it found."""

    what: str
    expected: str
    found: Found

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        told = self.found
        ok = told.state is not State.WRONG
        return {
            "what": self.what,
            "expected": self.expected,
            "found": told.text,
            "state": told.state.value,
            "ok": ok,
            "remedy": told.remedy,
        }


@dataclass(frozen=True)
class Check:
    """One thing to look at.

    Attributes:
        what / expected: its name, and how it should be.
        look: looks, at a time (UTC).
        database: whether there must be a control database of this version's revision.
        platform: whether it takes the platform's own keys.
        slow: whether it reads more than a few rows; `--fast` leaves it out.
    """

    what: str
    expected: str
    look: Callable[[Settings, dt.datetime], Found]
    database: bool = False
    platform: bool = False
    slow: bool = False

    def run(self, settings: Settings, now: dt.datetime) -> Health:
        """Return what was found; what raises is wrong, and told without the text of unforeseen faults."""
        try:
            found = self.look(settings, now)
        except CloakhouseError as problem:
            found = refused(problem)
        except Exception as fault:  # noqa: BLE001  # its text could hold a value
            found = refused(internal("doctor", fault))
        return Health(self.what, self.expected, found)


def fine(text: str) -> Found:
    """Return that all is well."""
    return Found(State.OK, text)


def note(text: str, remedy: str = "") -> Found:
    """Return something to know of."""
    return Found(State.NOTE, text, remedy)


def wrong(text: str, remedy: str, *, integrity: bool = False) -> Found:
    """Return something to put right."""
    return Found(State.WRONG, text, remedy, integrity)


def skipped(why: str) -> Found:
    """Return that it was not looked at."""
    return Found(State.SKIPPED, why)


def refused(problem: CloakhouseError) -> Found:
    """Return `problem` as what was found."""
    return wrong(f"{problem.code}: {problem.found}", problem.remedy, integrity=isinstance(problem, IntegrityError))
