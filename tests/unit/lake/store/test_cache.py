"""Copies on the local disk: complete or not there, compared before they count, bounded."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import threading
import time
from pathlib import Path

import pytest
from tests.support.processes import in_fork

from cloakhouse.errors import StorageError
from cloakhouse.lake.store import cache as module
from cloakhouse.lake.store.cache import Cache
from cloakhouse.lake.store.copies import Copy, OtherContent, Wanted

CONTENT = b"sealed bytes" * 100
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Gives content, and counts how often."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked = 0

    def __call__(self, copy: Copy) -> None:
        self.asked += 1
        copy.begin()(b"a transfer that broke off")
        take = copy.begin()
        for start in range(0, len(self.content), 100):
            take(self.content[start : start + 100])


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 1 << 20)


def wanted(path: str = "zone/a", version: str = "", sha256: str | None = SHA256) -> Wanted:
    return Wanted("s3://lake", path, version, sha256)


def files(cache: Cache) -> list[Path]:
    return [path for path in cache.folder.rglob("*") if path.is_file()]


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_a_copy_is_fetched_once_and_nobody_elses_to_read(cache: Cache) -> None:
    server = Server()
    path = cache.get(wanted(), server)
    assert path.read_bytes() == CONTENT
    assert cache.get(wanted(), server) == path
    assert Cache(cache.folder, 1).get(wanted(), server) == path
    assert server.asked == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path.parent, cache.folder)] == [0o700, 0o700]
    assert "zone" not in str(path.relative_to(cache.folder))


def test_copies_of_other_objects_versions_and_stores_are_others(cache: Cache) -> None:
    others = [
        wanted(version="1", sha256=None),
        wanted(version="2", sha256=None),
        wanted("zone/b"),
        Wanted("s3://other", "zone/a", "", SHA256),
    ]
    assert len({cache.get(one, Server()) for one in others}) == 4
    assert cache.get(wanted(), Server()) in files(cache)


def test_a_version_without_a_known_digest_is_found_again(cache: Cache) -> None:
    server = Server()
    first = cache.get(wanted(version="etag", sha256=None), server)
    assert cache.get(wanted(version="etag", sha256=None), server) == first
    assert server.asked == 1
    assert cache.get(wanted(), server) == first  # the same content, by its digest


def test_other_bytes_than_expected_never_count(cache: Cache) -> None:
    with pytest.raises(OtherContent):
        cache.get(wanted(), Server(b"other"))
    assert files(cache) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_copy_is_fetched_again(cache: Cache, damage: str) -> None:
    server = Server()
    path = cache.get(wanted(), server)
    data = bytearray(CONTENT)
    data[7] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": CONTENT[:-1], "empty": b""}[damage])
    assert cache.get(wanted(), server).read_bytes() == CONTENT
    assert Cache(cache.folder, 1 << 20).get(wanted(), server).read_bytes() == CONTENT
    assert server.asked == 2


def test_what_the_server_refuses_passes_and_leaves_nothing(cache: Cache) -> None:
    def missing(copy: Copy) -> None:
        copy.begin()(b"half")
        raise FileNotFoundError("zone/a")

    with pytest.raises(FileNotFoundError):
        cache.get(wanted(), missing)
    assert files(cache) == []


def test_a_killed_fetch_leaves_what_the_next_one_clears(cache: Cache) -> None:
    def die(copy: Copy) -> None:
        copy.begin()(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_fork(lambda: cache.get(wanted(), die)) == -signal.SIGKILL
    assert len(files(cache)) == 1
    path = cache.get(wanted(), Server())
    assert files(cache) == [path]


def test_a_fetch_under_way_is_not_taken_for_a_leftover(cache: Cache) -> None:
    def load(copy: Copy) -> None:
        cache.trim()
        Server()(copy)

    assert cache.get(wanted(), load).read_bytes() == CONTENT


def test_a_fetch_whose_temporary_file_somebody_removed_is_repeated(cache: Cache) -> None:
    removals = [1, 1]

    def load(copy: Copy) -> None:
        Server()(copy)
        if removals and removals.pop():
            for path in files(cache):
                path.unlink()

    assert cache.get(wanted(), load).read_bytes() == CONTENT
    removals += [1] * 3
    with pytest.raises(StorageError):
        cache.get(wanted("zone/b"), load)


def test_the_least_recently_used_go_first(cache: Cache) -> None:
    paths = {name: cache.get(wanted(name), Server()) for name in "abcd"}
    for name, seconds in {"a": 500, "b": 400, "c": 300, "d": 1}.items():
        age(paths[name], seconds)
    fresh = Cache(cache.folder, len(CONTENT) * 2)
    fresh.get(wanted("a"), Server())  # now used
    fresh.trim()
    assert {name for name, path in paths.items() if path.exists()} == {"a", "d"}


def test_what_is_in_use_stays_beyond_the_limit(cache: Cache) -> None:
    small = Cache(cache.folder, 10)
    path = small.get(wanted(), Server())
    assert path.exists()
    other = small.get(wanted("zone/b"), Server())
    age(path, module.IN_USE_S + 1)
    small.get(wanted("zone/c"), Server())
    assert (path.exists(), other.exists()) == (False, True)


def test_dropping_forgets_every_version_of_one_object(cache: Cache) -> None:
    cache.get(wanted(version="1", sha256=None), Server(b"1"))
    cache.get(wanted(), Server())
    other = cache.get(wanted("zone/b"), Server())
    cache.drop(wanted())
    cache.drop(wanted("zone/none"))
    assert files(cache) == [other]


def test_foreign_files_in_the_folder_do_no_harm(cache: Cache) -> None:
    path = cache.get(wanted(), Server())
    (path.parent / "README").write_text("hello")
    (cache.folder / "file").write_text("hello")
    (path.parent / "x.tmp").symlink_to("/etc/passwd")
    cache.trim()
    assert cache.get(wanted(), Server()) == path
    assert Path("/etc/passwd").exists()


def test_a_folder_that_can_not_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError):
        Cache(tmp_path / "file", 1 << 20).get(wanted(), Server())


def test_many_threads_and_processes_share_a_folder(cache: Cache) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for number in range(20):
                mine = Cache(cache.folder, len(CONTENT) * 3)
                assert mine.get(wanted(f"zone/{number % 5}"), Server()).read_bytes() == CONTENT
        except BaseException as fault:  # noqa: BLE001
            errors.append(fault)

    def child() -> None:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not errors, errors

    assert in_fork(child) == 0
    child()
