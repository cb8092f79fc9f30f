"""Choices by API and by file: who may, what is registered, and what refuses a whole file."""

from __future__ import annotations

import datetime as dt
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.consents import copied, day, made, rights, say
from tests.support.contracts import SHIPPED

from cloakhouse.contracts.parser import load_contract
from cloakhouse.errors import AccessRefused, ConfigurationError, NotFound
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages import consent_import, consent_lines
from cloakhouse.stages.consent_import import Registered, import_choices, record_choice
from cloakhouse.stages.consent_lines import LineReader, csv_lines
from cloakhouse.stages.request_reason import UNCHECKED

COLUMN = load_contract(SHIPPED / "customers.odcs.yaml").column("household_id")
REASON = "case 4711: a call of the customer"
HEADER = "household_id,purpose,choice,chosen_at,policy,country,source"
SOUND = [
    "1,analytics,granted,2026-01-01T10:00:00+02:00,2026-01,DE,",
    '"2", sharing ,refused,2026-01-01T10:00:00Z,2026-01,US,gpc',
    "3,synthetic,told,2026-01-01T10:00:00Z,2026-01,,file",
]


class Keys:
    """The same key for every use."""

    def key(self, use: KeyUse) -> SecretKey:
        return SecretKey(use.algorithm.encode().ljust(32, b"."))


KEYS = Keys()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    house = made(tmp_path_factory.mktemp("import") / "home")
    say(house, (9, "customers", "granted", day(0)))
    return house


@pytest.fixture
def house(template: Settings, tmp_path: Path) -> Settings:
    return copied(template, tmp_path / "home")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "choices.csv"


def write(file: Path, *lines: str, header: str = HEADER) -> Path:
    file.write_text("\n".join((header, *lines)) + "\n")
    return file


def said(settings: Settings, person: int) -> list[tuple[str, str, str, str, dt.datetime]]:
    [token] = rights(settings, [person]).to_pylist()
    found = ConsentRegister(settings.database).records(token)
    return [(r.purpose, r.choice, r.jurisdiction, r.source, r.chosen_at) for r in found]


def refusal(settings: Settings, file: Path, code: str = "configuration.consent") -> str:
    with pytest.raises(ConfigurationError) as refused:
        import_choices(settings, file, REASON)
    assert refused.value.code == code
    return refused.value.explain()


def test_a_file_is_registered_whole_with_one_event_and_once(house: Settings, file: Path) -> None:
    write(file, *SOUND)
    assert import_choices(house, file, REASON) == Registered(3, 3)
    at = dt.datetime(2026, 1, 1, 10, tzinfo=dt.UTC)
    assert said(house, 1) == [("analytics", "granted", "gdpr", "file", at - dt.timedelta(hours=2))]
    assert said(house, 2) == [("sharing", "refused", "ccpa", "gpc", at)]
    assert said(house, 3) == [("synthetic", "told", "other", "file", at)]
    assert import_choices(house, file, REASON) == Registered(3, 0)
    [event] = [e for e in AuditLog(house.database).events() if e.object == "choices of a file"]
    assert (event.action, event.count, event.reason, event.facts) == ("record consent", 3, REASON, {})


def test_jsonl_says_the_same(house: Settings, tmp_path: Path) -> None:
    names = HEADER.split(",")
    lines = [json.dumps(dict(zip(names, [v.strip(' "') for v in line.split(",")], strict=True))) for line in SOUND]
    lines[2] = lines[2].replace('"3"', "3").replace('"file"', "null")
    (tmp_path / "choices.jsonl").write_text("\n".join(lines) + "\n\n")
    assert import_choices(house, tmp_path / "choices.jsonl", REASON) == Registered(3, 3)
    assert said(house, 3)[0][3] == "file"


BAD = {
    "person": "anna@example.com,analytics,granted,2026-01-01T10:00:00Z,1,DE,",
    "nobody": ",analytics,granted,2026-01-01T10:00:00Z,1,DE,",
    "purpose": "1,advertising,granted,2026-01-01T10:00:00Z,1,DE,",
    "choice": "1,analytics,perhaps,2026-01-01T10:00:00Z,1,DE,",
    "no zone": "1,analytics,granted,2026-01-01T10:00:00,1,DE,",
    "a time to come": "1,analytics,granted,2999-01-01T10:00:00Z,1,DE,",
    "a time before time": "1,analytics,granted,0001-01-01T00:00:00+14:00,1,DE,",
    "policy": "1,analytics,granted,2026-01-01T10:00:00Z,,DE,",
    "country": "1,analytics,granted,2026-01-01T10:00:00Z,1,Germany,",
    "source": "1,analytics,granted,2026-01-01T10:00:00Z,1,DE,customers",
    "a signal that grants": "1,sharing,granted,2026-01-01T10:00:00Z,1,US,gpc",
    "too few fields": "1,analytics",
    "too long": f"1,analytics,granted,2026-01-01T10:00:00Z,1,DE,{'x' * 5000}",
    "a quote that stays open": '1,analytics,"granted,2026-01-01T10:00:00Z,1,DE,',
    "bytes that are no text": "1,analytics,granted,2026-01-01T10:00:00Z,1,\ufffd,",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_told_by_its_number_and_without_its_value(name: str) -> None:
    reader = LineReader(COLUMN, KEYS, dt.datetime.now(dt.UTC))
    lines = csv_lines(io.StringIO("\n".join((SOUND[0], BAD[name]))), ",", HEADER.split(","))
    assert reader.table(lines).num_rows == 1
    told = str(reader.faults)
    assert (reader.lines, sum(reader.faults.counts.values())) == (2, 1)
    assert "(line 3)" in told
    assert not [value for value in ("anna@", "advertising", "perhaps", "Germany", "2999") if value in told]


def test_one_bad_line_refuses_the_file(house: Settings, file: Path) -> None:
    before = AuditLog(house.database).size()
    file.write_bytes(
        "\n".join((HEADER, *SOUND, BAD["country"].replace("Germany", "\udcff"))).encode(errors="surrogateescape")
    )
    assert "of 4: 1 with not a line" in refusal(house, file)
    assert said(house, 1) == []
    events = AuditLog(house.database).entries(before)
    assert [(e.event.decision, e.event.code, e.event.count) for e in events if e.event.action == "record consent"] == [
        ("refused", "configuration.consent", 0)
    ]


def test_faults_of_each_kind_are_counted_with_their_first_lines() -> None:
    reader = LineReader(COLUMN, KEYS, dt.datetime.now(dt.UTC))
    lines = [*[BAD["purpose"]] * 7, *[BAD["choice"]] * 2, *SOUND]
    reader.table(csv_lines(io.StringIO("\n".join(lines)), ",", HEADER.split(",")))
    assert str(reader.faults).startswith("7 with another purpose")
    assert "(line 2, 3, 4, 5, 6, ...)" in str(reader.faults)
    assert "(line 9, 10)" in str(reader.faults)


@pytest.mark.parametrize(
    "header", ["household_id,purpose", HEADER + ",name", HEADER.replace("source", "policy"), "", "email" + HEADER[12:]]
)
def test_another_header_is_refused(header: str, house: Settings, file: Path) -> None:
    assert "a header of household_id" in refusal(house, write(file, *SOUND, header=header))


def test_a_file_that_is_too_large_empty_or_missing_is_refused(
    house: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal(house, write(file))
    with pytest.raises(NotFound):
        import_choices(house, file.parent, REASON)
    monkeypatch.setattr(consent_import, "MOST_LINES", 2)
    refusal(house, write(file, *SOUND))
    monkeypatch.setattr(consent_import, "MOST_BYTES", 10)
    refusal(house, file)


def test_a_file_is_read_in_blocks(house: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent_lines, "BLOCK_LINES", 2)
    write(file, *SOUND, *(line.replace("2026-01-01", "2026-01-02") for line in SOUND))
    assert import_choices(house, file, REASON) == Registered(6, 6)


def test_one_choice_is_registered_as_of_now_with_its_reason(house: Settings) -> None:
    before = dt.datetime.now(dt.UTC)
    how = {"policy": "2026-01", "country": "US"}
    assert record_choice(house, "1", "sharing", "refused", REASON, source="gpc", **how) == Registered(1, 1)
    [(purpose, choice, law, source, at)] = said(house, 1)
    assert (purpose, choice, law, source) == ("sharing", "refused", "ccpa", "gpc")
    assert before <= at <= dt.datetime.now(dt.UTC)
    for wrong in ({"identifier": "anna"}, {"purpose": "ads"}, {"policy": ""}, {"country": "us"}):
        given = {"identifier": "1", "purpose": "sharing", "choice": "granted", "policy": "1", **wrong}
        with pytest.raises(ConfigurationError) as refused:
            record_choice(house, reason=REASON, **given)
        assert "anna" not in refused.value.explain()
    with pytest.raises(ConfigurationError):
        record_choice(house, "1", "sharing", "granted", "why", policy="1")


def test_a_reason_that_holds_an_identifier_of_somebody_in_it_is_refused_and_not_recorded(
    house: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "choices.csv"
    write(file, *SOUND)
    for reason in ("the mail of household 1 of today", "asked by 0001, on the phone"):
        with pytest.raises(ConfigurationError) as single:
            record_choice(house, "1", "sharing", "refused", reason, policy="1")
        with pytest.raises(ConfigurationError) as many:
            import_choices(house, file, reason)
        for told in (single.value, many.value):
            assert (told.code, told.found) == ("configuration.reason", "what names one: household_id")
    log = list(AuditLog(house.database).events())
    assert {event.reason for event in log if event.code == "configuration.reason"} == {UNCHECKED}
    assert said(house, 1) == []
    assert record_choice(house, "1", "sharing", "refused", "the mail of case SD-1", policy="1").added == 1


def test_a_principal_needs_the_grants_and_a_refusal_is_recorded(house: Settings, tmp_path: Path) -> None:
    service = service_of(house)
    assert isinstance(service, AgeKeyService)
    service.enrol("ann", identity=tmp_path / "ann.txt")
    ann = replace(house, identity=tmp_path / "ann.txt", purpose="privacy desk")
    with pytest.raises(AccessRefused):
        record_choice(ann, "1", "sharing", "refused", REASON, policy="1")
    refused = [e for e in AuditLog(house.database).events() if e.action == "record consent"][-1]
    assert (refused.actor, refused.decision, refused.code) == ("ann", "refused", "access.key")
    for key in ("tokens/root", "purposes/rights"):
        service.grant(Grant("ann", KeyName(key), "privacy desk"))
    assert record_choice(ann, "1", "sharing", "refused", REASON, policy="1").added == 1


def test_without_a_register_in_the_contracts_nothing_is_registered(house: Settings, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigurationError) as refused:
        record_choice(replace(house, contracts=tmp_path / "none"), "1", "sharing", "refused", REASON, policy="1")
    assert refused.value.code == "configuration.register"
