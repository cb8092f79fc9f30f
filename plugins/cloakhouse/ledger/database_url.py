"""Where the control database is: a SQLite file, or PostgreSQL through psycopg 3, over TLS unless it is on this machine.

A URL may hold a password: no error repeats it, nor a part of it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from cloakhouse.errors import ConfigurationError

POSTGRESQL = "postgresql+psycopg"
VERIFIED = "verify-full"  # TLS, an authority that is trusted, and a certificate for this very host
_TLS = {"sslmode": VERIFIED, "ssl_min_protocol_version": "TLSv1.3"}
_FORM = "sqlite:///FILE or postgresql://USER@HOST/NAME"


def database_url(text: str, environment: Mapping[str, str] | None = None) -> sa.URL:
    """Return the URL of the control database that `text` names, with what makes its connections safe.

    `postgresql://` means psycopg 3. A host that isn't this machine gets `sslmode=verify-full` and TLS 1.3 at least.
    What libpq reads from the process's variables (PGHOST, PGHOSTADDR, PGSERVICE) counts, too, hence `environment`.
    Raises ConfigurationError for a text that is no such URL, and for a remote host with less than `verify-full`.
    """
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise _refused(_FORM, "another text", "correct CLOAKHOUSE_DATABASE") from None
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        return url
    if url.drivername not in ("postgres", "postgresql", POSTGRESQL):
        found = "another kind of database, or another driver"
        raise _refused(_FORM, found, "use SQLite, or PostgreSQL: postgresql://, without naming a driver")
    url = url.set(drivername=POSTGRESQL)
    return url if _is_here(url, os.environ if environment is None else environment) else _verified(url)


def place_of(url: sa.URL) -> str:
    """Return where the database is, for people: the file's name, the hosts, or `local socket`."""
    if url.get_backend_name() == "sqlite":
        return (url.database or ":memory:").rpartition("/")[2]
    hosts = [host for host in _values(url, "host") or [url.host or ""] if host and not host.startswith("/")]
    return ", ".join(hosts) or "local socket"


def _verified(url: sa.URL) -> sa.URL:
    for name, least in _TLS.items():
        if any(value != least for value in _values(url, name)):
            remedy = f"remove {name} from CLOAKHOUSE_DATABASE; sslrootcert there names the file of the authority"
            raise _refused(f"{name}={least}: the database is on another machine", "less", remedy)
    return url.update_query_dict(_TLS)


def _is_here(url: sa.URL, environment: Mapping[str, str]) -> bool:
    """Return whether every host that libpq may try is loopback or a socket of this machine."""
    if _values(url, "service") or environment.get("PGSERVICE"):
        return False  # a file elsewhere names the host
    hosts = _values(url, "host") or ([url.host] if url.host else [])
    addresses = _values(url, "hostaddr") or _split(environment.get("PGHOSTADDR", ""))
    names = hosts or ([] if addresses else _split(environment.get("PGHOST", "")))
    return all(map(_is_local, [*names, *addresses]))


def _is_local(host: str) -> bool:
    if host in ("", "localhost") or host.startswith(("/", "@")):  # @: an abstract socket
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _values(url: sa.URL, name: str) -> list[str]:
    given = url.query.get(name, ())
    return [part for value in ((given,) if isinstance(given, str) else given) for part in _split(value)]


def _split(value: str) -> list[str]:
    return value.split(",") if value else []


def _refused(expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where="the control database (CLOAKHOUSE_DATABASE)",
        expected=expected,
        found=found,
        not_done="no connection was made",
        remedy=remedy,
        code="database",
    )
