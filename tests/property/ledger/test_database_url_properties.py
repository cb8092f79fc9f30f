"""Whatever a URL looks like: a database elsewhere is reached by verified TLS or not at all, and no password is told."""

from __future__ import annotations

import contextlib
import ipaddress
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.database_url import database_url

LOCAL = st.sampled_from(["localhost", "127.0.0.1", "::1", "/run/postgresql", "127.1.2.3"])
REMOTE = st.sampled_from(["db.example.com", "10.0.0.1", "2001:db8::1", "localhost.example.com", "0.0.0.0", "1.127.0.0"])
HOSTS = st.lists(LOCAL | REMOTE, min_size=1, max_size=3)
MODES = st.sampled_from(["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"])


@given(st.text(max_size=60), st.text(min_size=6, max_size=12))
@example("postgresql://me:{}@[::1/x", "geheim")
@example("postgresql://me:{}@localhost:x/x", "geheim")
def test_no_text_is_more_than_a_refusal_and_no_refusal_tells_it(text: str, secret: str) -> None:
    with contextlib.suppress(ConfigurationError):
        database_url(text, {})
    with pytest.raises(ConfigurationError) as refusal:
        database_url(f"mysql://me:{quote(secret, safe='')}geheim@host/{quote(text, safe='')}", {})
    assert "geheim" not in refusal.value.explain()


@settings(max_examples=150)
@given(HOSTS, st.lists(LOCAL | REMOTE, max_size=2), MODES, st.booleans(), HOSTS)
def test_what_the_driver_gets_is_verified_unless_all_of_it_is_here(
    hosts: list[str], addresses: list[str], mode: str, in_authority: bool, variable: list[str]
) -> None:
    """Seen from the driver's end: what SQLAlchemy passes to psycopg for the URL."""
    addresses = [address for address in addresses if address[0].isdigit() or "::" in address]
    query = [f"hostaddr={','.join(addresses)}"] if addresses else []
    query += [f"sslmode={mode}"] if mode else []
    authority = ""
    if in_authority and not hosts[0].startswith("/"):
        authority, hosts = (f"[{hosts[0]}]" if ":" in hosts[0] else quote(hosts[0], safe="")), hosts[:1]
    else:
        query.append(f"host={','.join(map(quote, hosts))}")
    here = all(map(is_here, [*hosts, *addresses]))
    text = f"postgresql://me:geheim@{authority}/x?{'&'.join(query)}"
    if not here and mode not in ("", "verify-full"):
        with pytest.raises(ConfigurationError) as refusal:
            database_url(text, {})
        assert "geheim" not in refusal.value.explain()
        return
    url = database_url(text, {"PGHOST": ",".join(variable)})
    _, given_to_driver = PGDialect_psycopg().create_connect_args(url)
    assert given_to_driver["password"] == "geheim"
    assert here or given_to_driver["sslmode"] == "verify-full"
    assert not here or given_to_driver.get("sslmode", "") == mode


def is_here(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
