"""Re-wrapping the key of a landed file: the data stays, readers go on, and it may end at any byte."""

from __future__ import annotations

import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.crash import crash_everywhere, limit_file_size
from tests.support.processes import in_fork, race

from cloakhouse.errors import IntegrityError, KeyServiceError, StageError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake import slots
from cloakhouse.lake.landed import LandedObject, landing, opened, rewrap
from cloakhouse.lake.slots import AREA, SLOT
from cloakhouse.lake.store.folder import FolderStore

TARGET = LandedObject("people", "2017-01-02", "abc.chl")
PLAIN = b"id,name\n1,Zwetschgenhuber\n"
SECTOR = 512  # bytes that a disk writes in one step, at least


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(AgeKeyService(tmp_path / "keystore"), tmp_path / "dataset-keys")


@pytest.fixture
def path(tmp_path: Path, ring: KeyRing) -> Path:
    """A landed file in `tmp_path`, the lake."""
    with landing(FolderStore(tmp_path), TARGET, ring) as writer:
        writer.write(PLAIN)
    return tmp_path / TARGET.path


def get(lake: Path, ring: KeyRing) -> bytes:
    with opened(FolderStore(lake), TARGET, ring) as stream:
        return stream.read()


def serials(path: Path) -> tuple[int, int]:
    """Return the serial of each slot, 0 where it is all zero; fail for a slot that is neither."""
    found = []
    for place in (0, 1):
        raw = path.read_bytes()[place * SLOT : (place + 1) * SLOT]
        slot = slots.newest(raw)
        assert slot is not None or not any(raw)
        found.append(slot.serial if slot else 0)
    return found[0], found[1]


def test_only_the_header_changes_and_the_slots_take_turns(tmp_path: Path, ring: KeyRing, path: Path) -> None:
    stream, inode = path.read_bytes()[AREA:], path.stat().st_ino
    for expected in ((0, 2), (3, 0), (0, 4)):
        ring.rotate(TARGET.key)
        assert rewrap(FolderStore(tmp_path), TARGET, ring) is True
        assert serials(path) == expected
        assert (path.read_bytes()[AREA:], path.stat().st_ino) == (stream, inode)
        assert get(tmp_path, ring) == PLAIN
    ring.retire(TARGET.key, ring.newest(TARGET.key))
    ring.forget()
    assert get(tmp_path, ring) == PLAIN


def test_a_file_under_the_newest_key_is_not_written(tmp_path: Path, ring: KeyRing, path: Path) -> None:
    before, status = path.read_bytes(), path.stat()
    for _ in range(2):
        assert rewrap(FolderStore(tmp_path), TARGET, ring) is False
    ring.rotate(TARGET.key)
    assert rewrap(FolderStore(tmp_path), TARGET, ring) is True
    after, changed = path.read_bytes(), path.stat().st_mtime_ns
    assert before != after
    assert rewrap(FolderStore(tmp_path), TARGET, ring) is False
    assert path.read_bytes() == after
    assert (status.st_mtime_ns < changed, path.stat().st_mtime_ns) == (True, changed)


def test_a_file_that_was_not_re_wrapped_closes_with_its_dataset_keys_version(
    tmp_path: Path, ring: KeyRing, path: Path
) -> None:
    ring.rotate(TARGET.key)
    ring.retire(TARGET.key, 2)
    for work in (lambda: get(tmp_path, ring), lambda: rewrap(FolderStore(tmp_path), TARGET, ring)):
        with pytest.raises(KeyServiceError) as refusal:
            work()
        assert refusal.value.code == "key.missing"


def states_of_a_torn_disk(old: bytes, new: bytes) -> Iterator[bytes]:
    """Yield what may stand in a slot after a crash while it changes from `old` to `new`: cut at each byte, or any mix
    of sectors."""
    for cut in range(SLOT + 1):
        yield new[:cut] + old[cut:]
    dice = random.Random(1)
    for _ in range(300):
        sectors = [dice.choice((old, new))[at : at + SECTOR] for at in range(0, SLOT, SECTOR)]
        yield b"".join(sectors)


@pytest.mark.parametrize("turns", [0, 1])
def test_torn_at_any_byte_the_file_opens_and_the_next_time_finishes_it(
    tmp_path: Path, ring: KeyRing, path: Path, turns: int
) -> None:
    for _ in range(turns):  # so that the other slot is the one that changes
        ring.rotate(TARGET.key)
        rewrap(FolderStore(tmp_path), TARGET, ring)
    before = path.read_bytes()
    ring.rotate(TARGET.key)
    rewrap(FolderStore(tmp_path), TARGET, ring)
    after, zeros = path.read_bytes(), bytes(SLOT)
    old_at, new_at = (SLOT, 0) if turns else (0, SLOT)
    old, new = before[old_at : old_at + SLOT], after[new_at : new_at + SLOT]
    first = [(old, torn) for torn in states_of_a_torn_disk(zeros, new)]
    second = [(torn, new) for torn in states_of_a_torn_disk(old, zeros)]
    for number, (at_old, at_new) in enumerate(first + second):
        handle = os.open(path, os.O_WRONLY)
        os.pwrite(handle, at_old, old_at)
        os.pwrite(handle, at_new, new_at)
        os.close(handle)
        assert get(tmp_path, ring) == PLAIN
        if number % 97 == 0:
            assert rewrap(FolderStore(tmp_path), TARGET, ring) is (at_new != new)
            assert 0 in serials(path)
            assert get(tmp_path, ring) == PLAIN


def torn_pwrite(handle: int, data: Any, at: int) -> int:
    """Write as os.pwrite does, through a stream that the crash tests can stop halfway."""
    with os.fdopen(os.dup(handle), "r+b") as stream:
        stream.seek(at)
        return stream.write(data)


def test_killed_at_every_step_the_file_opens_and_the_next_time_finishes_it(
    tmp_path: Path, ring: KeyRing, path: Path
) -> None:
    before = path.read_bytes()
    ring.rotate(TARGET.key)
    assert ring.newest(TARGET.key) == 2

    def prepare() -> None:
        path.write_bytes(before)

    def work() -> None:
        os.pwrite = torn_pwrite  # in a child of its own
        assert rewrap(FolderStore(tmp_path), TARGET, ring) is True

    def check(finished: bool) -> None:
        assert get(tmp_path, ring) == PLAIN
        again = rewrap(FolderStore(tmp_path), TARGET, ring)
        assert not (again and finished)
        assert serials(path) == (0, 2)
        assert get(tmp_path, ring) == PLAIN
        assert path.read_bytes()[AREA:] == before[AREA:]

    assert crash_everywhere(prepare, work, check) >= 8  # open, two halves and fsync for each slot, close


@pytest.mark.parametrize("room", [SLOT, SLOT + 100, AREA - 1])
def test_a_disk_that_refuses_leaves_the_file_as_it_opened(tmp_path: Path, ring: KeyRing, path: Path, room: int) -> None:
    ring.rotate(TARGET.key)

    def child() -> None:
        limit_file_size(room)
        with pytest.raises(StorageError) as refusal:
            rewrap(FolderStore(tmp_path), TARGET, ring)
        assert refusal.value.code == "storage.no-space"
        assert "opens as before" in refusal.value.not_done
        assert get(tmp_path, ring) == PLAIN

    assert in_fork(child) == 0
    assert get(tmp_path, ring) == PLAIN
    assert rewrap(FolderStore(tmp_path), TARGET, ring) is True
    assert serials(path) == (0, 2)


def test_readers_in_other_processes_never_fail_while_keys_are_rotated_and_retired(
    tmp_path: Path, ring: KeyRing, path: Path
) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from cloakhouse.lake.store.folder import FolderStore
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.ring import KeyRing
    from cloakhouse.lake.landed import LandedObject, opened, rewrap
    folder, role, target = Path(sys.argv[1]), sys.argv[2], LandedObject("people", "2017-01-02", "abc.chl")
    ring = KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")
    ready()
    count, until = 0, time.monotonic() + 4
    while time.monotonic() < until:
        if role == "read":
            with opened(FolderStore(folder), target, ring) as stream:
                assert stream.read().startswith(b"id,name")
            count += 1
        else:
            ring.rotate(target.key)
            count += rewrap(FolderStore(folder), target, ring)
            ring.retire(target.key, ring.newest(target.key))
    print(count)
    """
    read, again, changed = map(int, race(code, [[tmp_path, role] for role in ("read", "read", "change")]))
    assert min(read, again) > 50
    assert changed > 20
    assert get(tmp_path, ring) == PLAIN
    assert sorted(serials(path)) == [0, changed + 1]


def test_of_many_re_wrappers_one_does_it(tmp_path: Path, ring: KeyRing, path: Path) -> None:
    ring.rotate(TARGET.key)
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.lake.store.folder import FolderStore
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.ring import KeyRing
    from cloakhouse.lake.landed import LandedObject, rewrap
    folder = Path(sys.argv[1])
    ring = KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")
    ready()
    print(rewrap(FolderStore(folder), LandedObject("people", "2017-01-02", "abc.chl"), ring))
    """
    assert sorted(line.strip() for line in race(code, [[tmp_path]] * 4)) == ["False"] * 3 + ["True"]
    assert serials(path) == (0, 2)
    assert get(tmp_path, ring) == PLAIN


def test_a_reader_stopped_between_the_slots_reads_again_when_nobody_writes(
    tmp_path: Path, ring: KeyRing, path: Path
) -> None:
    """It saw slot 1 before the new header stood there, and slot 0 after the old one was cleared: neither."""
    sound = path.read_bytes()[:SLOT]
    writer = os.open(path, os.O_RDWR)
    fcntl.flock(writer, fcntl.LOCK_EX)
    os.pwrite(writer, bytes(AREA), 0)

    def finish() -> None:
        os.pwrite(writer, sound, 0)
        os.close(writer)

    timer = threading.Timer(0.3, finish)
    timer.start()
    started = time.monotonic()
    assert get(tmp_path, ring) == PLAIN
    assert time.monotonic() - started > 0.2
    timer.join()


def test_a_reader_overtaken_by_a_retired_key_takes_the_new_header(
    tmp_path: Path, ring: KeyRing, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = slots.newest(path.read_bytes()[:AREA])
    ring.rotate(TARGET.key)
    rewrap(FolderStore(tmp_path), TARGET, ring)
    ring.retire(TARGET.key, 2)
    real, answers = slots.read, [stale]
    monkeypatch.setattr(slots, "read", lambda handle, path: answers.pop() if answers else real(handle, path))
    assert get(tmp_path, ring) == PLAIN
    assert answers == []


def test_a_lock_that_is_never_given_back_ends_the_wait(
    tmp_path: Path, ring: KeyRing, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "LOCK_WAIT_S", 0.1)
    before = path.read_bytes()
    holder = os.open(path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(StageError) as refusal:
        rewrap(FolderStore(tmp_path), TARGET, ring)
    assert refusal.value.code == "stage.busy"
    assert refusal.value.retryable
    assert get(tmp_path, ring) == PLAIN  # readers need no lock
    os.close(holder)
    assert path.read_bytes() == before
    assert rewrap(FolderStore(tmp_path), TARGET, ring) is False


def test_what_does_not_open_is_not_touched(tmp_path: Path, ring: KeyRing, path: Path) -> None:
    ring.rotate(TARGET.key)
    sound = path.read_bytes()
    content = slots.newest(sound[:AREA])
    assert content is not None
    wrapped_at = content.content.index(b'"wrapped": "') + 60
    other = content.content[:wrapped_at] + b"AAAA" + content.content[wrapped_at + 4 :]
    forged = sound[:SLOT] + slots._packed(9, other) + sound[AREA:]
    for broken in (b"", b"CHL1", b"id,name\n", bytes(AREA), sound[:100], bytes(AREA) + sound[AREA:], forged):
        path.write_bytes(broken)
        with pytest.raises((IntegrityError, KeyServiceError)):
            rewrap(FolderStore(tmp_path), TARGET, ring)
        assert path.read_bytes() == broken
    path.unlink()
    with pytest.raises(IntegrityError) as refusal:
        rewrap(FolderStore(tmp_path), TARGET, ring)
    assert refusal.value.found == "no file"
    assert not path.exists()
    path.mkdir()
    with pytest.raises(StorageError):
        rewrap(FolderStore(tmp_path), TARGET, ring)


def test_a_header_too_long_for_its_slot_is_never_written() -> None:
    assert slots.newest(slots.first(bytes(slots.ROOM))) == slots.Slot(0, 1, bytes(slots.ROOM))
    with pytest.raises(ValueError, match="at most"):
        slots.first(bytes(slots.ROOM + 1))


def test_the_longest_names_fit(tmp_path: Path, ring: KeyRing) -> None:
    target = LandedObject("x" * 63, "2017-01-02", "a" * 200 + ".chl")
    with landing(FolderStore(tmp_path), target, ring) as writer:
        writer.write(PLAIN)
    with opened(FolderStore(tmp_path), target, ring) as stream:
        assert stream.read() == PLAIN
