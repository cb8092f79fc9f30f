"""One behaviour suite over every object store. What a server lacks is skipped by name: `tests.support.stores.LACKS`."""

from __future__ import annotations

import datetime as dt
import hashlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import in_fork
from tests.support.stores import PARAMETERS, SERVERS, needs, settings_on

from cloakhouse.errors import IntegrityError, StorageError
from cloakhouse.keys.files import new_file
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.settings import Settings

MIB = 1 << 20


@pytest.fixture(params=PARAMETERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("TMPDIR", raising=False)
    return settings_on(name, tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return open_store(settings)


def put(store: ObjectStore, path: str, content: bytes) -> None:
    with store.staged(path) as local, new_file(local) as stream:
        stream.write(content)


def everything_local(settings: Settings) -> set[str]:
    """Return the files that lie below home, but the store's own and locks."""
    home = settings.home
    files = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    return {name for name in files if not name.startswith(("lake/", "locks/", "cache/")) and ".lock" not in name}


def raced(work: Callable[[int], Any], count: int) -> list[Any]:
    """Return what `work(number)` returns in each of `count` processes that begin at the same moment."""
    context = multiprocessing.get_context("fork")
    barrier, answers = context.Barrier(count), context.Queue()

    def child(number: int) -> None:
        barrier.wait(30)
        answers.put(work(number))

    children = [context.Process(target=child, args=(number,)) for number in range(count)]
    for process in children:
        process.start()
    found = [answers.get(timeout=60) for _ in children]
    for process in children:
        process.join(30)
    assert [process.exitcode for process in children] == [0] * count
    return found


def test_it_is_an_object_store_that_can_travel(store: ObjectStore) -> None:
    assert isinstance(store, ObjectStore)
    put(store, "zone/a", b"there")
    moved: ObjectStore = pickle.loads(pickle.dumps(store))
    assert (moved.uri, moved.read("zone/a")) == (store.uri, b"there")
    assert "SECRET" not in repr(store).upper()


def test_what_is_made_is_there_until_it_is_deleted(store: ObjectStore) -> None:
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    assert store.create("zone/set/a.json", b"content")
    found = store.stat("zone/set/a.json")
    assert found is not None
    assert (found.path, found.bytes) == ("zone/set/a.json", 7)
    assert before <= found.modified <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
    assert store.read("zone/set/a.json") == b"content"
    assert store.fetched("zone/set/a.json").read_bytes() == b"content"
    assert store.delete("zone/set/a.json")
    assert not store.delete("zone/set/a.json")
    assert store.stat("zone/set/a.json") is None
    assert list(store.list()) == []


def test_what_is_made_once_stays(store: ObjectStore) -> None:
    assert store.create("zone/a", b"first")
    assert not store.create("zone/a", b"second")
    assert not store.create("zone/a", b"first")
    assert store.read("zone/a") == b"first"


def test_of_eight_racing_makers_one_wins(store: ObjectStore) -> None:
    won = raced(lambda number: (store.create("zone/raced", b"%d" % number), number), 8)
    (winner,) = [number for made, number in won if made]
    assert store.read("zone/raced") == b"%d" % winner


@pytest.mark.parametrize("name", SERVERS)
def test_of_racing_makers_of_two_homes_one_wins(name: str, store: ObjectStore, tmp_path: Path) -> None:
    """Two machines share no lock: only the server can decide."""
    needs(name, "conditional writes")
    homes = [replace(store, locks=tmp_path / f"locks-{n}") for n in range(6)]  # type: ignore[type-var]
    won = raced(lambda number: (homes[number].create("zone/raced", b"%d" % number), number), 6)
    (winner,) = [number for made, number in won if made]
    assert store.read("zone/raced") == b"%d" % winner


def test_what_is_missing_is_said(store: ObjectStore) -> None:
    assert store.stat("zone/none") is None
    assert not store.delete("zone/none")
    with pytest.raises(FileNotFoundError):
        store.read("zone/none")
    with pytest.raises(FileNotFoundError):
        store.fetched("zone/none").read_bytes()
    with pytest.raises(FileNotFoundError), store.edited("zone/none") as local:
        local.read_bytes()
    assert list(store.list("zone")) == []
    assert store.clear_leftovers("zone") == 0


def test_a_staged_object_replaces_in_one_step(store: ObjectStore, settings: Settings) -> None:
    with store.staged("zone/a") as local:
        assert not local.exists()
        with new_file(local) as stream:
            stream.write(b"old")
        assert store.stat("zone/a") is None
    with store.staged("zone/a") as local, new_file(local) as stream:
        stream.write(b"new")
        stream.flush()
        assert store.read("zone/a") == b"old"
    assert store.read("zone/a") == b"new"
    assert everything_local(settings) == set()


def test_a_staged_object_whose_block_fails_never_appears(store: ObjectStore, settings: Settings) -> None:
    def fail() -> None:
        with store.staged("zone/a") as local, new_file(local) as stream:
            stream.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.stat("zone/a") is None
    assert list(store.list()) == []
    assert everything_local(settings) == set()
    with pytest.raises(StorageError), store.staged("zone/b"):
        pass  # nothing was written
    assert store.stat("zone/b") is None


def test_no_reader_sees_half_an_object(store: ObjectStore) -> None:
    contents = [bytes([n]) * (MIB + n) for n in range(6)]
    put(store, "zone/a", contents[0])
    ends = threading.Event()
    seen: list[bytes] = []

    def look() -> None:
        while not ends.is_set():
            seen.append(store.read("zone/a"))

    reader = threading.Thread(target=look)
    reader.start()
    for content in contents[1:]:
        put(store, "zone/a", content)
    ends.set()
    reader.join(30)
    assert seen
    assert {hashlib.sha256(s).digest() for s in seen} <= {hashlib.sha256(c).digest() for c in contents}


@pytest.mark.parametrize("size", [0, 1, 16 * MIB, 40 * MIB], ids=["empty", "one", "part", "parts"])
def test_objects_of_every_size(store: ObjectStore, name: str, size: int) -> None:
    if name == "folder":
        size //= 16
    content = os.urandom(MIB) * (size // MIB) + b"x" * (size % MIB)
    put(store, "zone/a", content)
    found = store.stat("zone/a")
    assert found is not None
    assert found.bytes == size
    copy = store.fetched("zone/a", hashlib.sha256(content).hexdigest())
    assert hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(content).digest()


def test_an_object_larger_than_what_is_read_whole_is_refused(store: ObjectStore) -> None:
    put(store, "zone/a", b"12345")
    assert store.read("zone/a", 5) == b"12345"
    with pytest.raises(IntegrityError) as refusal:
        store.read("zone/a", 4)
    assert (refusal.value.where, refusal.value.expected) == ("zone/a", "at most 4 bytes")


def test_a_listing_is_flat_and_of_one_folder(store: ObjectStore) -> None:
    paths = ["a/1", "a/b/1", "a/b/c/1", "a/b-x/1", "ab/1", "b/1"]
    for number, path in enumerate(paths):
        store.create(path, b"x" * number)
    assert {(i.path, i.bytes) for i in store.list()} == {(p, n) for n, p in enumerate(paths)}
    assert sorted(i.path for i in store.list("a")) == ["a/1", "a/b-x/1", "a/b/1", "a/b/c/1"]
    assert sorted(i.path for i in store.list("a/b")) == ["a/b/1", "a/b/c/1"]
    assert list(store.list("c")) == []


def test_names_that_differ_in_case_are_two_objects(store: ObjectStore) -> None:
    assert store.create("zone/Set/A.json", b"upper")
    assert store.create("zone/set/a.json", b"lower")
    assert (store.read("zone/Set/A.json"), store.read("zone/set/a.json")) == (b"upper", b"lower")
    assert store.delete("zone/Set/A.json")
    assert store.read("zone/set/a.json") == b"lower"


ODD = [
    "",
    "/etc/passwd",
    "../a",
    "a/../b",
    "a//b",
    "a/",
    "/a",
    "./a",
    "a/.hidden",
    "a b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a%2fb",
]
ODD += [
    "caf\u00e9",
    "\u0430/b",
    "a\u2215b",
    "a\uff0fb",
    "a/\u202eb",
    "a?b",
    "a#b",
    "a*b",
    "a" * 256,
    "/".join(["a" * 100] * 10),
]


@pytest.mark.parametrize("path", ODD)
def test_odd_names_are_refused_by_every_method(path: str, store: ObjectStore, settings: Settings) -> None:
    def enter(of: Callable[[str], Any]) -> None:
        with of(path):
            pass

    methods: list[Callable[[], object]] = [
        lambda: enter(store.staged),
        lambda: enter(store.edited),
        lambda: store.create(path, b""),
        lambda: store.read(path),
        lambda: store.fetched(path),
        lambda: store.stat(path),
        lambda: store.delete(path),
    ]
    if path:
        methods += [lambda: list(store.list(path)), lambda: store.clear_leftovers(path)]
    for method in methods:
        with pytest.raises(IntegrityError) as refusal:
            method()
        assert refusal.value.code == "integrity.path"
    assert not settings.lake.exists()


def test_an_edit_is_seen_when_it_ends(store: ObjectStore) -> None:
    put(store, "zone/a", b"0123456789")
    with store.edited("zone/a") as local, local.open("r+b") as stream:
        stream.seek(3)
        stream.write(b"xyz")
    assert store.read("zone/a") == b"012xyz6789"
    assert store.fetched("zone/a").read_bytes() == b"012xyz6789"
    with store.edited("zone/a") as local:
        assert local.read_bytes() == b"012xyz6789"
    assert store.read("zone/a") == b"012xyz6789"


def test_edits_of_many_processes_all_count(store: ObjectStore) -> None:
    import fcntl

    put(store, "zone/counter", b"0")

    def add(_: int) -> None:
        for _ in range(3):
            with store.edited("zone/counter") as local, local.open("r+b") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                number = int(stream.read())
                stream.seek(0)
                stream.write(b"%d" % (number + 1))
                stream.flush()

    raced(add, 5)
    assert store.read("zone/counter") == b"15"


def test_a_killed_writer_leaves_nothing_visible_and_what_is_left_goes(
    name: str, store: ObjectStore, settings: Settings
) -> None:
    def die() -> None:
        with store.staged("zone/set/killed.bin") as local, new_file(local) as stream:
            stream.write(b"half" * 1000)
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    store.create("zone/set/other", b"stays")
    assert in_fork(die) == -signal.SIGKILL
    assert [i.path for i in store.list()] == ["zone/set/other"]
    with store.staged("zone/other/alive.bin") as local, new_file(local) as stream:
        stream.write(b"alive")
        assert store.clear_leftovers("zone/set") == 1
    assert store.read("zone/other/alive.bin") == b"alive"
    assert store.clear_leftovers("zone/set") == 0
    assert everything_local(settings) == set()
    assert [i.path for i in store.list("zone/set")] == ["zone/set/other"]


@pytest.mark.parametrize("name", SERVERS)
def test_a_listing_has_flat_memory(store: ObjectStore) -> None:
    import tracemalloc

    from cloakhouse.lake.store.s3_uploads import Upload

    for number in range(1_100):
        Upload(store.calls, f"zone/{number:04d}", b"").run()  # type: ignore[attr-defined]
    started = time.monotonic()
    tracemalloc.start()
    found = sum(1 for _ in store.list("zone"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == 1_100
    assert peak < 12 * MIB
    assert time.monotonic() - started < 60
