"""The console as a web app. It is mounted in Airflow (plugins/auditor_console.py) or stands alone (`session`).

Every route but those of static files and of metrics is behind one dependency of the whole app: it asks the gate who it
is, and lets nobody through to a route that doesn't name what it shows (`access.needs`). An address that leads nowhere
asks the same. Metrics have a token of their own (`cloakhouse.console.metrics`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import Response

from cloakhouse.console import (
    answers,
    metrics,
    routes_alerts,
    routes_control,
    routes_data,
    routes_downloads,
    routes_home,
    routes_log,
    routes_rights,
)
from cloakhouse.console.access import Gate, Need, Person, Viewer, needs, require
from cloakhouse.console.csrf import Forms
from cloakhouse.console.house import House
from cloakhouse.console.inputs import missing
from cloakhouse.console.kept import attempt
from cloakhouse.console.pages import STATIC, Pages, static
from cloakhouse.settings import Settings


def create_app(settings: Settings, gate: Gate, entrance: Callable[[Request], Response] | None = None) -> FastAPI:
    """Return the console of the installation that `settings` describe, for those whom `gate` knows. `entrance` answers
    /enter, where somebody becomes known; none by default.

    Nothing is opened before it is asked for, so an installation that isn't there yet is a page that says so.
    """
    house, pages = House(settings), Pages()
    app = FastAPI(title="Cloakhouse auditor", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)

    async def admitted(request: Request) -> None:
        request.state.viewer = _as_approver(house, await gate.who(request))
        require(request.state.viewer, request.scope.get("endpoint"))

    guarded = APIRouter(dependencies=[Depends(admitted)])
    for router in (
        routes_home.router(house, pages),
        routes_data.router(house, pages),
        routes_control.router(house, pages),
        routes_alerts.router(house, pages, Forms(settings.home)),
        routes_log.router(house, pages),
        routes_downloads.router(house, pages),
        routes_rights.router(house, pages),
    ):
        guarded.include_router(router)

    @guarded.get("/{path:path}")
    @needs(Need.DATASETS)
    def nowhere(path: str) -> Response:
        raise missing("page", "a page of the console")

    @app.get("/static/{name}")
    def asset(name: str) -> Response:
        if name not in STATIC:
            raise missing("page", "a file of the console")
        kept = {"Cache-Control": "public, max-age=3600"}  # its address changes with its content
        return Response(static(name), media_type=STATIC[name], headers=kept)

    if entrance is not None:
        app.get("/enter")(entrance)
    app.include_router(metrics.router(house))  # for a program with a token of its own: no person's role opens it
    app.include_router(guarded)
    answers.install(app, pages, gate)
    return app


def _as_approver(house: House, viewer: Viewer) -> Viewer:
    """Return `viewer`, as an approver where a role that sees datasets only is named as one by a contract."""
    if viewer.role != "model":
        return viewer
    contracts = attempt(house.contracts.get).value
    approvals: list[Any] = [contract.approval for contract in contracts.value.values()] if contracts else []
    named = any(approval is not None and viewer.name in approval.approvers for approval in approvals)
    return Person(viewer.name, "approver") if named else viewer
