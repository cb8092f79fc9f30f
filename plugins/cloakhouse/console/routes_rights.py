"""Requests of persons: erasures and their certificates, copies of data, consents, holds, and what is due."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter
from fastapi import Request as Asked
from fastapi.responses import Response

from cloakhouse.console import data_log, data_rights, inputs, offered
from cloakhouse.console.access import Need, needs
from cloakhouse.console.house import House
from cloakhouse.console.kept import attempt, within
from cloakhouse.console.pages import Pages
from cloakhouse.console.routes_downloads import attachment
from cloakhouse.ledger.audit_event import Action
from cloakhouse.stages.erasure_certificate import written

EVENTS = 25
ACTIONS = (
    *(Action.REQUEST_ERASURE, Action.ERASE, Action.CERTIFY_ERASURE, Action.HOLD_SUBJECT, Action.LIFT_SUBJECT_HOLD),
    *(Action.EXPORT_SUBJECT, Action.RECORD_CONSENT, Action.PIN_CONSENT),
)
_BATCH = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/requests")
    @needs(Need.EVIDENCE)
    def requests(request: Asked) -> Response:
        with house.reading() as connection:
            context: dict[str, Any] = {
                "erasures": data_rights.erasures(connection),
                "totals": data_rights.totals(connection),
                "pinned": data_rights.pinned(connection),
                "entries": data_log.of_actions(connection, ACTIONS, EVENTS),
            }
        return pages(
            request,
            "requests.html",
            choices=attempt(house.choices.get),
            due=house.due.peek(),
            ending=attempt(house.ending.get),
            **context,
        )

    @routes.get("/requests/{batch}")
    @needs(Need.EVIDENCE)
    def erasure(request: Asked, batch: str) -> Response:
        found = _erasure(house, batch)
        with house.reading() as connection:
            steps = data_rights.steps(connection, batch)
        return pages(request, "erasure.html", erasure=found, steps=steps)

    @routes.get("/requests/{batch}/certificate.json")
    @needs(Need.EVIDENCE)
    def certificate(request: Asked, batch: str) -> Response:
        found = _erasure(house, batch)
        if not found.certificate_path:
            raise inputs.missing("certificate", "a certificate: the erasure isn't done")
        house.writable()
        body = within(lambda: written(house.settings, batch))
        offered.record_taken(house.settings, request.state.viewer, f"certificate of {batch}")
        return attachment(body, "application/json", f"{batch}-certificate.json")

    return routes


def _erasure(house: House, batch: str) -> data_rights.Request:
    if not _BATCH.fullmatch(batch):
        raise inputs.missing("request", "the name of an erasure")
    with house.reading() as connection:
        found = data_rights.erasures(connection, batch)
    if not found:
        raise inputs.missing("request", "an erasure")
    return found[0]
