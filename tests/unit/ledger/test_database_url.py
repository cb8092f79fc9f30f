"""URLs of the control database: what is taken, what is made safe, what is refused, and that no password is told."""

from __future__ import annotations

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.database_url import database_url, place_of

SECRET = "geheim"
HERE = (
    "me@/x",
    "me@localhost/x",
    "me@127.0.0.1:5433/x",
    "me@127.9.9.9/x",
    "me@[::1]/x",
    "me@/x?host=/run/postgresql",
    "me@/x?host=/run/postgresql,localhost",
    "me@/x?host=%40abstract",
    "me@/x?hostaddr=127.0.0.1",
)
ELSEWHERE = (
    "me@db.example.com/x",
    "me@10.0.0.1/x",
    "me@0.0.0.0/x",
    "me@localhost.example.com/x",
    "me@/x?host=localhost,db.example.com",
    "me@/x?host=localhost&host=db.example.com",
    "me@localhost/x?hostaddr=10.0.0.1",
    "me@db.example.com/x?hostaddr=127.0.0.1",
    "me@/x?service=there",
    "me@localhost/x?service=there",
)


@pytest.mark.parametrize("url", ["sqlite:////srv/control.db", "sqlite://", "sqlite+pysqlite:///control.db"])
def test_sqlite_stays_as_it_is(url: str) -> None:
    assert str(database_url(url, {"PGHOST": "db.example.com"})) == url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize("rest", HERE)
def test_postgresql_means_psycopg_and_this_machine_needs_no_tls(scheme: str, rest: str) -> None:
    found = database_url(f"{scheme}://{rest}", {})
    assert found.drivername == "postgresql+psycopg"
    assert "sslmode" not in found.query


@pytest.mark.parametrize("rest", ELSEWHERE)
def test_another_machine_is_reached_by_tls_with_a_certificate_that_is_verified(rest: str) -> None:
    found = database_url(f"postgresql://{rest}", {})
    assert found.query["sslmode"] == "verify-full"
    assert found.query["ssl_min_protocol_version"] == "TLSv1.3"
    assert database_url(found.render_as_string(hide_password=False), {}) == found


@pytest.mark.parametrize(
    "mode", ["disable", "allow", "prefer", "require", "verify-ca", "", "VERIFY-FULL", "verify-full,disable"]
)
@pytest.mark.parametrize("rest", ELSEWHERE)
def test_another_machine_with_less_is_refused(rest: str, mode: str) -> None:
    join = "&" if "?" in rest else "?"
    text = f"postgresql://{rest}{join}sslmode={mode}".replace("me@", f"me:{SECRET}@")
    if not mode:
        assert database_url(text, {}).query["sslmode"] == "verify-full"
        return
    with pytest.raises(ConfigurationError) as refusal:
        database_url(text, {})
    assert refusal.value.code == "configuration.database"
    assert "sslmode=verify-full" in refusal.value.expected
    assert SECRET not in refusal.value.explain()
    assert "example" not in refusal.value.explain()


def test_an_older_tls_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match=r"ssl_min_protocol_version=TLSv1\.3"):
        database_url("postgresql://me@db.example.com/x?ssl_min_protocol_version=TLSv1.2", {})


@pytest.mark.parametrize(
    ("environment", "elsewhere"),
    [
        ({"PGHOST": "db.example.com"}, True),
        ({"PGHOST": "/run,db.example.com"}, True),
        ({"PGHOSTADDR": "10.0.0.1"}, True),
        ({"PGHOST": "localhost", "PGHOSTADDR": "10.0.0.1"}, True),
        ({"PGSERVICE": "there"}, True),
        ({"PGHOST": "/run/postgresql"}, False),
        ({"PGHOSTADDR": "::1"}, False),
    ],
)
def test_the_variables_of_libpq_name_another_machine_as_well(environment: dict[str, str], elsewhere: bool) -> None:
    assert ("sslmode" in database_url("postgresql://me@/x", environment).query) is elsewhere


def test_the_host_of_the_url_comes_before_the_variable() -> None:
    assert "sslmode" not in database_url("postgresql://me@localhost/x", {"PGHOST": "db.example.com"}).query
    assert "sslmode" in database_url("postgresql://me@db.example.com/x", {"PGHOST": "localhost"}).query


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"nonsense {SECRET}",
        f"postgresql://me:{SECRET}@localhost:port/x",
        f"mysql://me:{SECRET}@localhost/x",
        f"postgresql+psycopg2://me:{SECRET}@localhost/x",
        f"postgresql+asyncpg://me:{SECRET}@localhost/x",
        "sqlite+aiosqlite:///x",
    ],
)
def test_what_is_no_url_of_a_control_database(text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        database_url(text, {})
    assert refusal.value.code == "configuration.database"
    assert SECRET not in refusal.value.explain()
    assert "CLOAKHOUSE_DATABASE" in refusal.value.where


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sqlite:////srv/house/control.db", "control.db"),
        ("sqlite://", ":memory:"),
        (f"postgresql://me:{SECRET}@db.example.com/x", "db.example.com"),
        ("postgresql://me@/x?host=/run/postgresql", "local socket"),
        ("postgresql://me@/x?host=a.example.com,b.example.com", "a.example.com, b.example.com"),
        ("postgresql://me@/x", "local socket"),
    ],
)
def test_where_it_is_for_people(text: str, place: str) -> None:
    assert place_of(database_url(text, {})) == place
