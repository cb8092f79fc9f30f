"""The gate and the suites refuse: planted leaks, planted identifiers, small classes, figures that are missing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.acting import by
from tests.support.house import SYNTHETIC, House

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import ContractError, IntegrityError, NotFound, ValidationRefused
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.attacks.battery import figure_names
from cloakhouse.quality.runner import run_suite
from cloakhouse.stages import validate
from cloakhouse.stages.gate import Figure, attack_columns
from cloakhouse.stages.publish import publish
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.validate import _groups, validate_protected
from cloakhouse.stages.validate_release import validate_synthetic

PLANTED = "planted.person@example.org"


@pytest.mark.parametrize(
    ("value", "at_most", "passed"),
    [
        (0.01, True, True),
        (0.0099, True, True),
        (0.0101, True, False),
        (-0.5, True, True),
        (None, True, False),
        (float("nan"), True, False),
        (float("inf"), True, False),
        (0.01, False, True),
        (0.0101, False, True),
        (0.0099, False, False),
        (None, False, False),
        (float("nan"), False, False),
        (float("-inf"), False, False),
    ],
)
def test_a_figure_that_is_missing_or_beyond_its_threshold_fails(
    value: float | None, at_most: bool, passed: bool
) -> None:
    figure = Figure("excess", value, 0.01, at_most)
    assert figure.passed is passed
    assert figure.as_dict()["passed"] is passed


@pytest.fixture
def synthesized(tmp_path: Path) -> tuple[House, ManifestRef]:
    """An installation of the test's own, with synthetic households that wait for their validation."""
    base, manifest = house.synthesized()
    return base.copy(tmp_path / "home"), manifest


@pytest.fixture
def protected(tmp_path: Path) -> House:
    """An installation of the test's own, with protected partitions that wait for their validation."""
    return house.protected().copy(tmp_path / "home")


def evidence_of(place: House, name: str) -> list[tuple[ManifestRef, dict[str, Any]]]:
    lake = place.settings.lake
    found = []
    for path in sorted((lake / "evidence" / name).glob("*.json")):
        import hashlib

        ref = ManifestRef(str(path.relative_to(lake)), hashlib.sha256(path.read_bytes()).hexdigest())
        found.append((ref, read_manifest(FolderStore(lake), ref)))
    return found


def replaced(place: House, manifest: ManifestRef, table: pa.Table) -> ManifestRef:
    """Return a synthesis manifest as `manifest`, whose synthetic rows are those of `table`."""
    content = read_manifest(FolderStore(place.settings.lake), manifest)
    classes = dict.fromkeys(table.column_names, ColumnClass.SENSITIVE)
    entry = place.store.write(f"synthetic/{SYNTHETIC}/planted/part-00000.parquet", table, classes)
    body = {k: v for k, v in content.items() if k not in ("format", "kind")}
    body |= {"files": [entry.as_dict()], "rows": table.num_rows}
    return write_manifest(FolderStore(place.settings.lake), f"synthetic/{SYNTHETIC}", "synthesis", body)


def tables(place: House, manifest: ManifestRef) -> tuple[pa.Table, pa.Table]:
    content = read_manifest(FolderStore(place.settings.lake), manifest)
    synthetic = place.store.read(FileEntry(**content["files"][0]))
    return synthetic, place.store.read(FileEntry(**content["training"]["files"][0]), synthetic.column_names)


def refuse_and_keep_unpublished(place: House, manifest: ManifestRef) -> tuple[ValidationRefused, dict[str, Any]]:
    """Validate, and check the refusal, its evidence, and that nothing gets published with that."""
    contract = place.contracts[SYNTHETIC]
    with pytest.raises(ValidationRefused) as caught:
        validate_synthetic(place.settings, contract, manifest)
    [(ref, evidence)] = evidence_of(place, SYNTHETIC)
    assert evidence["passed"] is False
    assert ref.path in caught.value.remedy
    with pytest.raises(ValidationRefused) as second:
        publish(place.settings, contract, ref)
    assert second.value.code == "validation.evidence"
    assert place.register.versions() == []
    assert not list(place.settings.lake.rglob("releases/*.json"))
    return caught.value, evidence


def test_an_honest_dataset_passes_with_bounds_and_not_point_estimates(synthesized: tuple[House, ManifestRef]) -> None:
    place, manifest = synthesized
    ref = validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)
    evidence = read_manifest(FolderStore(place.settings.lake), ref, "validation")
    assert evidence["passed"] is True
    assert all(figure["passed"] for figure in evidence["gate"])
    copies = evidence["copies"]
    assert evidence["gate"][0]["value"] == copies["upper_bound"] > copies["excess"]
    assert evidence["subject"] == manifest.as_dict()
    names = [figure["name"] for figure in evidence["gate"]]
    assert names[3:] == list(figure_names(attack_columns(place.contracts[SYNTHETIC])))
    assert [risk["name"] for risk in evidence["risks"]] == names[3:]
    assert [part["order"] for part in evidence["utility"]["marginals"]] == [1, 2, 3]


@pytest.mark.parametrize("every", [1, 20])
def test_planted_copies_of_training_rows_are_refused(synthesized: tuple[House, ManifestRef], every: int) -> None:
    place, manifest = synthesized
    synthetic, training = tables(place, manifest)
    count = training.num_rows // every
    leak = pa.concat_tables([training.slice(0, count), synthetic.slice(count)])
    assert leak.num_rows == synthetic.num_rows
    problem, evidence = refuse_and_keep_unpublished(place, replaced(place, manifest, leak))
    assert "excess of exact copies" in problem.found
    assert "expect_copy_excess_to_be_at_most" in problem.found
    assert evidence["copies"]["training_share"] > 0.01
    failed = {figure["name"] for figure in evidence["gate"] if not figure["passed"]}
    assert {"exact copies, share of the release: excess", "excess of exact copies, upper 95 % bound"} <= failed


def test_a_planted_identifier_is_refused_and_the_evidence_does_not_hold_it(
    synthesized: tuple[House, ManifestRef],
) -> None:
    place, manifest = synthesized
    synthetic, _ = tables(place, manifest)
    spot = pa.array([PLANTED if row == 17 else None for row in range(synthetic.num_rows)])
    at = synthetic.schema.get_field_index("marital_status")
    column = pc.coalesce(spot, synthetic.column("marital_status").combine_chunks())
    problem, _ = refuse_and_keep_unpublished(
        place, replaced(place, manifest, synthetic.set_column(at, "marital_status", column))
    )
    assert "expect_table_to_hold_no_direct_identifier: 1" in problem.found or "direct_identifier" in problem.found
    assert PLANTED not in str(problem)
    for path in (place.settings.lake / "evidence").rglob("*.json"):
        assert PLANTED not in path.read_text()


@pytest.mark.parametrize("column", ["household_id", "email"])
def test_a_column_too_many_is_refused(synthesized: tuple[House, ManifestRef], column: str) -> None:
    place, manifest = synthesized
    synthetic, _ = tables(place, manifest)
    values = pa.array(range(synthetic.num_rows), pa.int64())
    problem, _ = refuse_and_keep_unpublished(place, replaced(place, manifest, synthetic.append_column(column, values)))
    assert "expect_table_columns_to_match_set" in problem.found


def test_k_below_the_threshold_is_refused(synthesized: tuple[House, ManifestRef]) -> None:
    place, manifest = synthesized
    contract = place.contracts[SYNTHETIC]
    assert contract.gate is not None
    strict = replace(contract, gate=replace(contract.gate, min_k=10_000))
    with pytest.raises(ValidationRefused, match="k-anonymity of customers"):
        validate_synthetic(place.settings, strict, manifest)
    [(_, evidence)] = evidence_of(place, SYNTHETIC)
    assert [figure["name"] for figure in evidence["gate"] if not figure["passed"]] == ["k-anonymity of customers"]
    assert evidence["passed"] is False


def test_k_is_that_of_the_partitions_that_were_synthesized_from(synthesized: tuple[House, ManifestRef]) -> None:
    place, manifest = synthesized
    first = read_manifest(
        FolderStore(place.settings.lake), validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)
    )
    place.edit_contract("customers", "version: 1.0.0", "version: 1.1.0")
    place.protect("customers")  # a newer state, which nobody has validated
    again = validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)
    assert read_manifest(FolderStore(place.settings.lake), again)["gate"] == first["gate"]


@pytest.mark.parametrize(("part", "name"), [("files", "part-00000"), ("training", "training"), ("holdout", "holdout")])
def test_a_file_altered_before_validation_gives_no_evidence(
    synthesized: tuple[House, ManifestRef], part: str, name: str
) -> None:
    place, manifest = synthesized
    content = read_manifest(FolderStore(place.settings.lake), manifest)
    entry = content[part][0] if part == "files" else content[part]["files"][0]
    path = place.settings.lake / entry["path"]
    assert name in path.name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError):
        validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)
    assert evidence_of(place, SYNTHETIC) == []


def test_rows_made_under_another_contract_are_refused(synthesized: tuple[House, ManifestRef]) -> None:
    place, manifest = synthesized
    changed = place.edit_contract(SYNTHETIC, "seed: 2017", "seed: 2018")
    with pytest.raises(ValidationRefused) as caught:
        validate_synthetic(place.settings, changed, manifest)
    assert caught.value.code == "validation.contract-moved"
    assert evidence_of(place, SYNTHETIC) == []


def test_only_partitions_that_pass_are_marked_and_synthesized_from(protected: House) -> None:
    settings, catalogue = protected.settings, protected.catalogue
    validate_protected(settings, protected.contracts["customers"])
    first, second = catalogue.protected("transactions").values()
    bad = protected.store.read(FileEntry(**read_manifest(FolderStore(settings.lake), second.manifest)["files"][0]))
    negative = pa.array([-1] * bad.num_rows, pa.int64())
    bad = bad.set_column(bad.schema.get_field_index("quantity"), "quantity", negative)
    catalogue.record_protected([replaced_partition(protected, second, bad)], by())

    validate_alone(protected, first.partition)
    with pytest.raises(ValidationRefused) as caught:
        validate_protected(settings, protected.contracts["transactions"])
    assert "quantity" in caught.value.found
    assert f"{second.partition} to {second.partition}" in caught.value.where
    marks = {p.partition: p.validated for p in catalogue.protected("transactions").values()}
    assert marks == {first.partition: True, second.partition: False}

    with pytest.raises(ValidationRefused) as small:  # the small first week alone can't fill a hold-out
        synthesize(settings, protected.contracts[SYNTHETIC])
    assert small.value.code == "validation.holdout"
    catalogue.mark_validated("transactions", [catalogue.protected("transactions")[second.partition].manifest], by())
    assert synthesize(settings, protected.contracts[SYNTHETIC]) is not None


def replaced_partition(place: House, old: Any, table: pa.Table) -> Any:
    """Return `old` with the rows of `table`, written and listed as the stage does."""
    content = read_manifest(FolderStore(place.settings.lake), old.manifest)
    classes = {name: ColumnClass(value) for name, value in content["columns"].items()}
    entry = place.store.write(f"protected/transactions/{old.partition}/planted/part-00000.parquet", table, classes)
    body = {k: v for k, v in content.items() if k not in ("format", "kind")} | {"files": [entry.as_dict()]}
    ref = write_manifest(FolderStore(place.settings.lake), f"protected/transactions/{old.partition}", "protected", body)
    return replace(old, manifest=ref)


def validate_alone(place: House, partition: str) -> None:
    """Validate one partition of transactions while the other is out of sight."""
    catalogue = place.catalogue
    others = [p for p in catalogue.protected("transactions").values() if p.partition != partition]
    catalogue.record_protected([replace(p, contract_version="0.0.0") for p in others], by())
    validate_protected(place.settings, place.contracts["transactions"])
    catalogue.record_protected(others, by())


def test_a_partition_of_another_contract_version_is_not_validated_under_this_one(protected: House) -> None:
    catalogue = protected.catalogue
    [customers] = catalogue.protected("customers").values()
    catalogue.record_protected([replace(customers, contract_version="0.9.0")], by())
    with pytest.raises(ValidationRefused) as caught:
        validate_protected(protected.settings, protected.contracts["customers"])
    assert caught.value.code == "validation.nothing"
    assert not catalogue.protected("customers")[customers.partition].validated


def test_with_nothing_to_validate_there_is_a_refusal_and_no_evidence(tmp_path: Path) -> None:
    place = house.validated().copy(tmp_path / "home")
    before = len(evidence_of(place, "customers"))
    with pytest.raises(ValidationRefused) as caught:
        validate_protected(place.settings, place.contracts["customers"])
    assert caught.value.code == "validation.nothing"
    assert len(evidence_of(place, "customers")) == before


def test_a_missing_suite_and_a_changed_contract_stop_the_validation(protected: House) -> None:
    (protected.settings.expectations / "customers-1.0.0.json").unlink()
    with pytest.raises(NotFound):
        validate_protected(protected.settings, protected.contracts["customers"])
    changed = protected.edit_contract("customers", "{maxLength: 254}", "{maxLength: 255}")
    with pytest.raises(ContractError):
        validate_protected(protected.settings, changed)
    assert not any(p.validated for p in protected.catalogue.protected("customers").values())


def test_evidence_of_the_protected_zone_holds_no_value() -> None:
    place = house.validated()
    suites = {name: (place.settings.expectations / f"{name}-1.0.0.json").read_text() for name in ("customers",)}
    for name in ("customers", "transactions"):
        for ref, evidence in evidence_of(place, name):
            text = json.dumps(evidence)
            entries = [e for p in evidence["groups"][0]["partitions"] for e in files_of(place, p)]
            table = place.store.read(entries[0])
            for column in ("card_number", "loyalty_card", "income"):
                if column in table.column_names:
                    values = pc.unique(table.column(column).slice(0, 500)).to_pylist()
                    known = suites.get(name, "")
                    assert not [v for v in values if v and v not in known and v in text], (ref.path, column)


def files_of(place: House, pin: dict[str, str]) -> list[FileEntry]:
    content = read_manifest(FolderStore(place.settings.lake), ManifestRef.of(pin))
    return [FileEntry(**item) for item in content["files"]]


def test_groups_are_bounded_and_snapshots_stand_alone() -> None:
    place = house.protected()
    [some] = place.catalogue.protected("customers").values()
    sizes = [100_000, 100_000, 100_000, 300_000, 10, 10]
    partitions = [replace(some, partition=f"2017-01-0{n}", rows=rows) for n, rows in enumerate(sizes, start=1)]
    grouped = [[p.rows for p in group] for group in _groups(partitions, alone=False)]
    assert grouped == [[100_000, 100_000], [100_000], [300_000], [10, 10]]
    assert [len(group) for group in _groups(partitions, alone=True)] == [1] * 6
    assert list(_groups([], alone=False)) == []


def test_a_large_partition_is_validated_in_batches_with_the_same_outcome(
    protected: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = house.validated()
    monkeypatch.setattr(validate, "GROUP_ROWS", 3_000)
    seen: list[int] = []

    def counting(body: Any, batches: Iterable[pa.Table]) -> Any:
        return run_suite(body, (seen.append(batch.num_rows) or batch for batch in batches))

    monkeypatch.setattr(validate, "run_suite", counting)
    for name in ("customers", "transactions"):
        validate_protected(protected.settings, protected.contracts[name])
        assert outcomes(protected, name) == outcomes(whole, name)
    assert max(seen) <= 3_000 < sum(seen)


def outcomes(place: House, name: str) -> dict[tuple[str, tuple[str, ...]], tuple[bool, int, int]]:
    """Return, per expectation, whether all groups met it, and its rows and unexpected rows together."""
    found: dict[tuple[str, tuple[str, ...]], tuple[bool, int, int]] = {}
    for _, evidence in evidence_of(place, name):
        for group in evidence["groups"]:
            for e in group["result"]["expectations"]:
                met, rows, bad = found.get((e["type"], tuple(e["columns"])), (True, 0, 0))
                sums = rows + (e["element_count"] or 0), bad + (e["unexpected_count"] or 0)
                found[e["type"], tuple(e["columns"])] = (met and e["success"], *sums)
    return found


def test_the_evidence_holds_k_l_and_t_of_the_protected_data(synthesized: tuple[House, ManifestRef]) -> None:
    place, manifest = synthesized
    ref = validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)
    found = read_manifest(FolderStore(place.settings.lake), ref, "validation")["anonymity"]
    assert (found["dataset"], found["k"]) == ("customers", 11)
    by_column = {entry["column"]: entry for entry in found["diversity"]}
    assert set(by_column) == {"income", "home_ownership", "marital_status"}
    for entry in by_column.values():
        assert 1 <= entry["entropy_l"] <= entry["l"] <= found["k"]
        assert 0 <= entry["t"] <= 1
