"""Where the master keys at AWS KMS are: the configuration URI, its parts and how long an answer may take.

    aws-kms:alias/PREFIX[?region=eu-west-1][&endpoint=https://HOST[:PORT]][&ca=FILE]

`region` is that of the AWS configuration if it isn't given, `endpoint` the region's public one (a VPC endpoint goes
here), `ca` a PEM file with the authorities to trust in place of the usual ones. Credentials are never part of it.
"""

from __future__ import annotations

import ipaddress
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cloakhouse.errors import ConfigurationError

SCHEME = "aws-kms:"
PREFIX = re.compile(r"alias/(?!aws/|aws$)[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")  # alias/aws/ is AWS's own
REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
PARAMETERS = ("region", "endpoint", "ca")


@dataclass(frozen=True)
class Patience:
    """How long an operation may take: no attempt begins after `begin_s`, so it ends by `begin_s + connect_s + read_s`.

    connect_s, read_s: seconds for one attempt. attempts: tries of one request, with growing pauses. begin_s: seconds.
    """

    connect_s: float = 5.0
    read_s: float = 10.0
    attempts: int = 4
    begin_s: float = 14.0


_clock = threading.local()


@contextmanager
def time_limit(patience: Patience) -> Iterator[None]:
    """Let no attempt inside begin too late, in this thread. Inside another limit, that one holds."""
    if hasattr(_clock, "end"):
        yield
        return
    _clock.end = time.monotonic() + patience.begin_s
    try:
        yield
    finally:
        del _clock.end


def out_of_time() -> bool:
    """Return whether it is too late for another attempt."""
    return time.monotonic() > getattr(_clock, "end", float("inf"))


@dataclass(frozen=True)
class Place:
    """A parsed URI. `prefix` begins with `alias/`; `uri` is as it was given."""

    uri: str
    prefix: str
    region: str | None = None
    endpoint: str | None = None
    ca: Path | None = None

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Return the parts of `uri`. Raises ConfigurationError if one can't be used; no value is quoted."""
        if not uri.startswith(SCHEME):
            raise misconfigured("a URI of the form aws-kms:alias/PREFIX", "another scheme")
        prefix, _, query = uri[len(SCHEME) :].partition("?")
        if not PREFIX.fullmatch(prefix) or len(prefix) > 128:
            raise misconfigured(
                "alias/PREFIX: letters, digits, `_`, `-` between slashes, not under alias/aws", "another path"
            )
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError:
            raise misconfigured("parameters of the form name=value", "others") from None
        given = dict(pairs)
        unknown = [name for name in given if name not in PARAMETERS]
        if unknown or len(given) != len(pairs) or not all(given.values()):
            found = "one twice, or without a value" if not unknown else f"{len(unknown)} unknown"
            raise misconfigured(f"the parameters {', '.join(PARAMETERS)}, each at most once", found)
        if "region" in given and not REGION.fullmatch(given["region"]):
            raise misconfigured("a region like eu-west-1", "another form")
        if "endpoint" in given:
            _check_endpoint(given["endpoint"])
        ca = Path(given["ca"]) if "ca" in given else None
        return cls(uri, prefix, given.get("region"), given.get("endpoint"), ca)


def is_loopback(host: str) -> bool:
    """Return whether `host` (a name or an address, without port) is this machine's loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def misconfigured(expected: str, found: str) -> ConfigurationError:
    """Return the error about a URI that can't be used."""
    return ConfigurationError(
        where="CLOAKHOUSE_KEYS",
        expected=expected,
        found=found,
        not_done="no key was opened",
        remedy="correct CLOAKHOUSE_KEYS, e.g. aws-kms:alias/cloakhouse?region=eu-west-1",
    )


def _check_endpoint(endpoint: str) -> None:
    expected = "an endpoint https://HOST[:PORT]; http only on this machine's loopback"
    try:
        parts = urlsplit(endpoint)
        port_is_sound = parts.port != 0
    except ValueError:
        raise misconfigured(expected, "one that is no URL") from None
    if parts.username is not None or parts.password is not None:
        raise misconfigured(expected, "one with a user or a password, which has no place in a URI")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound:
        raise misconfigured(expected, "another form")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise misconfigured(expected, "one with a path")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise misconfigured(expected, "http to another machine, where keys would travel in the clear")
