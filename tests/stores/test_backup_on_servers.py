"""A backup on a shelf in a bucket, restored to a PostgreSQL and a bucket; and from there to files again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support import databases, stores
from tests.support.backups import Shelved, key_files, objects, rows, shelved

from cloakhouse.errors import ConfigurationError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.settings import Settings
from cloakhouse.stages.audit_verification import verify
from cloakhouse.stages.backup_verify import verify as verify_backup
from cloakhouse.stages.restore import restore
from cloakhouse.stages.restore_settle import Stated, settle
from cloakhouse.stages.signing import BACKUPS, trusted_key

pytestmark = [pytest.mark.stores, pytest.mark.embedded]
REASON = "moved to servers, OPS-4"
NEW = ("audit_entry", "key_fingerprint")  # what restoring and backing up add to


@pytest.fixture
def postgresql() -> Iterator[str]:
    with databases.fresh("postgresql", Path()) as url:
        yield url


def bucket(server: str) -> str:
    """Return the URI of an empty place in a bucket."""
    return stores.STORES[server](f"backup/{uuid.uuid4().hex[:12]}")


@pytest.mark.parametrize("server", ["moto", "rclone"])
def test_from_files_to_servers_and_back(server: str, postgresql: str, tmp_path: Path) -> None:
    house = shelved(tmp_path, bucket(server))
    backup = house.create()
    found = verify_backup(house.shelf, trusted_key(house.settings, BACKUPS), "", house.identity)
    assert found.opened == len(backup.files)
    home = tmp_path / "servers"
    there = replace(house.settings.with_home(home), database=postgresql, store=bucket(server))
    there = replace(there, contracts=house.settings.contracts)
    restore(there, house.source())
    assert rows(there, *NEW) == rows(house.settings, *NEW)
    assert objects(there) == objects(house.settings)
    assert key_files(there) == key_files(house.settings)
    assert verify(there).sound
    assert settle(there, Stated(REASON, erasures=True, consents=True)) is None  # and new rows get new numbers

    back = Shelved(there, tmp_path / "back", str(tmp_path / "folder"), house.identity, house.recipient)
    assert back.create().database == "postgresql"
    again, _ = back.restore()
    assert again.database.startswith("sqlite")
    assert rows(again, *NEW) == rows(there, *NEW)
    assert objects(again) == objects(there)
    assert verify(again).sound


def test_a_database_or_a_bucket_with_something_in_it_is_left_alone(postgresql: str, tmp_path: Path) -> None:
    house = shelved(tmp_path)
    house.create()
    there = replace(house.settings.with_home(tmp_path / "new"), contracts=house.settings.contracts)

    def refused(settings: Settings) -> None:
        with pytest.raises(ConfigurationError) as refusal:
            restore(settings, house.source())
        assert refusal.value.code == "configuration.not-empty"
        assert not settings.home.exists()

    taken = replace(there, store=bucket("moto"))
    open_store(replace(taken, home=tmp_path / "other")).create("evidence/of-somebody.json", b"{}")
    refused(taken)
    on_server = replace(there, database=postgresql)
    log = AuditLog(postgresql)
    log.record(AuditLog(house.settings.database).events()[0])
    refused(on_server)
    assert log.size() == 1
