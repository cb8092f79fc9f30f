"""A small installation whose contract asks for an approval, and evidence to decide over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from tests.support.published import PublishedHouse, empty_house

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger.catalogue import ManifestRef

DATASET = "baskets_synthetic"
APPROVERS = ("approver", "admin")


def asking_house(home: Path, folder: Path, approvers: tuple[str, ...] = APPROVERS) -> PublishedHouse:
    """Return an installation in `home` whose contracts, in `folder`, ask for an approval of DATASET."""
    shipped = empty_house(home).settings.contracts
    folder.mkdir(parents=True)
    for file in shipped.glob("*.odcs.yaml"):
        text = file.read_text()
        if file.name.startswith(DATASET):
            asked = f"  - property: approval\n    value: {{approvers: [{', '.join(approvers)}], timeoutHours: 24}}\n"
            text = text.replace("schema:\n", f"{asked}schema:\n", 1)
        (folder / file.name).write_text(text)
    settings = replace(empty_house(home).settings, contracts=folder)
    return PublishedHouse(settings, load_contracts(folder)[DATASET])


def evidence(house: PublishedHouse) -> ManifestRef:
    """Return new evidence of DATASET that passed, of which nothing is published."""
    with patch("tests.support.published.publish", lambda _settings, _contract, made: made):
        made = house.publish(DATASET)
    assert isinstance(made, ManifestRef)
    return made
