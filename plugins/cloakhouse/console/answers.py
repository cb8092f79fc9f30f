"""What goes with every answer, and what is answered when something is wrong: a page for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from cloakhouse.console.access import TOKEN, Gate
from cloakhouse.console.inputs import LONGEST_QUERY, bad, missing
from cloakhouse.console.pages import Pages
from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    NotFound,
    VersionGone,
    VersionWithdrawn,
    internal,
)

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; form-action 'self'; "
        "frame-ancestors 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TITLES = {
    400: "That can't be looked up",
    401: "Sign in first",
    403: "Not for this role",
    404: "There is no such page",
    405: "This can only be read",
    410: "Not there any more",
    500: "Something is not as it must be",
    503: "A service is away",
}
_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Any, Any], Awaitable[None]]


class Careful:
    """ASGI middleware: security headers on every answer, no query string that is too long, no traceback."""

    def __init__(self, app: _App, failed: Callable[[Request, Exception], Response]) -> None:
        self._app, self._failed = app, failed

    async def __call__(self, scope: _Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                known = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.lower().encode(), v.encode()) for n, v in HEADERS.items() if n.lower().encode() not in known),
                ]
            await send(message)

        request = Request(scope)
        try:
            if len(scope.get("query_string", b"")) > LONGEST_QUERY:
                raise bad("the address", f"at most {LONGEST_QUERY} bytes of filters", "more")
            await self._app(scope, receive, guarded)
        except Exception as fault:  # noqa: BLE001  # its text could hold a value: a page says that there was one
            if begun:
                return  # the answer breaks off, which the browser sees
            await self._failed(request, fault)(scope, receive, guarded)


def status_of(problem: CloakhouseError) -> int:
    """Return the HTTP status that a problem is answered with."""
    if isinstance(problem, AccessRefused):
        return 401 if problem.code == f"access.{TOKEN}" else 403
    if isinstance(problem, NotFound):
        return 503 if problem.code.endswith(".home") else 404
    if isinstance(problem, VersionWithdrawn | VersionGone):
        return 410
    if isinstance(problem, ConfigurationError):
        return 400 if problem.code.endswith(".input") or problem.code.endswith(".reason") else 503
    if isinstance(problem, IntegrityError) or problem.code.endswith(".internal"):
        return 500
    return 503


def install(app: FastAPI, pages: Pages, gate: Gate) -> None:
    """Have `app` answer every problem with a page or JSON, and with the headers."""

    def answer(request: Request, problem: CloakhouseError) -> Response:
        status = status_of(problem)
        browser = "text/html" in request.headers.get("accept", "")
        if status == 401 and browser and request.method == "GET" and (url := gate.login(request)):
            return RedirectResponse(url, 303)
        if not browser:
            told = {"code": problem.code, "expected": problem.expected, "remedy": problem.remedy}
            return JSONResponse(told, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
        return pages(request, "problem.html", status, title=TITLES.get(status, "Not shown"), problem=problem)

    def failed(request: Request, fault: Exception) -> Response:
        return answer(request, fault if isinstance(fault, CloakhouseError) else internal("console", fault))

    async def known(request: Request, fault: Exception) -> Response:
        return failed(request, fault)

    async def http(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        if fault.status_code == 404:
            return answer(request, missing("page", "a page of the console"))
        title = TITLES.get(fault.status_code, "Not shown")
        return JSONResponse({"code": title}, fault.status_code, fault.headers)

    app.add_exception_handler(CloakhouseError, known)
    app.add_exception_handler(HTTPException, http)
    app.add_middleware(Careful, failed=failed)
