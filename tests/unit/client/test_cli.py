from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from tests.support.acting import by
from tests.support.crash import small_disk

from cloakhouse.client.cli import cli
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings

PROGRAM = Path(sys.executable).with_name("cloakhouse")
CONTRACTS = Settings.from_environment({}).contracts
Cloakhouse = Callable[..., Result]


@pytest.fixture
def cloakhouse(house: Any) -> Cloakhouse:
    """Run a command on `house` in this process."""

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(cli, arguments, env={**house.environment, **environment}, prog_name="cloakhouse")

    return run


def run_program(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CLOAKHOUSE")}
    return subprocess.run(
        [PROGRAM, *arguments],
        env={**clean, "CLOAKHOUSE_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def fits(text: str) -> bool:
    return all(len(line) <= 100 for line in text.splitlines())


def test_datasets_as_json(house: Any, cloakhouse: Cloakhouse) -> None:
    house.publish("zebras_synthetic")
    version = house.publish("apples_synthetic")
    result = cloakhouse("datasets", "--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert [item["name"] for item in found] == ["apples_synthetic", "people_synthetic", "zebras_synthetic"]
    assert found[0] == {
        "name": "apples_synthetic",
        "version": 1,
        "zone": "synthetic",
        "rows": 6,
        "published": version.published_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tags": [],
    }
    assert cloakhouse("datasets", "--output", "json").stdout == result.stdout


def test_datasets_as_table(cloakhouse: Cloakhouse, house: Any) -> None:
    house.publish("a" * 63)
    result = cloakhouse("datasets")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "people_synthetic" in result.stdout
    assert fits(result.stdout)


def test_nothing_published(settings: Settings) -> None:
    VersionRegister(settings.database)
    environment = {"CLOAKHOUSE_HOME": str(settings.home)}
    result = CliRunner().invoke(cli, ["datasets", "--output", "json"], env=environment)
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "nothing is published" in CliRunner().invoke(cli, ["datasets"], env=environment).stderr


def test_read_as_json(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("read", "people_synthetic", "--limit", "5", "--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.isascii()
    rows = json.loads(result.stdout)
    assert len(rows) == 5
    assert rows[0] == {
        "store_id": 1,
        "value": 1.5,
        "has_meat": True,
        "age": "under 35",
        "day": "2017-01-01",
        "hour": "2017-01-02T00:00:00",
        "token": "00" * 16,
        "price": 1.1,
    }
    assert [row["value"] for row in rows] == [1.5, None, None, 4.25, 1e300]
    assert (rows[2]["store_id"], rows[4]["age"], rows[1]["age"]) == (2**53 + 1, "größer", None)


def test_read_of_all_of_all_rows(cloakhouse: Cloakhouse, house: Any) -> None:
    house.publish("long_synthetic", pa.table({"n": range(25_000)}))
    result = cloakhouse("read", "long_synthetic", "--limit", "30000", "--output", "json")
    assert json.loads(result.stdout) == [{"n": n} for n in range(25_000)]


@pytest.mark.parametrize(("limit", "rows"), [("0", 0), ("1", 1), ("99", 6), ("99999999999999999999", 6)])
def test_read_limit(cloakhouse: Cloakhouse, limit: str, rows: int) -> None:
    result = cloakhouse("read", "people_synthetic@1", "--limit", limit, "--columns", "day, age", "--output", "json")
    found = json.loads(result.stdout)
    assert len(found) == rows
    assert all(list(row) == ["day", "age"] for row in found)


def test_read_where(cloakhouse: Cloakhouse) -> None:
    def ids(*conditions: str) -> list[int | None]:
        options = [word for condition in conditions for word in ("--where", condition)]
        found = cloakhouse("read", "people_synthetic", "--columns", "store_id", *options, "--output", "json")
        return [row["store_id"] for row in json.loads(found.stdout)]

    assert ids("value > 1 and has_meat = true") == [1, None]
    assert ids("value > 1", "store_id < 5") == [1]
    assert ids("age in ('under 35', größer)") == [1, 5]
    assert ids("day >= 2017-01-04") == [None, 5]
    assert ids("hour = '2017-01-02T04:00:00'") == [5]
    assert ids("store_id > 1000000000") == [2**53 + 1]


def test_read_as_table(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("read", "people_synthetic")
    assert result.exit_code == 0
    assert fits(result.stdout)
    assert "[red]55+[/red]" in result.stdout
    assert not set(result.stdout) & {"\x1b", "\u202e"}
    assert len(result.stdout.splitlines()) == 2 + 6
    assert result.stderr == "no room for: token, price (choose with --columns, or take --output json)\n"


def test_a_table_of_many_columns_shows_what_fits_and_names_the_rest(cloakhouse: Cloakhouse, house: Any) -> None:
    house.publish("wide_synthetic", pa.table({f"column_{i:02d}": ["x" * 60] for i in range(40)}), parts=1)
    result = cloakhouse("read", "wide_synthetic")
    assert fits(result.stdout)
    assert result.stdout.split()[:2] == ["column_00", "column_01"]
    assert "column_02" not in result.stdout
    assert "column_02, column_03" in result.stderr
    assert result.stdout.count("x") == 120


def test_describe(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("describe", "people_synthetic", "--output", "json")
    facts = json.loads(result.stdout)
    assert (facts["name"], facts["version"], facts["rows"], facts["parents"]) == ("people_synthetic", 1, 6, 3)
    table = cloakhouse("describe", "people_synthetic@1")
    assert (table.exit_code, table.stderr) == (0, "")
    assert fits(table.stdout)
    for text in (
        "gaussian copula",
        "not differentially private",
        "2 of 2 figures within their thresholds",
        "nearest to its threshold",
        "store_id",
        facts["published"],
    ):
        assert text in table.stdout


def test_evidence(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("evidence", "people_synthetic", "--output", "json")
    found = json.loads(result.stdout)
    assert (found["name"], found["version"], found["passed"]) == ("people_synthetic", 1, True)
    assert found["gate"][1]["value"] == 7.0
    assert found["quality"]["expectations"][0]["element_count"] == 6
    assert found["suite"]["name"] == "people_synthetic-1.0.0"
    table = cloakhouse("evidence", "people_synthetic")
    assert (table.exit_code, table.stderr) == (0, "")
    assert fits(table.stdout)
    assert "expect_column_values_to_be_between" in table.stdout


def damage_nothing(house: Any) -> None:
    pass


def tamper(house: Any) -> None:
    file = house.files()[0]
    found = bytearray(file.read_bytes())
    found[-9] ^= 1
    file.write_bytes(found)


def remove(house: Any) -> None:
    house.files()[1].unlink()


def swap_in_plaintext(house: Any) -> None:
    pq.write_table(pa.table({"store_id": [424242]}), house.files()[0])


def swap_two_files(house: Any) -> None:
    first, second = house.files()
    body = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(body)


def change_manifest(house: Any) -> None:
    (file,) = house.files("synthetic/people_synthetic/releases/*.json")
    file.write_bytes(file.read_bytes().replace(b"a", b"b", 1))


def withdraw(house: Any) -> None:
    house.register.withdraw("people_synthetic", 1, by("ann", "the noise was too small"))


def expire(house: Any) -> None:
    house.publish(table=pa.table({"store_id": [9]}), parts=1)
    house.register.expire("people_synthetic", [1], by("ann", "older than a year"))


def replace_public_key(house: Any) -> None:
    (file,) = house.settings.signing_keys.glob("releases*.pem")
    file.write_text(file.read_text().replace("A", "B"))


def replace_keystore(house: Any) -> None:
    """Put the keystore of another installation, identity included, in the place of this one."""
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.protocol import KeyName, new_data_key

    shutil.rmtree(house.home / "keystore")
    other = AgeKeyService(house.home / "keystore")
    for name in ("synthetic/footer", "synthetic/plain"):
        other.wrap(KeyName(name), new_data_key(), {})


def remove_keystore(house: Any) -> None:
    (house.home / "keystore" / "keystore.json").unlink()


def open_keystore_to_all(house: Any) -> None:
    (house.home / "keystore" / "identities" / "platform.txt").chmod(0o644)


def spoil_database(house: Any) -> None:
    for file in house.home.glob("control.db*"):
        file.write_bytes(b"424242" * 1000)


def remove_database(house: Any) -> None:
    for file in house.home.glob("control.db*"):
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "name", "exit_code", "code"),
    [
        (damage_nothing, "unknown", 5, "not-found"),
        (damage_nothing, "people_synthetic@2", 5, "not-found"),
        (damage_nothing, "people_synthetic@x", 5, "not-found"),
        (damage_nothing, "people_synthetic@X", 2, "configuration.name"),
        (damage_nothing, "People_synthetic", 2, "configuration.name"),
        (damage_nothing, "people_synthetic@2016-02-29", 5, "not-found"),
        (damage_nothing, "people_synthetic@2017-02-29", 2, "configuration.name"),
        (damage_nothing, "people_synthetic --where=email=1", 2, "configuration.where"),
        (damage_nothing, "people_synthetic --where=day=x", 2, "configuration.where"),
        (withdraw, "people_synthetic@1", 3, "withdrawn"),
        (withdraw, "people_synthetic", 5, "not-found"),
        (expire, "people_synthetic@1", 5, "gone"),
        (damage_nothing, "../people_synthetic", 2, "configuration.name"),
        (damage_nothing, "people\u202e_synthetic", 2, "configuration.name"),
        (damage_nothing, "people_synthetic --columns=email", 5, "not-found.columns"),
        (damage_nothing, "people_synthetic --columns=", 5, "not-found.columns"),
        (tamper, "people_synthetic", 4, "integrity"),
        (remove, "people_synthetic", 4, "integrity"),
        (swap_in_plaintext, "people_synthetic", 4, "integrity"),
        (swap_two_files, "people_synthetic", 4, "integrity"),
        (change_manifest, "people_synthetic", 4, "integrity.release"),
        (replace_public_key, "people_synthetic", 4, "integrity.signing-key"),
        (replace_keystore, "people_synthetic", 6, "key.context"),
        (remove_keystore, "people_synthetic", 6, "key.missing"),
        (open_keystore_to_all, "people_synthetic", 6, "key.mode"),
        (spoil_database, "people_synthetic", 4, "integrity.database"),
        (remove_database, "people_synthetic", 5, "not-found.home"),
    ],
)
def test_bad_input_has_its_exit_code_and_an_explanation(
    house: Any, cloakhouse: Cloakhouse, damage: Callable[[Any], None], name: str, exit_code: int, code: str
) -> None:
    damage(house)
    result = cloakhouse("read", *name.split(" "), "--output", "json")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert "424242" not in result.stderr
    error = json.loads(result.stderr)
    assert error["code"] == code
    assert all(error[key] for key in ("where", "expected", "found", "not_done", "remedy"))


def test_people_are_told_in_lines(house: Any, cloakhouse: Cloakhouse) -> None:
    swap_in_plaintext(house)
    result = cloakhouse("read", "people_synthetic")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("integrity at ")
    assert "\n  to do:    " in result.stderr
    assert "424242" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["read"],
        ["read", "people_synthetic", "--limit", "-1"],
        ["read", "people_synthetic", "--limit", "many"],
        ["datasets", "--output", "xml"],
        ["diff", "people_synthetic"],
        ["export", "people_synthetic"],
        ["completion", "tcsh"],
        ["sample"],
        ["sample", "--out", "x", "--seed", "-1"],
        ["sample", "--out", "x", "--weeks", "0-99"],
        ["run", "--weeks", "b-a"],
        ["console", "--port", "99999"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    cloakhouse: Cloakhouse, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cloakhouse(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert not (tmp_path / "x").exists()


def test_contracts(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("contracts", "--output", "json")
    found = {item["name"]: item for item in json.loads(result.stdout)}
    assert list(found) == sorted(found)
    assert found["customers"]["kind"] == "feed"
    assert sum(found["customers"]["treatments"].values()) == found["customers"]["columns"]
    table = cloakhouse("contracts")
    assert (table.exit_code, table.stderr) == (0, "")
    assert fits(table.stdout)
    assert len(table.stdout.splitlines()) == 4 + len(found)


def test_contract_treatments(cloakhouse: Cloakhouse) -> None:
    found = json.loads(cloakhouse("contracts", "--treatments", "--output", "json").stdout)
    assert {"name", "summary", "protects", "keeps", "types", "parameters"} == set(found[0])
    assert "format-preserving token" in {item["name"] for item in found}
    table = cloakhouse("contracts", "--treatments")
    assert fits(table.stdout)
    assert "format-preserving token" in table.stdout


def test_contracts_of_a_folder_that_is_not_there(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    result = cloakhouse("contracts", CLOAKHOUSE_CONTRACTS=str(tmp_path / "absent"))
    assert (result.exit_code, result.stdout) == (5, "")
    assert "CLOAKHOUSE_CONTRACTS" in result.stderr


def test_contract_check(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    good = CONTRACTS / "customers.odcs.yaml"
    result = cloakhouse("contracts", "check", str(good), "--output", "json")
    assert json.loads(result.stdout)["name"] == "customers"
    assert cloakhouse("contracts", "check", str(good)).exit_code == 0
    bad = tmp_path / "treatment_unknown.odcs.yaml"
    bad.write_text(good.read_text().replace("value: drop}", "value: burn}", 1))
    assert bad.read_text() != good.read_text()
    refused = cloakhouse("contracts", "check", str(bad), "--output", "json")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert json.loads(refused.stderr)["where"].startswith("treatment_unknown.odcs.yaml:")
    for path in (tmp_path / "absent.yaml", tmp_path, Path("/dev/zero")):
        assert cloakhouse("contracts", "check", str(path)).exit_code == 5


def test_sample(cloakhouse: Cloakhouse, tmp_path: Path) -> None:
    out = tmp_path / "feed"
    result = cloakhouse("sample", "--out", str(out), "--weeks", "2", "--output", "json")
    assert result.exit_code == 0
    found = {item["dataset"]: item for item in json.loads(result.stdout)}
    assert found["transactions"]["bytes"] == (out / "transactions-2017-01-02.csv.gz").stat().st_size
    assert (found["transactions"]["real_columns"], found["transactions"]["generated_columns"]) == (11, 2)
    assert found["customers"]["bad_rows"] == 2
    assert result.stderr.splitlines()[-1].endswith(str(out / "ABOUT-THIS-FEED.txt"))
    assert "3/3 transactions-2017-01-02.csv.gz" in result.stderr


def test_sample_onto_a_disk_that_refuses(cloakhouse: Cloakhouse) -> None:
    result = cloakhouse("sample", "--out", "/proc/nowhere", "--weeks", "2")
    assert (result.exit_code, result.stdout) == (6, "")


def test_run_passes_its_options_on_and_ends_with_its_code(
    cloakhouse: Cloakhouse, house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def stand_in(
        settings: Settings, weeks: str | None = None, seed: int = 2017, *, sample: bool = True, supersede: bool = False
    ) -> int:
        calls.append((settings.home, weeks, seed, sample, supersede))
        return 4

    monkeypatch.setattr("cloakhouse.flow.local_run.run", stand_in)
    assert cloakhouse("run").exit_code == 4
    assert cloakhouse("run", "--weeks", "1-4", "--seed", "7", "--no-sample", "--supersede").exit_code == 4
    assert calls == [(house.home, None, 2017, True, False), (house.home, "1-4", 7, False, True)]


def test_help_and_version(cloakhouse: Cloakhouse) -> None:
    for flag in ("-h", "--help"):
        text = cloakhouse(flag).stdout
        assert "Exit codes:" in text
        assert "cloakhouse completion bash" in text
    assert not [line for line in cloakhouse("-h").stdout.splitlines()[1:] if line.endswith("...")]
    for command in cli.commands:
        assert cloakhouse(command, "-h").exit_code == 0
    assert cloakhouse("--version").stdout == "cloakhouse, version 0.1.0\n"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("garbage", "another text"),
        ("mysql://u:geheim@db.example/x", "another kind of database"),
        ("postgresql://u:geheim@127.0.0.1:no-port/x", "another text"),
    ],
)
def test_a_database_url_that_is_none_is_told_without_it(cloakhouse: Cloakhouse, url: str, found: str) -> None:
    for command in (("datasets",), ("audit", "list"), ("metrics", "show")):
        result = cloakhouse(*command, CLOAKHOUSE_DATABASE=url)
        if command[0] == "metrics":  # tells of each part whether it is there
            assert 'cloakhouse_part_up{part="log"} 0.0' in result.stdout
        else:
            assert (result.exit_code, result.stdout) == (2, "")
            assert "configuration.database" in result.stderr
            assert found in result.stderr
        assert "geheim" not in result.output


def test_what_the_system_refuses_is_told_by_its_code(cloakhouse: Cloakhouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory", "/home/jane.doe")

    monkeypatch.setattr("cloakhouse.client.api.connect", fail)
    result = cloakhouse("datasets")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "storage.refused" in result.stderr
    assert "ENOTDIR" in result.stderr
    assert "jane" not in result.stderr


def test_an_answer_that_nobody_can_take_is_told_once(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [PROGRAM, "contracts"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    assert done.returncode == 6
    assert "ENOSPC" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_stream_that_was_closed_is_no_file_of_ours(tmp_path: Path) -> None:
    """The numbers of closed streams would go to the next files, and a program that is started would print into them."""
    command = f"exec '{PROGRAM}' metrics show <&- >&- 2>&-"
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(tmp_path / "none")}
    done = subprocess.run(["sh", "-c", command], env=environment, timeout=120, check=False)
    assert done.returncode == 5  # not found, and no fault
    code = "import os\nfrom cloakhouse.client import cli\ncli._fill_standard_streams()\n"
    code += f"print('x', flush=True)\nn = os.open({str(tmp_path / 'f')!r}, os.O_CREAT | os.O_WRONLY)\nassert n > 2, n"
    done = subprocess.run(["sh", "-c", f"exec '{sys.executable}' -c \"{code}\" >&- 2>&-"], timeout=60, check=False)
    assert done.returncode == 0


def test_a_home_on_a_medium_that_is_only_read_lists_its_datasets(house: Any, tmp_path: Path) -> None:
    with closing(sqlite3.connect(house.home / "control.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with small_disk(tmp_path / "medium", 16 << 20) as mounted:
        if not mounted:
            pytest.skip("no file system may be mounted here")
        shutil.copytree(house.home, tmp_path / "medium" / "home")
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "medium"], check=True, timeout=60)
        done = run_program(tmp_path / "medium" / "home", "datasets")
    assert (done.returncode, done.stderr) == (0, "")
    assert "people_synthetic" in done.stdout


@pytest.mark.parametrize("fault", [RuntimeError, OSError, MemoryError, AssertionError])
def test_an_unforeseen_fault_is_one_line_without_values(
    cloakhouse: Cloakhouse, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise fault("jane.doe@example.com")

    monkeypatch.setattr("cloakhouse.client.api.connect", fail)
    result = cloakhouse("datasets", "--output", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"internal error: {fault.__name__} ")
    assert isinstance(cloakhouse("datasets", CLOAKHOUSE_DEBUG="1").exception, fault)


def test_a_library_that_is_not_installed_is_told(cloakhouse: Cloakhouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.table", None)
    result = cloakhouse("datasets")
    assert (result.exit_code, result.stdout) == (6, "")
    assert "`rich.table`" in result.stderr


def test_the_program_writes_pure_json_and_leaves_nothing_in_temporary_folders(house: Any, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    done = run_program(
        house.home, "read", "people_synthetic", "--output", "json", TMPDIR=str(temporary), LC_ALL="C", FORCE_COLOR="1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 6
    assert list(temporary.iterdir()) == []


def test_the_program_shows_tables_in_any_encoding(house: Any) -> None:
    done = run_program(house.home, "read", "people_synthetic", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "gr\\xf6\\xdfer" in done.stdout
    assert done.stdout.isascii()


def test_the_program_makes_no_home(tmp_path: Path) -> None:
    assert run_program(tmp_path / "absent", "datasets").returncode == 5
    assert not (tmp_path / "absent").exists()


def test_a_lake_that_is_no_folder_is_a_storage_error(house: Any) -> None:
    (house.home / "lake").rename(house.home / "elsewhere")
    (house.home / "lake").write_text("a file")
    quiet = run_program(house.home, "describe", "people_synthetic")
    assert (quiet.returncode, "Traceback" in quiet.stderr) == (6, False)


def test_the_program_stops_quietly_when_nobody_reads_on(house: Any) -> None:
    house.publish("long_synthetic", pa.table({"n": range(100_000)}))
    command = f"'{PROGRAM}' read long_synthetic --limit 100000 --output json | head -1"
    environment = {**os.environ, "CLOAKHOUSE_HOME": str(house.home)}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[\n", "")


def test_an_interrupt_is_exit_code_130(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [PROGRAM, "sample", "--out", tmp_path / "feed"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        stream = process.stderr
        assert isinstance(stream, io.TextIOBase)
        assert stream.readline().startswith("1/55")
        process.send_signal(signal.SIGINT)
        rest = stream.read()
    assert process.returncode == 130
    assert rest.endswith("interrupted\n")
    assert "Traceback" not in rest
