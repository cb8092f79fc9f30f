from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloakhouse.errors import StorageError
from cloakhouse.sample.files import write_whole


def test_write_whole_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "feed.csv"
    assert write_whole(path, b"first") == 5
    assert write_whole(path, b"second one") == 10
    assert path.read_bytes() == b"second one"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "feed.csv"
    write_whole(path, b"old")
    during: list[str] = []

    def full_disk(_: int) -> None:
        during.extend(entry.name for entry in tmp_path.iterdir() if entry != path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError) as refused:
        write_whole(path, b"new")
    assert "No space left" in refused.value.found
    assert [(name[0], name[-4:]) for name in during] == [(".", ".tmp")]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
