"""The consent filter in a real Spark job: whose rows pass, what the manifest says of it, what is refused before a row.

Households 1 to 20 agree, 21 to 30 refuse, 31 to 34 were only told; 35 and 36 are in no customer master. Of each there
are eleven lines; which are to pass is told from these numbers alone, and never by the platform's own code.
"""

from __future__ import annotations

import datetime as dt
import functools
import gzip
from pathlib import Path

import pytest
from tests.support.house import WEEKS
from tests.support.lake import Lake
from tests.support.small_feeds import HEADER, customer, persons, purchase
from tests.support.splits import land_in_splits, number_of_splits, settle

from cloakhouse.errors import StageError
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.settings import Settings
from cloakhouse.stages import pinning
from cloakhouse.stages.consent import allowed_persons
from cloakhouse.stages.consent import pin as pin_consent
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.land import land
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.subjects import rights_of_tokens

pytestmark = pytest.mark.spark

AGREED, REFUSED, TOLD, UNKNOWN = range(1, 21), range(21, 31), range(31, 35), range(35, 37)
LINES = 11  # of each household
BAD = {1: "several", 21: "several", 35: "several"}  # one line more of these, whose quantity is none
NOBODY = "x7"  # one line more: names nobody, and is set aside for it
WHOLE, SMALL = 64 << 20, 4_000  # bytes of a split


def week() -> bytes:
    everybody = [*AGREED, *REFUSED, *TOLD, *UNKNOWN]
    lines = [purchase(h, 31198570000 + 100 * h + n) for n in range(LINES) for h in everybody]
    lines += [purchase(h, 1, quantity) for h, quantity in BAD.items()]
    return HEADER + b"".join([*lines, purchase(NOBODY, 2)])


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Customers under the shipped contracts, their choices registered; a week of transactions lies in the inbox."""
    house = Lake(Settings.from_environment({}).with_home(tmp_path_factory.mktemp("consent house")))
    house.settings.inbox.mkdir(parents=True)
    people = [customer(h, consent_analytics=h in AGREED) for h in (*AGREED, *REFUSED)]
    people += [customer(h, consent_analytics=None) for h in TOLD]
    (house.settings.inbox / f"customers-{WEEKS[0]}.jsonl").write_bytes(b"".join(people))
    land(house.settings, house.contracts["customers"])
    feed_register(house.settings)
    house.protect("customers")
    (house.settings.inbox / f"transactions-{WEEKS[0]}.csv.gz").write_bytes(gzip.compress(week(), mtime=0))
    settle()
    return house


@pytest.mark.parametrize(("split_bytes", "parts"), [pytest.param(WHOLE, 1, marks=pytest.mark.path), (SMALL, 9)])
def test_lines_and_persons_who_pass_are_counted_exactly_under_the_pinned_snapshot(
    waiting: Lake, tmp_path: Path, split_bytes: int, parts: int
) -> None:
    place = waiting.copy(tmp_path / "own house")
    land_in_splits(place.settings, place.contracts["transactions"], f"transactions-{WEEKS[0]}.csv.gz", split_bytes)
    assert number_of_splits(place)[WEEKS[0]] == parts
    request = place.plan("transactions")
    assert request is not None
    place.submit(request)

    content = place.content("transactions")[WEEKS[0]]
    agreed, others = len(AGREED), len(REFUSED) + len(TOLD) + len(UNKNOWN)
    assert content["rows"] == agreed * LINES
    assert content["withheld"] == others * LINES + 2  # with the bad lines of 21 and 35: whose they are can be told
    assert sum(content["quarantined"].values()) == 2  # the bad line of 1, and the one that names nobody
    assert content["rows"] + content["withheld"] + 2 == len(week().splitlines()) - 1

    column = place.contracts["transactions"].column("household_id")
    tokens = place.table("transactions")["household_id"].combine_chunks()
    passed = set(rights_of_tokens(tokens.unique(), column, token_keys(place.settings)).to_pylist())
    assert passed == set(persons(place, *AGREED).to_pylist())

    snapshot = ConsentSnapshots(place.settings.database).newest("analytics")
    assert snapshot is not None
    assert content["rights"]["consent"] == snapshot.sha256
    assert (content["rights"]["purpose"], snapshot.allowed) == ("analytics", agreed)
    assert set(allowed_persons(place.settings, snapshot.sha256).to_pylist()) == passed
    assert not list((place.settings.lake / "rights" / "sieves").rglob("*.*"))  # the workers' list is gone


@pytest.mark.path  # without Spark: tests/unit/stages/test_pinning.py
def test_a_snapshot_too_old_is_refused_before_a_row_is_read(
    waiting: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = waiting.copy(tmp_path / "own house")
    land(place.settings, place.contracts["transactions"])
    with monkeypatch.context() as earlier:  # planned three days ago; the contract allows two
        then = dt.datetime.now(dt.UTC) - dt.timedelta(days=3)
        earlier.setattr(pinning, "pin_consent", functools.partial(pin_consent, as_of=then))
        request = place.plan("transactions")
    assert request is not None
    log, before = AuditLog(place.settings.database), place.unlisted("transactions")
    known = sum(1 for _ in log.events())
    with pytest.raises(StageError) as caught:
        place.submit(request)
    assert "consent-stale" in str(caught.value)
    told = list(log.events())[known:]
    assert [event for event in told if event.action == "read"] == []
    used = {(event.object, event.facts.get("operation")) for event in told if event.action == "use key"}
    assert not {name for name, _ in used if name.startswith(("landing", "protected", "quarantine"))}, used
    assert "lease" not in {operation for _, operation in used}  # no worker was to open anything
    assert [event for event in told if event.decision == "failed"]
    assert place.content("transactions") == {}
    assert place.unlisted("transactions") == before == set()
