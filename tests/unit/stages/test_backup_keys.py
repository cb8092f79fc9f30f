"""Reading key files for a backup: all of them, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.backups import Shelved, shelved

from cloakhouse.errors import CloakhouseError
from cloakhouse.stages import backup_keys
from cloakhouse.stages.backup_keys import read_keys

pytestmark = pytest.mark.embedded  # a home is a folder with a keystore


@pytest.fixture
def house(tmp_path: Path) -> Shelved:
    return shelved(tmp_path)


def test_key_files_that_cannot_be_read_whole_are_not_left_out(house: Shelved, monkeypatch: pytest.MonkeyPatch) -> None:
    def code() -> str:
        with pytest.raises(CloakhouseError) as refusal:
            read_keys(house.settings)
        return refusal.value.code

    link = house.settings.home / "dataset-keys" / "a-link"
    link.symlink_to(house.folder / "nowhere")
    assert code() == "stage.busy"
    link.unlink()
    link.symlink_to(house.folder, target_is_directory=True)
    assert code() == "integrity.backup"
    link.unlink()
    assert read_keys(house.settings)
    with monkeypatch.context() as patched:
        patched.setattr(backup_keys, "LONGEST", 10)
        assert code() == "integrity.backup"
    (house.settings.home / "keystore" / "keystore.json").unlink()
    assert code() == "integrity.backup"
