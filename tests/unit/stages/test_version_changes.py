"""Expiry by the contracts' retention."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.versions import AT, NAME, Shelf

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import IntegrityError
from cloakhouse.stages.version_changes import operator


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    made = Shelf.at(tmp_path)
    for _ in range(5):
        made.publish()
    return made


def test_versions_expire_when_their_contract_says_so_unless_somebody_needs_them(shelf: Shelf) -> None:
    contract = replace(next(iter(load_contracts(shelf.settings.contracts).values())), retention_days={"synthetic": 90})
    acting = operator(shelf.settings)
    acting.tag(NAME, 1, "certified")
    acting.hold(NAME, 2, "an audit looks at it")
    contracts = {NAME: contract, "others": contract}
    due = AT + dt.timedelta(days=90)
    assert acting.expire_due(contracts, due - dt.timedelta(seconds=1)) == []
    assert acting.expire_due({NAME: replace(contract, retention_days={"aggregates": 1})}, due) == []
    assert [version.version for version in acting.expire_due(contracts, due)] == [3, 4]
    assert [v.state.value for v in shelf.register.versions(NAME)] == ["published"] * 2 + ["expired"] * 2 + ["published"]
    assert shelf.register.versions(NAME)[2].reason == "kept for 90 days by its contract"
    assert acting.expire_due(contracts, due) == []


def test_a_control_database_that_is_older_than_the_lake_is_not_changed(shelf: Shelf) -> None:
    shelf.store.create(f"aggregates/{NAME}/releases/00000009-{'0' * 16}.json", b"{}")
    acting = operator(shelf.settings)
    for change in (
        lambda: acting.rollback(NAME, 1, "a reason to go back"),
        lambda: acting.withdraw(NAME, 1, "a reason to withdraw"),
        lambda: acting.lift(NAME, 1),
        lambda: acting.untag(NAME, 1, "certified"),
    ):
        with pytest.raises(IntegrityError) as caught:
            change()
        assert caught.value.code == "integrity.catalogue-old"
