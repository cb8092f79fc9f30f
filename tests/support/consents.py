"""A small customer master for the consent register: the shipped contracts, persons by number, and what they say."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.support.contracts import SHIPPED

from cloakhouse.contracts.model import Column, ColumnClass, Contract
from cloakhouse.contracts.parser import load_contract
from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import RIGHTS_TYPE, layer_of, rights_tokens, rights_uses, tokens_of_rights

BY = Event("platform", "record consent", "a test")
_RIGHTS: dict[bytes, dict[int, bytes]] = {}
FIRST = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)


def day(number: int) -> dt.datetime:
    """Return the day `number` days after FIRST, at midnight."""
    return FIRST + dt.timedelta(days=number)


def customers(settings: Settings) -> Contract:
    return load_contract(settings.contracts / "customers.odcs.yaml")


def household(settings: Settings) -> Column:
    return customers(settings).column("household_id")


def rights(settings: Settings, persons: Iterable[int]) -> pa.Array:
    """Return the rights tokens of households, in their order; those of one pair of roots are made once."""
    column, wanted = household(settings), list(persons)
    roots = [settings.token_roots / f"{use.root.replace('/', '-')}.json" for use in rights_uses(column)]
    if not all(path.exists() for path in roots):
        ensure_roots(settings, [use.root for use in rights_uses(column)])
    known = _RIGHTS.setdefault(b"".join(path.read_bytes() for path in roots), {})
    if not known.keys() >= set(wanted):
        numbers = sorted({*wanted, *range(1, 10)})
        tokens = rights_tokens(pa.array(numbers, pa.int64()), column, token_keys(settings))
        known |= dict(zip(numbers, tokens.to_pylist(), strict=True))
    return pa.array([known[number] for number in wanted], RIGHTS_TYPE)


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


def made(home: Path) -> Settings:
    """Return an installation in `home` whose only contract is the shipped one of the customer master."""
    contracts = home / "contracts"
    contracts.mkdir(parents=True)
    shutil.copy(SHIPPED / "customers.odcs.yaml", contracts)
    return replace(Settings.from_environment({}).with_home(home), contracts=contracts)


def copied(template: Settings, home: Path) -> Settings:
    """Return an installation like `template`, whose control database nobody has open, in `home`."""
    shutil.copytree(template.home, home)
    return replace(template.with_home(home), contracts=template.contracts)


def protect(settings: Settings, partition: str, persons: Iterable[int]) -> ProtectedPartition:
    """Make a protected partition of the customer master with a row for each of `persons`, and nothing but who it is."""
    contract, lake = customers(settings), open_store(settings)
    column, folder = contract.column("household_id"), f"protected/customers/{partition}"
    ensure_roots(settings, [layer_of(column).root])
    tokens = tokens_of_rights(rights(settings, persons), column, token_keys(settings))
    table = pa.table({"household_id": tokens})
    entry = TableStore(lake, open_ring(settings)).write(
        f"{folder}/a.parquet", table, {"household_id": ColumnClass.DIRECT}
    )
    content = {"rows": table.num_rows, "files": [entry.as_dict()], "quarantine": [], "quarantined": {}}
    manifest = write_manifest(lake, folder, "protected", {**content, "dataset": "customers", "partition": partition})
    part = ProtectedPartition("customers", partition, "d" * 64, contract.version, table.num_rows, 0, True, manifest)
    Catalogue(settings.database).record_protected([part], replace(BY, action="pseudonymize"))
    return part
