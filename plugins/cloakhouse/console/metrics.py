"""/metrics: what Prometheus scrapes. Off until a token is made; never open, and not over plain HTTP from elsewhere.

1. `Authorization: Bearer` holds the token, of which the installation keeps the SHA-256 alone. It opens this page and
   nothing else; a person's session doesn't open it.
2. A request that came over plain HTTP from another machine is refused, whatever it holds: its token was on the wire.
3. Numbers are computed at most once in 15 seconds, however many ask.
"""

from __future__ import annotations

import ipaddress

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from cloakhouse.console.access import nobody
from cloakhouse.console.house import House, now
from cloakhouse.console.kept import Kept
from cloakhouse.console.metrics_text import exposition
from cloakhouse.console.metrics_token import holds
from cloakhouse.errors import AccessRefused
from cloakhouse.settings import Settings
from cloakhouse.stages.forwarding import waiting
from cloakhouse.stages.metrics import Metrics, Sources
from cloakhouse.stages.metrics_model import Sample
from cloakhouse.stages.retention_plan import plan

FRESH_S, STALE_S = 15.0, 60.0


def router(house: House) -> APIRouter:
    """Return the route of the metrics of `house`."""
    metrics: Kept[list[Sample]] = Kept(Metrics(_sources(house)).collect, FRESH_S, STALE_S)

    def admitted(request: Request) -> None:
        _require_token(house.settings, request)

    routes = APIRouter(dependencies=[Depends(admitted)])

    @routes.get("/metrics")
    def scraped(request: Request) -> Response:
        house.writable()  # raises where there is no control database
        body, media = exposition(metrics.get().value, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media})

    return routes


def _sources(house: House) -> Sources:
    retention = Kept(lambda: plan(house.settings, now()), 60.0)  # lists the lake's views
    return Sources(
        house.reading,
        lambda: house.contracts.get().value,
        lambda: house.budgets.get().value,
        lambda: house.keys.get().value,
        lambda: retention.get().value,
        lambda: waiting(house.settings),
    )


def _require_token(settings: Settings, request: Request) -> None:
    """Return if `request` may have the metrics. Raises AccessRefused (`access.token`, `access.plain`)."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given:
        raise nobody("no token of metrics")
    if not _guarded(request):  # 2
        raise AccessRefused(
            where="the metrics",
            expected="https, or a scraper on this machine",
            found="plain HTTP from another machine",
            not_done="nothing was shown",
            remedy="reach it by https, and make a new token: `cloakhouse metrics token`",
            code="plain",
        )
    if not holds(settings, given.strip()):  # 1
        raise nobody("a token that isn't the one for metrics")


def _guarded(request: Request) -> bool:
    """Return whether nobody on a network could read the request: TLS, or both ends on this machine."""
    if request.url.scheme == "https":
        return True
    try:
        return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
