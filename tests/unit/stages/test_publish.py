"""Publication: only what was validated, byte for byte; once, whoever is killed and however many publish at once."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import textwrap
from collections.abc import Callable
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.acting import by
from tests.support.house import SYNTHETIC, House
from tests.support.processes import in_fork, race

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import IntegrityError, ValidationRefused, VersionWithdrawn
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.releases import write_release
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.stages import publish_release as stage
from cloakhouse.stages.publish import publish
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.validate_release import validate_synthetic

Ready = tuple[House, ManifestRef, ManifestRef]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Ready:
    """An installation with a validated synthetic dataset that waits for publication."""
    source, manifest = house.synthesized()
    place = source.copy(tmp_path_factory.mktemp("ready") / "home")
    return place, manifest, validate_synthetic(place.settings, place.contracts[SYNTHETIC], manifest)


@pytest.fixture
def ready(base: Ready, tmp_path: Path) -> Ready:
    place, manifest, evidence = base
    return place.copy(tmp_path / "home"), manifest, evidence


def versions(place: House) -> list[int]:
    return [v.version for v in place.register.versions(SYNTHETIC)]


def releases(place: House) -> list[str]:
    return sorted(path.name for path in (place.settings.lake / "synthetic" / SYNTHETIC / "releases").glob("*.json"))


def changed(place: House, ref: ManifestRef, kind: str, **fields: Any) -> ManifestRef:
    """Return a manifest as `ref` with other `fields`."""
    body = {
        k: v for k, v in read_manifest(FolderStore(place.settings.lake), ref).items() if k not in ("format", "kind")
    }
    return write_manifest(FolderStore(place.settings.lake), f"evidence/{SYNTHETIC}", kind, body | fields)


def test_the_card_says_what_was_measured(ready: Ready) -> None:
    place, manifest, evidence = ready
    version = publish(place.settings, place.contracts[SYNTHETIC], evidence)
    release = place.release().as_dict()
    synthesis = read_manifest(FolderStore(place.settings.lake), manifest)
    card = release["card"]
    assert card["privacy"]["gate"] == read_manifest(FolderStore(place.settings.lake), evidence)["gate"]
    assert card["privacy"]["guarantee"] == "none: not differentially private"
    assert card["quality"] == {"suite": "households_synthetic-1.0.0", "checks": 14, "passed": True}
    assert card["provenance"]["sources"] == {"customers": 1, "transactions": 2}
    assert card["provenance"]["seed"] == 2017
    assert card["provenance"]["training_rows"] == synthesis["training"]["rows"]
    assert release["parents"] == synthesis["sources"]
    assert (version.version, version.rows, version.zone) == (1, synthesis["rows"], "synthetic")
    assert sum(FileEntry(**item).rows for item in release["files"]) == version.rows


def test_no_value_of_the_source_is_in_a_manifest_or_card(ready: Ready) -> None:
    place, _, evidence = ready
    publish(place.settings, place.contracts[SYNTHETIC], evidence)
    [customers] = place.catalogue.protected("customers").values()
    entry = read_manifest(FolderStore(place.settings.lake), customers.manifest)["files"][0]
    table = place.store.read(FileEntry(**entry))
    values = {v for name in ("card_number", "loyalty_card") for v in pc.unique(table.column(name)).to_pylist()}
    values |= {token.hex() for token in table.column("household_id").to_pylist()}
    assert len(values) > 5000
    text = "".join(path.read_text() for path in place.settings.lake.rglob("*.json"))
    text += json.dumps(place.release().as_dict())
    assert not [value for value in values if value in text]


def test_evidence_that_failed_is_refused(ready: Ready) -> None:
    place, _, evidence = ready
    for passed in (False, None, 1, "true"):
        with pytest.raises(ValidationRefused) as caught:
            publish(place.settings, place.contracts[SYNTHETIC], changed(place, evidence, "validation", passed=passed))
        assert caught.value.code == "validation.evidence"
    assert (versions(place), releases(place)) == ([], [])


def test_evidence_of_another_contract_or_dataset_is_refused(ready: Ready) -> None:
    place, _, evidence = ready
    contracts = place.contracts
    other = changed(place, evidence, "validation", dataset="baskets_synthetic")
    with pytest.raises(ValidationRefused):
        publish(place.settings, contracts[SYNTHETIC], other)
    with pytest.raises(ValidationRefused):
        publish(place.settings, contracts["baskets_synthetic"], evidence)
    with pytest.raises(ValidationRefused):
        publish(place.settings, place.edit_contract(SYNTHETIC, "seed: 2017", "seed: 2018"), evidence)
    assert (versions(place), releases(place)) == ([], [])


def test_evidence_of_a_protected_dataset_publishes_nothing(tmp_path: Path) -> None:
    place = house.protected().copy(tmp_path / "home")
    customers = place.contracts["customers"]
    evidence = validate_protected(place.settings, customers)
    with pytest.raises(ValidationRefused):
        publish(place.settings, customers, evidence)
    assert place.register.versions() == []


def test_a_manifest_of_another_kind_is_no_evidence(ready: Ready) -> None:
    place, manifest, evidence = ready
    for ref in (manifest, changed(place, evidence, "validation2"), ManifestRef(evidence.path, "0" * 64)):
        with pytest.raises(IntegrityError):
            publish(place.settings, place.contracts[SYNTHETIC], ref)
    assert versions(place) == []


@pytest.mark.parametrize("fault", ["another class", "a column more"])
def test_columns_that_are_not_those_of_the_files_are_refused(ready: Ready, fault: str) -> None:
    """The access policy decides by the release's classes, and the keys by the files': they must say the same."""
    place, manifest, evidence = ready
    columns = read_manifest(FolderStore(place.settings.lake), manifest)["columns"]
    hidden = {**columns[-1], "class": "sensitive" if columns[-1]["class"] != "sensitive" else "plain"}
    listed = [*columns[:-1], hidden] if fault == "another class" else [*columns, {**hidden, "name": "one_more"}]
    other = changed(place, manifest, "synthesis", columns=listed)
    validated = changed(place, evidence, "validation", subject=other.as_dict())
    with pytest.raises(IntegrityError, match="the columns"):
        publish(place.settings, place.contracts[SYNTHETIC], validated)
    assert versions(place) == []


def test_a_file_altered_after_validation_is_refused(ready: Ready) -> None:
    place, manifest, evidence = ready
    entry = read_manifest(FolderStore(place.settings.lake), manifest)["files"][0]
    path = place.settings.lake / entry["path"]
    sound = path.read_bytes()
    swapped = place.store.write(
        "synthetic/other/x/part-00000.parquet",
        place.store.read(FileEntry(**entry)),
        dict.fromkeys(place.store.read(FileEntry(**entry)).column_names, ColumnClass.SENSITIVE),
    )
    damages = [
        sound[:-1],
        sound[:100] + bytes([sound[100] ^ 1]) + sound[101:],
        b"",
        (place.settings.lake / swapped.path).read_bytes(),  # the same rows, encrypted anew
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            publish(place.settings, place.contracts[SYNTHETIC], evidence)
    path.unlink()
    with pytest.raises(IntegrityError):
        publish(place.settings, place.contracts[SYNTHETIC], evidence)
    assert (versions(place), releases(place)) == ([], [])
    path.write_bytes(sound)
    assert publish(place.settings, place.contracts[SYNTHETIC], evidence).version == 1


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_release() -> None:
    stage.write_release = lambda *_: kill()  # type: ignore[assignment]


def after_release() -> None:
    real: Callable[..., ManifestRef] = write_release

    def write_and_die(*given: Any) -> None:
        real(*given)
        kill()

    stage.write_release = write_and_die  # type: ignore[assignment]


def after_row() -> None:
    real = VersionRegister.publish

    def publish_and_die(*given: Any) -> None:
        real(*given)
        kill()

    VersionRegister.publish = publish_and_die  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize(
    ("step", "written", "visible", "then"),
    [(before_release, 0, [], [2]), (after_release, 1, [], [2]), (after_row, 1, [1], [1])],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_killed_at_any_step_it_is_published_once_by_the_next_run(
    ready: Ready, step: Callable[[], None], written: int, visible: list[int], then: list[int]
) -> None:
    """A number that a killed run took is not given again, and what it wrote stays unlisted."""
    place, _, evidence = ready
    contract = place.contracts[SYNTHETIC]

    def work() -> None:
        step()
        publish(place.settings, contract, evidence)

    assert in_fork(work) == -signal.SIGKILL
    assert (len(releases(place)), versions(place)) == (written, visible)
    version = publish(place.settings, contract, evidence)
    assert versions(place) == then == [version.version]
    assert publish(place.settings, contract, evidence) == version
    assert place.register.resolve(Selector(SYNTHETIC)) == version
    assert [event.action for event in place.register.events(SYNTHETIC)] == ["publish"]


def test_processes_that_publish_at_once_give_one_version(ready: Ready) -> None:
    place, _, evidence = ready
    code = """
        from cloakhouse.contracts.parser import load_contracts
        from cloakhouse.ledger.catalogue import ManifestRef
        from cloakhouse.settings import Settings
        from cloakhouse.stages.publish import publish
        import json
        settings = Settings.from_dict(json.loads(sys.argv[1]))
        contract = load_contracts(settings.contracts)[sys.argv[2]]
        ready()
        print(publish(settings, contract, ManifestRef(sys.argv[3], sys.argv[4])).version)
    """
    given = [json.dumps(place.settings.as_dict()), SYNTHETIC, evidence.path, evidence.sha256]
    assert race(textwrap.dedent(code), [list(given)] * 3) == ["1\n"] * 3
    assert (len(releases(place)), versions(place)) == (1, [1])


def test_the_same_inputs_are_not_made_again_and_other_inputs_are(ready: Ready) -> None:
    place, _, evidence = ready
    contract = place.contracts[SYNTHETIC]
    publish(place.settings, contract, evidence)
    assert synthesize(place.settings, contract) is None
    assert versions(place) == [1]
    changed_contract = place.edit_contract(SYNTHETIC, "version: 1.0.0", "version: 1.0.1")
    suite = place.settings.expectations / f"{SYNTHETIC}-1.0.0.json"
    (suite.parent / f"{SYNTHETIC}-1.0.1.json").write_text(suite.read_text().replace(suite.stem, f"{SYNTHETIC}-1.0.1"))
    again = synthesize(place.settings, changed_contract)
    assert again is not None
    evidence = validate_synthetic(place.settings, changed_contract, again)
    assert publish(place.settings, changed_contract, evidence).version == 2
    first, second = place.register.versions(SYNTHETIC)
    assert first.fingerprint != second.fingerprint


def test_a_run_beside_it_leaves_the_published_files_alone(ready: Ready) -> None:
    place, manifest, evidence = ready
    contract = place.contracts[SYNTHETIC]
    beside = synthesize(place.settings, contract)  # started before the publication, ended beside it
    assert beside is not None
    version = publish(place.settings, contract, evidence)
    files = [entry.as_dict() for entry in place.released()]
    assert files == read_manifest(FolderStore(place.settings.lake), manifest)["files"]
    assert place.store.read(FileEntry(**files[0])).num_rows == version.rows
    second = validate_synthetic(place.settings, contract, beside)
    assert publish(place.settings, contract, second) == version


def test_the_release_says_where_everything_came_from(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    place, manifest, evidence = ready
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", f"publish_{SYNTHETIC}")
    monkeypatch.setenv("AIRFLOW_CTX_DAG_RUN_ID", "asset_triggered__2026-11-22T15:00:00+00:00_AbCdEf12")
    before = dt.datetime.now(dt.UTC)
    version = publish(place.settings, place.contracts[SYNTHETIC], evidence)
    release = place.release()
    assert (release.dataset, release.version, release.zone) == (SYNTHETIC, 1, "synthetic")
    assert before <= release.published_at == version.published_at <= dt.datetime.now(dt.UTC)
    assert (release.source, release.evidence) == (manifest, evidence)
    assert release.run == {"dag": f"publish_{SYNTHETIC}", "run": "asset_triggered__2026-11-22T15:00:00+00:00_AbCdEf12"}
    assert release.code == {"cloakhouse": installed("cloakhouse")}
    uri = place.settings.keys
    assert {column["key"] for column in release.columns} < {key.removeprefix(f"{uri}#") for key in release.keys}
    assert f"{uri}#synthetic/footer" in release.keys
    contracts = place.contracts
    assert release.treatments.keys() == release.parents.keys() == set(contracts[SYNTHETIC].sources)
    treated = release.treatments["customers"]
    assert treated["contract"] == {"version": "1.0.0", "digest": contracts["customers"].digest}
    assert treated["columns"]["household_id"] == contracts["customers"].column("household_id").treatment.name
    [event] = place.register.events(SYNTHETIC)
    assert (event.action, event.actor, event.detail) == ("publish", "platform", "head 1")


def test_what_was_withdrawn_or_is_gone_is_not_published_again(ready: Ready) -> None:
    place, _, evidence = ready
    contract = place.contracts[SYNTHETIC]
    publish(place.settings, contract, evidence)
    place.register.withdraw(SYNTHETIC, 1, by("ann", "rows of a test store were in it"))
    with pytest.raises(VersionWithdrawn, match="rows of a test store"):
        publish(place.settings, contract, evidence)
    assert synthesize(place.settings, contract) is None
    assert versions(place) == [1]


def test_a_control_database_that_is_older_than_the_lake_publishes_nothing(ready: Ready) -> None:
    place, _, evidence = ready
    folder = place.settings.lake / "synthetic" / SYNTHETIC / "releases"
    folder.mkdir(parents=True)
    (folder / f"00000007-{'a' * 16}.json").write_bytes(b"{}")
    for _ in range(2):  # trying again doesn't count up to it
        with pytest.raises(IntegrityError) as caught:
            publish(place.settings, place.contracts[SYNTHETIC], evidence)
        assert caught.value.code == "integrity.catalogue-old"
    assert (versions(place), place.register.reserved(SYNTHETIC)) == ([], 0)
