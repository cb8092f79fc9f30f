"""People who may look behind pseudonyms, on the house of `house.py`: an identity, grants, and tokens to ask about."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from tests.support.house import SUBJECT, House

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.apply import uses
from cloakhouse.tokens.ff1 import ff1_encrypt
from cloakhouse.tokens.keyed import ff1_settings
from cloakhouse.tokens.render import to_base32
from cloakhouse.tokens.siv import siv_tokens

REASON = "case 4711: receipts were asked for"
ASKED = {Action.DETOKENIZE, Action.LINK, Action.EXPORT_TOKENIZATION, Action.QUERY, Action.GIVE_BACK, "release budget"}
EMAIL = "reversible/customer_service"
POLICY = """\
apiVersion: cloakhouse.access/v1
roles:
  reader:
    purposes: [{purpose}]
    reviewBy: 2099-12-31
    reads: [{{zones: [{zones}], datasets: ["*"], classes: [indirect identifier, sensitive, plain]}}]
principals:
  {name}: {{roles: [reader]}}
"""


def principal(
    house: House,
    name: str,
    keys: Iterable[str],
    *,
    purpose: str = "service desk",
    limit: int = 1_000,
    reads: str = "",
) -> Settings:
    """Return the settings of a principal that is enrolled here and holds grants on `keys` for `purpose`; with `reads`,
    zones, under a policy that lets it read them."""
    service = service_of(house.settings)
    assert isinstance(service, AgeKeyService)
    file = house.settings.home.parent / f"{name}.txt"
    service.enrol(name, identity=file)
    for key in keys:
        service.grant(Grant(name, KeyName(key), purpose))
    settings = replace(house.settings, identity=file, purpose=purpose, detokenize_limit=limit)
    return replace(settings, policy=reading_policy(house, name, purpose, reads)) if reads else settings


def reading_policy(house: House, name: str, purpose: str, zones: str) -> Path:
    """Return the file of a policy that lets principal `name` read `zones` for `purpose`, and nobody else anything."""
    path = house.settings.home.parent / f"{name}-access.yaml"
    path.write_text(POLICY.format(name=name, purpose=purpose, zones=zones))
    return path


def tokens_of(house: House, column: str, values: list[str | None], dataset: str = "customers") -> list[str | None]:
    """Return the tokens of values of a customers' column, made with the platform's keys."""
    chosen = house.contracts[dataset].column(column)
    [use] = uses(chosen, "")
    key, given = token_keys(house.settings).key(use), pa.array(values, pa.string())
    if chosen.treatment.name == "format-preserving token":
        return ff1_encrypt(given, key, **ff1_settings(chosen.treatment.parameters)).to_pylist()
    return to_base32(siv_tokens(given, key)).to_pylist()


def events(house: House) -> list[Event]:
    """Return the events of what people asked for; those of the keys that it took are left out."""
    return [event for event in AuditLog(house.settings.database).events() if event.action in ASKED]


def outcomes(house: House) -> list[tuple[str, str, str, int]]:
    """Return actor, decision, code and count of every event."""
    return [(e.actor, e.decision, e.code, e.count) for e in events(house)]


def protected_column(house: House, dataset: str, column: str) -> pa.ChunkedArray:
    """Return a column of all protected partitions of a dataset."""
    files = [
        e for p in house.catalogue.protected(dataset).values() for e in partition_files(house.settings, p.manifest)
    ]
    return pa.chunked_array([c for e in files for c in house.store.read(e).column(column).chunks])


def add_members(house: House) -> Contract:
    """Land and protect the customers once more as `members`, whose tokens are of the purpose `marketing`."""
    text = SUBJECT.sub("", (house.settings.contracts / "customers.odcs.yaml").read_text())  # one register is enough
    text = text.replace("contract:customers", "contract:members").replace("name: customers", "name: members")
    text = text.replace("customers-{partition}", "members-{partition}")
    text = text.replace(
        "token: {domain: customer, purpose: analytics}", "token: {domain: customer, purpose: marketing}"
    )
    (house.settings.contracts / "members.odcs.yaml").write_text(text)
    inbox = house.settings.inbox
    write_feed(inbox, weeks=range(1, 2), wanted=lambda file: file.startswith("customers"))
    for path in [*inbox.glob("customers-*")]:
        path.rename(path.with_name(path.name.replace("customers", "members")))
    land(house.settings, house.contracts["members"])
    house.protect("members")
    return house.contracts["members"]


def feed_values(folder: Path, field: str) -> set[str]:
    """Return the values of a field of the sample's customers."""
    write_feed(folder, weeks=range(1, 2), wanted=lambda file: file.startswith("customers"))
    lines = [line for path in folder.glob("customers-*.jsonl") for line in path.read_text().splitlines()]
    found = set()
    for line in lines:
        try:
            found.add(str(json.loads(line)[field]))
        except (ValueError, KeyError, TypeError):
            continue  # one of the feed's faults
    return found
