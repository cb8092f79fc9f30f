"""What pages say of a small real installation, what is empty, what is away, and what goes with every answer."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.console import PAGES, Asked, asked
from tests.support.governing import write_organisation

from cloakhouse.console import data_datasets, drawn, house, kept, offered, pages, routes_data, routes_home
from cloakhouse.console.answers import HEADERS
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger import database as db
from cloakhouse.ledger.allowance import Account, Allowance
from cloakhouse.ledger.approvals import Approvals
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import FAILED, REFUSED, Action, Event
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
NOW = dt.datetime.now(dt.UTC)
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;"


def test_every_answer_has_the_headers(shared: Asked) -> None:
    answers = [shared.get(page) for page in PAGES]
    answers += [
        shared.get("/nope"),
        shared.get("/log", ""),
        shared.get("/keys", "model"),
        shared.get("/log?page=" + "9" * 5_000),
    ]
    answers += [shared.client.put("/log"), shared.get("/log.csv"), shared.get("/static/nope")]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, answer.url
    style = shared.client.get("/static/console.css")
    assert style.headers["cache-control"] == "public, max-age=3600"
    assert style.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_no_page_has_an_inline_script_or_style(shared: Asked) -> None:
    for page in PAGES:
        text = shared.get(page).text
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert text.count("<script") == text.count("<script src=")
        assert "https://" not in text
        assert '<html lang="en">' in text
        assert text.count("<h1") == 1


def test_the_overview_says_what_is_wrong(own: Asked, settings: Settings) -> None:
    before = own.get("/").text
    assert "Nothing was refused, and nothing failed." in before
    log = AuditLog(settings.database)
    log.record(
        Event("ben", Action.DETOKENIZE, "customers.email", decision=REFUSED, code="access.key"),
        Event("platform", Action.VERIFY_LOG, "audit log", decision=FAILED, code="integrity.audit"),
    )
    text = own.get("/").text
    assert "2 events were refused or failed in the last 24 hours" in text
    assert "the last verification of the log failed" in text
    assert "customers.email" in text
    assert "access.key" in text


def test_an_empty_installation_says_so(tmp_path: Path) -> None:
    console = asked(Settings.from_environment({}).with_home(tmp_path / "nothing"))
    answer = console.get("/")
    assert answer.status_code == 503
    assert "cloakhouse run --weeks 1-4" in answer.text
    assert not (tmp_path / "nothing").exists()
    for page in PAGES:
        assert console.get(page).status_code in (200, 503), page
    assert not (tmp_path / "nothing" / "control.db").exists()


def test_a_locked_database_is_a_page_and_other_parts_stand(own: Asked, settings: Settings) -> None:
    path = settings.home / "control.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        own_house = asked(settings)
        answer = own_house.get("/log")
        assert answer.status_code == 503
        assert "storage" in answer.text
        assert str(settings.home) not in answer.text
        assert own_house.client.get("/static/console.css").status_code == 200
    finally:
        connection.rollback()
        connection.close()
    assert own.get("/log").status_code == 200


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4_000])
def test_a_damaged_database_is_a_page_without_internals(settings: Settings, damage: bytes) -> None:
    for file in settings.home.glob("control.db*"):
        file.unlink()
    (settings.home / "control.db").write_bytes(damage)
    console = asked(settings)
    for page in ("/", "/log", "/alerts", "/datasets"):
        answer = console.get(page)
        assert answer.status_code in (500, 503) or "shown just now" in answer.text
        for inner in ("Traceback", "sqlalchemy", "sqlite3", str(settings.home), "site-packages"):
            assert inner not in answer.text


def test_without_the_key_service_the_log_is_still_shown(settings: Settings) -> None:
    away = replace(settings, keys="openbao:https://127.0.0.1:1")
    console = asked(away)
    for page in ("/log", "/datasets", "/datasets/people_synthetic/1", "/alerts", "/downloads"):
        assert console.get(page).status_code == 200, page
    for page in ("/", "/keys", "/access"):
        answer = console.get(page)
        assert answer.status_code == 200
        assert "shown just now" in answer.text


def test_a_lake_that_hangs_is_a_page_in_good_time(
    own: Asked, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(kept, "WAIT_S", 0.05)
    monkeypatch.setattr(house, "open_release", lambda *_: go.wait(20))
    monkeypatch.setattr(routes_data, "open_store", lambda *_: go.wait(20))
    begun = time.monotonic()
    console = asked(settings)
    try:
        assert "storage.slow" in console.get("/datasets/people_synthetic/1").text
        answer = console.get("/evidence/" + "0" * 64)
        assert (answer.status_code, "storage.slow" in answer.text) == (503, True)
        assert console.get("/log").status_code == 200
        assert time.monotonic() - begun < 10
    finally:
        go.set()


def test_a_version_whose_release_is_gone_says_so(own: Asked, settings: Settings) -> None:
    for path in settings.lake.glob("synthetic/*/releases/*.json"):
        path.unlink()
    text = own.get("/datasets/people_synthetic/1").text
    assert "The signed release can&#39;t be shown just now" in text or "The signed release can't be shown" in text
    assert "integrity.release" in text
    assert own.get("/datasets/people_synthetic/1/card.json").status_code == 500


def test_withdrawal_holds_and_tags_are_shown(own: Asked, settings: Settings) -> None:
    register = VersionRegister(settings.database)
    register.tag("people_synthetic", 1, "spring", Event("ann", Action.TAG, "people_synthetic@1"))
    register.hold("people_synthetic", 1, Event("ann", Action.HOLD, "people_synthetic@1", reason=MARKUP))
    register.withdraw("people_synthetic", 1, Event("ann", Action.WITHDRAW, "people_synthetic@1", reason=MARKUP))
    for page in ("/datasets/people_synthetic", "/datasets/people_synthetic/1"):
        text = own.get(page).text
        assert "withdrawn" in text
        assert ESCAPED in text
        assert "<script>alert" not in text


def test_markup_in_every_text_of_an_event_is_text(own: Asked, settings: Settings) -> None:
    number = AuditLog(settings.database).record(
        Event(
            MARKUP, MARKUP[:30], MARKUP, MARKUP, MARKUP, 3, REFUSED, MARKUP, None, MARKUP, "people_synthetic",
            MARKUP, MARKUP, MARKUP, {"fact": MARKUP},
        )
    )  # fmt: skip
    for page in (
        "/",
        "/log",
        f"/log/{number}",
        "/datasets/people_synthetic",
        f"/log?actor={MARKUP}",
        "/datasets?name=" + MARKUP,
    ):
        text = own.get(page).text
        assert ESCAPED in text, page
        assert "<script>alert" not in text, page
        assert "<img src=x" not in text, page


def test_decisions_over_evidence_are_listed(own: Asked, settings: Settings) -> None:
    sha = "ab" * 32
    with Approvals(settings.database)._engine.begin() as connection:
        from cloakhouse.ledger import database as db

        row = {"dataset": "people_synthetic", "evidence_sha256": sha, "decision": "rejected", "approver": "kim"}
        row |= {"requester": "ann", "reason": MARKUP, "entry": 0, "at": dt.datetime.now(dt.UTC)}
        connection.execute(db.approval.insert(), [row] * 60)
    text = own.get("/approvals").text
    assert ESCAPED in text
    assert text.count("rejected") == 50
    assert own.get("/approvals?before=11").text.count("rejected") == 10
    assert own.get(f"/evidence/{sha}").status_code == 404


def test_evidence_is_shown_by_its_digest(shared: Asked) -> None:
    text = shared.get("/datasets/people_synthetic/1").text
    sha = text.partition("/evidence/")[2][:64]
    page = shared.get(f"/evidence/{sha}").text
    assert "k-anonymity of customers" in page
    assert "expect column values to be between" in page


def test_a_budget_burns_down(own: Asked, settings: Settings) -> None:
    ledger, account = PrivacyLedger(settings.database), Account("transactions", "household", "default")
    ledger.reserve(
        "release-1",
        {account: Allowance(1.0, 1e-6, "never")},
        0.002,
        0.0,
        MARKUP,
        Event("ann", Action.SPEND, "release-1"),
    )
    assert "transactions" in own.get("/budgets").text
    text = own.get("/budgets/transactions").text
    assert "<svg" in text
    assert ESCAPED in text
    assert own.get("/budgets/products").status_code == 404


def test_the_card_is_a_file(shared: Asked) -> None:
    answer = shared.get("/datasets/people_synthetic/1/card.json")
    assert answer.headers["content-disposition"] == 'attachment; filename="people_synthetic-1-card.json"'
    assert json.loads(answer.content)["dataset"] == "people_synthetic"


def test_public_keys_and_the_checkpoint_can_be_taken_away(shared: Asked) -> None:
    assert shared.get("/public-keys/audit.pem").text.startswith("-----BEGIN PUBLIC KEY-----")
    assert shared.get("/public-keys/nobody.pem").status_code == 404
    note = shared.get("/checkpoint.txt")
    assert note.text.startswith("cloakhouse/")
    assert "attachment" in note.headers["content-disposition"]


def test_reports_bundles_and_documents_are_handed_out_as_they_are_made(
    shared: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"html": b"<p>report</p>", "pdf": b"%PDF", "json": b"{}"}
    monkeypatch.setattr(offered, "report", lambda settings, version, form: made[form])
    monkeypatch.setattr(offered, "bundle", lambda settings, viewer, version: (b"PK", "zip"))
    monkeypatch.setattr(offered, "document", lambda settings, kind: kind.encode())
    for form, body in made.items():
        answer = shared.get(f"/datasets/people_synthetic/1/report.{form}")
        assert (answer.content, answer.headers["content-type"]) == (body, offered.REPORTS[form])
        assert answer.headers["content-disposition"] == f'attachment; filename="people_synthetic-1-report.{form}"'
    assert shared.get("/datasets/people_synthetic/1/report.exe").status_code == 404
    assert shared.get("/datasets/people_synthetic/1/bundle").content == b"PK"
    assert {kind: shared.get(f"/documents/{kind}.html").text for kind in offered.DOCUMENTS} == {
        kind: kind for kind in offered.DOCUMENTS
    }


def test_a_bundle_is_one_event_in_the_name_of_who_takes_it(own: Asked, settings: Settings) -> None:
    before = AuditLog(settings.database).size()
    answer = own.get("/datasets/people_synthetic/1/bundle", x_name="eve")
    assert (answer.status_code, answer.content[:2]) == (200, b"PK")
    events = [entry.event for entry in AuditLog(settings.database).entries(before)]
    taken = [event for event in events if event.action == Action.EXPORT_LOG]
    assert [(e.actor, e.role, e.object, e.dataset) for e in taken] == [
        ("eve", "auditor", "bundle of people_synthetic@1", "people_synthetic")
    ]


@pytest.mark.browser
def test_a_pdf_is_drawn_by_another_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    version = VersionRegister(settings.database).heads()[0]
    commands: list[list[str]] = []
    run = subprocess.run

    def watched(command: list[str], **options: object) -> object:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(drawn.subprocess, "run", watched)
    assert offered.report(settings, version, "pdf").startswith(b"%PDF-")
    assert [command[1:] for command in commands] == [["-m", "cloakhouse.console.drawn"]]


def test_a_pdf_that_is_not_drawn_is_a_page_that_says_so(own: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn.sys, "executable", "/bin/false")  # which says nothing and returns 1
    answer = own.get("/datasets/people_synthetic/1/report.pdf")
    assert answer.status_code == 503
    assert "stage.pdf" in answer.text


def test_heavy_downloads_have_two_places_and_pages_need_none(own: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "WAIT_S", 0.01)
    with drawn.place(), drawn.place():
        for path in ("/datasets/people_synthetic/1/bundle", "/datasets/people_synthetic/1/report.pdf"):
            answer = own.get(path)
            assert (answer.status_code, "stage.busy" in answer.text) == (503, True)
        assert own.get("/log").status_code == 200
    assert own.get("/datasets/people_synthetic/1/report.html").status_code == 200


def test_a_model_team_does_not_learn_of_what_is_not_published(
    own: Asked, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.open_database(settings.database).begin() as connection:  # a number was given, and never published
        connection.execute(sa.insert(db.dataset_head).values(dataset="baskets_private", reserved=1))
    assert "baskets_private" in own.get("/datasets").text
    assert "baskets_private" not in own.get("/datasets", "model").text
    assert own.get("/datasets/baskets_private", "model").status_code == 404
    monkeypatch.setattr(data_datasets, "is_known", lambda *_, **__: True)
    for role, told in (("auditor", True), ("model", False)):
        assert ("baskets_private" in own.get("/datasets/transactions", role).text) == told


def test_documents_are_made_of_the_contracts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in offered.DOCUMENTS:
        assert offered.document(settings, kind).lstrip().lower().startswith(b"<!doctype html")
    own = write_organisation(tmp_path / "own.yaml")
    own.write_text(own.read_text().replace("name: Shop", "name: Another House"))
    monkeypatch.setenv("CLOAKHOUSE_ORGANISATION", str(own))
    assert b"Another House" in offered.document(settings, "record")


def test_lineage_leads_from_sources_to_what_comes_of_them(own: Asked, settings: Settings) -> None:
    Catalogue(settings.database).register_contract(load_contracts(settings.contracts)["transactions"])
    text = own.get("/datasets/transactions").text
    assert "from it come" in text
    assert "/datasets/baskets_private" in text
    assert own.get("/datasets/transactions", "model").status_code == 404


def test_concerns_name_each_thing_once() -> None:
    class Old:
        size, checkpoint_at, uncovered, verified = 5, NOW - dt.timedelta(days=3), 2, None

    class Alerts:
        total = 1

    log = {"standing": Old(), "alerts": Alerts(), "decisions": {"allowed": 1, "refused": 0, "failed": 0}}

    class Found:
        complete, findings = False, (1, 2)

    class Measured:
        value = Found()

    said = routes_home._concerns(log, {"late": [1]}, {"near": [1, 2]}, Measured())
    assert [text for text, _ in said] == [
        "1 alert is open",
        "the newest checkpoint is older than a day",
        "no verification of the log is recorded",
        "1 master key is overdue for rotation",
        "2 privacy budgets are nearly gone",
        "2 files aren't encrypted as agreed",
    ]
    assert routes_home._concerns(None, None, None, None) == []


def test_a_database_that_is_no_url_is_a_setting_to_correct(settings: Settings) -> None:
    answer = asked(replace(settings, database="no url")).get("/log")
    assert answer.status_code == 503
    assert "CLOAKHOUSE_DATABASE" in answer.text


def test_commands_in_sentences_are_code_and_markup_stays_text() -> None:
    assert pages.told("run `doctor <x>`, then <b>") == "run <code>doctor &lt;x&gt;</code>, then &lt;b&gt;"
