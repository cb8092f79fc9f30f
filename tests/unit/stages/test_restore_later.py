"""A restore that takes rights from a later backup: its keys, its log, and two restores at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.backups import REASON, Shelved, shelved

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.files import locked
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.stages import restore as restoring
from cloakhouse.stages.backup_keys import is_identity
from cloakhouse.stages.checkpointing import checkpoint, note_of

pytestmark = pytest.mark.embedded  # a home is a folder with a keystore


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Shelved:
    """An installation with a full backup, and a later one of the rights without identities."""
    made = shelved(tmp_path_factory.mktemp("later"))
    made.create()
    log = AuditLog(made.settings.database)
    log.record(Event("ann", "read", "x", reason=REASON))
    assert checkpoint(made.settings) is not None
    made.create(rights_only=True, identities=False)
    return made


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(CloakhouseError) as refusal:
        call()
    return refusal.value.code


def test_identities_of_the_first_backup_stay(house: Shelved) -> None:
    there, done = house.restore("identities")
    assert done.rights is not None
    assert not done.rights.identities
    secret = [one.path.removeprefix("home/") for one in done.backup.files if is_identity(one.path)]
    assert len(secret) > 1
    assert all((there.home / path).stat().st_mode & 0o777 == 0o600 for path in secret)
    assert service_of(there).names() == service_of(house.settings).names()


def test_an_anchor_between_the_two_is_of_the_later_log(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [entry for entry in range(1, 200) if _noted(house, entry)]
    anchors = {"kept.txt": note_of(house.settings, sizes[-1])}
    _, done = house.restore("anchored", anchors=anchors)
    assert done.rights is not None
    assert done.backup.log_size < sizes[-1] <= done.rights.log_size
    forked = {(sizes[-1], hashlib.sha256(b"another log").hexdigest())}
    monkeypatch.setattr(restoring, "roots_between", lambda *_: forked)
    assert code_of(lambda: house.restore("forked", anchors=anchors)) == "integrity.backup"
    assert not house.elsewhere("forked").home.exists()


def test_two_restores_into_one_home_do_not_mix(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    home = house.elsewhere("twice").home
    monkeypatch.setattr(restoring, "LOCK_WAIT_S", 0.1)
    with locked(home.with_name(".home.lock"), 1.0, "the first"):
        assert code_of(lambda: house.restore("twice")) == "stage.busy"
    assert not home.exists()


def _noted(house: Shelved, size: int) -> Path | str | None:
    try:
        return note_of(house.settings, size)
    except CloakhouseError:
        return None
