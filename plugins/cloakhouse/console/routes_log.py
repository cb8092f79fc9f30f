"""The audit log: a page of entries that fit, and one entry with the proof that it is in the log."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloakhouse.console import data_log, inputs
from cloakhouse.console.access import Need, needs
from cloakhouse.console.house import House
from cloakhouse.console.kept import attempt
from cloakhouse.console.pages import Pages
from cloakhouse.ledger.audit import hashes_of
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.merkle import inclusion, leaf_hash

A_PAGE = 50
ACTIONS = frozenset(action.value for action in Action)
DECISIONS = frozenset(data_log.DECISIONS)
NAMES = ("action", "actor", "dataset", "decision", "run", "since", "until")


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/log")
    @needs(Need.EVIDENCE)
    def log(request: Request) -> Response:
        given = request.query_params
        wanted, before = read_filter(given), inputs.whole(given, "before", 2**53)
        with house.reading() as connection:
            found = data_log.find(connection, wanted, before, A_PAGE)
            standing = data_log.standing(connection)
        typed = {name: given.get(name, "").strip() for name in NAMES}
        return pages(
            request,
            "log.html",
            found=found,
            typed=typed,
            before=before,
            standing=standing,
            actions=sorted(ACTIONS),
            decisions=data_log.DECISIONS,
        )

    @routes.get("/log/{number}")
    @needs(Need.EVIDENCE)
    def entry(request: Request, number: str) -> Response:
        wanted = inputs.number(number)
        with house.reading() as connection:
            found = data_log.entry(connection, wanted)
            if found is None:
                raise inputs.missing("entry", "an entry of the log")
            proof = attempt(lambda: _proof(house, connection, wanted))
            last = data_log.standing(connection).size - 1
        return pages(request, "entry.html", entry=found, leaf=leaf_hash(found.content).hex(), proof=proof, last=last)

    return routes


def read_filter(given: Mapping[str, str]) -> data_log.Filter:
    """Return the filter that a form or an address asks for. Raises ConfigurationError (`.input`)."""
    return data_log.Filter(
        action=inputs.choice(given, "action", ACTIONS),
        actor=inputs.text(given, "actor"),
        dataset=inputs.text(given, "dataset"),
        decision=inputs.choice(given, "decision", DECISIONS),
        run=inputs.text(given, "run"),
        since=inputs.moment(given, "since"),
        until=inputs.moment(given, "until", end=True),
    )


def _proof(house: House, connection: sa.Connection, number: int) -> dict[str, Any] | None:
    """Return the path from an entry to the root of the newest checkpoint, None where none covers it yet."""
    checkpoint = data_log.checkpoint_over(connection, number)
    if checkpoint is None:
        return None
    size, note = checkpoint
    path = inclusion(number, size, lambda nodes: hashes_of(connection, nodes))
    key = attempt(lambda: public_key_of(house))
    return {
        "size": size,
        "path": [node.hex() for node in path],
        "note": note,
        "key": base64.b64encode(key.value).decode() if key.value else "",
    }


def public_key_of(house: House) -> bytes:
    """Return the public key that checkpoints are verified with (32 bytes). Raises as `stages.signing.trusted_key`."""
    from cloakhouse.stages.signing import trusted_key

    return trusted_key(house.settings, "audit").raw
