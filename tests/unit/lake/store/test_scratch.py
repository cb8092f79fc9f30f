"""Local folders of what is on its way: held by the living, cleared after the dead."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cloakhouse.errors import StorageError
from cloakhouse.lake.store import scratch
from cloakhouse.lake.store.folder import FolderStore


def test_a_folder_is_private_and_goes(tmp_path: Path) -> None:
    with scratch.private_folder(tmp_path / "tmp") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "file").write_bytes(b"sealed")
        assert scratch.clear(tmp_path / "tmp") == 0
    assert not folder.exists()
    assert scratch.clear(tmp_path / "none") == 0


def test_a_folder_that_was_made_and_never_held_goes(tmp_path: Path) -> None:
    (tmp_path / "lake-1").mkdir()
    (tmp_path / "lake-2").symlink_to(tmp_path / "lake-1")
    (tmp_path / "other").mkdir()
    assert scratch.clear(tmp_path) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lake.lock", "lake-2", "other"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", lambda *a, **k: refuse() if a[0].name.startswith("lake-") else None)
    with pytest.raises(StorageError) as refusal, scratch.private_folder(tmp_path):
        pass
    assert refusal.value.code == "storage.no-space"


def test_a_folder_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "a").mkdir()
    (tmp_path / "lake" / "loop").symlink_to("loop")
    store = FolderStore(tmp_path / "lake")
    for work in (lambda: store.read("a"), lambda: store.delete("a"), lambda: store.stat("loop/x")):
        with pytest.raises(StorageError):
            work()
    with pytest.raises(StorageError):
        list(store.list("loop"))
