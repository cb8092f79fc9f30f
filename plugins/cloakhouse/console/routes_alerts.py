"""Alerts, and the one thing that can be written here: that somebody has taken note of one."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cloakhouse.console import data_alerts, inputs
from cloakhouse.console.access import Need, may, needs
from cloakhouse.console.csrf import Forms, same_site
from cloakhouse.console.house import House
from cloakhouse.console.pages import Pages
from cloakhouse.errors import CloakhouseError

A_PAGE = 50


def router(house: House, pages: Pages, forms: Forms) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/alerts")
    @needs(Need.EVIDENCE)
    def alerts(request: Request) -> Response:
        given = request.query_params
        every = inputs.choice(given, "show", {"all", "open"}) == "all"
        before = inputs.whole(given, "before", 2**31)
        with house.reading() as connection:
            found = data_alerts.alerts(connection, A_PAGE + 1, before, only_open=not every)
        more = found[A_PAGE - 1].id if len(found) > A_PAGE else None
        return pages(request, "alerts.html", found=found[:A_PAGE], more=more, every=every)

    @routes.get("/alerts/{number}")
    @needs(Need.EVIDENCE)
    def alert(request: Request, number: str) -> Response:
        return _page(request, number)

    @routes.post("/alerts/{number}/acknowledge")
    @needs(Need.ACKNOWLEDGE)
    async def acknowledge(request: Request, number: str) -> Response:
        from starlette.concurrency import run_in_threadpool

        same_site(request.headers, request.headers.get("host", ""))
        body = await _body(request)
        return await run_in_threadpool(_acknowledged, request, number, inputs.form(body))

    def _acknowledged(request: Request, number: str, sent: dict[str, str]) -> Response:
        who, wanted = request.state.viewer.name, inputs.number(number)
        forms.check(sent.get("token", ""), who, f"alert {wanted}")
        _found(wanted)
        try:
            data_alerts.acknowledge(house.settings, wanted, who, sent.get("note", ""))
        except CloakhouseError as problem:
            if not problem.code.endswith(".reason"):
                raise
            return _page(request, number, problem, status=400)
        return RedirectResponse(f"{request.scope.get('root_path', '')}/alerts/{wanted}", 303)

    def _page(request: Request, number: str, problem: CloakhouseError | None = None, status: int = 200) -> Response:
        found = _found(inputs.number(number))
        may_write = may(request.state.viewer, Need.ACKNOWLEDGE) and found.acknowledged_at is None
        token = forms.token(request.state.viewer.name, f"alert {found.id}") if may_write else ""
        return pages(request, "alert.html", status, alert=found, token=token, problem=problem)

    def _found(number: int) -> data_alerts.ShownAlert:
        with house.reading() as connection:
            found = data_alerts.alert(connection, number) if number < 2**31 else None
        if found is None:
            raise inputs.missing("alert", "an alert")
        return found

    return routes


async def _body(request: Request) -> bytes:
    """Return what was sent, up to one byte more than a form may have."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > inputs.LONGEST_FORM:
            break
    return body
