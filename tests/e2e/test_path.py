"""The whole path with one command, on the real engines, and what its three people see afterwards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.e2e.conftest import FirstRun

from cloakhouse.ledger.checkpoints import size_of_note

pytestmark = [pytest.mark.path, pytest.mark.spark, pytest.mark.airflow]
STAGES = ("land", "pseudonymize", "validate", "synthesize", "publish")


def test_the_run_succeeds_and_tells_each_stage(first_run: FirstRun) -> None:
    assert first_run.done.returncode == 0, first_run.done.stdout + first_run.done.stderr
    starts = [line.split()[0] for line in first_run.done.stdout.splitlines() if line.strip()]
    assert all(stage in starts for stage in STAGES)


def test_the_summary_counts_rows_that_add_up(first_run: FirstRun) -> None:
    rows = {}
    for line in first_run.done.stdout.splitlines():
        fields = line.replace(",", "").split()
        if len(fields) == 7 and fields[1].isdigit() and fields[0] in ("customers", "products", "transactions"):
            rows[fields[0]] = [int(number) for number in fields[1:6]]
    assert rows["products"][:4] == [92_331, 0, 0, 92_331]
    landed, withheld, quarantined, protected, partitions = rows["transactions"]
    assert landed == withheld + quarantined + protected
    assert 0 < withheld < landed / 5
    assert landed == 3_722 + 31_454 + 2 * 5 + 2
    assert partitions == 2
    for word in (
        "tokenized" if "tokenized" in first_run.done.stdout else "token",
        "baskets_synthetic@1",
        "seconds",
        "next:",
    ):
        assert word in first_run.done.stdout


def test_a_second_run_does_no_work_twice(first_run: FirstRun) -> None:
    before = _data_files(first_run.home / "lake")
    again = first_run.cloakhouse("run", "--no-sample")
    assert again.returncode == 0, again.stdout + again.stderr
    assert _data_files(first_run.home / "lake") == before
    assert again.stdout.count("nothing waits") == 6
    assert again.stdout.count("published already") == 3
    listed = json.loads(first_run.cloakhouse("datasets", "--output", "json").stdout)
    assert [item["version"] for item in listed] == [1, 1, 1, 1]


def _data_files(lake: Path) -> dict[str, str]:
    kinds = ("*.parquet", "*.chl", "*.model")
    found = {p for kind in kinds for p in lake.rglob(kind)}
    return {str(p.relative_to(lake)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


def test_the_model_team_lists_describes_and_reads(first_run: FirstRun) -> None:
    listed = json.loads(first_run.cloakhouse("datasets", "--output", "json").stdout)
    assert [item["name"] for item in listed] == [
        "baskets_private",
        "baskets_synthetic",
        "households_synthetic",
        "weekly_sales",
    ]
    assert {"name", "version", "zone", "rows", "published"} <= listed[0].keys()
    described = json.loads(first_run.cloakhouse("describe", "baskets_synthetic", "--output", "json").stdout)
    assert described["card"]["privacy"]["guarantee"] == "none: not differentially private"
    private = json.loads(first_run.cloakhouse("describe", "baskets_private", "--output", "json").stdout)
    promise = private["card"]["privacy"]["guarantee"]
    assert (promise["epsilon"], promise["unit"]) == (3.0, "household")
    assert promise["neighbours"] == "add or remove one household with all of its rows"
    assert [point["epsilon"] for point in private["card"]["curve"]][-3:] == [4.0, 8.0, 16.0]
    rows = json.loads(first_run.cloakhouse("read", "baskets_synthetic", "--limit", "7", "--output", "json").stdout)
    assert len(rows) == 7
    assert set(rows[0]) == {
        "store_id",
        "month",
        "weekday",
        "hour",
        "lines",
        "units",
        "value",
        "discount",
        "coupon",
        "has_produce",
        "has_meat",
    }


def test_the_model_team_can_not_name_a_protected_dataset(first_run: FirstRun) -> None:
    for name in ("transactions", "customers", "../protected/transactions"):
        refused = first_run.cloakhouse("read", name)
        assert refused.returncode in (2, 5)
        assert refused.stdout == ""


def test_the_auditor_reads_evidence_without_values(first_run: FirstRun) -> None:
    evidence = json.loads(first_run.cloakhouse("evidence", "households_synthetic", "--output", "json").stdout)
    text = json.dumps(evidence)
    assert "k-anonymity" in text
    assert "partial_unexpected" not in text


def test_every_data_file_of_the_lake_is_encrypted(first_run: FirstRun) -> None:
    for path in (first_run.home / "lake").rglob("*"):
        if path.suffix == ".parquet":
            content = path.read_bytes()
            assert content[:4] == b"PARE", path
            assert content[-4:] == b"PARE", path
        elif path.suffix in (".chl", ".model"):
            assert path.read_bytes()[:4] == {".chl": b"CHL2", ".model": b"CHS1"}[path.suffix], path
        elif path.suffix == ".txt":
            assert size_of_note(path.read_bytes()) == int(path.stem), f"no checkpoint of the audit log: {path}"
        elif path.is_file():
            assert path.suffix == ".json", f"a kind of file nobody expects: {path}"
            json.loads(path.read_text())
