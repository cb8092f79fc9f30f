"""A snapshot delivered again without a change is no new state, whatever date it carries."""

from __future__ import annotations

import json
from pathlib import Path

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land


def _deliver(settings: Settings, day: str, names: list[str]) -> None:
    settings.inbox.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"household_id": number, "name": name}) for number, name in enumerate(names, start=1)]
    (settings.inbox / f"customers-{day}.jsonl").write_text("\n".join(lines) + "\n")


def test_an_unchanged_snapshot_is_a_duplicate_and_a_return_to_an_older_state_is_not(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path)})
    contract = load_contracts(settings.contracts)["customers"]
    for day, names, landed in (
        ("2017-01-02", ["a"], 1),
        ("2017-01-03", ["a"], 0),
        ("2017-01-04", ["a", "b"], 1),
        ("2017-01-05", ["a"], 1),
    ):
        _deliver(settings, day, names)
        done = land(settings, contract)
        assert (done.landed, done.duplicates, done.refused) == (landed, 1 - landed, ())
        assert not any(settings.inbox.iterdir())
    assert list(Catalogue(settings.database).deliveries("customers")) == ["2017-01-02", "2017-01-04", "2017-01-05"]
