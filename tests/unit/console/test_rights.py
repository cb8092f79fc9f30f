"""The page of requests: what is open and late, what was done, and counts that tell of nobody."""

from __future__ import annotations

import datetime as dt
import json

import pytest
import sqlalchemy as sa
from tests.support.console import Asked
from tests.support.persons import BY, many, requested

from cloakhouse.console.data_rights import suppressed
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.settings import Settings

BATCH = "er-20261101-0badcafe"
AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ([], []),
        ([0, 10, 500], [0, 10, 500]),
        ([3], [None]),
        ([3, 0], [None, 0]),
        ([3, 400, 12], [None, 400, None]),
        ([3, 9, 12], [None, None, 12]),
    ],
)
def test_a_small_cell_goes_and_with_it_what_would_tell_it(counts: list[int], shown: list[int | None]) -> None:
    assert suppressed(counts) == shown


def test_an_erasure_is_listed_with_its_state_and_its_steps(own: Asked, settings: Settings) -> None:
    people, erasures = many(1_234), Erasures(settings.database)
    requested(settings.database, BATCH, people)
    erasures.done(BATCH, "landed/customers", {"rows": 4_321, "files": 2, "digest": "abc"}, BY)
    SubjectHolds(settings.database).place(many(3, seed=2), BY)
    text = own.get("/requests").text
    for said in (BATCH, "1,234", "open", "ticket 4711"):
        assert said in own.get(f"/requests/{BATCH}").text
    assert BATCH in text
    assert "late" not in text
    steps = own.get(f"/requests/{BATCH}").text
    assert "landed/customers" in steps
    assert "rows 4,321" in steps
    assert "There is none before the last step" in steps
    shown = text + steps
    assert not [one for one in people.to_pylist()[:50] if one.hex() in shown]
    assert own.get(f"/requests/{BATCH}/certificate.json").status_code == 404
    erasures.end(BATCH, ManifestRef("rights/certificates/x.json", "c" * 64), BY)
    assert "cccccccccccc" in own.get(f"/requests/{BATCH}").text


def test_what_is_past_its_month_is_late(own: Asked, settings: Settings) -> None:
    requested(settings.database, BATCH, many(12))
    with db.open_database(settings.database).begin() as connection:
        before = dt.datetime.now(dt.UTC) - dt.timedelta(days=31)
        connection.execute(sa.update(db.erasure).values(requested_at=before))
    assert ">late<" in own.get("/requests").text
    assert "past its deadline" in own.get(f"/requests/{BATCH}").text


def test_consents_are_counted_by_law_and_small_cells_are_not_shown(own: Asked, settings: Settings) -> None:
    people = many(333 + 44 + 5).to_pylist()
    choices = ["granted"] * 333 + ["refused"] * 44 + ["granted"] * 5
    laws = ["gdpr"] * (333 + 44) + ["lgpd"] * 5
    columns = {"subject": people, "purpose": ["sharing"] * len(people), "choice": choices, "jurisdiction": laws}
    rest = {"policy": ["1"] * len(people), "source": ["file"] * len(people), "chosen_at": [AT] * len(people)}
    ConsentRegister(settings.database).add(
        choices_table({**columns, **rest}), Event("platform", Action.RECORD_CONSENT, "consents")
    )
    text = own.get("/requests").text
    assert "sharing" in text
    assert ">44<" in text
    assert text.count("fewer than 10, or withheld") == 2  # of lgpd, and with it the 333 it would follow from
    assert ">333<" not in text
    assert not [one for one in people if one.hex() in text]


@pytest.mark.parametrize("path", ["er-20990101-00000000", "..%2f..%2fetc", "A" * 65, "x%00"])
def test_an_erasure_that_is_none_is_a_page_that_says_so(shared: Asked, path: str) -> None:
    assert shared.get(f"/requests/{path}").status_code == 404
    assert shared.get(f"/requests/{path}/certificate.json").status_code == 404


def test_only_who_may_see_evidence_sees_requests(shared: Asked) -> None:
    assert {role: shared.get("/requests", role).status_code for role in ("auditor", "model", "")} == {
        "auditor": 200,
        "model": 403,
        "": 401,
    }
    assert json.loads(shared.client.get("/requests", headers={"accept": "application/json"}).text)["code"]
