"""The log explorer: filters against a plain loop, pages without gap or repetition, proofs, and files to take away."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import io
import json
import re
from pathlib import Path

import pytest
from tests.support.console import Asked, asked, fill, simulated

from cloakhouse.console import data_log
from cloakhouse.console.house import House
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.checkpoints import opened
from cloakhouse.ledger.merkle import leaf_hash, verify_inclusion
from cloakhouse.settings import Settings
from cloakhouse.stages.checkpointing import checkpoint, trusted

COUNT = 3_000


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings.from_environment({}).with_home(tmp_path_factory.mktemp("log") / "home")
    assert fill(settings, simulated(COUNT, ["a", "b", "c"])) == COUNT
    return settings


FILTERS = [
    data_log.Filter(),
    data_log.Filter(decision="refused"),
    data_log.Filter(actor="person-3", action="read"),
    data_log.Filter(dataset="b", decision="failed", actor="person-1"),
    data_log.Filter(run="scheduled__000003"),
    data_log.Filter(since=dt.datetime(2026, 11, 1, tzinfo=dt.UTC), until=dt.datetime(2026, 11, 2, tzinfo=dt.UTC)),
    data_log.Filter(actor="nobody"),
]


def test_a_clock_that_was_set_back_hides_nothing_from_who_takes_the_log_away(tmp_path: Path) -> None:
    settings = Settings.from_environment({}).with_home(tmp_path / "home")
    noon = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    times = [noon, noon - dt.timedelta(hours=5), noon - dt.timedelta(hours=3), noon - dt.timedelta(minutes=30)]
    AuditLog(settings.database).record(*(Event("ann", "read", f"x@{n}", at=at) for n, at in enumerate(times)))
    console = asked(settings)
    lines = console.get("/log.jsonl?since=2026-11-22 08:00").text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [3, 2, 0]
    lines = console.get("/log.jsonl?until=2026-11-22 10:00").text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [2, 1]


def test_a_far_day_is_found_without_paging_to_it(filled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_log, "MOST_SCANNED", 200)
    day = data_log.Filter(until=dt.datetime(2026, 10, 27, tzinfo=dt.UTC))
    with House(filled).reading() as connection:
        assert len(data_log.find(connection, day, None, 50).entries) == 50


@pytest.mark.parametrize("wanted", FILTERS)
@pytest.mark.parametrize("scanned", [10_000, 97])
def test_pages_hold_every_entry_that_fits_once(
    filled: Settings, wanted: data_log.Filter, scanned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_log, "MOST_SCANNED", scanned)
    expected = [
        number
        for number, event in enumerate(simulated(COUNT, ["a", "b", "c"]))
        if all(getattr(event, name) == value for name, value in wanted.texts.items())
        and event.at is not None
        and (wanted.since is None or event.at >= wanted.since)
        and (wanted.until is None or event.at <= wanted.until)
    ]
    found: list[int] = []
    with House(filled).reading() as connection:
        page = data_log.find(connection, wanted, None, 50)
        found += [entry.number for entry in page.entries]
        while page.next is not None:
            before = page.next
            page = data_log.find(connection, wanted, before, 50)
            assert page.next is None or page.next < before
            found += [entry.number for entry in page.entries]
    assert found == expected[::-1]


def test_the_list_links_to_older_entries_and_back(filled: Settings) -> None:
    console = asked(filled)
    first = console.get("/log?actor=person-3").text
    older = re.search(r'href="(\?actor=person-3&amp;before=\d+)"', first)
    assert older
    second = console.get("/log" + older[1].replace("&amp;", "&")).text
    assert "← Newest" in second
    assert not set(re.findall(r"/log/(\d+)", first)) & set(re.findall(r"/log/(\d+)", second))


def test_the_proof_that_a_page_shows_holds(own: Asked, settings: Settings) -> None:
    from html import unescape

    text = own.get("/log/3").text
    content = unescape(re.search(r'<pre id="content">(.*?)</pre>', text, re.S)[1]).encode()
    note = unescape(re.search(r'<pre id="note">(.*?)</pre>', text, re.S)[1])
    path = [bytes.fromhex(node) for node in re.findall(r"<li><code>([0-9a-f]{64})</code>", text)]
    signed = opened(note, trusted(settings), "the page")
    assert verify_inclusion(leaf_hash(content), 3, signed.size, path, signed.root)
    assert leaf_hash(content).hex() in text
    assert base64.b64decode(re.search(r'data-key="([^"]+)"', text)[1]) == trusted(settings).raw


def test_an_entry_after_the_checkpoint_says_so(own: Asked, settings: Settings) -> None:
    number = AuditLog(settings.database).record(Event("ann", "read", "x"))
    assert "No checkpoint covers this entry yet" in own.get(f"/log/{number}").text
    checkpoint(settings)
    assert "hashes lead from this entry" in own.get(f"/log/{number}").text


def test_a_changed_entry_is_not_shown_as_one(own: Asked, settings: Settings) -> None:
    import sqlite3

    with sqlite3.connect(settings.home / "control.db") as connection:
        for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            connection.execute(f"drop trigger {name}")
        connection.execute("update audit_entry set content = x'7b7d' where number = 1")
    answer = own.get("/log/1")
    assert answer.status_code == 500
    assert "cloakhouse audit verify" in answer.text


HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", " =1", 'a"b', "a,b", "＝1"]


def test_csv_runs_nothing_and_keeps_every_text(own: Asked, settings: Settings) -> None:
    log = AuditLog(settings.database)
    first = log.record(*(Event(text, "read", text, reason=text, facts={"fact": text}) for text in HOSTILE))
    answer = own.get("/log.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == first + len(HOSTILE)
    by_number = {int(row["number"]): row for row in rows}
    for at, text in enumerate(HOSTILE):
        shown = by_number[first + at]["actor"]
        assert shown.removeprefix("'") == text
        assert shown[0] not in "=+-@\t\r ＝" or text.strip()[0] not in "=+-@＝"
    assert [row["number"] for row in rows] == sorted((row["number"] for row in rows), key=int, reverse=True)


def test_json_lines_hold_the_bytes_that_are_hashed(own: Asked, settings: Settings) -> None:
    lines = own.get("/log.jsonl?decision=allowed").text.splitlines()
    entries = {entry.number: entry.content for entry in AuditLog(settings.database).entries()}
    for line in lines:
        told = json.loads(line)
        assert line.encode() == b'{"number":%d,"event":%s}' % (told["number"], entries[told["number"]])


def test_taking_the_log_away_is_an_event(own: Asked, settings: Settings) -> None:
    before = AuditLog(settings.database).size()
    own.get("/log.csv?decision=refused&since=2026-11-01", "engineer", x_name="eve")
    (entry,) = AuditLog(settings.database).entries(before)
    event = entry.event
    assert (event.actor, event.action, event.object, event.role) == ("eve", "export log", "log.csv", "engineer")
    assert dict(event.facts) == {"decision": "refused", "since": "2026-11-01T00:00:00+00:00"}


def test_a_long_log_is_streamed_in_batches(filled: Settings, tmp_path: Path) -> None:
    lines = asked(filled).get("/log.jsonl?dataset=a").text.splitlines()
    assert len(lines) == COUNT // 3
