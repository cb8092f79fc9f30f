from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.crash import crash_everywhere, limit_file_size, small_disk
from tests.support.processes import in_fork, race, start

from cloakhouse.errors import StageError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.files import create_once, locked, replacing
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.secret import SecretKey

OLD, NEW = b"the old file" * 100, b"THE NEW ONE!" * 200


def replace(path: Path, content: bytes = NEW) -> None:
    with replacing(path) as stream:
        stream.write(content)


def create(path: Path, content: bytes = NEW) -> None:
    create_once(path, content)


def visible(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".tmp")}


def test_replacing_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    replace(path, OLD)
    assert path.read_bytes() == OLD
    replace(path)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_failing_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace(path, OLD)

    def fail(error: BaseException) -> None:
        with replacing(path) as stream:
            stream.write(NEW)
            raise error

    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
        assert path.read_bytes() == OLD
        assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_create_once_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    assert create_once(path, OLD) is True
    assert create_once(path, NEW) is False
    assert path.read_bytes() == OLD
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("work", [replace, create])
def test_killed_at_every_step_a_new_file_is_whole_or_absent(work: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"

    def prepare() -> None:
        if path.parent.exists():
            for left in path.parent.iterdir():
                left.unlink()
            path.parent.rmdir()

    def check(finished: bool) -> None:
        if finished:
            assert path.exists()
        if path.exists():
            assert path.read_bytes() == NEW
        assert visible(tmp_path) <= {"file"}

    assert crash_everywhere(prepare, lambda: work(path), check) >= 9


def test_killed_at_every_step_a_replaced_file_is_the_old_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = set()

    def check(finished: bool) -> None:
        content = path.read_bytes()
        assert content in ((NEW,) if finished else (OLD, NEW))
        seen.add(content)

    crash_everywhere(lambda: replace(path, OLD), lambda: replace(path), check)
    assert seen == {OLD, NEW}


def test_killed_at_every_step_the_keystore_stays_whole(tmp_path: Path) -> None:
    store = tmp_path / "keystore"
    first = AgeKeyService(store).wrap(KeyName("first"), SecretKey(bytes(32)), {})
    whole = (store / "keystore.json").read_bytes()

    def check(finished: bool) -> None:
        service = AgeKeyService(store)
        assert service.unwrap(KeyName("first"), first, {}).reveal() == bytes(32)
        assert service.wrap(KeyName("second"), SecretKey(bytes(32)), {})
        (store / "keystore.json").write_bytes(whole)

    crash_everywhere(
        lambda: None,
        lambda: AgeKeyService(store).wrap(KeyName("second"), SecretKey(bytes(32)), {}) and None,
        check,
    )


@pytest.mark.parametrize("work", [replace, create])
def test_no_space_by_limit(work: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "file"

    def child() -> None:
        limit_file_size(64 << 10)
        with pytest.raises(StorageError) as refusal:
            work(path, bytes(1 << 20))
        assert refusal.value.code == "storage.no-space"
        assert refusal.value.retryable
        assert "free space" in refusal.value.remedy

    assert in_fork(child) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("work", [replace, create])
def test_no_space_on_a_full_disk(work: Callable[..., None], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 256 << 10) as mounted:
        path = tmp_path / "disk" / "file"

        def child() -> None:
            if not mounted:
                limit_file_size(256 << 10)
            replace(path, OLD)
            with pytest.raises(StorageError) as refusal:
                replace(path, bytes(1 << 20)) if work is replace else create(path.with_name("other"), bytes(1 << 20))
            assert refusal.value.code == "storage.no-space"

        assert in_fork(child) == 0
        assert path.read_bytes() == OLD
        assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("work", [replace, create])
def test_a_folder_that_is_a_file(work: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as refusal:
        work(tmp_path / "file" / "below")
    assert refusal.value.code == "storage.refused"


def test_of_eight_racing_writers_one_creates_the_file(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.files import create_once
    ready()
    for number in range(30):
        print(int(create_once(Path(sys.argv[1]) / str(number), (sys.argv[2] * 50_000).encode())), end="")
    """
    rows = race(code, [[tmp_path, writer] for writer in range(8)])
    for number in range(30):
        winners = [writer for writer, row in enumerate(rows) if row[number] == "1"]
        assert len(winners) == 1
        assert (tmp_path / str(number)).read_text() == str(winners[0]) * 50_000
    assert len(list(tmp_path.iterdir())) == 30


def test_a_lock_keeps_others_out_and_names_the_work(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "a.lock"
    with locked(lock, 1, "landing people"):
        started = time.monotonic()
        with pytest.raises(StageError) as refusal, locked(lock, 0.2, "landing people"):
            raise AssertionError("two at once")
        assert 0.2 <= time.monotonic() - started < 5
        assert (refusal.value.code, refusal.value.where) == ("stage.busy", "landing people")
        assert refusal.value.retryable
    with locked(lock, 0, "landing people"):
        pass


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    holder = start(
        """
        import sys
        from pathlib import Path
        from cloakhouse.keys.files import locked
        with locked(Path(sys.argv[1]), 1, "x"):
            print("held", flush=True)
            sys.stdin.read()
        """,
        lock,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StageError), locked(lock, 0.1, "x"):
        raise AssertionError("two at once")
    os.kill(holder.pid, 9)
    holder.wait()
    with locked(lock, 1, "x"):
        pass
    holder.communicate()


def test_a_lock_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError), locked(tmp_path / "file" / "a.lock", 0, "x"):
        raise AssertionError("no lock, no work")


def test_a_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), locked(tmp_path / "a.lock", 0, "x"):
        raise ValueError("x")
    with locked(tmp_path / "a.lock", 0, "x"):
        pass
