"""`cloakhouse export`, `diff`, `lineage` and `completion`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from tests.support.acting import by

from cloakhouse.client import completion
from cloakhouse.client.cli import cli

PROGRAM = Path(sys.executable).with_name("cloakhouse")
Cloakhouse = Callable[..., Result]


@pytest.fixture
def cloakhouse(house: Any) -> Cloakhouse:
    """Run a command on `house` in this process."""

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli, arguments, env={**house.environment, **environment}, prog_name="cloakhouse")

    return run


def fits(text: str) -> bool:
    return all(len(line) <= 100 for line in text.splitlines())


def test_export_to_parquet_and_arrow(cloakhouse: Cloakhouse, tmp_path: Path, small_table: pa.Table) -> None:
    for name in ("people.parquet", "people.ARROW"):
        file = tmp_path / name
        result = cloakhouse("export", "people_synthetic", str(file))
        assert (result.exit_code, result.stdout) == (0, "")
        assert "6 rows of people_synthetic@1" in result.stderr
        assert "in plaintext, outside of the lake" in result.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = pq.read_table(tmp_path / "people.parquet")
    assert found.drop_columns(["value"]).equals(small_table.drop_columns(["value"]))
    assert pa.ipc.open_file(tmp_path / "people.ARROW").read_all().schema == small_table.schema
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "people.ARROW", "people.parquet"]


def test_export_to_csv_with_columns_conditions_and_a_limit(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    chosen = ("--columns", "age, token,store_id", "--where", "store_id > 1", "--limit", "3")
    result = cloakhouse("export", "people_synthetic@1", str(file), *chosen, "--output", "json")
    assert json.loads(result.stdout) == {
        "name": "people_synthetic",
        "version": 1,
        "file": str(file),
        "rows": 3,
        "bytes": file.stat().st_size,
        "plaintext": True,
    }
    assert file.read_text() == (
        f'"age","token","store_id"\n,"{"01" * 16}",2\n"[red]55+[/red]","{"02" * 16}",{2**53 + 1}\n'
        f'"größer","{"04" * 16}",5\n'
    )


def test_export_of_no_rows_has_its_columns(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    for ending in ("csv", "parquet", "arrow"):
        file = tmp_path / f"none.{ending}"
        assert (
            cloakhouse("export", "people_synthetic", str(file), "--where", "store_id > 100 and store_id < 0").exit_code
            == 0
        )
    assert (tmp_path / "none.csv").read_text().startswith('"store_id","value"')
    assert pq.read_table(tmp_path / "none.parquet").num_columns == 8


def test_export_replaces_nothing_without_force(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("mine")
    refused = cloakhouse("export", "people_synthetic", str(file))
    assert (refused.exit_code, file.read_text()) == (2, "mine")
    assert refused.stderr.startswith("configuration.export at people.csv")
    assert cloakhouse("export", "people_synthetic", str(file), "--force").exit_code == 0
    assert file.read_text().startswith('"store_id"')
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "absent.csv")
    assert cloakhouse("export", "people_synthetic", str(link)).exit_code == 2
    assert not (tmp_path / "absent.csv").exists()


@pytest.mark.parametrize(
    ("file", "exit_code", "code"),
    [
        ("people.xlsx", 2, "configuration.export"),
        ("people", 2, "configuration.export"),
        ("absent/people.csv", 6, "storage.refused"),
        ("/proc/people.csv", 6, "storage.refused"),
    ],
)
def test_export_to_where_it_can_not_go(
    cloakhouse: Cloakhouse, tmp_path: Path, file: str, exit_code: int, code: str
) -> None:
    refused = cloakhouse("export", "people_synthetic", str(tmp_path / file), "--output", "json")
    assert (refused.exit_code, json.loads(refused.stderr)["code"]) == (exit_code, code)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_an_export_that_fails_half_way_leaves_nothing(cloakhouse: Cloakhouse, house: Any, tmp_path: Path) -> None:
    house.files()[1].unlink()
    for ending in ("csv", "parquet", "arrow"):
        refused = cloakhouse("export", "people_synthetic", str(tmp_path / f"people.{ending}"))
        assert refused.exit_code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_file_that_appears_meanwhile_stays(
    cloakhouse: Cloakhouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def late(source: Any, target: Path) -> None:
        target.write_text("mine")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    refused = cloakhouse("export", "people_synthetic", str(tmp_path / "people.csv"))
    assert (refused.exit_code, (tmp_path / "people.csv").read_text()) == (2, "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "people.csv"]


def test_a_full_disk_is_told(cloakhouse: Cloakhouse, house: Any, tmp_path: Path) -> None:
    house.publish("long_synthetic", pa.table({"n": range(50_000)}), parts=1, types={"n": "integer"})
    limited = f"ulimit -f 64; '{PROGRAM}' export long_synthetic '{tmp_path}/long.csv'"
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(house.home), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["bash", "-c", limited], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert "storage" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_killed_export_leaves_no_file_of_that_name(house: Any, tmp_path: Path) -> None:
    house.publish("long_synthetic", pa.table({"t": ["x" * 50] * 70_000}), parts=2)
    target = tmp_path / "long.csv"
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(house.home)}
    process = subprocess.Popen([PROGRAM, "export", "long_synthetic", target], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in tmp_path.glob(".long.csv.*.tmp")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if process.returncode == -signal.SIGKILL:
        assert not target.exists()
    left = list(tmp_path.glob(".long.csv.*.tmp"))
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in left)


def test_diff(cloakhouse: Cloakhouse, house: Any, small_table: pa.Table) -> None:
    house.publish(table=small_table.drop_columns(["price"]))
    result = cloakhouse("diff", "people_synthetic@1", "people_synthetic", "--output", "json")
    found = json.loads(result.stdout)
    assert (found["a"], found["b"], found["rows_a"], found["rows_b"]) == (
        "people_synthetic@1",
        "people_synthetic@2",
        6,
        6,
    )
    columns = {column["column"]: column for column in found["columns"]}
    assert columns["price"]["change"] == "removed"
    assert columns["value"] == {
        "column": "value",
        "type_a": "number",
        "type_b": "number",
        "change": "same",
        "drift": "stable",
        "psi": 0.0,
        "jensen_shannon": 0.0,
        "total_variation": 0.0,
        "bins": 6,
        "missing_a": 0.166667,
        "missing_b": 0.166667,
    }
    table = cloakhouse("diff", "people_synthetic@1", "people_synthetic@2")
    assert table.exit_code == 0
    assert fits(table.stdout)
    assert "PSI" in table.stdout
    assert "deciles" in table.stderr


def test_diff_of_a_changed_type_shows_both(cloakhouse: Cloakhouse, house: Any) -> None:
    house.publish(table=pa.table({"store_id": ["1"]}), parts=1, types={})
    shown = cloakhouse("diff", "people_synthetic@1", "people_synthetic@2").stdout
    assert "integer -> string" in shown


def test_lineage(cloakhouse: Cloakhouse, house: Any) -> None:
    found = json.loads(cloakhouse("lineage", "people_synthetic", "--output", "json").stdout)
    assert (found["kind"], found["name"], found["check"]) == ("version", "people_synthetic@1", "signed")
    table = cloakhouse("lineage", "people_synthetic@1")
    assert (table.exit_code, table.stderr) == (0, "")
    assert fits(table.stdout)
    for text in (
        "<- synthesis people_synthetic",
        "<- delivery transactions 2017-01-02",
        "outside of Airflow",
        "signed",
    ):
        assert text in table.stdout
    house.files("landing/customers/*/delivery-*.json")[0].unlink()
    broken = cloakhouse("lineage", "people_synthetic")
    assert broken.exit_code == 4
    assert "missing or changed" in broken.stdout
    assert broken.stderr == "1 of 8 manifests are missing or changed\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(cloakhouse: Cloakhouse, shell: str) -> None:
    result = cloakhouse("completion", shell)
    assert result.exit_code == 0
    assert f"_CLOAKHOUSE_COMPLETE={shell}_complete" in result.stdout


def completed(home: Path, *words: str, **environment: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [PROGRAM],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE")},
            "CLOAKHOUSE_HOME": str(home),
            "_CLOAKHOUSE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["cloakhouse", *words]),
            "COMP_CWORD": str(len(words)),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()], done.stderr


def test_names_are_completed_by_a_real_shell_call(house: Any) -> None:
    assert completed(house.home, "da") == (["database", "datasets"], "")
    assert completed(house.home, "read", "peo") == (["people_synthetic"], "")


def test_completion_of_versions_and_tags(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(house.home))
    house.publish(table=pa.table({"store_id": [1]}), parts=1)
    house.register.tag("people_synthetic", 2, "certified", by("ann"))
    assert completion._within(30, "people_synthetic@") == [
        "people_synthetic@1",
        "people_synthetic@2",
        "people_synthetic@certified",
    ]
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))
    assert "people_synthetic@1" not in completion._within(30, "people_synthetic@")


@pytest.mark.parametrize("incomplete", ["x", "unknown@", "../@", "@"])
def test_completion_of_nothing_is_silent(
    house: Any, incomplete: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(house.home / "absent" if incomplete == "x" else house.home))
    found = [text for text in completion._within(30, incomplete) if text.startswith(incomplete)]
    assert (found, *capfd.readouterr()) == ([], "", "")


def test_completion_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_known", lambda _text: time.sleep(5) or ["late"])
    started = time.monotonic()
    assert completion._within(0.05, "l") == []
    assert time.monotonic() - started < 3
