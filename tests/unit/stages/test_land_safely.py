"""Landing never deletes what it has not landed, never fills a lake with the keys of another, never goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import KeyServiceError, StageError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.protocol import TOKENS
from cloakhouse.keys.service import service_of
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages import land as stage
from cloakhouse.stages import landing_run, pseudonymize, spark_tasks

NAME = "products-2017-01-02.csv.gz"
HEADER = "product_id,manufacturer_id,department,brand,product_category,product_type,package_size\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    settings.inbox.mkdir(parents=True)
    return settings


def deliver(settings: Settings, product: int) -> Path:
    import gzip

    path = settings.inbox / NAME
    waiting = path.with_suffix(".part")
    waiting.write_bytes(gzip.compress(f"{HEADER}{product},1,GROCERY,National,a,b,c\n".encode(), mtime=0))
    return waiting.replace(path)


def test_a_file_that_took_the_name_meanwhile_stays_for_the_next_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = load_contracts(settings.contracts)["products"]
    encrypt = landing_run.encrypt

    def encrypt_while_a_newer_one_arrives(*arguments: Any) -> Any:
        scan = encrypt(*arguments)
        deliver(settings, 2)
        return scan

    deliver(settings, 1)
    monkeypatch.setattr(landing_run, "encrypt", encrypt_while_a_newer_one_arrives)
    assert stage.land(settings, contract).landed == 1
    assert [path.name for path in settings.inbox.iterdir()] == [NAME]
    monkeypatch.undo()
    assert [problem["code"] for problem in stage.land(settings, contract).refused] == ["delivery.conflict"]
    assert stage.land(settings, contract, supersede=True).landed == 1


def test_another_keystore_lands_nothing_and_empties_nothing(settings: Settings, tmp_path: Path) -> None:
    TokenKeys(service_of(settings), settings.token_roots).create(TOKENS)
    contract = load_contracts(settings.contracts)["products"]
    path = deliver(settings, 1)
    from dataclasses import replace

    with pytest.raises(KeyServiceError):
        stage.land(replace(settings, keys=f"age:{tmp_path / 'typo'}"), contract)
    assert path.exists()
    assert stage.land(settings, contract).landed == 1


def test_a_request_that_a_correction_has_overtaken_is_refused(settings: Settings) -> None:
    contract = load_contracts(settings.contracts)["products"]
    deliver(settings, 1)
    stage.land(settings, contract)
    request = pseudonymize.plan(settings, contract)
    assert request is not None
    deliveries = read_manifest(FolderStore(settings.lake), request)["deliveries"]
    catalogue = Catalogue(settings.database)
    pseudonymize._require_newest(catalogue, contract, deliveries)
    deliver(settings, 2)
    stage.land(settings, contract, supersede=True)
    with pytest.raises(StageError) as refusal:
        pseudonymize._require_newest(catalogue, contract, deliveries)
    assert refusal.value.code == "stage.overtaken"


def test_what_a_worker_did_not_foresee_becomes_a_result_without_its_text(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloakhouse.stages.treating import DeliveryTask, Treater

    def fail(*_: Any) -> Any:
        raise ValueError("Failed to parse string: 4000001111222235")

    monkeypatch.setattr(Treater, "run", fail)
    worker = spark_tasks.Worker(settings, load_contracts(settings.contracts)["products"], {})
    text = worker.outcome(DeliveryTask("2017-01-02", "x", 1, "products/x")).to_pydict()["outcome"][0]
    assert "ValueError" in text
    assert "4000001111222235" not in text
