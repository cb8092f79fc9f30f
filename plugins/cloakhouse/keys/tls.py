"""How the platform reaches a server: TLS 1.3 (RFC 8446) with a verified certificate, or not at all.

A context of `client_context` is the only one in use. It trusts one authority file, or else the system's; it checks the
host's name; it offers no older protocol than TLS 1.3. Beyond that it never writes session keys to SSLKEYLOGFILE,
which Python's default contexts do when a user's environment asks for it.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cloakhouse.errors import ConfigurationError, KeyServiceError

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0

# What OpenSSL calls a server that knows only older protocols: it sends an alert, answers with the older one, or finds
# nothing in common. The second group is also what a server without any TLS looks like.
OLDER = ("PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION", "HANDSHAKE_FAILURE")
NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
# X509_V_ERR_* of OpenSSL's x509_vfy.h: which sentence explains the refusal of a certificate.
HOST_MISMATCH = (62, 64)
OUT_OF_DATE = (9, 10)


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a client's context: TLS 1.3, certificate and host name verified.

    `ca_file` (PEM) names the only authorities to trust; None trusts the system's. Raises ConfigurationError when the
    file can't be read or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cafile=str(ca_file))
        found = "" if context.cert_store_stats()["x509_ca"] else "a certificate that is not an authority's"
    except ssl.SSLError:
        found = "a file that holds no certificate in PEM"
    except (OSError, ValueError) as fault:
        found = f"a file that can't be read ({type(fault).__name__})"
    if found:
        raise ConfigurationError(
            where=f"the authority file {ca_file}",
            expected="the certificates of the authorities to trust, in PEM",
            found=found,
            not_done="no connection was made",
            remedy="correct `ca=` in the service's URI, or leave it out to trust the system's authorities",
            code="ca",
        )
    return context


def negotiated(host: str, port: int, context: ssl.SSLContext, timeout_s: float = CONNECT_TIMEOUT_S) -> tuple[str, str]:
    """Connect to `host`:`port` and return the negotiated (protocol, cipher), e.g. `TLSv1.3`, `TLS_AES_256_GCM_SHA384`.

    Raises KeyServiceError: `key.tls` for a server without TLS 1.3, with a certificate that is not trusted or of another
    name; `key.unreachable` when nobody answers within `timeout_s` (seconds) for the connection and for the handshake.
    """
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            protocol, cipher = secured.version() or "none", (secured.cipher() or ("none",))[0]
    except (OSError, ValueError) as fault:  # ValueError: a host name that can't be one
        raise connection_error(f"{host}:{port}", fault, "no connection was made") from None
    if protocol != "TLSv1.3":
        raise _tls(f"{host}:{port}", "a server that offers TLS 1.3", f"the server chose {protocol}", "no data was sent")
    return protocol, cipher


def http_adapter(context: ssl.SSLContext) -> HTTPAdapter:
    """Return an adapter for a `requests.Session` that uses exactly `context` for every https address.

    Without it, requests adds the authorities of its own bundle to the context, and a `verify=False` or an environment
    variable would switch verification off. Connects once: repeating is up to the caller.
    """
    from requests.adapters import HTTPAdapter

    class ContextAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: object, **kwargs: object) -> None:
            super().init_poolmanager(*args, **kwargs, ssl_context=context)  # type: ignore[arg-type]

        def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
            """Leave the connection as the context has it."""

        def build_connection_pool_key_attributes(
            self, request: object, verify: object, cert: object = None
        ) -> tuple[dict[str, object], dict[str, object]]:
            host, _ = super().build_connection_pool_key_attributes(request, True)  # type: ignore[arg-type]
            return host, {"cert_reqs": "CERT_REQUIRED", "ssl_context": context}

    return ContextAdapter(max_retries=0)


def connection_error(endpoint: str, fault: BaseException, not_done: str) -> KeyServiceError:
    """Return what `fault`, or the exceptions inside it, mean for a connection to `endpoint`, without quoting them.

    `key.tls` for a refused protocol or certificate, else `key.unreachable`.
    """
    for inner in _inside(fault):
        if isinstance(inner, ssl.SSLCertVerificationError):
            return _certificate(endpoint, inner, not_done)
        if isinstance(inner, ssl.SSLError) and not isinstance(inner, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            reason = (inner.reason or "").upper()
            expected = "a server that offers TLS 1.3"
            if any(word in reason for word in OLDER):
                return _tls(endpoint, expected, "the server offers no TLS 1.3", not_done)
            if any(word in reason for word in NOT_TLS):
                return _tls(endpoint, expected, "the server speaks no TLS at this port", not_done)
            if reason:
                return _tls(endpoint, expected, f"the handshake failed ({reason})", not_done)
    return unreachable(endpoint, _symptom(fault), not_done)


def unreachable(endpoint: str, found: str, not_done: str, remedy: str = "") -> KeyServiceError:
    """Return the error for a service that doesn't answer."""
    return KeyServiceError(
        where=endpoint,
        expected="a key service that answers",
        found=found,
        not_done=not_done,
        remedy=remedy or "check that the service runs and that this machine may reach it, then run again",
        code="unreachable",
    )


def _certificate(endpoint: str, fault: ssl.SSLCertVerificationError, not_done: str) -> KeyServiceError:
    number = getattr(fault, "verify_code", 0)
    if number in HOST_MISMATCH:
        return _tls(endpoint, "a certificate for this host", "a certificate for another host name", not_done)
    if number in OUT_OF_DATE:
        return _tls(endpoint, "a certificate that is valid today", "one that is not (or a wrong clock)", not_done)
    found = f"one that is not trusted (X509 verification error {number})"
    return _tls(endpoint, "a certificate of a trusted authority", found, not_done)


def _tls(endpoint: str, expected: str, found: str, not_done: str) -> KeyServiceError:
    return KeyServiceError(
        where=endpoint,
        expected=expected,
        found=found,
        not_done=not_done,
        remedy="correct the server's TLS settings, the host in the URI, or `ca=`; verification can't be left out",
        code="tls",
    )


def _symptom(fault: BaseException) -> str:
    """Say what happened; the innermost exceptions know best, and libraries call any failure to connect a timeout."""
    for inner in reversed(list(_inside(fault))):
        if isinstance(inner, ConnectionRefusedError):
            return "the connection was refused: nothing listens there"
        if isinstance(inner, (socket.gaierror, UnicodeError)):
            return "a host name that can't be resolved"
        if isinstance(inner, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return "the connection was closed before an answer"
        if isinstance(inner, TimeoutError) or "Timeout" in type(inner).__name__:
            return "no answer in time"
    return f"no connection ({type(fault).__name__})"


def _inside(fault: BaseException) -> Iterator[BaseException]:
    """Yield `fault` and what it wraps: libraries keep the cause in their arguments, as `reason` or as the context."""
    waiting = [fault]
    seen: set[int] = set()
    while waiting and len(seen) < 20:
        at = waiting.pop(0)
        if id(at) in seen:
            continue
        seen.add(id(at))
        yield at
        wrapped = [*at.args, getattr(at, "reason", None), getattr(at, "error", None), at.__cause__, at.__context__]
        waiting += [inner for inner in wrapped if isinstance(inner, BaseException)]
