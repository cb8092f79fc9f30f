"""The boto3 client behind the AWS key service: TLS 1.3, bounded in time, one per process, silent about keys.

This module imports boto3, so it is imported at the first call to AWS and not before.

TLS: botocore builds a context of its own that would accept TLS 1.2, and has no setting for it. `Session` is botocore's
HTTP session with the platform's context in its place, and `open_client` refuses to go on if it didn't get there.
That holds for KMS. Calls that fetch credentials (STS, SSO, instance metadata) are botocore's own.

Logs: at level DEBUG botocore writes requests and answers to the log as they are, so wrapped and plain keys; records
of that level are dropped from its loggers in every process that opens a client.
"""

from __future__ import annotations

import logging
import ssl
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.httpsession import URLLib3Session
from botocore.parsers import ResponseParserError
from botocore.utils import get_environ_proxies

from cloakhouse.errors import MissingDependency
from cloakhouse.keys import tls
from cloakhouse.keys.aws_place import Patience, Place, misconfigured, out_of_time
from cloakhouse.keys.protocol import Connection


class OutOfTime(Exception):
    """The next attempt would begin too late."""


FAULTS = (BotoCoreError, ClientError, ResponseParserError, OutOfTime)


class Session(URLLib3Session):  # type: ignore[misc]
    """botocore's HTTP session with exactly `context` for TLS, and an end to trying again."""

    def __init__(self, context: ssl.SSLContext, **settings: Any) -> None:
        self._context = context
        super().__init__(**settings)

    def _get_ssl_context(self) -> ssl.SSLContext:
        return self._context

    def _setup_ssl_cert(self, conn: Any, url: str, verify: object) -> None:
        conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None  # the context has the authorities

    def send(self, request: Any) -> Any:
        """Return the answer to `request`. Raises OutOfTime, which botocore does not try again, and as its base."""
        if out_of_time():
            raise OutOfTime
        return super().send(request)


def open_client(place: Place, patience: Patience) -> Any:
    """Return a new client for `place`. Raises ConfigurationError, MissingDependency, and what is in FAULTS."""
    context = tls.client_context(place.ca)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        user_agent_extra="cloakhouse",
        ignore_configured_endpoint_urls=True,  # else AWS_ENDPOINT_URL could lead to plain http past the URI's check
    )
    core = botocore.session.Session()
    try:
        client = boto3.session.Session(botocore_session=core).client(
            "kms", region_name=place.region, endpoint_url=place.endpoint, config=config
        )
    except NoRegionError:
        raise misconfigured("`region=`, or a region in the AWS configuration", "neither") from None
    except ValueError:
        raise misconfigured("an endpoint whose host is a DNS name or an address", "another form") from None
    put_session(client, place, context, patience)
    silence_wire()
    return client


def connection(place: Place, client: Any, patience: Patience) -> Connection:
    """Connect with the client's TLS settings, but never by a proxy, and return what was negotiated.

    Raises KeyServiceError (`key.tls`, `key.unreachable`).
    """
    endpoint = client.meta.endpoint_url
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.scheme == "https":
        found = tls.negotiated(host, parts.port or 443, tls.client_context(place.ca), patience.connect_s)
        return Connection(endpoint, *found, leaves_process=True)
    plain = HTTPConnection(host, parts.port or 80, timeout=patience.connect_s)
    try:
        plain.connect()
    except OSError as fault:
        raise tls.connection_error(endpoint, fault, "no connection was made") from None
    finally:
        plain.close()
    return Connection(endpoint, "HTTP (loopback)", "none", leaves_process=True)


def put_session(client: Any, place: Place, context: ssl.SSLContext, patience: Patience) -> None:
    try:
        before = client._endpoint.http_session
        session = Session(
            context,
            timeout=(patience.connect_s, patience.read_s),
            proxies=get_environ_proxies(client.meta.endpoint_url),
            max_pool_connections=client.meta.config.max_pool_connections,
        )
        in_place = isinstance(before, URLLib3Session) and session._manager.connection_pool_kw["ssl_context"] is context
        before.close()
        client._endpoint.http_session = session
    except (AttributeError, KeyError, TypeError):
        in_place = False
    if not in_place:
        raise MissingDependency(
            where="boto3",
            expected="a botocore whose TLS settings the platform can raise to TLS 1.3",
            found=f"version {boto3.__version__}, which is built differently",
            not_done=f"nothing was sent to {place.prefix}",
            remedy="install the version of boto3 that requirements.txt names",
            code="boto3",
        )


def _above_debug(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG


def silence_wire() -> None:
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] in ("botocore", "boto3"):
            logging.getLogger(name).addFilter(_above_debug)
