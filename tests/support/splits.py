"""Landing in small splits, so that a small delivery is the work of several tasks."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from tests.support.lake import Lake

from cloakhouse.contracts.model import Contract
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.landing_run import LandingRun
from cloakhouse.stages.splits import splits_of


def land_in_splits(settings: Settings, contract: Contract, name: str, split_bytes: int) -> None:
    """Land the file `name` of the inbox, cut every `split_bytes` bytes of plaintext or so."""
    assert contract.feed is not None
    catalogue = Catalogue(settings.database)
    catalogue.register_contract(contract)
    run = LandingRun(settings, contract, contract.feed, catalogue, False, split_bytes)
    run.take(name)
    assert run.refused == []
    assert run.result().landed == 1


def split_lake(home: Path, split_bytes: int = 300_000) -> Lake:
    """Return an installation with two weeks of transactions landed in several splits each, and customers protected."""
    place = Lake(Settings.from_environment({}).with_home(home))
    write_feed(place.settings.inbox, weeks=range(1, 3), wanted=lambda name: not name.startswith("products"))
    land(place.settings, place.contracts["customers"])
    place.protect("customers")
    for path in sorted(place.settings.inbox.glob("transactions-*")):
        land_in_splits(place.settings, place.contracts["transactions"], path.name, split_bytes)
    settle()
    return place


def settle() -> None:
    """Close what is no longer used: files beside the control database go with its last connection, not while copied."""
    gc.collect()


def number_of_splits(place: Lake, name: str = "transactions") -> dict[str, int]:
    """Return how many splits each landed partition of `name` has."""
    return {
        partition: len(splits_of(read_manifest(FolderStore(place.settings.lake), deliveries[-1].manifest)))
        for partition, deliveries in place.catalogue.deliveries(name).items()
    }


def figures(place: Lake, name: str = "transactions") -> dict[str, Any]:
    """Return what the manifests of the protected partitions tell, without names and digests of files."""
    return {
        partition: {
            "rows": content["rows"],
            "quarantined": content["quarantined"],
            "files": [item["rows"] for item in content["files"]],
            "quarantine": [item["rows"] for item in content["quarantine"]],
            "columns": content["columns"],
            "request": content["request"],
        }
        for partition, content in place.content(name).items()
    }
