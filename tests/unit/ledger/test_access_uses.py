"""Uses of keys: counted once a read, by principal, key and purpose."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from tests.support.processes import race

from cloakhouse.errors import StorageError
from cloakhouse.ledger.access_uses import AccessUses, Use

FIRST = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
LATER = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def test_a_read_is_counted_for_each_of_its_keys(url: str) -> None:
    uses = AccessUses(url)
    assert uses.all() == []
    uses.record("mia", ["synthetic/plain", "synthetic/footer", "synthetic/plain"], "training", FIRST)
    uses.record("mia", ["synthetic/plain"], "training", LATER)
    uses.record("mia", ["synthetic/plain"], "evaluation", LATER)
    uses.record("dan", ["access/desk_staff"], "service desk", LATER)
    uses.record("eve", [], "training")
    assert AccessUses(url).all() == [
        Use("dan", "access/desk_staff", "service desk", LATER, LATER, 1),
        Use("mia", "synthetic/footer", "training", FIRST, FIRST, 1),
        Use("mia", "synthetic/plain", "evaluation", LATER, LATER, 1),
        Use("mia", "synthetic/plain", "training", FIRST, LATER, 2),
    ]


def test_a_read_is_recorded_as_of_now(url: str) -> None:
    before = dt.datetime.now(dt.UTC)
    AccessUses(url).record("mia", ["synthetic/plain"], "training")
    [use] = AccessUses(url).all()
    assert before <= use.first_at == use.last_at <= dt.datetime.now(dt.UTC)


def test_of_many_processes_no_use_is_lost(url: str) -> None:
    AccessUses(url)
    code = """
        from cloakhouse.ledger.access_uses import AccessUses
        uses = AccessUses(sys.argv[1]); ready()
        for _ in range(5):
            uses.record("mia", ["synthetic/plain", "synthetic/footer"], "training")
    """
    race(code, [[url]] * 3)
    assert [use.uses for use in AccessUses(url).all()] == [15, 15]


def test_a_database_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "control.db"
    folder.mkdir()
    with pytest.raises(StorageError):
        AccessUses(f"sqlite:///{folder}").record("mia", ["synthetic/plain"], "training")
