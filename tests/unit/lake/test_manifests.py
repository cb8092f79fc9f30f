from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.support.crash import crash_everywhere, limit_file_size
from tests.support.processes import in_fork, race

from cloakhouse.errors import IntegrityError, StorageError
from cloakhouse.lake.manifests import read_manifest, read_named, write_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef

CONTENT = {"dataset": "people", "rows": 7, "name": "größer", "files": [{"b": 1, "a": 2}]}


def test_a_manifest_is_canonical_json_named_by_its_digest(tmp_path: Path) -> None:
    ref = write_manifest(FolderStore(tmp_path), "landing/people", "delivery", CONTENT)
    body = (tmp_path / ref.path).read_bytes()
    assert body == json.dumps(
        {**CONTENT, "format": 1, "kind": "delivery"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()  # fmt: skip
    assert ref.sha256 == hashlib.sha256(body).hexdigest()
    assert ref.path == f"landing/people/delivery-{ref.sha256[:16]}.json"
    assert read_manifest(FolderStore(tmp_path), ref, "delivery") == {**CONTENT, "format": 1, "kind": "delivery"}
    assert read_manifest(FolderStore(tmp_path), ref)["kind"] == "delivery"


def test_a_manifest_of_which_only_the_name_is_known_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked, real = FolderStore(tmp_path), list[str](), FolderStore.read
    ref = write_manifest(store, "landing/people", "delivery", CONTENT)

    def read(self: FolderStore, path: str) -> bytes:
        asked.append(path)
        return real(self, path)

    with monkeypatch.context() as counted:
        counted.setattr(FolderStore, "read", read)
        found = read_named(store, ref.path, "delivery")
    assert (found, asked) == ((ref, read_manifest(store, ref)), [ref.path])
    (tmp_path / ref.path).write_bytes((tmp_path / ref.path).read_bytes() + b" ")
    for path in (ref.path, "landing/people/none-0000000000000000.json"):
        with pytest.raises(IntegrityError):
            read_named(store, path)
    with pytest.raises(IntegrityError):
        read_named(store, write_manifest(store, "a", "delivery", CONTENT).path, "run")


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    ref = write_manifest(FolderStore(tmp_path), "a", "delivery", CONTENT)
    before = (tmp_path / ref.path).stat()
    assert write_manifest(FolderStore(tmp_path), "a", "delivery", dict(reversed(CONTENT.items()))) == ref
    after = (tmp_path / ref.path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_other_content_has_another_name(tmp_path: Path) -> None:
    refs = {
        write_manifest(FolderStore(tmp_path), "a", kind, {"rows": rows}).path for kind in ("x", "y") for rows in (1, 2)
    }
    assert len(refs) == 4


def test_an_altered_manifest_is_neither_read_nor_written_over(tmp_path: Path) -> None:
    ref = write_manifest(FolderStore(tmp_path), "a", "delivery", CONTENT)
    path = tmp_path / ref.path
    body = path.read_bytes()
    for at in range(len(body)):
        broken = bytearray(body)
        broken[at] ^= 1
        path.write_bytes(bytes(broken))
        with pytest.raises(IntegrityError) as refusal:
            read_manifest(FolderStore(tmp_path), ref)
        assert refusal.value.where == ref.path
    for broken_body in (b"", body[:-1], body + b" ", body + b"\n"):
        path.write_bytes(broken_body)
        with pytest.raises(IntegrityError):
            read_manifest(FolderStore(tmp_path), ref)
        with pytest.raises(IntegrityError):
            write_manifest(FolderStore(tmp_path), "a", "delivery", CONTENT)
        assert path.read_bytes() == broken_body


def test_a_missing_manifest_another_kind_and_another_format(tmp_path: Path) -> None:
    ref = write_manifest(FolderStore(tmp_path), "a", "delivery", CONTENT)
    with pytest.raises(IntegrityError) as refusal:
        read_manifest(FolderStore(tmp_path), ref, "landing")
    assert "kind landing" in refusal.value.expected
    body = b'{"format":2,"kind":"delivery"}'
    (tmp_path / "other.json").write_bytes(body)
    with pytest.raises(IntegrityError):
        read_manifest(FolderStore(tmp_path), ManifestRef("other.json", hashlib.sha256(body).hexdigest()))
    (tmp_path / ref.path).unlink()
    with pytest.raises(IntegrityError) as refusal:
        read_manifest(FolderStore(tmp_path), ref)
    assert refusal.value.found == "no file"


def test_racing_writers_write_one_whole_manifest_each(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.lake.store.folder import FolderStore
    from cloakhouse.lake.manifests import write_manifest
    ready()
    for number in range(20):
        print(write_manifest(FolderStore(Path(sys.argv[1])), "a", "x", {"number": number, "pad": "y" * 100_000}).path)
    """
    outputs = set(race(code, [[tmp_path]] * 8))
    assert len(outputs) == 1
    paths = outputs.pop().split()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(Path(path).name for path in paths)
    assert len(paths) == 20
    for path in paths:
        digest = hashlib.sha256((tmp_path / path).read_bytes()).hexdigest()
        read_manifest(FolderStore(tmp_path), ManifestRef(path, digest), "x")


def test_killed_at_every_step_a_manifest_is_whole_or_absent(tmp_path: Path) -> None:
    ref = write_manifest(FolderStore(tmp_path), "a", "x", CONTENT)

    def check(finished: bool) -> None:
        if finished or (tmp_path / ref.path).exists():
            read_manifest(FolderStore(tmp_path), ref)

    crash_everywhere(
        lambda: (tmp_path / ref.path).unlink(missing_ok=True),
        lambda: write_manifest(FolderStore(tmp_path), "a", "x", CONTENT) and None,
        check,
    )


def test_no_space_leaves_nothing(tmp_path: Path) -> None:
    def child() -> None:
        limit_file_size(1000)
        with pytest.raises(StorageError):
            write_manifest(FolderStore(tmp_path), "a", "x", {"pad": "y" * 5000})

    assert in_fork(child) == 0
    assert list((tmp_path / "a").iterdir()) == []
