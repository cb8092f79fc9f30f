"""Bags: what is packed is what is unpacked, marked as a copy, and nothing of another form is unpacked at all."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.errors import IntegrityError, StorageError
from cloakhouse.keys import copied
from cloakhouse.settings import Settings
from cloakhouse.stages import carried
from cloakhouse.stages.backup_names import is_lasting
from cloakhouse.stages.carried import Contents


@pytest.fixture
def bag(tmp_path: Path) -> bytes:
    (tmp_path / "key").write_text("wrapped")
    (tmp_path / "policy").write_text("roles: {}")
    files = {"dataset-keys/protected/direct/customers.json": tmp_path / "key", "access.yaml": tmp_path / "policy"}
    return Contents(files, {"control": "abc"}).pack()


def archive(**members: bytes) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(name), content)
    return body.getvalue()


def test_what_is_packed_is_unpacked_for_its_owner_alone(bag: bytes, tmp_path: Path) -> None:
    home = carried.unpack(bag, tmp_path)
    assert (home / "dataset-keys/protected/direct/customers.json").read_text() == "wrapped"
    assert (home / "access.yaml").read_text() == "roles: {}"
    assert carried.facts_of(home)["control"] == "abc"
    for name in carried.KEYS:
        assert (home / name / copied.NAME).exists(), "marked, also where nothing was packed"
    for path in (home, *(path for path in home.rglob("*") if path.is_file())):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_packing_twice_gives_the_same_bytes(bag: bytes, tmp_path: Path) -> None:
    home = carried.unpack(bag, tmp_path)
    name = "dataset-keys/protected/direct/customers.json"
    again = Contents({name: home / name, "access.yaml": home / "access.yaml"}, {"control": "abc"}).pack()
    assert carried.digest_of(again) == carried.digest_of(bag)


def test_a_home_that_is_there_stays(bag: bytes, tmp_path: Path) -> None:
    home = carried.unpack(bag, tmp_path)
    (home / "access.yaml").write_text("changed")
    assert carried.unpack(bag, tmp_path) == home
    assert (home / "access.yaml").read_text() == "changed"


@pytest.mark.parametrize(
    "raw",
    [
        b"no archive",
        archive(),
        archive(**{"access.yaml": b""}),
        archive(**{"job.json": b"{}", "../outside": b""}),
        archive(**{"job.json": b"{}", "/etc/outside": b""}),
        archive(**{"job.json": b"{}", "dataset-keys/../../outside": b""}),
        archive(**{"job.json": b"{}", "bin/sh": b""}),
    ],
)
def test_an_archive_of_another_form_is_not_unpacked(raw: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as refused:
        carried.unpack(raw, tmp_path)
    assert refused.value.code == "integrity.bag"
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_grows_beyond_bounds_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried, "LIMIT", 100)
    with pytest.raises(IntegrityError):
        carried.unpack(archive(**{"job.json": b"{}", "access.yaml": b"0" * 200}), tmp_path)


def test_a_bag_is_in_no_backup() -> None:
    """It ends with its job; and a key that was destroyed must not come back from it."""
    assert not is_lasting(f"{carried.FOLDER}/pseudonymize/customers/0a/{carried.ARCHIVE}")
    assert is_lasting("protected/customers/customers/x.parquet")


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Contents({"access.yaml": tmp_path / "none"}, {}).pack()


def test_workers_unpack_a_home_of_their_own(bag: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark import SparkFiles

    at_worker = tmp_path / "worker"
    at_worker.mkdir()
    name = f"{carried.HOME}{carried.digest_of(bag)[:16]}"
    (at_worker / f"{name}.zip").write_bytes(bag)
    (at_worker / f"{carried.HOME}{'0' * 16}").mkdir()  # of a job before
    monkeypatch.setattr(SparkFiles, "_is_running_on_worker", True)
    monkeypatch.setattr(SparkFiles, "_root_directory", str(at_worker))
    driver = replace(Settings.from_environment({}), home=tmp_path / "driver" / name, store="s3://lake")
    for _ in range(2):
        settings = carried.worker_settings(driver.for_workers())
        assert settings.home == at_worker / name
        assert json.loads((settings.home / carried.FACTS).read_text())["control"] == "abc"
        assert settings.contracts == settings.home / "contracts"
        assert (settings.store, settings.database) == ("s3://lake", "")


def test_a_worker_that_got_another_bag_refuses_it(bag: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark import SparkFiles

    name = f"{carried.HOME}{'0' * 16}"
    (tmp_path / f"{name}.zip").write_bytes(bag)
    monkeypatch.setattr(SparkFiles, "_is_running_on_worker", True)
    monkeypatch.setattr(SparkFiles, "_root_directory", str(tmp_path))
    driver = replace(Settings.from_environment({}), home=tmp_path / "driver" / name)
    with pytest.raises(IntegrityError) as refused:
        carried.worker_settings(driver.for_workers())
    assert refused.value.code == "integrity.bag"


def test_workers_of_a_driver_at_home_have_its_home(tmp_path: Path) -> None:
    settings = replace(Settings.from_environment({}), home=tmp_path)
    assert carried.worker_settings(settings.for_workers()).home == tmp_path
