"""The console standing alone: for one person, on this machine, behind a token that is printed once.

1. The server listens on 127.0.0.1 only, and answers requests that name this host and port (a page of another site whose
   name resolves to 127.0.0.1 gets nothing).
2. The address that is printed holds a token of 256 bits. Its first use gives a session cookie (HttpOnly,
   SameSite=Strict) and ends the token, also when somebody else was faster: then it doesn't work, which is seen.
3. The cookie holds a second secret of 256 bits, for as long as the server runs, 12 hours at most.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from cloakhouse.console.access import Person, nobody
from cloakhouse.console.app import create_app
from cloakhouse.console.inputs import bad
from cloakhouse.errors import ConfigurationError
from cloakhouse.settings import Settings

COOKIE = "cloakhouse_auditor"
LONGEST_S = 12 * 3_600
HOST = "127.0.0.1"


class OneSession:
    """The gate of a console for one person, whose role is `role`."""

    def __init__(self, name: str, port: int, role: str = "auditor") -> None:
        self.token = secrets.token_urlsafe(32)
        self._person, self._hosts = Person(name, role), (f"{HOST}:{port}", f"localhost:{port}")
        self._cookie, self._begun = secrets.token_urlsafe(32), time.monotonic()
        self._open, self._lock = True, threading.Lock()

    async def who(self, request: Request) -> Person:
        """Return the one person. Raises AccessRefused (`access.token`) for anybody else, ConfigurationError (`.input`)
        for a request to another host (1)."""
        self.check_host(request)
        given = request.cookies.get(COOKIE, "")
        held = hmac.compare_digest(given.encode(), self._cookie.encode())
        if not held or time.monotonic() - self._begun > LONGEST_S:  # 3
            raise nobody("no session" if not given else "one that has ended")
        return self._person

    def login(self, request: Request) -> str | None:
        """Return None: the address to sign in is the one that was printed."""
        return None

    def check_host(self, request: Request) -> None:
        """Return if the request names this server. Raises ConfigurationError (`.input`)."""
        if request.headers.get("host", "") not in self._hosts:
            raise bad("the address", f"http://{self._hosts[0]}/", "another host")

    def exchange(self, token: str) -> str:
        """Return the secret of the session for the token, once (2). Raises AccessRefused (`access.token`)."""
        with self._lock:
            if not self._open or not hmac.compare_digest(token.encode(), self.token.encode()):
                raise nobody("a token that isn't the one printed, or was used before")
            self._open = False
        return self._cookie


def standing_alone(settings: Settings, name: str, port: int) -> tuple[FastAPI, str]:
    """Return the console for one person called `name`, and the address to open it with, once."""

    gate = OneSession(name, port)

    def enter(request: Request) -> Response:
        gate.check_host(request)
        answer = RedirectResponse("/", 303)
        secret = gate.exchange(request.query_params.get("token", ""))
        answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", path="/")
        return answer

    app = create_app(settings, gate, entrance=enter)
    return app, f"http://{HOST}:{port}/enter?token={gate.token}"


def serve(settings: Settings, name: str, port: int) -> None:
    """Serve the console until it is interrupted; its address is printed. Raises ConfigurationError for a port that is
    taken, MissingDependency without uvicorn."""
    import socket

    import click
    import uvicorn

    app, address = standing_alone(settings, name, port)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError:
            raise _taken(port) from None
        click.echo(f"The console is at this address, for one browser, on this machine only:\n\n  {address}\n")
        click.echo("Ctrl-C stops it.", err=True)
        configuration = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        uvicorn.Server(configuration).run(sockets=[listening])


def _taken(port: int) -> Exception:
    return ConfigurationError(
        where="cloakhouse auditor",
        expected=f"port {port} of {HOST} to be free",
        found="another program there",
        not_done="nothing was started",
        remedy="stop that program, or choose another port: cloakhouse auditor --port 8091",
        code="port",
    )
