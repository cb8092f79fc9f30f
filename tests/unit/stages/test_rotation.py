"""Rotation, revocation and shredding on a real installation with data in every zone."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.house import SYNTHETIC, WEEKS, House, published
from tests.support.principals import reading_policy

from cloakhouse.client.api import connect
from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.protocol import TOKENS, Grant, KeyName, KeyState
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.lake.landed import opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import rotation
from cloakhouse.stages.access import revoke_grants, shred_class
from cloakhouse.stages.key_status import key_status
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.treating import DeliveryTask, Treater

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
DIRECT = KeyName("protected/direct")
USE = KeyUse.pseudonym("customer")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return published().copy(tmp_path / "home")


def data_bytes(house: House, pattern: str = "**/*.parquet") -> dict[str, str]:
    files = sorted(house.settings.lake.glob(pattern))
    return {str(p.relative_to(house.settings.lake)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def streams(house: House) -> dict[str, str]:
    """Return digests of the landed files' data, headers left out."""
    files = sorted(house.settings.lake.glob("landing/**/*.chl"))
    return {p.name: hashlib.sha256(p.read_bytes()[8192:]).hexdigest() for p in files}


def plain(house: House) -> list[str]:
    """Return digests of everything that can be read: landed plaintext and protected rows."""
    ring = open_ring(house.settings)
    store = TableStore(FolderStore(house.settings.lake), ring)
    found = []
    for target in rotation.landed_objects(FolderStore(house.settings.lake)):
        with opened(FolderStore(house.settings.lake), target, ring) as stream:
            found.append(hashlib.sha256(stream.read()).hexdigest())
    for name in ("transactions", "customers"):
        for partition in house.catalogue.protected(name).values():
            for entry in partition_files(house.settings, partition.manifest):
                found.append(str(store.read(entry).slice(0, 50).to_pydict()))
    return found


def refusal_of(call: Callable[[], object], kind: type[CloakhouseError] = KeyServiceError) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    return refusal.value


def test_rotation_touches_no_data_and_everything_still_opens(house: House) -> None:
    files, landed, before = data_bytes(house), streams(house), plain(house)
    token = token_keys(house.settings).key(USE).reveal()
    names = [*service_of(house.settings).names()]
    done = {r.name: r for r in rotation.rotate(house.settings, names)}
    assert {r.version for r in done.values()} == {2}
    assert done[rotation.LANDING].landed_files == len(landed) > 0
    assert done[TOKENS].token_root
    assert data_bytes(house) == files
    assert streams(house) == landed
    assert plain(house) == before
    again = token_keys(house.settings).key(USE).reveal()
    assert again == token
    status = key_status(house.settings, dt.datetime.now(dt.UTC))
    assert [master.behind for master in status.masters] == [0] * len(names)


def test_after_rotation_old_master_versions_are_needed_no_more(house: House) -> None:
    """What an older version wrapped is wrapped anew: nothing in the installation names version 1 of the master key."""
    rotation.rotate(house.settings, [DIRECT, rotation.LANDING])
    for file in open_ring(house.settings).all():
        if file.key.master in (DIRECT, rotation.LANDING):
            assert {record.master_version for record in file.versions} == {2}
            assert [record.version for record in file.versions] == [1, 2]


def test_new_data_is_wrapped_by_the_new_version_at_once(house: House) -> None:
    ring = open_ring(house.settings)
    [key] = [f.key for f in ring.all() if f.key.name == "protected/direct/transactions"]
    assert ring.newest(key) == 1
    rotation.rotate(house.settings, [DIRECT])
    assert ring.newest(key) == 2


def test_a_rotation_that_was_interrupted_is_finished_by_the_next(house: House) -> None:
    service_of(house.settings).rotate(DIRECT)
    status = {m.description.name: m for m in key_status(house.settings, NOW).masters}
    assert status[DIRECT].behind > 0
    rotation.rotate_due(house.settings, dt.timedelta(days=90), dt.datetime.now(dt.UTC))
    status = {m.description.name: m for m in key_status(house.settings, NOW).masters}
    assert status[DIRECT].behind == 0
    assert status[DIRECT].description.versions[-1].version == 2
    assert plain(house)


def test_the_policy_rotates_what_is_due_and_reports_it(house: House) -> None:
    service = service_of(house.settings)
    period, today = dt.timedelta(days=90), dt.datetime.now(dt.UTC)
    assert rotation.due(service, period, today) == []
    assert rotation.due(service, period, today + dt.timedelta(days=91)) == list(service.names())
    service.disable(DIRECT)
    due = rotation.due(service, period, today + dt.timedelta(days=91))
    assert DIRECT not in due
    report = read_manifest(
        FolderStore(house.settings.lake),
        rotation.rotate_due(house.settings, period, today + dt.timedelta(days=91)),
        "rotation",
    )
    assert [r["name"] for r in report["rotated"]] == due
    assert service.describe(DIRECT).versions[-1].version == 1


def test_one_key_that_fails_keeps_no_other_from_its_rotation(house: House) -> None:
    """The dataset key of one class is damaged: the others are rotated, the report says so, and the run still fails."""
    service = service_of(house.settings)
    (house.settings.dataset_keys / "protected" / "direct" / "transactions.json").write_bytes(b"{")
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=91)
    refused = refusal_of(lambda: rotation.rotate_due(house.settings, dt.timedelta(days=90), later))
    assert refused.code == "key.damaged"
    assert {service.describe(name).versions[-1].version for name in service.names()} == {2}
    [report] = (house.settings.lake / "evidence" / "keys").glob("rotation-*.json")
    assert "key.damaged" in json.loads(report.read_text())["failed"].values()
    service.disable(DIRECT)
    others = [name for name in service.names() if name != DIRECT and "footer" in name]
    assert refusal_of(lambda: rotation.rotate(house.settings, [DIRECT, *others])).code == "key.disabled"
    assert {service.describe(name).versions[-1].version for name in others} == {3}


def test_every_grant_is_withdrawn_even_if_one_can_not_be(house: House) -> None:
    service = service_of(house.settings)
    assert isinstance(service, AgeKeyService)
    service.enrol("model-team", identity=house.settings.home / "model-team.txt")
    held = [Grant("model-team", KeyName(f"synthetic/{use}"), "model-training") for use in ("footer", "sensitive")]
    for grant in held:
        service.grant(grant)
    absent = Grant("model-team", DIRECT, "model-training")
    (house.settings.dataset_keys / "protected" / "direct" / "transactions.json").write_bytes(b"{")
    refusal_of(lambda: revoke_grants(house.settings, [absent, *held]))
    assert service.grants() == ()


def test_a_disabled_class_is_closed_for_everyone_at_once(house: House) -> None:
    store = house.store
    entry = partition_files(house.settings, house.catalogue.protected("transactions")[WEEKS[0]].manifest)[0]
    assert store.read(entry, ["household_id"]).num_rows
    ring = open_ring(house.settings)
    ring.service.disable(DIRECT)
    ring.announce()
    assert refusal_of(lambda: store.read(entry, ["household_id"])).code == "key.disabled"
    assert store.read(entry, ["quantity"]).num_rows
    ring.service.enable(DIRECT)
    ring.announce()
    assert store.read(entry, ["household_id"]).num_rows


def test_a_shredded_dataset_is_unreadable_in_every_zone_and_others_are_not(house: House) -> None:
    reader = house.store
    entry = partition_files(house.settings, house.catalogue.protected("transactions")[WEEKS[0]].manifest)[0]
    assert reader.read(entry).num_rows
    shredded = rotation.shred(house.settings, "transactions")
    assert {"landing/file/transactions", "protected/direct/transactions", "protected/footer/transactions"} <= set(
        shredded
    )
    for store in (reader, house.store):
        assert refusal_of(lambda store=store: store.read(entry, ["quantity"])).code == "key.destroyed"
    for target in rotation.landed_objects(FolderStore(house.settings.lake), "transactions"):
        with (
            pytest.raises(KeyServiceError),
            opened(FolderStore(house.settings.lake), target, open_ring(house.settings)),
        ):
            pass
    other = partition_files(house.settings, next(iter(house.catalogue.protected("customers").values())).manifest)[0]
    assert reader.read(other).num_rows
    assert rotation.shred(house.settings, "transactions") == shredded
    assert refusal_of(lambda: rotation.shred(house.settings, "nothing")).code == "key.missing"
    assert set(key_status(house.settings, NOW).shredded) == set(shredded)


def test_a_shredded_class_opens_nowhere(house: House) -> None:
    store = house.store
    entry = partition_files(house.settings, house.catalogue.protected("transactions")[WEEKS[0]].manifest)[0]
    store.read(entry)
    names = shred_class(house.settings, DIRECT)
    assert names[0] == DIRECT
    assert "protected/direct/transactions" in names
    assert refusal_of(lambda: store.read(entry, ["household_id"])).code == "key.destroyed"
    assert store.read(entry, ["quantity"]).num_rows
    assert shred_class(house.settings, DIRECT) == names
    assert refusal_of(lambda: rotation.rotate(house.settings, [DIRECT])).code == "key.destroyed"
    described = {m.description.name: m for m in key_status(house.settings, NOW).masters}[DIRECT]
    assert (described.description.state, described.next_rotation, described.age_days) == (
        KeyState.DESTROYED,
        None,
        None,
    )


def test_the_model_team_opens_synthetic_data_and_nothing_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    service = service_of(house.settings)
    assert isinstance(service, AgeKeyService)
    identity = house.settings.home / "model-team.txt"
    service.enrol("model-team", identity=identity)
    grants = [
        Grant("model-team", KeyName(f"synthetic/{use}"), "model-training")
        for use in ("footer", "indirect", "sensitive", "plain")
    ]
    for grant in grants:
        service.grant(grant)
    for name, value in house.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CLOAKHOUSE_IDENTITY", str(identity))
    monkeypatch.setenv("CLOAKHOUSE_PURPOSE", "model-training")
    policy = reading_policy(house, "model-team", "model-training", "synthetic")
    monkeypatch.setenv("CLOAKHOUSE_POLICY", str(policy))
    assert connect().dataset(SYNTHETIC).to_arrow().num_rows

    from cloakhouse.settings import Settings

    theirs = Settings.from_environment()
    store = TableStore(FolderStore(theirs.lake), open_ring(theirs))
    for name in ("transactions", "customers"):
        for partition in house.catalogue.protected(name).values():
            for entry in partition_files(house.settings, partition.manifest):
                refusal_of(lambda entry=entry: store.read(entry), AccessRefused)
    for target in rotation.landed_objects(FolderStore(theirs.lake)):
        with pytest.raises(AccessRefused), opened(FolderStore(theirs.lake), target, open_ring(theirs)):
            pass
    refusal_of(lambda: token_keys(theirs).key(USE), AccessRefused)

    monkeypatch.setenv("CLOAKHOUSE_PURPOSE", "marketing")
    refusal_of(lambda: connect().dataset(SYNTHETIC).to_arrow(), AccessRefused)

    monkeypatch.setenv("CLOAKHOUSE_PURPOSE", "model-training")
    reading = connect().dataset(SYNTHETIC)
    assert reading.to_arrow(limit=1).num_rows == 1
    revoke_grants(house.settings, grants)
    refusal_of(lambda: reading.to_arrow(limit=1), AccessRefused)
    assert house.store.read(house.released()[0]).num_rows


def test_status_tells_age_version_and_next_rotation(house: House) -> None:
    today = dt.datetime.now(dt.UTC)
    facts = json.loads(json.dumps(key_status(house.settings, today + dt.timedelta(days=10)).as_dict()))
    by_name = {master["name"]: master for master in facts["masters"]}
    assert {"landing/file", "protected/direct", "protected/footer", "tokens/root", "quarantine/direct"} <= set(by_name)
    direct = by_name["protected/direct"]
    assert (direct["state"], direct["version"], direct["age_days"], direct["behind"]) == ("enabled", 1, 10, 0)
    due = dt.date.fromisoformat(direct["next_rotation"])
    assert dt.timedelta(days=89) <= due - today.date() <= dt.timedelta(days=91)


@pytest.mark.parametrize("key", ["landing/file", "protected/direct", "tokens/root"])
def test_a_key_disabled_in_the_middle_of_a_job_stops_its_next_delivery(tmp_path: Path, key: str) -> None:
    """A worker has opened everything for its first delivery; the second is refused, and of it nothing is visible."""
    house = published().copy(tmp_path / "home")
    settings, contract = house.settings, house.contracts["transactions"]
    known = tuple(partition_files(settings, next(iter(house.catalogue.protected("customers").values())).manifest))
    treater = Treater(settings, contract, dict.fromkeys((c.name for c in contract.columns if c.reference), known))
    deliveries = [
        read_manifest(FolderStore(settings.lake), house.catalogue.deliveries("transactions")[week][-1].manifest)
        for week in WEEKS
    ]
    folder = "transactions/{}/job"
    tasks = [DeliveryTask(d["partition"], d["object"], d["rows"], folder.format(d["partition"])) for d in deliveries]
    assert treater.run(tasks[0])["rows"] > 0
    ring = open_ring(settings)
    ring.service.disable(KeyName(key))
    ring.announce()
    if key == str(TOKENS):  # a worker that has the root opened keeps it for five minutes
        treater = Treater(settings, contract, dict.fromkeys((c.name for c in contract.columns if c.reference), known))
    assert refusal_of(lambda: treater.run(tasks[1])).code == "key.disabled"
    assert list(settings.lake.glob(f"*/transactions/{WEEKS[1]}/job/*")) == []
