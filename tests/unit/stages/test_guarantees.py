"""A release under a guarantee is believed only as far as it can be made again: model, noise, tables, rows, ledger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support import house
from tests.support.acting import by
from tests.support.house import PRIVATE, House

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.sealed import reference, seal
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger import database as db
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.privacy import noise
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.progress import Progress
from cloakhouse.stages import guarantees
from cloakhouse.stages.guarantees import Guaranteed, guaranteed
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.spending import charges
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.views import Side, read_side, view_classes
from cloakhouse.synthesis.dp_marginals import fitting as engine_fitting
from cloakhouse.synthesis.dp_marginals import network
from cloakhouse.synthesis.dp_marginals import release as engine_release
from cloakhouse.synthesis.protocol import Chunk

RHO = "rho of all noise in the model"
NOISE = "noise in the model, likelihood at the declared scale"
TABLES = "tables that do not follow from the noise, difference"
ROWS = "rows that the model does not give"
LEDGER = "rho committed in the privacy ledger"
NAMES = [RHO, NOISE, TABLES, ROWS, LEDGER]
Content = dict[str, Any]


@pytest.fixture(autouse=True)
def no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarantees, "utility_curve", lambda *_: [])


@pytest.fixture
def place(tmp_path: Path) -> House:
    """An installation of the test's own with private synthetic baskets."""
    return house.private()[0].copy(tmp_path / "home")


@pytest.fixture
def content() -> Content:
    """Their manifest, the test's to change."""
    source, manifest = house.private()
    return read_manifest(FolderStore(source.settings.lake), manifest)


def asked(place: House, content: Content) -> Guaranteed:
    contract = place.contracts[PRIVATE]
    progress = Progress.of("validate", PRIVATE)
    return guaranteed(place.settings, contract, content, rows_of(place, content), progress)


def failing(place: House, content: Content) -> list[str]:
    figures = asked(place, content).figures
    assert [figure.name for figure in figures] == NAMES
    return [figure.name for figure in figures if not figure.passed]


def rows_of(place: House, content: Content) -> pa.Table:
    return pa.concat_tables([place.store.read(entry) for entry in file_entries(content["files"])])


def made(place: House) -> Content:
    """Return the manifest of baskets that are synthesized now."""
    manifest = synthesize(place.settings, place.contracts[PRIVATE])
    assert manifest is not None
    return read_manifest(FolderStore(place.settings.lake), manifest)


def test_the_honest_release_passes_every_figure(place: House, content: Content) -> None:
    found = asked(place, content)
    values = {figure.name: figure.value for figure in found.figures}
    assert all(figure.passed for figure in found.figures)
    promised = rho_of(3, 1e-7)
    assert values[RHO] == pytest.approx(promised, rel=1e-3)
    assert values[LEDGER] >= promised  # type: ignore[operator]
    assert found.account == {
        "dataset": "customers",
        "consumer": "model training",
        "spent_epsilon": found.account["spent_epsilon"],  # type: ignore[index]
        "left_epsilon": found.account["left_epsilon"],  # type: ignore[index]
        "renews": found.account["renews"],  # type: ignore[index]
    }
    assert 2.5 < found.account["spent_epsilon"] <= 3.0


def test_a_dataset_without_a_guarantee_has_no_such_figures(place: House) -> None:
    contract, progress = place.contracts[house.SYNTHETIC], Progress.of("validate", house.SYNTHETIC)
    assert guaranteed(place.settings, contract, {}, pa.table({}), progress) == Guaranteed()


@pytest.mark.parametrize("share", [0.0, 0.1, 3.0], ids=["none", "a tenth", "three times"])
def test_an_engine_with_other_noise_than_it_declares_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    place, real = house.stocked().copy(tmp_path / "home"), noise.gaussian

    def dishonest(values: Any, scale: float) -> Any:
        return values.copy() if not share else real(values, scale * share)

    with monkeypatch.context() as patched:
        patched.setattr(noise, "gaussian", dishonest)
        content = made(place)
    assert failing(place, content) == [NOISE]


def test_an_engine_that_records_noise_and_draws_from_exact_counts_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = house.stocked().copy(tmp_path / "home")
    exact: dict[tuple[str, tuple[str, ...]], Any] = {}
    measured = engine_release.measured

    def remembering(wanted: Any, purse: Any, rho: float) -> Any:
        exact[wanted.kind, wanted.columns] = wanted.exact.ravel()
        return measured(wanted, purse, rho)

    def without_noise(binned: Any, domains: Any, edges: Any, third: Any, found: Any, fine: Any) -> Any:
        found = {key: replace(m, noisy=exact["bins", key]) for key, m in found.items()}
        fine = {key: replace(m, noisy=exact["cells", (key,)]) for key, m in fine.items()}
        return network.nodes(binned, domains, edges, third, found, fine)

    with monkeypatch.context() as patched:
        for module in (engine_release, engine_fitting):
            patched.setattr(module, "measured", remembering)
        patched.setattr(engine_fitting, "nodes", without_noise)
        content = made(place)
    assert failing(place, content) == [TABLES]


def test_bins_of_another_making_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = house.stocked().copy(tmp_path / "home")
    coarse = engine_fitting.binning.coarse

    def other(domain: Any, shares: Any, most: int) -> Any:
        return coarse(domain, np.ones(len(shares)) / len(shares), most)

    with monkeypatch.context() as patched:
        patched.setattr(engine_fitting.binning, "coarse", other)
        content = made(place)
    assert TABLES in failing(place, content)


def write_rows(place: House, content: Content, table: pa.Table) -> None:
    """Write `table` in the place of the release's rows, and have the manifest list it as the stage would."""
    contract = place.contracts[PRIVATE]
    classes = {column.name: column.column_class for column in contract.columns}
    path = content["files"][0]["path"].replace("part-", "planted-")
    content["files"] = [place.store.write(path, table, classes).as_dict()]
    content["rows"] = table.num_rows


def half_from_training(place: House, content: Content) -> pa.Table:
    honest = rows_of(place, content)
    training = read_side(place.settings, Side.of(content["training"]).files)
    half = honest.num_rows // 2
    return pa.concat_tables([honest.slice(0, half), training.select(honest.column_names).slice(0, half)])


def one_value_changed(place: House, content: Content) -> pa.Table:
    honest = rows_of(place, content)
    hours = honest.column("hour").to_pylist()
    at = honest.column_names.index("hour")
    return honest.set_column(at, "hour", pa.array([(hours[0] + 1) % 24, *hours[1:]], pa.int64()))


def one_row_more(place: House, content: Content) -> pa.Table:
    honest = rows_of(place, content)
    return pa.concat_tables([honest, honest.slice(0, 1)])


def one_row_less(place: House, content: Content) -> pa.Table:
    return rows_of(place, content).slice(1)


def other_order(place: House, content: Content) -> pa.Table:
    honest = rows_of(place, content)
    return honest.take(pa.array(np.arange(honest.num_rows)[::-1]))


@pytest.mark.parametrize("plant", [half_from_training, one_value_changed, one_row_more, one_row_less, other_order])
def test_rows_that_the_model_does_not_give_are_found_out(
    place: House, content: Content, plant: Callable[[House, Content], pa.Table]
) -> None:
    write_rows(place, content, plant(place, content))
    assert failing(place, content) == [ROWS]


def test_files_beside_those_of_the_chunks_and_missing_ones_are_found_out(place: House, content: Content) -> None:
    files = content["files"]
    assert failing(place, content | {"files": files * 2}) == [ROWS]
    content["files"] = []
    contract = place.contracts[PRIVATE]
    figures = guaranteed(place.settings, contract, content, pa.table({}), Progress.of("validate", "x")).figures
    assert [figure.name for figure in figures if not figure.passed] == [ROWS]


def test_chunks_that_somebody_chose_are_found_out(place: House, content: Content) -> None:
    """Of many samples of one honest model somebody may choose the one that suits the data: the choice isn't covered."""
    contract = place.contracts[PRIVATE]
    plan = guarantees.plan_of(contract)
    file = guarantees.ManifestRef.of(content["model"])
    sealed = guarantees.SealedModel("dp-marginals", plan, file, content["fingerprint"], trusted(place))
    model = guarantees.open_sealed(place.settings, sealed)
    [chunk] = content["chunks"]
    assert chunk["start"] == 0
    write_rows(place, content, model.sample(Chunk(77, chunk["size"], plan.seed)))
    content["chunks"] = [{"start": 77, "size": chunk["size"]}]
    assert failing(place, content) == [ROWS]


def trusted(place: House) -> Any:
    return guarantees.trusted_key(place.settings)


def test_a_model_of_another_fingerprint_is_not_opened(place: House, content: Content) -> None:
    with pytest.raises(IntegrityError):
        asked(place, content | {"fingerprint": "0" * 64})


def test_a_model_that_promises_less_than_the_contract_is_found_out(tmp_path: Path) -> None:
    """Fitted at epsilon 5, honestly accounted for, shown as one of epsilon 3."""
    place = house.stocked().copy(tmp_path / "home")
    strict = place.contracts[PRIVATE]
    content = dict(_loose(place))
    contract = replace(strict, digest=strict.digest)
    figures = guaranteed(
        place.settings, contract, content, rows_of(place, content), Progress.of("validate", PRIVATE)
    ).figures
    assert [figure.name for figure in figures if not figure.passed] == [RHO]


def _loose(place: House) -> Content:
    path = place.settings.contracts / f"{PRIVATE}.odcs.yaml"
    text = path.read_text()
    place.edit_contract(PRIVATE, "epsilon: 3,", "epsilon: 5,")
    content = made(place)
    path.write_text(text)
    return content


def test_a_model_whose_log_contradicts_itself_has_no_such_figure(place: House, content: Content) -> None:
    contract = place.contracts[PRIVATE]
    plan, file = guarantees.plan_of(contract), guarantees.ManifestRef.of(content["model"])
    sealed = guarantees.SealedModel("dp-marginals", plan, file, content["fingerprint"], trusted(place))
    model = guarantees.open_sealed(place.settings, sealed)
    loose = replace(model, fitted=replace(model.fitted, entries=model.fitted.entries[:-1]))  # type: ignore[type-var, attr-defined]
    (place.settings.lake / file.path).unlink()
    name, fingerprint = "dp-marginals", content["fingerprint"]
    key, lake = signing_key(place.settings), place.settings.lake
    seal(open_ring(place.settings), key, FolderStore(lake), file.path, loose.to_bytes(), name, fingerprint)
    content["model"] = reference(FolderStore(lake), file.path).as_dict()
    [figure] = [f for f in asked(place, content).figures if not f.passed]
    assert (figure.name, figure.value) == (RHO, None)


def _entries(place: House) -> Any:
    return PrivacyLedger(place.settings.database)._engine


def forget_the_spend(place: House, content: Content) -> None:
    with _entries(place).begin() as connection:
        connection.execute(db.privacy_spend.delete())
        connection.execute(db.privacy_entry.delete())


def name_no_spend(place: House, content: Content) -> None:
    content["spend"] = None


def release_the_spend(place: House, content: Content) -> None:
    with _entries(place).begin() as connection:
        connection.execute(db.privacy_spend.update().values(state="released"))


def leave_it_reserved(place: House, content: Content) -> None:
    with _entries(place).begin() as connection:
        connection.execute(db.privacy_spend.update().values(state="reserved"))


def spend_less(place: House, content: Content) -> None:
    with _entries(place).begin() as connection:
        connection.execute(db.privacy_spend.update().values(rho=db.privacy_spend.c.rho - 1))


def charge_one_source_only(place: House, content: Content) -> None:
    with _entries(place).begin() as connection:
        connection.execute(db.privacy_spend.delete().where(db.privacy_spend.c.dataset == "transactions"))


def show_the_spend_of_another_release(place: House, content: Content) -> None:
    forget_the_spend(place, content)
    contracts = place.contracts
    accounts = charges(contracts, contracts[PRIVATE].sources, "household", "model training")
    ledger = PrivacyLedger(place.settings.database)
    ledger.reserve("weekly_sales-1", accounts, 0.5, 0.0, "x", by())
    ledger.commit("weekly_sales-1", by())
    content["spend"] = {"id": "weekly_sales-1"}


@pytest.mark.parametrize(
    "attack",
    [
        forget_the_spend,
        name_no_spend,
        release_the_spend,
        leave_it_reserved,
        spend_less,
        charge_one_source_only,
        show_the_spend_of_another_release,
    ],
)
def test_a_spend_that_is_not_this_models_own_and_committed_is_found_out(
    place: House, content: Content, attack: Callable[[House, Content], None]
) -> None:
    attack(place, content)
    assert failing(place, content) == [LEDGER]


def test_training_rows_other_than_the_models_are_found_out(place: House, content: Content) -> None:
    """Training rows that were exchanged after the fit: the noise doesn't fit any more."""
    training = read_side(place.settings, Side.of(content["training"]).files)
    contract = place.contracts[PRIVATE]
    classes = view_classes(contract, place.contracts["transactions"])
    fewer = training.slice(training.num_rows // 2)
    entry = place.store.write(f"views/{PRIVATE}/exchanged/training-00000.parquet", fewer, classes)
    content["training"] = Side((entry,), fewer.num_rows, 1).as_dict()
    assert failing(place, content) == [NOISE]
