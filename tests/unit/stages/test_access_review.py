"""The review: who can open what and why, and what there is to look at."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.access import AccessHouse

from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.stages.access_apply import apply
from cloakhouse.stages.access_review import FAILING, Finding, Kind, Review, review

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
USED = (
    ("mia", ["synthetic/plain", "synthetic/indirect"], "training"),
    ("mia", ["synthetic/plain", "synthetic/indirect"], "evaluation"),
    ("dan", ["access/desk_staff"], "service desk"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    """An installation whose grants were all used yesterday."""
    house = AccessHouse.make(tmp_path_factory.mktemp("access"))
    for principal, keys, purpose in USED:
        AccessUses(house.settings.database).record(principal, keys, purpose, NOW - dt.timedelta(days=1))
    return house


@pytest.fixture(scope="module")
def applied(made: AccessHouse, tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    house = made.copy(tmp_path_factory.mktemp("applied"))
    apply(house.settings)
    return house


@pytest.fixture
def house(applied: AccessHouse, tmp_path: Path) -> AccessHouse:
    return applied.copy(tmp_path)


def found(house: AccessHouse, now: dt.datetime = NOW, days: int = 90) -> Review:
    return review(house.settings, now, days)


def lines(result: Review) -> list[str]:
    return [f"{f.kind}: {f.who} {f.what} {f.detail}" for f in result.findings]


def test_who_can_open_what_and_why(house: AccessHouse) -> None:
    result = found(house)
    assert [(o.principal, o.role, o.purpose, o.zone, o.datasets, o.granted) for o in result.openings] == [
        ("dan", "desk-staff", "service desk", "synthetic", ("private",), "yes"),
        ("dan", "desk-staff", "service desk", "protected", ("peop*",), "yes"),
        ("mia", "modeller", "training", "synthetic", ("*",), "yes"),
        ("mia", "modeller", "evaluation", "synthetic", ("*",), "yes"),
    ]
    assert result.openings[0].classes == ("payment", "plain")
    assert {o.last_use for o in result.openings} == {NOW - dt.timedelta(days=1)}
    assert (result.findings, result.failing) == ((), ())
    assert json.loads(json.dumps(result.as_dict()))["openings"][2] == {
        "principal": "mia",
        "role": "modeller",
        "purpose": "training",
        "zone": "synthetic",
        "datasets": ["*"],
        "classes": ["indirect identifier", "plain"],
        "granted": "yes",
        "last_use": "2026-11-21T12:00:00+00:00",
        "review_by": "2027-05-31",
    }


def test_what_is_not_applied_yet_is_missing(made: AccessHouse, tmp_path: Path) -> None:
    house = made.copy(tmp_path)
    result = found(house)
    assert {o.granted for o in result.openings} == {"no"}
    assert {f.kind for f in result.findings} == {Kind.MISSING}
    assert "missing: dan access/desk_staff for service desk; by desk-staff" in lines(result)
    assert "missing: desk-staff synthetic/plain/private the dataset's key isn't shared" in lines(result)
    assert len(result.findings) == 7 + 5
    assert result.failing == ()
    service_of(house.settings).grant(Grant("mia", KeyName("synthetic/plain"), "training"))
    assert [o.granted for o in found(house).openings] == ["no", "no", "partly", "no"]


def test_a_dataset_key_that_is_not_shared_yet(house: AccessHouse) -> None:
    house.edit(("[private]", '["*private"]'))
    house.write("synthetic/very_private")
    result = found(house)
    assert [o.granted for o in result.openings][:2] == ["partly", "yes"]
    assert lines(result)[0] == "missing: desk-staff synthetic/footer/very_private the dataset's key isn't shared"


def test_past_its_review_date(house: AccessHouse) -> None:
    house.edit(("mia: {roles: [modeller]}", "mia: {roles: [modeller], reviewBy: 2026-11-21}"))
    assert lines(found(house)) == ["overdue: mia role modeller to be reviewed by 2026-11-21"]
    assert lines(found(house, NOW - dt.timedelta(days=1))) == []
    later = found(house, dt.datetime(2027, 6, 1, tzinfo=dt.UTC), 3650)
    assert [(f.kind, f.who) for f in later.failing] == [(Kind.OVERDUE, "dan"), (Kind.OVERDUE, "mia")]
    assert lines(found(house, dt.datetime(2027, 5, 31, tzinfo=dt.UTC), 3650))[0].startswith("overdue: mia")


def test_unused_for_as_many_days(house: AccessHouse) -> None:
    assert lines(found(house, NOW + dt.timedelta(days=89))) == []
    late = lines(found(house, NOW + dt.timedelta(days=90)))
    assert late[0] == "unused: dan access/desk_staff for service desk; last used 2026-11-21"
    assert len(late) == 5
    assert len(lines(found(house, NOW + dt.timedelta(days=90), 91))) == 0
    house.edit(("[training, evaluation]", "[training, evaluation, testing]"))
    apply(house.settings)
    assert lines(found(house)) == [
        "unused: mia synthetic/indirect for testing; last used never",
        "unused: mia synthetic/plain for testing; last used never",
    ]
    assert found(house).failing == ()


def test_grants_without_a_role_behind_them(house: AccessHouse) -> None:
    service = service_of(house.settings)
    service.grant(Grant("eve", KeyName("synthetic/plain"), "curiosity"))
    service.grant(Grant("dan", KeyName("reversible/customer_service"), "service desk"))
    house.edit(("classes: [plain, payment]", "classes: [plain]"))
    result = found(house)
    assert lines(result) == [
        "unexplained: desk-staff synthetic/payment/private shared; no rule gives it",
        "unexplained: eve synthetic/plain for curiosity; no role gives it",
        "outside: dan reversible/customer_service for service desk; not about reading datasets",
    ]
    assert len(result.failing) == 2


def test_a_role_that_nobody_has(house: AccessHouse) -> None:
    house.edit(("mia: {roles: [modeller]}", "mia: {roles: [desk-staff]}"))
    kinds = {(f.kind, f.who) for f in found(house).findings}
    assert (Kind.NOBODY, "modeller") in kinds
    assert (Kind.UNEXPLAINED, "mia") in kinds


def test_what_a_killed_call_left(house: AccessHouse) -> None:
    (house.settings.home / "access-changes.json").write_text("{}")
    assert [f.kind for f in found(house).failing] == [Kind.UNFINISHED]


def test_a_key_service_without_grants_is_told_plainly(house: AccessHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = open_ring(house.settings)
    monkeypatch.setattr("cloakhouse.stages.access_review.open_ring", lambda _: ring)
    token = replace(house.settings, keys="pkcs11:token=cloakhouse")
    assert [f.kind for f in review(token, NOW).findings] == [Kind.BY_CODE_ONLY]


def test_findings_come_in_the_order_of_their_weight(house: AccessHouse) -> None:
    service_of(house.settings).grant(Grant("eve", KeyName("synthetic/plain"), "curiosity"))
    kinds = [f.kind for f in found(house, dt.datetime(2028, 1, 1, tzinfo=dt.UTC)).findings]
    assert kinds == sorted(kinds, key=list(Kind).index)
    assert kinds[0] is Kind.OVERDUE
    assert {Kind.OVERDUE, Kind.UNEXPLAINED, Kind.UNFINISHED} == FAILING
    assert Finding(Kind.UNUSED, "a", "b", "c").as_dict() == {"kind": "unused", "who": "a", "what": "b", "detail": "c"}
