"""A private release on its way: evidence, card, lineage, who opens what, and evidence of what was blocked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.house import PRIVATE, SYNTHETIC, House
from tests.support.principals import principal

from cloakhouse.client.api import Lake
from cloakhouse.errors import AccessRefused, ContractError, IntegrityError, ValidationRefused
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.attacks.battery import figure_names
from cloakhouse.stages import guarantees, validate_release
from cloakhouse.stages.fitting import SealedModel, open_sealed
from cloakhouse.stages.gate import attack_columns
from cloakhouse.stages.publish import publish
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sources import current_partitions, file_entries, partition_files
from cloakhouse.stages.synthesize import plan_of
from cloakhouse.stages.validate_release import validate_synthetic

SYNTHETIC_KEYS = ("synthetic/footer", "synthetic/plain", "synthetic/sensitive", "synthetic/indirect")


@pytest.fixture(scope="module")
def published() -> House:
    return house.published_private()


def manifests(place: House) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return release, evidence and synthesis of the published private baskets."""
    lake = place.settings.lake
    release = place.release(PRIVATE).as_dict()
    evidence = read_manifest(FolderStore(lake), ManifestRef.of(release["evidence"]), "validation")
    return release, evidence, read_manifest(FolderStore(lake), ManifestRef.of(release["source"]), "synthesis")


def opened(place: House) -> Lake:
    return Lake(place.settings, place.register)


def leaves(value: Any) -> Iterator[Any]:
    """Yield every key and every plain value of JSON-ready data."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def test_the_evidence_holds_the_figures_the_guarantee_and_the_curve(published: House) -> None:
    _, evidence, synthesis = manifests(published)
    assert evidence["passed"] is True
    figures = {figure["name"]: figure for figure in evidence["gate"]}
    assert all(figure["passed"] for figure in figures.values())
    assert len(figures) == len(evidence["gate"]) > 35
    for name in ("rho of all noise in the model", "rows that the model does not give"):
        assert figures[name]["value"] is not None
    assert evidence["privacy_guarantee"]["epsilon"] == 3
    assert evidence["privacy_guarantee"]["delta"] == 1e-7
    assert evidence["privacy_guarantee"] == synthesis["engine"]["privacy_guarantee"]
    assert [point["epsilon"] for point in evidence["curve"]] == sorted(p["epsilon"] for p in evidence["curve"])
    assert evidence["account"]["consumer"] == "model training"
    assert {risk["name"] for risk in evidence["risks"]} <= set(figures)


def test_the_card_of_a_private_release_holds_no_count_of_real_rows_and_no_figure_of_the_gate(
    published: House,
) -> None:
    release, evidence, synthesis = manifests(published)
    card = release["card"]
    assert {figure["value"] for figure in card["privacy"]["gate"]} == {None}
    assert [f["name"] for f in card["privacy"]["gate"]] == [f["name"] for f in evidence["gate"]]
    assert not {"training_rows", "training_units", "suppressed_rows"} & set(leaves(card))
    counted = {synthesis[side][what] for side in ("training", "holdout") for what in ("rows", "units")}
    assert min(counted) > 300
    numbers = {leaf for leaf in leaves(card) if isinstance(leaf, int | float) and not isinstance(leaf, bool)}
    assert not counted & numbers
    public = ("rho", "k-anonymity", "hold-out")  # and round numbers, which may stand in the card by chance
    measured = {f["value"] for f in evidence["gate"] if not f["name"].startswith(public)} - {None}
    measured = {value for value in measured if value != round(value, 4)}
    assert len(measured) > 10
    assert not measured & numbers
    assert card["privacy"]["guarantee"]["epsilon"] == 3
    assert "noisy counts" in card["limits"]
    assert card["curve"] == evidence["curve"]


def test_neither_evidence_nor_card_holds_a_value_of_the_data(published: House) -> None:
    release, evidence, synthesis = manifests(published)
    view = pa.concat_tables(
        [published.store.read(e) for side in ("training", "holdout") for e in file_entries(synthesis[side]["files"])]
    )
    spent = set(view.column("value").to_pylist()) | set(view.column("discount").to_pylist())
    cents = {value for value in spent if value > 1 and round(value * 100) % 10}
    assert len(cents) > 100
    for document in (evidence, release["card"]):
        numbers = {leaf for leaf in leaves(document) if isinstance(leaf, float)}
        assert not cents & numbers
        text = json.dumps(document)
        assert not [token for token in set(view.column("__unit").to_pylist()) if token.hex() in text]


@pytest.mark.path
def test_evidence_holds_no_text_of_the_data() -> None:
    source, manifest = house.synthesized()
    place = house.published()
    content = read_manifest(FolderStore(source.settings.lake), manifest)
    rows = pa.concat_tables([source.store.read(entry) for entry in file_entries(content["training"]["files"])])
    texts = {str(value) for name in ("age", "income", "kids_count") for value in rows.column(name).to_pylist()}
    assert {"under 45", "50K+"} < texts
    lake = place.settings.lake
    found = place.release(SYNTHETIC).as_dict()
    for document in (read_manifest(FolderStore(lake), ManifestRef.of(found["evidence"])), found["card"]):
        assert not {leaf for leaf in leaves(document) if isinstance(leaf, str)} & (texts - {"none", "None"})


def test_the_lineage_lists_every_partition_that_the_release_derives_from(published: House) -> None:
    release, _, synthesis = manifests(published)
    contract = published.contracts[PRIVATE]
    assert release["parents"].keys() == set(contract.sources) == {"customers", "products", "transactions"}
    for name, parents in release["parents"].items():
        pinned = current_partitions(published.catalogue, published.contracts[name])
        assert [(p["partition"], p["sha256"]) for p in parents] == [(p.partition, p.manifest.sha256) for p in pinned]
    assert [p["partition"] for p in release["parents"]["transactions"]] == list(house.WEEKS)
    assert release["parents"] == synthesis["sources"]
    facts = opened(published).dataset(PRIVATE).describe()
    assert facts["parents"] == sum(map(len, release["parents"].values()))


@pytest.fixture(scope="module")
def trainer(published: House, tmp_path_factory: pytest.TempPathFactory) -> tuple[House, Lake, TableStore]:
    """A model team: grants on the zone `synthetic` and nothing else."""
    place = published.copy(tmp_path_factory.mktemp("trainer") / "home")
    settings = principal(place, "trainer", SYNTHETIC_KEYS, purpose="model training", reads="synthetic")
    return place, Lake(settings, place.register), TableStore(FolderStore(settings.lake), open_ring(settings))


def test_a_training_script_opens_what_was_published(trainer: tuple[House, Lake, TableStore]) -> None:
    place, lake, _ = trainer
    dataset = lake.dataset(PRIVATE)
    assert dataset.to_arrow().num_rows == dataset.rows
    assert dataset.to_arrow().equals(opened(place).dataset(PRIVATE).to_arrow())


def test_a_training_script_opens_no_protected_row_and_no_row_of_a_view(
    trainer: tuple[House, Lake, TableStore],
) -> None:
    place, _, store = trainer
    _, _, synthesis = manifests(place)
    views = [e for side in ("training", "holdout") for e in file_entries(synthesis[side]["files"])]
    protected = [
        entry
        for name in ("customers", "transactions", "products")
        for partition in place.catalogue.protected(name).values()
        for entry in partition_files(place.settings, partition.manifest)
    ]
    assert len(views) == 2
    assert len(protected) == 4
    for entry in [*views, *protected]:
        for columns in (None, [place.store.layout(entry)[0].names[0]]):
            with pytest.raises(AccessRefused):
                store.read(entry, columns)
        assert place.store.read(entry).num_rows == entry.rows


def test_a_training_script_opens_no_sealed_model(trainer: tuple[House, Lake, TableStore]) -> None:
    """A model is opened under `synthetic/file`, which rows aren't: without a grant on that key it stays closed."""
    place, _, _ = trainer
    _, _, synthesis = manifests(place)
    plan, file = plan_of(place.contracts[PRIVATE]), ManifestRef.of(synthesis["model"])
    sealed = SealedModel("dp-marginals", plan, file, synthesis["fingerprint"], trusted_key(place.settings))
    settings = principal(place, "another-trainer", SYNTHETIC_KEYS, purpose="model training")
    with pytest.raises(AccessRefused):
        open_sealed(settings, sealed)
    assert open_sealed(place.settings, sealed).roots


def test_what_is_blocked_leaves_evidence_that_cannot_be_published(
    published: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, manifest = house.private()
    place = source.copy(tmp_path / "home")
    contract = place.contracts[PRIVATE]
    lake = place.settings.lake
    monkeypatch.setattr(guarantees, "utility_curve", lambda *_: [])
    monkeypatch.setattr(validate_release, "attack", lambda *_, **__: ())  # no attack gave a result
    monkeypatch.setattr(validate_release, "_utility", lambda *_: {})
    with pytest.raises(ValidationRefused) as caught:
        validate_synthetic(place.settings, contract, manifest)
    [path] = (lake / "evidence" / PRIVATE).glob("validation-*.json")
    evidence = json.loads(path.read_text())
    missing = {figure["name"] for figure in evidence["gate"] if not figure["passed"]}
    assert missing == set(figure_names(attack_columns(contract)))
    assert caught.value.code == "validation.failed"
    ref = write_manifest(
        FolderStore(lake),
        f"evidence/{PRIVATE}",
        "validation",
        {k: v for k, v in evidence.items() if k not in ("format", "kind")},
    )
    with pytest.raises(ValidationRefused):
        publish(place.settings, contract, ref)
    assert place.register.versions(PRIVATE) == []


def test_rows_of_another_contract_and_altered_rows_are_not_validated(tmp_path: Path) -> None:
    source, manifest = house.private()
    place = source.copy(tmp_path / "home")
    content = read_manifest(FolderStore(place.settings.lake), manifest)
    path = place.settings.lake / content["files"][0]["path"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + b"\0\0\0\0PARE")
    with pytest.raises(IntegrityError):
        validate_synthetic(place.settings, place.contracts[PRIVATE], manifest)
    path.write_bytes(whole)
    changed = place.edit_contract(PRIVATE, "epsilon: 3,", "epsilon: 9,")
    with pytest.raises((ValidationRefused, ContractError)) as caught:
        validate_synthetic(place.settings, changed, manifest)
    assert caught.value.code == "validation.contract-moved"
    assert not (place.settings.lake / "evidence" / PRIVATE).exists()
