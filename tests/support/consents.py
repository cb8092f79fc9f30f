"""A small customer master for the consent register: the shipped contracts, persons by number, and what they say."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

BY = Event("platform", "record consent", "a test")
FIRST = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)


def day(number: int) -> dt.datetime:
    """Return the day `number` days after FIRST, at midnight."""
    return FIRST + dt.timedelta(days=number)


def customers(settings: Settings) -> Contract:
    return load_contracts(settings.contracts)["customers"]


def household(settings: Settings) -> Column:
    return customers(settings).column("household_id")


def rights(settings: Settings, persons: Iterable[int]) -> pa.Array:
    """Return the rights tokens of households, in their order."""
    column = household(settings)
    ensure_roots(settings, [use.root for use in rights_uses(column)])
    return rights_tokens(pa.array(list(persons), pa.int64()), column, token_keys(settings))


def master_line(person: int, country: str | None = "DE", **flags: Any) -> dict[str, Any]:
    """Return one line of the customer master; `analytics=False` and so on set flags, which are true otherwise."""
    said = {f"consent_{purpose}": flags.pop(purpose, True) for purpose in PURPOSES}
    line = {
        "household_id": person,
        "name": "Anna Beispiel",
        "email": f"p{person}@example.com",
        "country": country,
        "birth_date": "1980-01-01",
        "card_number": "4000001234567899",
        "loyalty_card": f"{person:012d}",
        **said,
        **flags,
    }
    return {name: value for name, value in line.items() if value is not None}


def deliver(settings: Settings, partition: str, lines: Iterable[Mapping[str, Any] | str], **how: Any) -> None:
    """Land a snapshot of the customer master."""
    settings.inbox.mkdir(parents=True, exist_ok=True)
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path: Path = settings.inbox / f"customers-{partition}.jsonl"
    path.write_text("\n".join(text) + "\n")
    landed = land(settings, customers(settings), **how)
    assert (landed.landed, landed.refused) == (1, ())


def say(
    settings: Settings, *said: tuple[int, str, str, dt.datetime], purpose: str = "analytics", law: str = "gdpr"
) -> int:
    """Register (person, source, choice, time) and return how many were new."""
    persons, sources, choices, times = zip(*said, strict=True)
    columns = {
        "subject": rights(settings, persons),
        "purpose": [purpose] * len(said),
        "choice": choices,
        "jurisdiction": [law] * len(said),
        "policy": ["1"] * len(said),
        "source": sources,
        "chosen_at": times,
    }
    return ConsentRegister(settings.database).add(choices_table(columns), BY)
