"""One call of an OpenBao server, with a bound on its time and with the server's refusals told apart.

hvac carries the calls over a session that uses our TLS context, follows no redirection (the token would go along) and
takes nothing from the environment: no proxy, no authorities, no .netrc. Each thread of each process has a session of
its own, opened when it is first needed; a forked child never writes to a connection of its parent.

Statuses: https://openbao.org/api-docs/ ("HTTP status codes"). hvac's exceptions drop the headers and quote the
server, so answers are read as they are.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError, MissingDependency
from cloakhouse.keys.openbao_uri import Place, read_token
from cloakhouse.keys.tls import (
    CONNECT_TIMEOUT_S,
    READ_TIMEOUT_S,
    client_context,
    connection_error,
    http_adapter,
    negotiated,
    unreachable,
)

if TYPE_CHECKING:
    from requests import Response

ATTEMPTS = 4
BACK_OFF_S = 0.2  # doubled each time, unless the server says how long
RETRY_WITHIN_S = 10.0  # no attempt begins later, so that a call ends in less than 30 seconds
NOTHING = "no data key was opened or wrapped, nothing was decrypted"


@dataclass(frozen=True)
class Answer:
    """An answer that the caller understands: 2xx, 400, 404, 405, or a 500 that is about a disabled key.

    `told` is the server's text in small letters, to tell cases apart and never to show. `data` may hold key material.
    """

    status: int
    data: dict[str, Any] = field(repr=False)
    told: str = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether the server did what was asked."""
        return 200 <= self.status < 300


class Wire:
    """Calls of the server at `place`. Safe for threads and forks."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._context = client_context(place.ca)
        self._local = threading.local()
        self._token = ""

    def __repr__(self) -> str:
        return "Wire()"

    def negotiated(self) -> tuple[str, str]:
        """Connect anew and return (protocol, cipher). Raises KeyServiceError."""
        return negotiated(self._place.host, self._place.port, self._context)

    def call(self, method: str, path: str, where: str, body: dict[str, object] | None = None) -> Answer:
        """Return the answer to `method` on `path` (below /v1/).

        Raises AccessRefused when the token's policies forbid it; KeyServiceError: `key.identity` for a token that is
        not valid, `key.throttled`, `key.unreachable`, `key.tls`, `key.mode`, `key.damaged`.
        """
        if not self._token:
            self._token = read_token(self._place)
        used = self._token
        response = self._patiently(method, path, body, used)
        if response.status_code == 403 and self._renewed(used):
            used = self._token
            response = self._patiently(method, path, body, used)
        if response.status_code == 403:
            raise self._forbidden(where, used)
        return self._understood(response)

    def _patiently(self, method: str, path: str, body: dict[str, object] | None, token: str) -> Response:
        until = time.monotonic() + RETRY_WITHIN_S
        for attempt in range(ATTEMPTS):
            response = self._send(method, path, body, token)
            if response.status_code != 429:
                return response
            pause = _retry_after(response.headers.get("Retry-After", ""), BACK_OFF_S * 2**attempt)
            if attempt == ATTEMPTS - 1 or time.monotonic() + pause > until:
                break
            time.sleep(pause)
        raise KeyServiceError(
            where=self._place.endpoint,
            expected="a key service with room for this call",
            found=f"one that asks to slow down, {attempt + 1} times",
            not_done=NOTHING,
            remedy="run fewer tasks at once, or raise the server's rate limit quota, then run again",
            code="throttled",
        )

    def _send(self, method: str, path: str, body: dict[str, object] | None, token: str) -> Response:
        adapter = self._adapter()
        from requests import RequestException

        try:
            response: Response = adapter.request(
                method,
                f"/v1/{path}",
                headers={"X-Vault-Token": token},
                json=body,
                raise_exception=False,
            )
        except (RequestException, OSError) as fault:
            raise connection_error(self._place.endpoint, fault, NOTHING) from None
        return response

    def _adapter(self) -> Any:
        """Return this thread's adapter, made in this process."""
        if getattr(self._local, "pid", None) != os.getpid():
            try:
                from hvac.adapters import RawAdapter
                from requests import Session
            except ImportError:
                raise _not_installed() from None
            session = Session()
            session.trust_env = False
            session.mount("https://", http_adapter(self._context))
            self._local.adapter = RawAdapter(
                base_uri=self._place.endpoint,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                session=session,
                strict_http=True,  # GET with `list=true`: not everything between here and there knows LIST
            )
            self._local.pid = os.getpid()
        return self._local.adapter

    def _renewed(self, used: str) -> bool:
        if self._place.token_file is not None:
            self._token = read_token(self._place)
        return self._token != used

    def _forbidden(self, where: str, token: str) -> CloakhouseError:
        """Return what a 403 means: the server answers it to a bad token as well as to a good one without permission."""
        looked = self._patiently("GET", "auth/token/lookup-self", None, token)
        if looked.status_code != 403 and self._understood(looked).ok:
            return AccessRefused(
                where=f"{where} at {self._place.endpoint}",
                expected="a token whose policies allow this",
                found="one that they don't allow it",
                not_done=NOTHING,
                remedy="have it granted (`cloakhouse keys grant`), and use a token that holds the grant's policy",
                code="key",
            )
        return KeyServiceError(
            where=self._place.endpoint,
            expected="a valid token that may look itself up (the server's `default` policy)",
            found="a token that is expired, revoked or unknown",
            not_done=NOTHING,
            remedy="write a new token to the token file, or to BAO_TOKEN, and run again",
            code="identity",
        )

    def _understood(self, response: Response) -> Answer:
        status, endpoint = response.status_code, self._place.endpoint
        document = _document(response)
        errors = document.get("errors")
        told = " ".join(map(str, errors)).lower() if isinstance(errors, list) else ""
        if 300 <= status < 400 or status in (472, 473):
            remedy = "name the active server's own address in CLOAKHOUSE_KEYS"
            raise unreachable(endpoint, "a standby that points elsewhere; no redirection is followed", NOTHING, remedy)
        if status >= 500 and "soft-deleted" not in told:
            if "sealed" in told:
                raise unreachable(endpoint, "the server is sealed", NOTHING, "unseal it, then run again")
            raise unreachable(endpoint, f"an error of the server (status {status})", NOTHING)
        data = document.get("data", {} if status == 204 else None)
        if status < 300 and not isinstance(data, dict):
            raise KeyServiceError(
                where=endpoint,
                expected="an answer of OpenBao or Vault",
                found="one of another form",
                not_done=NOTHING,
                remedy="check that CLOAKHOUSE_KEYS names such a server",
                code="damaged",
            )
        return Answer(status, data if isinstance(data, dict) else {}, told)


def _not_installed() -> MissingDependency:
    return MissingDependency(
        where="the key service",
        expected="the packages hvac and requests",
        found="at least one that is not installed",
        not_done=NOTHING,
        remedy="pip install 'cloakhouse[platform]'",
    )


def _document(response: Response) -> dict[str, Any]:
    try:
        document = response.json()
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {}


def _retry_after(text: str, otherwise: float) -> float:
    """Return the header's delay (seconds; RFC 9110, section 10.2.3), or `otherwise` for a date or none."""
    return float(text) if text.isascii() and text.isdigit() else otherwise
