"""What killed syntheses left goes, and nothing that a manifest or a release names."""

from __future__ import annotations

from pathlib import Path

from tests.support.versions import NAME, Shelf, release

from cloakhouse.stages.leftovers import none_left

RUN = f"{'e' * 12}-00000001"


def test_folders_that_nothing_names_go(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    shelf.publish()
    left = [shelf.put(f"{zone}/{NAME}/{RUN}/part-00000.parquet") for zone in ("views", "synthetic")]
    with none_left(shelf.store, NAME, f"{'f' * 12}-00000002"):
        assert not shelf.files() & set(left)
        assert {entry.path for entry in release(1).files} < shelf.files()


def test_what_is_published_stays_when_the_manifest_of_its_synthesis_is_lost(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    shelf.publish()
    [manifest] = (shelf.settings.lake / f"synthetic/{NAME}").glob("synthesis-*.json")
    manifest.unlink()
    left = shelf.put(f"synthetic/{NAME}/{RUN}/part-00000.parquet")
    with none_left(shelf.store, NAME, f"{'f' * 12}-00000002"):
        assert left not in shelf.files()
        assert {entry.path for entry in release(1).files} < shelf.files()


def test_a_damaged_release_keeps_no_run_waiting(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    shelf.publish()
    for number, text in enumerate((b"{", b"[]", b'{"payload": 1}')):
        shelf.store.create(f"synthetic/{NAME}/releases/{number:08}-{'0' * 16}.json", text)
    left = shelf.put(f"synthetic/{NAME}/{RUN}/part-00000.parquet")
    with none_left(shelf.store, NAME, f"{'f' * 12}-00000002"):
        assert left not in shelf.files()
        assert {entry.path for entry in release(1).files} < shelf.files()
