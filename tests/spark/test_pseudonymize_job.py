"""The pseudonymization job on real Spark: rows add up, tokens join, nothing in clear, and what breaks it is mended."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import os
import re
import shutil
import signal
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.keys import forms, keys_of
from tests.support.lake import Lake, processes_of
from tests.support.waiting import until

from cloakhouse.errors import ContractError, StageError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.sample import BAD_CUSTOMER_ROWS, BAD_ROWS_PER_WEEK, UNDECLARED_COLUMNS, is_luhn_valid
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.cmac import cmac_tokens

pytestmark = pytest.mark.spark

WEEKS = ("2016-12-26", "2017-01-02")
BAD = {"customers": dict(BAD_CUSTOMER_ROWS), "transactions": dict(BAD_ROWS_PER_WEEK), "products": {}}


def receipts(feed: Path) -> list[dict[str, str]]:
    """Return the sound lines of both weeks as delivered."""
    found = []
    for week in WEEKS:
        text = gzip.decompress((feed / f"transactions-{week}.csv.gz").read_bytes()).decode("latin-1")
        for row in csv.DictReader(text.splitlines()):
            good = row["quantity"].isdigit() and int(row["household_id"]) < 9_000_000 and None not in row
            if good and row["card_number"].isdigit():
                found.append(row)
    return found


def customers(feed: Path) -> list[dict[str, Any]]:
    """Return the sound customers as delivered."""
    lines = (feed / "customers-2016-12-26.jsonl").read_text().splitlines()
    people = [json.loads(line) for line in lines if line.endswith("}")]
    return [person for person in people if isinstance(person["household_id"], int)]


@pytest.mark.parametrize("name", ["products", "customers", "transactions"])
def test_rows_of_every_file_add_up_and_reasons_are_those_of_the_feed(lake: Lake, name: str) -> None:
    deliveries = lake.catalogue.deliveries(name)
    contents = lake.content(name)
    assert contents.keys() == deliveries.keys()
    for partition, content in contents.items():
        assert content["quarantined"] == dict(sorted(BAD[name].items()))
        assert content["rows"] + sum(content["quarantined"].values()) == deliveries[partition][-1].rows
        assert sum(item["rows"] for item in content["files"]) == content["rows"]
        assert sum(item["rows"] for item in content["quarantine"]) == sum(content["quarantined"].values())
        row = lake.catalogue.protected(name)[partition]
        assert (row.rows, row.quarantined, row.validated) == (content["rows"], sum(BAD[name].values()), False)
    assert lake.unlisted(name) == set()


def test_what_was_set_aside_keeps_reason_column_and_record(lake: Lake) -> None:
    aside = lake.table("transactions", "quarantine")
    found = Counter(zip(aside.column("reason").to_pylist(), aside.column("column").to_pylist(), strict=True))
    assert found == {
        ("wrong_type", "quantity"): 2,
        ("out_of_range", "quantity"): 2,
        ("unknown_reference", "household_id"): 2,
        ("broken_encoding", ""): 2,
        ("wrong_field_count", ""): 2,
    }
    records = dict(zip(aside.column("reason").to_pylist(), aside.column("record").to_pylist(), strict=True))
    assert b"several" in records["wrong_type"]
    assert b"\xff\xfe" in records["broken_encoding"]
    assert b"900000" in records["unknown_reference"]


def test_the_rows_are_the_treated_lines_of_the_feed(lake: Lake, feed: Path) -> None:
    lines = receipts(feed)
    table = lake.table("transactions")
    hours = Counter(row["transaction_timestamp"][:13] for row in lines)
    assert Counter(t.strftime("%Y-%m-%d %H") for t in table.column("transaction_timestamp").to_pylist()) == hours
    for name, kind in (("quantity", int), ("sales_value", float), ("product_id", int), ("store_id", int)):
        assert Counter(table.column(name).to_pylist()) == Counter(kind(row[name]) for row in lines)
    starts = Counter(row["card_number"][:6] for row in lines)
    cards = table.column("card_number").to_pylist()
    assert Counter(card[:6] for card in cards) == starts
    assert not [card for card in cards if is_luhn_valid(card)]


def test_tokens_join_over_weeks_and_datasets_and_are_one_a_household(lake: Lake, feed: Path) -> None:
    people = lake.table("customers").column("household_id").combine_chunks()
    assert pc.count_distinct(people).as_py() == len(people) == len(customers(feed))
    tokens = lake.table("transactions").column("household_id").combine_chunks()
    assert pc.all(pc.is_in(tokens, value_set=people)).as_py()

    lines = receipts(feed)
    sizes = Counter(Counter(row["household_id"] for row in lines).values())
    assert Counter(Counter(tokens.to_pylist()).values()) == sizes
    keys = token_keys(lake.settings)
    ids = pa.array(sorted({int(row["household_id"]) for row in lines}), pa.int64())
    pseudonyms = cmac_tokens(ids, keys.key(KeyUse.pseudonym("customer")))
    expected = cmac_tokens(pseudonyms, keys.key(KeyUse.layer("customer", "analytics")))
    assert set(expected.to_pylist()) == set(tokens.to_pylist())
    weekly = [set(lake.store.read(entry).column("household_id").to_pylist()) for entry in entries_of(lake)]
    both = {int(r["household_id"]) for r in lines if r["week"] == "1"} & {
        int(r["household_id"]) for r in lines if r["week"] == "2"
    }
    assert len(weekly[0] & weekly[1]) == len(both) > 100

    baskets = Counter(Counter(row["basket_id"] for row in lines).values())
    assert Counter(Counter(lake.table("transactions").column("basket_id").to_pylist()).values()) == baskets


def entries_of(lake: Lake) -> list[Any]:
    from cloakhouse.lake.parquet import FileEntry

    return [FileEntry(**content["files"][0]) for content in lake.content("transactions").values()]


def test_the_columns_are_those_of_the_contract_and_no_dropped_or_undeclared_one(lake: Lake) -> None:
    for name, contract in lake.contracts.items():
        if contract.feed is None:
            continue
        table = lake.table(name)
        assert table.column_names == [column.name for column in contract.kept_columns]
        dropped = {column.name for column in contract.columns} - set(table.column_names)
        assert not (dropped | set(UNDECLARED_COLUMNS[name])) & set(table.column_names)
        assert all(
            content["undeclared_columns"] == len(UNDECLARED_COLUMNS[name]) for content in lake.content(name).values()
        )
    assert {"name", "phone", "street", "city", "postcode", "country"}.isdisjoint(lake.table("customers").column_names)


def identifiers(feed: Path) -> set[bytes]:
    """Return every long identifier that was delivered: cards, loyalty cards, baskets, e-mails, phones, names."""
    lines, people = receipts(feed), customers(feed)
    found = {row[name] for row in lines for name in ("card_number", "basket_id")}
    found |= {
        str(p[name]) for p in people for name in ("card_number", "loyalty_card", "email", "phone", "street", "name")
    }
    return {value.encode() for value in found if len(value) >= 9}


def test_no_identifier_is_in_any_file_of_the_home(lake: Lake, feed: Path) -> None:
    known = identifiers(feed)
    assert len(known) > 10_000
    words = re.compile(rb"[0-9]{9,}")
    longest = sorted(value for value in known if not value.isdigit())
    for path in lake.settings.home.rglob("*"):
        if not path.is_file() or path.is_relative_to(lake.settings.inbox) or path.suffix == ".yaml":
            continue
        content = path.read_bytes()
        assert not known & set(words.findall(content)), path
        if path.suffix in (".json", ".db", ".jsonl", ".log"):
            assert not [value for value in longest if value in content], path
        assert b"@" not in content or not re.search(rb"[a-z]+\.[a-z]+[0-9]*@[a-z-]+\.[a-z]{2,}", content), path


def test_no_original_value_stands_in_a_treated_column(lake: Lake, feed: Path) -> None:
    cards = {row["card_number"] for row in receipts(feed)} | {p["card_number"] for p in customers(feed)}
    loyalty = {p["loyalty_card"] for p in customers(feed)}
    assert not cards & set(lake.table("transactions").column("card_number").to_pylist())
    assert not cards & set(lake.table("customers").column("card_number").to_pylist())
    assert (
        len(loyalty & set(lake.table("customers").column("loyalty_card").to_pylist())) < 3
    )  # by chance of 10^-12 each
    for column in lake.table("customers").columns:
        if pa.types.is_string(column.type):
            assert not [v for v in pc.unique(column).to_pylist() if v and "@" in v]


def test_a_second_plan_finds_nothing(lake: Lake) -> None:
    for name in ("products", "customers", "transactions"):
        assert lake.plan(name) is None


@pytest.fixture(scope="module")
def logged(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Path]:
    """A copy whose transactions were reprocessed with Spark's event log on, and the folder of that log."""
    place = lake.copy(tmp_path_factory.mktemp("logged house"))
    log = tmp_path_factory.mktemp("events")
    project = project_with(place.settings, tmp_path_factory.mktemp("project"))
    conf = project / "infra" / "spark" / "spark-defaults.conf"
    text = conf.read_text().replace("spark.eventLog.enabled                   false", "spark.eventLog.enabled true")
    extra = f"\nspark.eventLog.dir file://{log}\nspark.eventLog.compress false\nspark.ui.retainedTasks 10\n"
    assert "spark.eventLog.enabled true" in text
    conf.write_text(text + extra)
    request = place.plan("transactions", reprocess=True)
    assert request is not None
    place.submit(request, replace(place.settings, project=project))
    return place, log


def project_with(settings: Settings, folder: Path) -> Path:
    """Return a copy of the parts of the checkout that a job is submitted from."""
    for name in ("infra", "spark_jobs"):
        shutil.copytree(settings.project / name, folder / name)
    (folder / "plugins").symlink_to(settings.project / "plugins")
    return folder


def test_reprocessing_gives_the_same_rows_and_no_file_too_many(lake: Lake, logged: tuple[Lake, Path]) -> None:
    place, _ = logged
    assert place.rows("transactions") == lake.rows("transactions")
    assert place.unlisted("transactions") == set()
    assert place.state("transactions").keys() == lake.state("transactions").keys()
    assert place.plan("transactions") is None


def test_the_event_log_holds_the_plan_and_neither_keys_nor_identifiers(logged: tuple[Lake, Path], feed: Path) -> None:
    place, log = logged
    files = [path for path in log.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"MapInArrow" in content
    assert b"spark.authenticate.secret" in content
    secret = re.findall(rb'"spark.authenticate.secret":"([^"]*)"', content)
    assert set(secret) == {b"*********(redacted)"}
    assert not identifiers(feed) & set(re.findall(rb"[0-9]{9,}", content))
    assert b"@example" not in content
    assert b"several" not in content
    secrets = keys_of(place.settings.home)
    assert len(secrets) > 10
    assert not [name for name, key in secrets.items() if any(form in content for form in forms(key).values())]
    for root in place.settings.token_roots.iterdir():
        assert json.loads(root.read_text())["wrapped"].encode() not in content
    assert b"AGE-SECRET-KEY" not in content


def test_a_contract_changed_without_a_new_version_is_refused_at_every_step(own: Lake) -> None:
    request = own.plan("customers", reprocess=True)
    assert request is not None
    before = own.state("customers")
    own.edit_contract("customers", "ageBands: [35, 55]", "ageBands: [40]")
    with pytest.raises(ContractError):
        own.plan("customers")
    with pytest.raises(ContractError):  # refused before Spark is asked for anything
        pseudonymize.run(own.settings, request, None)  # type: ignore[arg-type]
    own.edit_contract("customers", "version: 1.0.0", "version: 1.1.0")
    with pytest.raises(StageError) as caught:
        pseudonymize.run(own.settings, request, None)  # type: ignore[arg-type]
    assert caught.value.code == "stage.contract-moved"
    assert own.state("customers") == before

    own.protect("customers")
    assert set(own.table("customers").column("birth_date").to_pylist()) == {"under 40", "40+"}
    assert {p.contract_version for p in own.catalogue.protected("customers").values()} == {"1.1.0"}
    assert own.plan("customers") is None


def landed_file(place: Lake, partition: str) -> Path:
    [path] = (place.settings.lake / "landing" / "transactions" / partition).glob("*.chl")
    return path


class Stuck:
    """A job whose second partition waits in the middle of its work: the landed file is a pipe nobody writes to."""

    def __init__(self, place: Lake, request: Any, pool: ThreadPoolExecutor, temporary: Path, **options: Any) -> None:
        self.path = landed_file(place, WEEKS[1])
        self.content = self.path.read_bytes()
        self.path.unlink()
        os.mkfifo(self.path, 0o600)
        attempt = request.sha256[:12]
        folder = place.settings.lake / "protected" / "transactions"
        old = set(folder.rglob("part-*.parquet"))
        self.temporary = temporary
        self.job: Future[Any] = pool.submit(place.submit, request, **options)
        until(lambda: list((folder / WEEKS[1] / attempt).glob(".*.tmp")) or self.job.done(), "a begun file")
        until(lambda: set((folder / WEEKS[0] / attempt).glob("part-*")) - old or self.job.done(), "a finished file")
        assert not self.job.done(), self.job.exception()

    def restore(self) -> None:
        self.path.unlink()
        self.path.write_bytes(self.content)

    def pids(self, *words: str) -> list[int]:
        found = processes_of(self.temporary)
        return [pid for pid, command in found.items() if all(word in command for word in words)]


@pytest.mark.path
def test_stopped_or_killed_nothing_is_visible_and_the_next_run_leaves_nothing_over(own: Lake, temporary: Path) -> None:
    """Four jobs of one request: on an altered file, with killed workers, killed as a whole, and undisturbed."""
    request = own.plan("transactions", reprocess=True)
    assert request is not None
    before, rows = own.state("transactions"), own.rows("transactions")

    path = landed_file(own, WEEKS[1])
    sound = path.read_bytes()
    path.write_bytes(sound[:-5] + bytes([sound[-5] ^ 1]) + sound[-4:])
    with pytest.raises(StageError) as caught:
        own.submit(request)
    assert caught.value.code == "stage.task"
    assert f"transactions {WEEKS[1]}: integrity" in caught.value.where
    assert (own.state("transactions"), own.rows("transactions")) == (before, rows)
    path.write_bytes(sound)

    with ThreadPoolExecutor(1) as pool:
        stuck = Stuck(own, request, pool, temporary)
        workers = [pid for pid in stuck.pids("pyspark.daemon") if is_worker(pid)]
        assert workers
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(StageError) as caught:
            stuck.job.result(timeout=120)
        assert caught.value.code == "stage.spark"
        stuck.restore()
        assert (own.state("transactions"), own.rows("transactions")) == (before, rows)
        assert own.unlisted("transactions")  # what the killed run left

        stuck = Stuck(own, request, pool, temporary)
        [driver] = stuck.pids("org.apache.spark.deploy.SparkSubmit")
        os.killpg(driver, signal.SIGKILL)
        with pytest.raises(StageError):
            stuck.job.result(timeout=120)
        until(lambda: not processes_of(temporary), "the end of every process", 30)
        stuck.restore()
        assert (own.state("transactions"), own.rows("transactions")) == (before, rows)

    own.submit(request)
    assert own.rows("transactions") == rows
    assert own.unlisted("transactions") == set()


def is_worker(pid: int) -> bool:
    """Return whether `pid` was forked by pyspark's daemon (whose parent is the JVM)."""
    parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    try:
        return b"pyspark.daemon" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False


def test_the_time_of_protected_rows_is_the_hour(lake: Lake) -> None:
    times = lake.table("transactions").column("transaction_timestamp")
    assert times.type == pa.timestamp("us")
    moments = times.to_pylist()
    assert all((t.minute, t.second, t.microsecond) == (0, 0, 0) for t in moments)
    assert min(moments) >= dt.datetime(2016, 12, 26)
