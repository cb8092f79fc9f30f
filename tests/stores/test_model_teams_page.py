"""docs/model-teams.md is run, block by block, on a published installation; numbers of its outputs are random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import house
from tests.support.pages import Block, blocks, run, without_numbers

from cloakhouse.client.api import connect
from cloakhouse.client.card_exports import croissant_of
from cloakhouse.stages.publish import publish
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.validate_release import validate_synthetic

pytestmark = pytest.mark.stores
PAGE = Path(__file__).parents[2] / "docs/model-teams.md"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> house.House:
    """Return an installation with private baskets, and with households that have no guarantee."""
    found = house.published_private().copy(tmp_path_factory.mktemp("published") / "home")
    contract = found.contracts[house.SYNTHETIC]
    manifest = synthesize(found.settings, contract)
    assert manifest is not None
    publish(found.settings, contract, validate_synthetic(found.settings, contract, manifest))
    return found


def test_every_block_runs_and_prints_what_the_page_shows(
    published: house.House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDENTITY", "PURPOSE", "KEYS", "DATABASE", "LAKE", "POLICY"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(published.settings.home))
    ran = list(run(PAGE))
    assert len(ran) == 11
    for block, printed in ran:
        shown = [] if block.shown is None else without_numbers(block.shown)
        assert without_numbers(printed) == shown, f"line {block.line}"


def test_a_page_is_read_block_by_block() -> None:
    page = "a\n```python\nx = 1\n```\n\n```text\n7\n```\n```\nnot run\n```\n```python\nprint(x)\n```\n"
    assert blocks(page) == [Block(3, "x = 1\n", "7\n"), Block(13, "print(x)\n", None)]
    assert without_numbers("AUC 0.731 of  1,253: -0.5\n") == ["AUC # of # #"]


def test_the_cards_of_real_releases_are_valid_croissant(published: house.House) -> None:
    import mlcroissant as mlc

    for summary in (lake := connect(published.settings.home)).datasets():
        document = croissant_of(lake.dataset(summary.name))
        issues = mlc.Dataset(jsonld=json.loads(json.dumps(document, allow_nan=False))).metadata.ctx.issues
        assert (issues.errors, issues.warnings) == (set(), set())
        assert sum(int(file["contentSize"].removesuffix(" B")) for file in document["distribution"][:-1]) == sum(
            (published.settings.lake / file["contentUrl"]).stat().st_size for file in document["distribution"][:-1]
        )
