"""Runs that are pinned to consents and erasures: what is withheld, and what makes a run begin anew."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support.consents import BY, rights, say
from tests.support.house import PRIVATE, House, consenting, planned

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, ContractError, StageError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.stages import consent, pinning
from cloakhouse.stages.consent import allowed_persons
from cloakhouse.stages.consent import pin as pin_consent
from cloakhouse.stages.pinning import Pinned, persons_of, pin, require_unchanged
from cloakhouse.stages.pseudonymize import plan
from cloakhouse.stages.sieve import Persons
from cloakhouse.stages.sieve_lists import listed, sieves
from cloakhouse.stages.sources import file_entries, read_partitions
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.view_rights import read_allowed
from cloakhouse.stages.views import write_views
from cloakhouse.tokens.subjects import rights_of_tokens

WEEKLY = "weekly_sales"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return consenting().copy(tmp_path / "home")


def persons_in(house: House, name: str) -> pa.Array:
    """Return the persons who have rows in the protected dataset `name`, each once."""
    partitions = list(house.catalogue.protected(name).values())
    tables = pa.concat_tables(read_partitions(house.settings, house.store, partitions, ["household_id"]))
    column = house.contracts[name].column("household_id")
    return pc.unique(rights_of_tokens(tables.column("household_id"), column, token_keys(house.settings)))


def pinned(house: House, name: str) -> Pinned:
    return pin(house.settings, house.contracts[name], house.contracts)


def just_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)


def refused(call: Callable[[], object]) -> CloakhouseError:
    with pytest.raises(StageError) as refusal:
        call()
    return refusal.value


# feeds


def test_only_persons_who_allow_the_purpose_have_rows_and_all_rows_are_counted(house: House) -> None:
    for name in ("customers", "transactions"):
        found = persons_in(house, name)
        for partition in house.catalogue.protected(name).values():
            manifest = read_manifest(open_store(house.settings), partition.manifest)
            allowed = allowed_persons(house.settings, manifest["rights"]["consent"])
            assert 2_000 < len(allowed) < 2_469
            assert pc.all(pc.is_in(found, value_set=allowed)).as_py()
            assert partition.rights == Pinned.of(manifest).digest != ""
            assert manifest["withheld"] == partition.withheld > 0
            delivered = house.catalogue.deliveries(name)[partition.partition][-1].rows
            assert partition.rows + partition.withheld + partition.quarantined == delivered


def test_rows_of_who_is_withheld_in_the_master_are_withheld_and_no_unknown_reference(house: House) -> None:
    for partition in house.catalogue.protected("transactions").values():
        reasons = read_manifest(open_store(house.settings), partition.manifest)["quarantined"]
        assert "unknown_reference" not in reasons
    # agreed since, but not in the protected master yet: withheld with it
    back = pc.is_in(rights(house.settings, range(1, 2_501)), value_set=persons_in(house, "customers"))
    outside = np.flatnonzero(~np.asarray(back)) + 1
    say(house.settings, *((int(n), "api", "granted", just_now()) for n in outside))
    before = house.catalogue.protected("transactions")["2016-12-26"]
    request, _, _ = planned(house.settings, house.contracts["transactions"], ["2016-12-26"], reprocess=True)
    content = read_manifest(open_store(house.settings), request)
    assert (
        content["rights"]["consent"] != read_manifest(open_store(house.settings), before.manifest)["rights"]["consent"]
    )
    house.protect("transactions", ["2016-12-26"], reprocess=True)
    after = house.catalogue.protected("transactions")["2016-12-26"]
    assert (after.rows, after.withheld, after.quarantined) == (before.rows, before.withheld, before.quarantined)


def test_the_list_for_workers_is_there_as_long_as_they_work_and_leftovers_of_killed_runs_go(house: House) -> None:
    store, contract = open_store(house.settings), house.contracts["customers"]
    now = pinned(house, "customers")

    def lists() -> list[str]:
        return [info.path for info in store.list("rights/sieves")]

    with pytest.raises(KeyError, match="PARE"), listed(house.settings, contract, now):
        raise KeyError([store.read(path)[:4] for path in lists()])
    assert lists() == []
    with store.staged("rights/sieves/customers/left.parquet") as path:
        path.write_bytes(b"PARE")
    with listed(house.settings, contract, now) as found:
        assert found.only
        assert lists() == [found.entry and found.entry.path]
    assert lists() == []


# what makes a run begin anew


def test_an_erasure_since_the_plan_stops_the_run_and_publication(house: House) -> None:
    contract, now = house.contracts["customers"], pinned(house, "customers")
    require_unchanged(house.settings, contract, house.contracts, now)
    Tombstones(house.settings.database).add(rights(house.settings, [1]), "er-1", BY)
    assert refused(lambda: persons_of(house.settings, contract, house.contracts, now)).code == "stage.overtaken"
    assert refused(lambda: require_unchanged(house.settings, contract, house.contracts, now)).code == "stage.overtaken"
    later = pinned(house, "customers")
    assert (later.consent, later.erased == now.erased) == (now.consent, False)
    listed_now = persons_of(house.settings, contract, house.contracts, later).listed
    assert not pc.any(pc.is_in(listed_now, value_set=rights(house.settings, [1]))).as_py()


def test_what_tells_no_rights_is_published_until_somebody_was_erased(house: House) -> None:
    untold = Pinned.of({"files": []})  # a manifest from before runs were pinned
    for name in (WEEKLY, "customers", "products"):
        require_unchanged(house.settings, house.contracts[name], house.contracts, untold)
    Tombstones(house.settings.database).add(rights(house.settings, [1]), "er-1", BY)
    for name in (WEEKLY, "customers"):
        found = refused(
            lambda name=name: require_unchanged(house.settings, house.contracts[name], house.contracts, untold)
        )
        assert found.code == "stage.overtaken"
    require_unchanged(house.settings, house.contracts["products"], house.contracts, untold)  # rows of nobody


def test_a_request_that_tells_no_rights_does_not_begin_either(house: House) -> None:
    untold = Pinned.of({"files": []})

    def passing(name: str) -> Persons:
        return persons_of(house.settings, house.contracts[name], house.contracts, untold)

    assert refused(lambda: passing("customers")).code == "stage.overtaken"  # its contract asks for a consent
    assert passing("products").all_pass
    free = replace(house.contracts[WEEKLY], rights=replace(house.contracts[WEEKLY].rights, consent=None))
    assert persons_of(house.settings, free, house.contracts, untold).all_pass  # nobody was erased yet
    Tombstones(house.settings.database).add(rights(house.settings, [1]), "er-1", BY)
    found = refused(lambda: persons_of(house.settings, free, house.contracts, untold))
    assert found.code == "stage.overtaken"
    assert passing("products").all_pass


def test_a_snapshot_too_old_or_shed_stops_the_run(house: House) -> None:
    contract, now = house.contracts["customers"], pinned(house, "customers")
    old = pin_consent(house.settings, "analytics", as_of=dt.datetime.now(dt.UTC) - dt.timedelta(days=3))
    persons = pinning._digest(allowed_persons(house.settings, old.sha256))
    stale = Pinned(old.sha256, "analytics", old.as_of.isoformat(), persons, now.erased)
    assert refused(lambda: persons_of(house.settings, contract, house.contracts, stale)).code == "stage.consent-stale"
    snapshot = ConsentSnapshots(house.settings.database).get(now.consent)
    assert snapshot is not None
    ConsentSnapshots(house.settings.database).remove(snapshot)
    assert refused(lambda: persons_of(house.settings, contract, house.contracts, now)).code == "stage.overtaken"


def test_datasets_without_persons_are_pinned_to_nothing(house: House) -> None:
    assert pinned(house, "products") == Pinned()
    assert Pinned().digest == ""
    house.edit_contract(
        "customers",
        "  - property: consent\n    value: {purpose: analytics,",
        "  - property: consent\n    value: {purpose: sharing,",
    )
    assert pinned(house, "customers").purpose == "sharing"


def test_a_new_snapshot_of_the_same_persons_gives_no_work(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    derived = (WEEKLY, "households_synthetic")
    before = [pinned(house, name) for name in derived]
    monkeypatch.setattr(consent, "YOUNG", dt.timedelta(seconds=-1))  # every snapshot is too old to be used again
    after = [pinned(house, name) for name in derived]
    for old, new in zip(before, after, strict=True):
        assert (new.consent, new.as_of) != (old.consent, old.as_of)
        assert new.made_from == old.made_from
    newest = pin_consent(house.settings, "analytics")
    for name in ("customers", "transactions"):
        partition = next(iter(house.catalogue.protected(name).values()))
        assert read_manifest(open_store(house.settings), partition.manifest)["rights"]["consent"] != newest.sha256
        assert plan(house.settings, house.contracts[name]) is None


# derived datasets


def test_a_withdrawal_and_an_erasure_are_out_of_the_next_derived_run_without_a_new_protected_file(house: House) -> None:
    contract = house.contracts[WEEKLY]
    partitions = list(house.catalogue.protected("transactions").values())
    first = pinned(house, WEEKLY)
    assert first == pinned(house, WEEKLY)
    column = house.contracts["transactions"].column("household_id")

    def persons(rights_now: Pinned) -> pa.Array:
        sieve = sieves(house.settings, contract, house.contracts, rights_now)["transactions"]
        tables = list(read_allowed(house.settings, house.store, partitions, ["household_id", "quantity"], sieve))
        assert tables[0].column_names == ["household_id", "quantity"]
        tokens = pa.concat_tables(tables).column("household_id")
        return pc.unique(rights_of_tokens(tokens, column, token_keys(house.settings)))

    all_of_them = persons(first)
    numbers = rights(house.settings, range(1, 2_501))
    in_it = [int(n) + 1 for n in np.flatnonzero(np.asarray(pc.is_in(numbers, value_set=all_of_them)))]
    say(house.settings, (in_it[0], "api", "refused", just_now()))
    Tombstones(house.settings.database).add(rights(house.settings, in_it[1:2]), "er-1", BY)
    second = pinned(house, WEEKLY)
    assert second.made_from != first.made_from
    gone = rights(house.settings, in_it[:2])
    left = persons(second)
    assert len(left) == len(all_of_them) - 2
    assert not pc.any(pc.is_in(left, value_set=gone)).as_py()


def test_columns_that_were_not_asked_for_are_read_along_and_left_out(house: House) -> None:
    partitions = list(house.catalogue.protected("transactions").values())[:1]
    sieve = sieves(house.settings, house.contracts[PRIVATE], house.contracts, pinned(house, PRIVATE))["transactions"]
    [table] = read_allowed(house.settings, house.store, partitions, ["quantity"], sieve)
    assert table.column_names == ["quantity"]
    assert 0 < table.num_rows < partitions[0].rows  # of those who allow analytics, not all allow synthesis


def test_the_view_of_a_synthesis_holds_units_that_agreed_alone(house: House) -> None:
    contract, contracts = house.contracts["households_synthetic"], house.contracts
    pins = {name: list(house.catalogue.protected(name).values()) for name in ("customers", "transactions")}
    passing = sieves(house.settings, contract, contracts, pinned(house, contract.name))
    whole = write_views(house.settings, house.store, contracts, contract, pins, "views/households_synthetic/whole")
    agreed = write_views(
        house.settings, house.store, contracts, contract, pins, "views/households_synthetic/agreed", passing
    )
    units = agreed.training.units + agreed.holdout.units
    assert units < whole.training.units + whole.holdout.units
    files = file_entries([entry.as_dict() for entry in (*agreed.training.files, *agreed.holdout.files)])
    tokens = pa.concat_tables([house.store.read(entry, ["__unit"]) for entry in files]).column(0)
    column = contracts["transactions"].column("household_id")
    found = rights_of_tokens(tokens, column, token_keys(house.settings))
    allowed = persons_of(house.settings, contract, house.contracts, pinned(house, contract.name)).listed
    assert pc.all(pc.is_in(found, value_set=allowed)).as_py()


def test_consent_on_a_dataset_whose_source_names_no_person_is_a_fault_of_the_contract(house: House) -> None:
    subject = "  - property: subject\n    value:\n      column: household_id\n"
    consent = "  - property: consent\n    value: {purpose: analytics, maxAgeDays: 2, withdrawWithinDays: 30}\n"
    with pytest.raises(ContractError) as refusal:
        house.edit_contract("transactions", subject + consent, "")
    assert "subject" in refusal.value.explain()
    for name in (PRIVATE, "baskets_synthetic", "households_synthetic", WEEKLY):
        path = house.settings.contracts / f"{name}.odcs.yaml"
        lines = path.read_text().splitlines(keepends=True)
        at = lines.index("  - property: consent\n")
        path.write_text("".join(lines[:at] + lines[at + 2 :]))
    assert "transactions" in load_contracts(house.settings.contracts)
