"""The laws that contracts are checked against: one TOML file each, of rules that name the clause that asks for them.

A rule applies `when` its condition holds, and is met if the contract has what it `needs`; both are names of predicates
(`cloakhouse.governance.predicates`). A rule that needs nothing is a note on what the law asks where it applies. All of
it is an indication, not legal advice: which law applies, and what it asks in a case, is for a person to say.
"""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

from cloakhouse.contracts.processing import LAWS

ADVICE = "An indication, made by a program from what contracts state; not legal advice."


class Severity(StrEnum):
    """How much a finding weighs: the law asks for it and it isn't there; it is there in part; worth knowing."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    NOTE = "note"


@dataclass(frozen=True)
class Rule:
    """One thing that a law asks for.

    Attributes:
        name: short and stable, for programs.
        clause: article or section.
        when: predicate that says whether the rule applies; empty: to every contract on persons.
        needs: predicate that says whether it is met; empty: never, the rule is a note.
        finding: what is said where it isn't met. write: what to write, and where.
    """

    name: str
    clause: str
    severity: Severity
    finding: str
    write: str
    when: str = ""
    needs: str = ""


@dataclass(frozen=True)
class Right:
    """A right of the persons: its clause, and what it means in plain words."""

    clause: str
    words: str


@dataclass(frozen=True)
class Law:
    """A law as it is checked.

    Attributes:
        name: of LAWS. title: in full. short: as clauses have it.
        home: countries between which nothing is a transfer (ISO 3166-1).
        bases: what a legal basis may say, case ignored; none where the law has no closed list.
        article: how a legal basis names its clause; None where it needn't.
    """

    name: str
    title: str
    short: str
    home: frozenset[str]
    bases: re.Pattern[str] | None
    article: re.Pattern[str] | None
    rules: tuple[Rule, ...]
    rights: tuple[Right, ...]


@functools.cache
def law(name: str) -> Law:
    """Return the law `name`, of LAWS."""
    assert name in LAWS, name
    data = tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    return Law(
        name=name,
        title=data["title"],
        short=data["short"],
        home=frozenset(data["home"]),
        bases=_pattern(data.get("bases", "")),
        article=_pattern(data.get("article", "")),
        rules=tuple(Rule(**{**rule, "severity": Severity(rule["severity"])}) for rule in data["rule"]),
        rights=tuple(Right(**right) for right in data["right"]),
    )


def _pattern(text: str) -> re.Pattern[str] | None:
    return re.compile(text, re.IGNORECASE) if text else None
