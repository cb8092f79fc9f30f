"""`cloakhouse database`: what it shows and does, on SQLite and on PostgreSQL, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from tests.support import databases

from cloakhouse.client.cli import cli
from cloakhouse.errors import StorageError
from cloakhouse.keys.protocol import KeyName
from cloakhouse.ledger import database
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.database_engine import engine_of
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import HEAD
from cloakhouse.ledger.versions import VersionRegister

NOBODY = {"granted_to": "", "reading_granted_to": ""}
NOTHING = {"protocol": "in process", "revision": "", "expected": HEAD, "state": "empty", "usable": True}


@pytest.fixture
def bare() -> Iterator[str]:
    """The URL of a PostgreSQL database without tables."""
    name = databases.shared().create()
    yield databases.shared().url(name)
    databases.shared().drop(name)


def run(url: str, *arguments: str) -> Result:
    env = {"CLOAKHOUSE_DATABASE": url}
    result = CliRunner().invoke(cli, ["database", *arguments], env=env, prog_name="cloakhouse")
    assert "Traceback" not in result.stdout + result.stderr
    assert "geheim" not in result.stdout + result.stderr
    return result


def facts(url: str, *arguments: str, code: int = 0) -> Any:
    result = run(url, *arguments, "--output", "json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


def at_revision(url: str, number: str) -> None:
    with engine_of(database_url(url)).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :number"), {"number": number})


def test_status_of_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sub/control.db"
    assert facts(url, "status") == {"kind": "SQLite", "place": "control.db", **NOTHING}
    assert list(tmp_path.iterdir()) == []
    assert facts("sqlite://", "status") == {"kind": "SQLite", "place": ":memory:", **NOTHING}
    assert "control.db" in run(url, "status").stdout


def test_a_file_is_made_once_and_shown(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/sub/control.db"
    assert facts(url, "upgrade") == {"before": "", "revision": HEAD, "changed": True, **NOBODY}
    assert facts(url, "upgrade") == {"before": HEAD, "revision": HEAD, "changed": False, **NOBODY}
    assert run(url, "upgrade").stderr == f"revision {HEAD} already\n"
    shown = facts(url, "status")
    assert (shown["state"], shown["revision"], shown["usable"]) == ("current", HEAD, True)
    Catalogue(url)


def test_databases_that_cannot_be_used_are_shown_with_exit_code_2(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/control.db"
    Catalogue(url)
    at_revision(url, "9999")
    shown = facts(url, "status", code=2)
    assert (shown["state"], shown["revision"], shown["usable"]) == ("unknown", "9999", False)
    assert run(url, "status").exit_code == 2
    assert facts_of_refusal(url, 2) == "configuration.schema"
    other = f"sqlite:///{tmp_path}/other.db"
    database.METADATA.create_all(engine_of(database_url(other)))
    shown = facts(other, "status", code=2)
    assert (shown["state"], shown["revision"]) == ("unversioned", "")
    assert facts_of_refusal(other, 2) == "configuration.schema"


def facts_of_refusal(url: str, code: int, *arguments: str) -> str:
    result = run(url, "upgrade", *arguments, "--output", "json")
    assert result.exit_code == code
    return str(json.loads(result.stderr)["code"])


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("nonsense geheim", 2),
        ("mysql://me:geheim@localhost/x", 2),
        ("postgresql://me:geheim@db.example.com/x?sslmode=prefer", 2),
        ("postgresql://me:geheim@127.0.0.1:1/x", 6),
    ],
)
@pytest.mark.parametrize("command", ["status", "upgrade"])
def test_a_url_that_leads_nowhere(url: str, code: int, command: str) -> None:
    result = run(url, command)
    assert result.exit_code == code
    assert result.stderr.startswith("configuration.database" if code == 2 else "storage.database")
    assert result.stdout == ""


def test_sqlite_has_no_roles(tmp_path: Path) -> None:
    assert facts_of_refusal(f"sqlite:///{tmp_path}/control.db", 2, "--grant-to", "platform") == "configuration"
    assert not (tmp_path / "control.db").exists()


@pytest.mark.stores
def test_on_postgresql_an_operator_makes_the_tables(bare: str) -> None:
    shown = facts(bare, "status", code=2)
    assert shown == {"kind": "PostgreSQL", "place": "local socket", **NOTHING, "protocol": "local", "usable": False}
    assert facts_of_refusal(bare, 5, "--grant-to", "nobody_known") == "not-found"
    assert run(bare, "upgrade").stderr == f"revision {HEAD} now; it was empty\n"
    databases.shared().execute("DO $$ BEGIN CREATE ROLE worker LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    result = run(bare, "upgrade", "--grant-to", "worker")
    assert result.stderr == f"revision {HEAD} already\nworker may do what the platform does\n"
    assert facts(bare, "status")["state"] == "current"
    assert Catalogue(bare.replace("postgres@", "worker@")).record_key_fingerprint("root", "f" * 16) == "f" * 16


@pytest.mark.stores
def test_a_reader_on_postgresql_reads_what_is_published_and_changes_nothing(bare: str) -> None:
    databases.shared().execute("DO $$ BEGIN CREATE ROLE analyst LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    result = run(bare, "upgrade", "--grant-reading-to", "analyst")
    assert "analyst may read what is published, and note its reads" in result.stderr
    theirs = bare.replace("postgres@", "analyst@")
    register = VersionRegister(theirs)
    assert (register.heads(), register.events("baskets"), register.holds()) == ([], [], [])
    AccessUses(theirs).record("ann", [KeyName("synthetic/plain")], "reporting")
    assert Catalogue(theirs).key_fingerprint("root") is None
    for change in (
        lambda: register.reserve("baskets", "f" * 64),
        lambda: Catalogue(theirs).record_key_fingerprint("root", "f" * 64),
        lambda: Catalogue(theirs).protected("transactions"),
    ):
        with pytest.raises(StorageError, match="may not do this"):
            change()


@pytest.mark.stores
def test_the_other_commands_say_what_to_do(bare: str, tmp_path: Path) -> None:
    env = {"CLOAKHOUSE_DATABASE": bare, "CLOAKHOUSE_HOME": str(tmp_path)}
    result = CliRunner().invoke(cli, ["datasets"], env=env, prog_name="cloakhouse")
    assert result.exit_code == 2, result.stderr
    assert "`cloakhouse database upgrade`" in result.stderr
