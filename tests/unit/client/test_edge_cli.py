"""`cloakhouse tokenize` and `cloakhouse keys edge-key` as a till and the platform use them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from tests.support.contracts import column, feed_contract
from tests.support.edge import new_till, sealed_file
from tests.support.house import House, protected

from cloakhouse.client.edge import edge_key, tokenize
from cloakhouse.client.ending import Ending
from cloakhouse.client.failures import CarefulGroup
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action
from cloakhouse.tokens.edge_keys import open_edge_keys

REASON = "tills of store twelve go offline"
TOKEN = "{token: {domain: customer, purpose: analytics, period: month}}"
CONTRACT = feed_contract(columns=(column("id", "integer", required=True, cls="direct identifier", how=TOKEN),))
PROGRAM = (
    "from cloakhouse.client.edge import tokenize\n"
    "from cloakhouse.client.failures import CarefulGroup\n"
    "CarefulGroup(commands=[tokenize])(prog_name='cloakhouse')"
)
Run = Callable[..., Result]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    key, identity = sealed_file(tmp_path, CONTRACT, ["id"], ["2017-01"])
    return "--key", str(key), "--identity", str(identity), "--day", "2017-01-02"


def run(*arguments: str, data: bytes = b"", **environment: str) -> Result:
    group = CarefulGroup("cloakhouse", commands=[tokenize, edge_key])
    result = CliRunner().invoke(group, arguments, input=data, env=environment, prog_name="cloakhouse")
    shown = result.stdout + result.stderr
    assert "Traceback" not in shown
    assert "AGE-SECRET-KEY" not in shown
    return result


def started(*arguments: str) -> subprocess.Popen[bytes]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKHOUSE")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "tokenize", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean,
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert b"Exception" not in err
    return process.returncode, out, err.decode()


# tokenize


def test_a_feed_from_standard_input(files: tuple[str, ...]) -> None:
    result = run("tokenize", *files, "--keep", "plain, other", data=b"id,plain\n7,x\n")
    assert (result.exit_code, result.stderr) == (0, "1 row tokenized\n")
    header, row = result.stdout.splitlines()
    assert header == "id,plain"
    assert (len(row), row[32:]) == (34, ",x")


def test_rows_left_out_are_told_without_their_values(files: tuple[str, ...]) -> None:
    data = b"id,plain\n7,x\nann@example.org,y\n,z\n"
    result = run("tokenize", *files, "--keep", "plain", data=data)
    assert (result.exit_code, len(result.stdout.splitlines())) == (4, 2)
    assert result.stderr == "1 row tokenized; 2 left out: missing_value 1, wrong_type 1\n"


def test_the_summary_as_json(files: tuple[str, ...]) -> None:
    result = run("tokenize", *files, "--format", "jsonl", "--output", "json", data=b'{"id": 7}\n7\n')
    assert json.loads(result.stderr) == {"rows": 1, "left_out": 1, "bad": {"not_json": 1}}
    assert list(json.loads(result.stdout)) == ["id"]
    assert result.exit_code == 4


def test_an_unnamed_column_is_refused(files: tuple[str, ...]) -> None:
    result = run("tokenize", *files, "--output", "json", data=b"id,plain\n7,x\n")
    assert (result.exit_code, result.stdout) == (3, "")
    assert json.loads(result.stderr)["code"] == "access.unnamed"


def test_another_day_is_refused(files: tuple[str, ...]) -> None:
    for day in (["--day", "2017-02-01"], []):
        result = run("tokenize", *files[:4], *day, data=b"id\n7\n")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "period 2017-01" in result.stderr


def test_from_file_to_file(files: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id;plain\n7;x\n8;y\nbad;z\n")
    out = tmp_path / "out.csv"
    names = ["--input", str(tmp_path / "in.csv"), "--out", str(out)]
    result = run("tokenize", *files, "--delimiter", ";", "--keep", "plain", *names)
    assert (result.exit_code, result.stdout) == (4, "")
    assert [line[-2:] for line in out.read_text().splitlines()[1:]] == [";x", ";y"]
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_refusal_leaves_no_file_and_no_part_of_one(files: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "out" / "out.csv"
    result = run("tokenize", *files, "--out", str(out), data=b"id\n7\n" + b"x" * (1 << 20) + b"\n")
    assert result.exit_code == 4
    assert "delivery.line" in result.stderr
    assert list(out.parent.iterdir()) == []


def test_files_that_can_not_be_read(files: tuple[str, ...], tmp_path: Path) -> None:
    assert run("tokenize", *files, "--input", str(tmp_path / "none.csv")).exit_code == 6
    assert run("tokenize", "--key", str(tmp_path / "none"), *files[2:]).exit_code == 6
    Path(files[1]).write_bytes(b"junk")
    assert run("tokenize", *files, data=b"id\n7\n").exit_code == 4


def test_help_tells_what_leaves_in_clear() -> None:
    for command in ("tokenize", "edge-key"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert "--output" in result.stdout


# a till's process


def test_rows_come_out_before_the_input_is_closed(files: tuple[str, ...]) -> None:
    process = started(*files)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"id\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"id\n"
    for number in (b"7\n", b"8\n"):
        process.stdin.write(number)
        process.stdin.flush()
        assert len(process.stdout.readline()) == 33
    assert ended(process) == (0, b"", "2 rows tokenized\n")


def test_sigterm_ends_between_two_rows(files: tuple[str, ...], tmp_path: Path) -> None:
    for names in ([], ["--out", str(tmp_path / "out" / "rows.csv")]):
        process = started(*files, *names)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"id\n7\n8")
        process.stdin.flush()
        wait_for_rows(process, tmp_path / "out" if names else None)
        process.send_signal(signal.SIGTERM)
        code, out, err = ended(process)
        assert (code, out, err) == (143, b"", "ended by SIGTERM, between two rows\n")
    assert list((tmp_path / "out").iterdir()) == []


def wait_for_rows(process: subprocess.Popen[bytes], folder: Path | None) -> None:
    """Return when the header and one row are out."""
    if folder is None:
        assert process.stdout is not None
        assert process.stdout.readline() == b"id\n"
        assert len(process.stdout.readline()) == 33
        return
    deadline = time.monotonic() + 60
    while not [path for path in folder.glob(".*") if path.stat().st_size == 36]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_sigint_is_an_interruption(files: tuple[str, ...]) -> None:
    process = started(*files)
    assert process.stdin is not None
    process.stdin.write(b"id\n7\n")
    process.stdin.flush()
    wait_for_rows(process, None)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, b"", "interrupted\n")


def test_a_reader_that_is_gone_is_no_traceback(files: tuple[str, ...]) -> None:
    process = started(*files)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"id\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"id\n"
    process.stdout.close()
    process.stdout = None
    process.stdin.write(b"7\n")
    process.stdin.flush()
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    process.stdin.close()


def test_a_till_needs_no_installation(files: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        PROGRAM.replace("(prog_name='cloakhouse')", "(prog_name='cloakhouse', standalone_mode=False)")
        + "\nimport sys\nprint(sorted({'sqlalchemy', 'airflow', 'pyspark', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "tokenize", *files],
        input=b"id\n7\n",
        capture_output=True,
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "CLOAKHOUSE_HOME": str(tmp_path / "none")},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.splitlines()[2:]) == (0, [b"[]"]), done.stderr
    assert not (tmp_path / "none").exists()


# ending


class Slow:
    """A stream that gets a signal while it is read."""

    def __init__(self, number: int) -> None:
        self.number = number

    def read(self, _size: int = -1) -> bytes:
        signal.raise_signal(self.number)
        return b"x"


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, click.exceptions.Exit), (signal.SIGINT, KeyboardInterrupt)]
)
def test_a_signal_during_work_waits_for_the_next_read(number: int, kind: type[BaseException]) -> None:
    before = signal.getsignal(number)
    with Ending() as ending:
        waited = ending.watched(Slow(signal.SIGWINCH))  # type: ignore[arg-type]
        signal.raise_signal(number)
        with pytest.raises(kind):
            waited.read(1)
    with Ending() as ending, pytest.raises(kind):
        ending.watched(Slow(number)).read(1)  # type: ignore[arg-type]
    with Ending():
        signal.raise_signal(number)
        with pytest.raises(kind):  # the second one doesn't wait
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_elsewhere_than_in_the_main_thread_signals_stay_as_they_are() -> None:
    def work() -> None:
        with Ending() as ending:
            found.append(ending.watched(io.BytesIO(b"x")).read(1))

    found: list[bytes] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert found == [b"x"]


# export


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path / "home")


@pytest.fixture
def export(house: House, tmp_path: Path) -> Run:
    cleared = {f"CLOAKHOUSE_{name}": None for name in ("KEYS", "DATABASE", "IDENTITY", "PURPOSE", "DEBUG")}
    _, recipient = new_till(tmp_path)
    given = {"CLOAKHOUSE_HOME": str(house.settings.home), "CLOAKHOUSE_CONTRACTS": str(house.settings.contracts)}

    def export(*arguments: str, reason: str = REASON, dataset: str = "transactions") -> Result:
        out = ["--out", str(tmp_path / "till.key"), "--recipient", recipient, "--reason", reason]
        return run("edge-key", dataset, *out, *arguments, **{**cleared, **given})  # type: ignore[arg-type]

    return export


def test_an_export(export: Run, house: House, tmp_path: Path) -> None:
    days = ["--day", "2017-01-02", "--from-day", "2017-03-30", "--to-day", "2017-04-02"]
    result = export("--columns", "household_id, basket_id", *days, "--output", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "file": str(tmp_path / "till.key"),
        "dataset": "transactions",
        "columns": ["household_id", "basket_id"],
        "periods": ["2017Q1", "2017Q2"],
        "keys": 5,
    }
    assert (tmp_path / "till.key").stat().st_mode & 0o777 == 0o600
    found = open_edge_keys(tmp_path / "till.key", tmp_path / "till.txt")
    assert len(found.keys.uses) == 5
    [event] = [e for e in AuditLog(house.settings.database).events() if e.action == Action.EXPORT_TOKENIZATION]
    assert (event.reason, event.count, event.dataset) == (REASON, 5, "transactions")


def test_an_export_is_told_and_its_file_tokenizes(export: Run, tmp_path: Path) -> None:
    result = export("--columns", "household_id")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "keys of transactions (household_id) sealed for the recipient" in " ".join(result.stderr.split())
    assert all(len(line) <= 100 or str(tmp_path) in line for line in result.stderr.splitlines())
    names = ["--key", str(tmp_path / "till.key"), "--identity", str(tmp_path / "till.txt")]
    assert run("tokenize", *names, data=b"household_id\n7\n").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["--columns", "household_id,card_number"], 3, "access.reversible"),
        (["--columns", "nobody"], 5, "not-found"),
        (["--columns", " ,"], 2, "configuration.edge"),
        (["--columns", "basket_id"], 2, "configuration.edge"),
        (["--columns", "household_id", "--from-day", "2017-01-01"], 2, "go together"),
        (["--columns", "household_id", "--from-day", "2017-01-02", "--to-day", "2017-01-01"], 2, "in order"),
        (["--columns", "household_id", "--from-day", "1017-01-02", "--to-day", "2017-01-01"], 2, "at most"),
        (["--columns", "household_id", "--day", "2017-13-01"], 2, "YYYY-MM-DD"),
    ],
)
def test_an_export_that_is_refused_writes_no_file(
    export: Run, tmp_path: Path, arguments: list[str], exit_code: int, said: str
) -> None:
    result = export(*arguments)
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert said in result.stderr
    assert not (tmp_path / "till.key").exists()


def test_reversible_tokens_if_that_may_be(export: Run) -> None:
    days = ["--day", "2017-01-02", "--allow-reversible"]
    assert export("--columns", "card_number", *days).exit_code == 0


def test_a_reason_and_a_dataset_that_can_not_stand(export: Run) -> None:
    assert export("--columns", "household_id", reason="short").exit_code == 2
    assert export("--columns", "household_id", dataset="nobody").exit_code == 5
