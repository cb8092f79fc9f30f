"""The archive: the same rows twice, byte for byte the same each time, and nothing plain on a disk meanwhile."""

from __future__ import annotations

import csv
import io
import json
import resource
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloakhouse.stages.subject_archive import OTHERS, Page, Rows, archive

ROWS: list[dict[str, Any]] = [
    {"a": 1, "b": 'x, "y"\r\nz', "c": None},
    {"a": -2, "b": "ä€", "d": {"n": [1, 2]}, "c": True},
    {"b": "\ud800 alone", "c": 1.5},
    {"a": float("nan"), "b": "=1+1"},
]


def made(spill: Path, rows: Any = None) -> bytes:
    parts = [Rows("landed/people", ("a", "b", "c"), ROWS if rows is None else rows), Page("about.html", b"<p>")]
    return b"".join(archive(parts, spill))


def test_json_and_csv_hold_the_same_rows(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(made(tmp_path))) as file:
        assert file.testzip() is None
        assert file.namelist() == ["landed/people.json", "landed/people.csv", "about.html"]
        found = json.loads(file.read("landed/people.json"))
        table = list(csv.DictReader(io.StringIO(file.read("landed/people.csv").decode(), newline="")))
    assert found[:3] == ROWS[:3]
    assert found[3] == {"a": "NaN", "b": "=1+1"}
    assert [row["b"] for row in table] == [ROWS[0]["b"], "ä€", "\\ud800 alone", "=1+1"]
    assert [row["c"] for row in table] == ["", "true", "1.5", ""]
    assert [json.loads(row[OTHERS] or "null") for row in table] == [None, {"d": {"n": [1, 2]}}, None, None]


def test_the_same_rows_are_the_same_bytes_and_no_rows_are_an_empty_list(tmp_path: Path) -> None:
    assert made(tmp_path) == made(tmp_path)
    with zipfile.ZipFile(io.BytesIO(made(tmp_path, []))) as file:
        assert json.loads(file.read("landed/people.json")) == []
        assert file.read("landed/people.csv") == b"a,b,c,other_fields\r\n"


def test_the_spill_holds_no_plain_byte_and_has_no_name(tmp_path: Path) -> None:
    seen = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(40_000):
            if number == 39_999:  # what waits for the CSV is in the file by now
                for handle in Path("/proc/self/fd").iterdir():
                    if handle.is_file() and "(deleted)" in str(handle.readlink()):
                        seen.append(handle.read_bytes())
            yield {"a": number, "b": "marker-of-a-person"}

    made(tmp_path, rows())
    assert max(map(len, seen)) > 500_000
    assert not any(b"marker-of-a-person" in content for content in seen)
    assert list(tmp_path.iterdir()) == []


def test_memory_stays_flat(tmp_path: Path) -> None:
    def pour(count: int) -> None:
        rows = ({"a": number, "b": f"{number:0600d}"} for number in range(count))
        for piece in archive([Rows("r", ("a", "b"), rows)], tmp_path):
            assert len(piece) < 1 << 20

    pour(2_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pour(60_000)  # 36 MB, twice
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16_000  # KiB


def test_what_rows_raise_ends_the_archive(tmp_path: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        raise OSError(5, "away")

    with pytest.raises(OSError, match="away"):
        made(tmp_path, rows())
    assert list(tmp_path.iterdir()) == []
