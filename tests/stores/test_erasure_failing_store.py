"""A whole erasure over TLS at a server that fails: it ends in a typed error or goes through, and comes to the same end.

Answers are lost, connections break and the server has faults of its own, one call in twenty, before and after what was
asked for was done. Then it is away for good, as long as an outage lasts.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.support import databases
from tests.support.erasures import NAME, requested
from tests.support.fault_proxy import Fault, Proxy, Rule, proxy
from tests.support.house import House
from tests.support.small_feeds import landed, persons
from tests.support.small_releases import with_release
from tests.support.stores import rclone

from cloakhouse.errors import CloakhouseError, StorageError
from cloakhouse.flow.erasing import erase
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.versions import VersionState
from cloakhouse.settings import Settings

pytestmark = pytest.mark.stores

ERASED = (101, 104)
KINDS = (Fault("status", 500), Fault("reset"), Fault("lose"), Fault("status", 403, "AccessDenied"))
LIMIT_S = 240.0  # of one attempt during an outage


@dataclass
class OneIn(Rule):
    """Every `every`-th request fails, each time in another way."""

    every: int = 20
    seen: int = field(default=0, init=False)

    def takes(self, line: str) -> bool:
        self.seen += 1
        self.fault = KINDS[self.seen // self.every % len(KINDS)]
        return self.seen % self.every == 0


@pytest.fixture
def through(tmp_path: Path) -> Iterator[Proxy]:
    with proxy(tmp_path, rclone().port, rclone().authority.ca) as running:
        yield running


@pytest.fixture
def house(through: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Yield an installation on PostgreSQL and at the server behind the proxy, with a release of the persons' rows."""
    monkeypatch.delenv("TMPDIR", raising=False)
    with databases.fresh("postgresql", tmp_path) as url:
        store = rclone().uri(f"failing/{uuid.uuid4().hex[:12]}", through.port, through.ca)
        settings = Settings.from_environment({}).with_home(tmp_path / "home")
        yield with_release(replace(settings, store=store, database=url), [101, 102, 103], [104])


def attempted(house: House, batch: str) -> CloakhouseError | None:
    """Go on with the erasure; return the error that it ended with."""
    try:
        erase(house.settings, batch)
    except CloakhouseError as refusal:
        return refusal
    return None


def check_erased(house: House, batch: str) -> None:
    """The persons are gone, all others are where they were, and each step is recorded once, with all of its counts."""
    erasures = Erasures(house.settings.database)
    assert erasures.get(batch).state is ErasureState.DONE
    steps = {step.step: step.content for step in erasures.steps(batch)}
    assert (steps["landed"]["lines"], steps["protected"]["rows"], steps["quarantine"]["rows"]) == (11, 7, 4)
    assert steps[f"derived/{NAME}"]["versions"] == [1]
    assert steps[f"anew/{NAME}"]["why"] == "approval"
    assert steps["sweep"]["clean"] is True
    assert [version.state for version in house.register.versions(NAME)] == [VersionState.COLLECTED]
    for name in ("customers", "transactions"):
        for revisions in house.catalogue.deliveries(name).values():
            text = b"".join(landed(house, delivery) for delivery in revisions)
            assert not [household for household in ERASED if f"holder{household}@".encode() in text]
            assert not [household for household in ERASED if b"\n%d,330," % household in text]
            assert b"holder103@" in text or b"\n103,330," in text
    left = {info.path.split("/")[0] for info in open_store(house.settings).list()}
    assert not left & {"views", "models"}
    assert not list(open_store(house.settings).list(f"rights/{batch}"))


def test_one_call_in_twenty_fails_and_the_erasure_comes_to_its_end(house: House, through: Proxy) -> None:
    batch = requested(house.settings, persons(house, *ERASED)).name
    rule = OneIn(".", KINDS[0])
    through.rules.append(rule)
    told: list[str] = []
    while (refusal := attempted(house, batch)) is not None:
        told.append(refusal.code)
        assert isinstance(refusal, StorageError), refusal.explain()
        assert "sekret text" not in refusal.explain()
        assert len(told) < 40, told
    print(rule.seen, "calls;", told)
    assert rule.seen > 200
    through.rules.clear()
    check_erased(house, batch)


@pytest.mark.parametrize("begins", [40, 130])
def test_an_outage_ends_it_with_an_error_and_the_next_call_goes_on(house: House, through: Proxy, begins: int) -> None:
    batch = requested(house.settings, persons(house, *ERASED)).name
    through.rules.append(Rule(".", Fault("reset"), times=1_000_000, skip=begins))
    for _ in range(2):
        started = time.monotonic()
        refusal = attempted(house, batch)
        assert time.monotonic() - started < LIMIT_S
        assert refusal is not None
        assert refusal.code == "storage.unreachable"
        assert Erasures(house.settings.database).get(batch).state is ErasureState.OPEN
    through.rules.clear()
    assert attempted(house, batch) is None
    check_erased(house, batch)
