"""What time it is at a key service on another machine: the Date header of an answer (RFC 9110, section 6.6.1).

The question carries no token and no signature, so that it is answered whatever the clocks say and whoever asks; what
the answer says besides, and its status, are not looked at.
"""

from __future__ import annotations

import datetime as dt
import email.utils
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys import tls
from cloakhouse.keys.aws_place import SCHEME
from cloakhouse.keys.aws_place import Place as AwsPlace
from cloakhouse.keys.openbao_uri import parse
from cloakhouse.keys.service import open_key_service

NOT_DONE = "the clocks were not compared"


def time_at(uri: str) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the time at the key service `uri` and here, in the middle of the question (UTC); None for one that is in
    this process, or on this machine's bus.

    The header is in whole seconds. Raises KeyServiceError (`key.unreachable`, `key.tls`, `key.damaged` for an answer
    that tells no time), ConfigurationError.
    """
    place = _place(uri)
    if place is None:
        return None
    endpoint, authorities, path = place
    before = dt.datetime.now(dt.UTC)
    told = _date(endpoint, authorities, path)
    ours = midway(before)
    try:
        return time_of(told), ours
    except ValueError:
        raise KeyServiceError(
            where=endpoint,
            expected="an answer with a Date",
            found="none, or another text",
            not_done=NOT_DONE,
            remedy="compare the clocks of both machines by hand",
            code="damaged",
        ) from None


def midway(before: dt.datetime) -> dt.datetime:
    """Return the middle of the time from `before` to now (UTC)."""
    return before + (dt.datetime.now(dt.UTC) - before) / 2


def time_of(date: str) -> dt.datetime:
    """Return the time that a Date header tells (UTC, whole seconds). Raises ValueError for another text."""
    return email.utils.parsedate_to_datetime(date).astimezone(dt.UTC)


def _place(uri: str) -> tuple[str, Path | None, str] | None:
    """Return the address of the service, the authorities to trust, and what to ask for there."""
    if uri.startswith(("bao:", "vault:")):
        bao = parse(uri)
        return bao.endpoint, bao.ca, "/v1/sys/health"
    if uri.startswith(SCHEME):
        return open_key_service(uri).connection().endpoint, AwsPlace.parse(uri).ca, "/"
    return None


def _date(endpoint: str, authorities: Path | None, path: str) -> str:
    parts, limit = urlsplit(endpoint), tls.CONNECT_TIMEOUT_S
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = tls.client_context(authorities)
        asked: HTTPConnection = HTTPSConnection(host, parts.port or 443, timeout=limit, context=context)
    else:
        asked = HTTPConnection(host, parts.port or 80, timeout=limit)  # loopback: Place refuses others
    try:
        asked.request("GET", path)
        return asked.getresponse().headers.get("Date") or ""
    except (OSError, HTTPException) as fault:
        raise tls.connection_error(endpoint, fault, NOT_DONE) from None
    finally:
        asked.close()
