"""Copies of one person's data on the sample: what is in one, who may have it made, and what stays on record."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyrage
import pytest
from tests.support.house import House, protected

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, DeliveryError, NotFound
from cloakhouse.governance.organisation import load_organisation
from cloakhouse.governance.subject_about import about
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Action, Event
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import apply
from cloakhouse.stages.request_reason import UNCHECKED
from cloakhouse.stages.restored import Closed, open_again, write_closed
from cloakhouse.stages.subject_export import Copy, Request, export_subject
from cloakhouse.stages.subject_identifiers import Identifiers

PURPOSE = "data-subject-rights"
REASON = "access request DSR-4711"
ROOTS = ("tokens/root", "purposes/rights", "purposes/analytics")
IDENTITY = pyrage.x25519.Identity.generate()
AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
Given = tuple[dict[str, bytes], Copy]


@dataclass(frozen=True)
class Desk:
    """An installation, its officer, and the lines of the sample as they came, by feed."""

    house: House
    officer: Settings
    lines: Mapping[str, list[dict[str, Any]]]

    @property
    def person(self) -> str:
        """The household with most lines."""
        return Counter(line["household_id"] for line in self.lines["transactions"]).most_common(1)[0][0]

    def of(self, feed: str, person: str) -> list[dict[str, Any]]:
        """Return a person's lines of a feed as they were delivered."""
        return [line for line in self.lines[feed] if str(line["household_id"]) == person]

    def token(self, person: str) -> bytes:
        """Return the rights token of a household."""
        found = Identifiers.of(self.house.settings).tokens(pa.array([int(person)]), "household_id")
        return bytes(found[0].as_py())

    def ask(
        self, text: str, settings: Settings | None = None, *, recipient: str = "", reason: str = REASON
    ) -> tuple[dict[str, bytes], Copy]:
        """Return the files of a copy, opened by who asked for it, and what the stage says of it."""
        path, sink = self.house.settings.home.parent / "person.csv", io.BytesIO()
        path.write_text(text)
        request = Request(path, recipient or str(IDENTITY.to_public()), reason)
        copy = export_subject(settings or self.officer, request, sink, self._about)
        with zipfile.ZipFile(io.BytesIO(pyrage.decrypt(sink.getvalue(), [IDENTITY]))) as file:
            return {name: file.read(name) for name in file.namelist()}, copy

    def events(self) -> list[Event]:
        """Return the events of copies, oldest first."""
        return [e for e in AuditLog(self.house.settings.database).events() if e.action == Action.EXPORT_SUBJECT]

    def _about(self, counts: Mapping[str, Mapping[str, int]]) -> Mapping[str, bytes]:
        organisation = load_organisation(self.officer.project / "dags" / "organisation.yaml")
        return about(organisation, self.house.contracts, counts, dt.date(2026, 11, 22))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    house = protected().copy(folder / "home")
    shipped = house.settings.policy.read_text()
    assert "privacy-officer" in shipped
    policy = folder / "access.yaml"
    policy.write_text(shipped.replace("principals: {}", "principals: {dora: {roles: [privacy-officer]}}"))
    settings = replace(house.settings, policy=policy)
    service = service_of(settings)
    assert isinstance(service, AgeKeyService)
    service.enrol("dora", identity=folder / "dora.txt")
    Identifiers.of(settings)  # makes the root of rights tokens
    apply(settings)
    for root in ROOTS:
        service.grant(Grant("dora", KeyName(root), PURPOSE))
    officer = replace(settings, identity=folder / "dora.txt", purpose=PURPOSE)
    return Desk(House(settings), officer, _delivered(folder / "feed"))


@pytest.fixture(scope="module")
def given(desk: Desk) -> Given:
    """A copy of the data of somebody with a consent."""
    record = choices_table(
        {
            "subject": [desk.token(desk.person)],
            "purpose": ["sharing"],
            "choice": ["refused"],
            "jurisdiction": ["gdpr"],
            "policy": ["2016-12"],
            "source": ["api"],
            "chosen_at": [AT],
        }
    )
    ConsentRegister(desk.house.settings.database).add(record, Event("platform", Action.RECORD_CONSENT, "consents"))
    return desk.ask(f"household_id\n{desk.person}\n")


def _delivered(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of the sample, read by nothing of the platform."""
    write_feed(folder, weeks=range(1, 3), wanted=lambda name: not name.startswith("products"))
    lines: dict[str, list[dict[str, Any]]] = {"customers": [], "transactions": []}
    for path in sorted(folder.glob("customers-*")):
        for line in path.read_bytes().splitlines():
            try:
                lines["customers"].append(json.loads(line))
            except ValueError:
                continue
    for path in sorted(folder.glob("transactions-*")):
        text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
        lines["transactions"] += [row for row in csv.DictReader(io.StringIO(text)) if None not in row.values()]
    return lines


def refused(kind: type[CloakhouseError], code: str, desk: Desk, *given: Any, **more: Any) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        desk.ask(*given, **more)
    assert refusal.value.code.endswith(code), refusal.value.code
    return refusal.value


def test_no_copy_is_made_in_a_restored_home_until_later_erasures_are_settled(desk: Desk) -> None:
    closed, before = Closed("backup-1", "2026-11-02T00:00:00+00:00", 1, erased=True), len(desk.events())
    write_closed(desk.officer, closed)
    try:
        refused(AccessRefused, "access.restored", desk, f"household_id\n{desk.person}\n")
    finally:
        open_again(desk.officer)
    [event] = desk.events()[before:]
    assert (event.actor, event.decision, event.code) == ("dora", REFUSED, "access.restored")


def test_a_copy_holds_the_persons_lines_of_every_zone_and_nobody_elses(desk: Desk, given: Given) -> None:
    person = desk.person
    files, copy = given
    [master] = json.loads(files["landed/customers.json"])
    [delivered] = desk.of("customers", person)
    assert {name: master[name] for name in delivered} == delivered
    landed = json.loads(files["landed/transactions.json"])
    expected = desk.of("transactions", person)
    assert len(expected) > 20
    shown = [{name: line[name] for name in expected[0]} for line in landed]
    assert sorted(map(json.dumps, shown)) == sorted(map(json.dumps, expected))
    table = list(csv.DictReader(io.StringIO(files["landed/transactions.csv"].decode(), newline="")))
    assert [row["basket_id"] for row in table] == [line["basket_id"] for line in landed]
    rows = json.loads(files["protected/transactions.json"])
    assert 0 < len(rows) <= len(landed)
    assert {row["partition"] for row in rows} <= {line["partition"] for line in landed}
    assert len({row["household_id"] for row in rows}) == 1
    assert len(json.loads(files["protected/customers.json"])) == 1
    [consent] = json.loads(files["consents.json"])
    assert (consent["purpose"], consent["choice"], consent["source"]) == ("sharing", "refused", "api")
    assert copy.counts["transactions"] == {"landed": len(landed), "protected": len(rows)}
    assert (copy.held, copy.unclear) == (False, 0)
    told = json.loads(files["about.json"])
    by_name = {one["dataset"]: one for one in told["processing"]}
    assert by_name["transactions"]["rows"] == copy.counts["transactions"]
    assert "until" not in by_name["customers"]
    assert by_name["customers"]["recipients"]
    assert "GDPR Art. 77" in {right["clause"] for right in told["rights"]}
    page = files["about.html"].decode()
    assert "Berliner Beauftragte" in page
    assert delivered["name"] not in page
    others = {line["name"] for line in desk.lines["customers"] if str(line["household_id"]) != person}
    content = b"".join(files.values()).decode()
    assert not [name for name in others if name in content]


def test_the_same_person_is_found_by_card_and_by_address_and_the_copy_is_the_same(desk: Desk, given: Given) -> None:
    [line] = desk.of("customers", desk.person)
    for name in ("loyalty_card", "email"):
        files, _ = desk.ask(f"{name}\n{line[name]}\n")
        assert files == given[0]


def test_what_stays_on_record_is_written_before_and_after_and_names_nobody(desk: Desk, given: Given) -> None:
    copy = given[1]
    [last] = [event for event in desk.events() if event.facts.get("sha256") == copy.sha256]
    first = desk.events()[desk.events().index(last) - 1]
    assert (first.actor, first.role, first.purpose, first.reason) == ("dora", "privacy-officer", PURPOSE, UNCHECKED)
    assert last.reason == REASON
    assert (first.count, first.decision, first.facts["feeds"], first.facts["deliveries"]) == (1, ALLOWED, 2, 3)
    assert (last.count, last.facts["sha256"], last.facts["bytes"]) == (0, copy.sha256, copy.bytes)
    assert desk.token(desk.person).hex() not in repr((first, last))


def test_a_persons_hold_stays_untold_in_the_copy_and_is_told_to_the_officer(desk: Desk, given: Given) -> None:
    holds, one = SubjectHolds(desk.house.settings.database), pa.array([desk.token(desk.person)], pa.binary(16))
    holds.place(one, Event("ann", Action.HOLD_SUBJECT, "persons of a file", reason="law suit 17"))
    try:
        files, copy = desk.ask(f"household_id\n{desk.person}\n")
    finally:
        holds.lift(one, Event("ann", Action.LIFT_SUBJECT_HOLD, "persons of a file", reason="law suit 17"))
    assert copy.held
    assert files == given[0]


def test_who_may_not_gets_nothing_and_stands_in_the_log(desk: Desk) -> None:
    text, before = f"household_id\n{desk.person}\n", len(desk.events())
    refused(AccessRefused, "access.platform", desk, text, desk.house.settings)
    refused(AccessRefused, "access.role", desk, text, replace(desk.officer, purpose="operations-support"))
    gaps = desk.officer.policy.read_text().replace("sensitive, payment, plain]}\n\n#", "sensitive, plain]}\n\n#")
    assert gaps != desk.officer.policy.read_text()
    narrow = desk.officer.policy.with_name("narrow.yaml")
    narrow.write_text(gaps)
    refused(AccessRefused, "access.role", desk, text, replace(desk.officer, policy=narrow))
    refused(AccessRefused, "access.rate", desk, text, replace(desk.officer, subject_export_limit=0))
    found = desk.events()[before:]
    assert [event.decision for event in found] == [REFUSED] * 4
    assert [event.code for event in found] == ["access.platform", "access.role", "access.role", "access.rate"]


def test_nobody_is_told_apart_from_somebody_who_was_erased(desk: Desk) -> None:
    refused(NotFound, "not-found.subject", desk, "household_id\n987654321\n")
    refused(NotFound, "not-found.subject", desk, "email\nnobody@example.org\n")
    stones, one = Tombstones(desk.house.settings.database), pa.array([desk.token(desk.person)], pa.binary(16))
    stones.add(one, "er-20261101-0badcafe", Event("ann", Action.REQUEST_ERASURE, "er-20261101-0badcafe"))
    try:
        told = refused(NotFound, "not-found.erased", desk, f"household_id\n{desk.person}\n")
    finally:
        stones.remove(one, "er-20261101-0badcafe")
    assert "er-20261101-0badcafe" in told.found
    assert f"{dt.datetime.now(dt.UTC):%Y-%m-%d}" in told.found


def test_two_persons_and_unsound_requests_are_refused(desk: Desk) -> None:
    one, two = (str(line["household_id"]) for line in desk.lines["customers"][:2])
    told = refused(DeliveryError, "delivery.subjects", desk, f"household_id\n{one}\n{two}\n")
    assert "2 persons" in told.found
    refused(DeliveryError, "delivery.subjects", desk, f"household_id\n{one}\n987654321\n")
    refused(DeliveryError, "delivery.subjects", desk, f"household_id\n{one}\nrubbish\n")
    before = len(desk.events())
    refused(ConfigurationError, "configuration.recipient", desk, f"household_id\n{one}\n", recipient="age1nobody")
    refused(ConfigurationError, "configuration.reason", desk, f"household_id\n{one}\n", reason="why not")
    assert len(desk.events()) == before


def test_a_reason_that_names_the_person_is_refused_and_never_recorded(desk: Desk) -> None:
    [line] = desk.of("customers", desk.person)
    before = len(desk.events())
    for word, column in ((line["name"], "name"), (f"household {desk.person}", "household_id")):
        reason = f"access request of {word}, by letter"
        told = refused(
            ConfigurationError, "configuration.reason", desk, f"household_id\n{desk.person}\n", reason=reason
        )
        assert column in told.found
        assert str(word) not in told.explain()
    recorded = desk.events()[before:]
    assert [event.code for event in recorded if event.decision != ALLOWED] == ["configuration.reason"] * 2
    assert {event.reason for event in recorded if event.action == "export subject"} == {UNCHECKED}
    assert str(line["name"]) not in repr(recorded)


def test_lines_of_an_unclear_form_are_counted_and_not_given_out(desk: Desk, tmp_path: Path) -> None:
    from cloakhouse.stages.land import land

    house = desk.house.copy(tmp_path / "home")
    [line] = desk.of("customers", desk.person)
    broken = json.dumps(line).encode()[:-1] + b', "note": "of another, too"'  # never closed
    content = b"\n".join([json.dumps(line).encode(), broken, json.dumps({**line, "extra": [1]}).encode(), b""])
    house.settings.inbox.mkdir(exist_ok=True)
    (house.settings.inbox / "customers-2017-01-09.jsonl").write_bytes(content)
    land(house.settings, house.contracts["customers"])
    officer = replace(house.settings, policy=desk.officer.policy, identity=desk.officer.identity, purpose=PURPOSE)
    files, copy = Desk(house, officer, desk.lines).ask(f"household_id\n{desk.person}\n")
    found = [row for row in json.loads(files["landed/customers.json"]) if row["partition"] == "2017-01-09"]
    assert [row.get("extra") for row in found] == [None, [1]]
    assert copy.unclear == 1
    assert b"of another, too" not in b"".join(files.values())
