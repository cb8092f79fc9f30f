"""Shares of dataset keys with roles: what they open, for whom, and what remains of them when something is shredded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.access import DATASETS, POLICY, AccessHouse

from cloakhouse.contracts.access_policy import ROLE_KEYS
from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError, StorageError
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.protocol import KeyName, KeyService, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.keys.shared_keys import SharedKeys
from cloakhouse.keys.shares import Share, Shares
from cloakhouse.settings import Settings
from cloakhouse.stages.access import shred_class
from cloakhouse.stages.access_apply import apply, share_missing
from cloakhouse.stages.reading_access import reading_ring
from cloakhouse.stages.rotation import rotate, shred

PLAIN = DatasetKey("synthetic", "plain", "private")
SHARE = Share("desk_staff", PLAIN)


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    house = AccessHouse.make(tmp_path_factory.mktemp("access"))
    apply(house.settings)
    return house


@pytest.fixture
def house(applied: AccessHouse, tmp_path: Path) -> AccessHouse:
    return applied.copy(tmp_path)


@pytest.fixture
def desk(house: AccessHouse) -> Settings:
    return house.seen_by("dan", "service desk")


def shares(house: AccessHouse) -> Shares:
    return Shares(house.settings.key_shares)


def refusal(call: Callable[[], object], kind: type[CloakhouseError]) -> CloakhouseError:
    with pytest.raises(kind) as refused:
        call()
    return refused.value


def test_a_share_is_its_role_s_name_and_its_dataset_s() -> None:
    assert SHARE.wrapping == DatasetKey(ROLE_KEYS, "desk_staff", "private")
    assert SHARE.context(3) == {"use": "share", "role": "desk_staff", "key": "synthetic/plain/private", "v": "3"}


def test_a_role_s_ring_opens_what_is_shared_and_nothing_else(house: AccessHouse, desk: Settings) -> None:
    ring = reading_ring(desk)
    wrapped = open_ring(house.settings).wrap(PLAIN, key := new_data_key(), {})
    assert ring.unwrap(PLAIN, wrapped, {}).reveal() == key.reveal()
    for dataset in DATASETS:
        zone, name = dataset.split("/")
        for use in ("footer", "plain", "direct", "indirect", "sensitive", "payment"):
            wanted = DatasetKey(zone, use, name)
            if Share("desk_staff", wanted) in shares(house).all():
                ring.require([wanted])
            else:
                assert refusal(lambda wanted=wanted: ring.require([wanted]), AccessRefused).code == "access.key"
    without = KeyRing(service_of(desk), desk.dataset_keys)
    refusal(lambda: without.require([PLAIN]), AccessRefused)


def test_no_share_passes_for_another_s(house: AccessHouse, desk: Settings) -> None:
    """Somebody who may write the shares, but opens no key, swaps them."""
    folder = house.settings.key_shares / "desk_staff"
    text = (folder / "protected/direct/people.json").read_text()
    forged = folder / "protected/plain/people.json"
    forged.parent.mkdir()
    forged.write_text(text.replace("protected/direct/people", "protected/plain/people"))
    wanted = DatasetKey("protected", "plain", "people")
    assert refusal(lambda: reading_ring(desk).require([wanted]), KeyServiceError).code == "key.context"
    forged.write_text(text)
    assert refusal(lambda: reading_ring(desk).require([wanted]), KeyServiceError).code == "key.damaged"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"shares": []}', '{"shares": {"1": "%"}}', '{"shares": {"x": ""}}'])
def test_a_damaged_share_is_refused(house: AccessHouse, desk: Settings, text: str) -> None:
    (house.settings.key_shares / "desk_staff" / "synthetic/plain/private.json").write_text(text)
    assert refusal(lambda: reading_ring(desk).require([PLAIN]), KeyServiceError).code == "key.damaged"


def test_a_share_that_can_not_be_read_is_refused(house: AccessHouse) -> None:
    path = house.settings.key_shares / "desk_staff" / "synthetic/plain/private.json"
    path.unlink()
    assert shares(house).read(SHARE) == {}
    path.mkdir()
    assert refusal(lambda: shares(house).read(SHARE), KeyServiceError).code == "key.damaged"
    assert refusal(lambda: shares(house).remove(SHARE), StorageError).code == "storage.refused"


def test_a_version_that_is_not_shared_yet_is_refused_and_the_older_goes_on(house: AccessHouse, desk: Settings) -> None:
    wrapped = open_ring(house.settings).wrap(PLAIN, new_data_key(), {})
    open_ring(house.settings).rotate(PLAIN)
    assert reading_ring(desk).unwrap(PLAIN, wrapped, {})
    refusal(lambda: reading_ring(desk).require([PLAIN]), AccessRefused)
    apply(house.settings)
    reading_ring(desk).require([PLAIN])


def test_rotation_of_the_role_s_key_keeps_shares_open(house: AccessHouse, desk: Settings) -> None:
    rotate(house.settings, [KeyName("access/desk_staff")])
    reading_ring(desk).require([PLAIN])
    file = DatasetKeyFile.read(house.settings.dataset_keys, PLAIN)
    assert shares(house).current(SHARE, file, newest=2)
    assert apply(house.settings).done.share == ()


def test_rotation_of_a_shared_dataset_key_shares_its_new_version(house: AccessHouse, desk: Settings) -> None:
    rotate(house.settings, [KeyName("synthetic/plain")])
    assert DatasetKeyFile.read(house.settings.dataset_keys, PLAIN).newest == 2
    wrapped = open_ring(house.settings).wrap(PLAIN, new_data_key(), {})
    assert reading_ring(desk).unwrap(PLAIN, wrapped, {})
    assert apply(house.settings).done.share == ()


def test_a_new_dataset_is_shared_with_its_roles_without_the_administrator(house: AccessHouse, desk: Settings) -> None:
    shares(house).remove(SHARE)
    refusal(lambda: reading_ring(desk).require([PLAIN]), AccessRefused)
    (house.settings.home / "keystore" / "administration.pem").unlink()
    assert share_missing(house.settings) == (SHARE,)
    reading_ring(desk).require([PLAIN])
    assert share_missing(house.settings) == ()


def test_a_shredded_dataset_is_gone_from_shares_too_whatever_code_asks(house: AccessHouse, desk: Settings) -> None:
    kept = shares(house).read(SHARE)
    assert "access/desk_staff/private" in shred(house.settings, "private")
    refusal(lambda: reading_ring(desk).require([PLAIN]), KeyServiceError)
    for who in (desk, house.settings):
        ring = open_ring(who)
        refused = refusal(lambda ring=ring: ring.unwrap(SHARE.wrapping, kept[1], SHARE.context(1)), KeyServiceError)
        assert refused.code == "key.destroyed"
    done = apply(house.settings).done
    assert {share.key.dataset for share in done.unshare} == {"private"}
    assert reading_ring(desk).require([DatasetKey("protected", "direct", "people")]) is None


def test_the_shares_of_a_shredded_class_are_removed(house: AccessHouse, desk: Settings) -> None:
    assert SHARE in shares(house).all()
    shred_class(house.settings, "synthetic/plain")
    assert SHARE not in shares(house).all()
    with pytest.raises(CloakhouseError):
        reading_ring(desk).require([PLAIN])


def test_shares_of_a_class_that_is_disabled_or_destroyed_are_not_used_and_removed(
    house: AccessHouse, desk: Settings
) -> None:
    service, name = service_of(house.settings), KeyName("synthetic/plain")
    service.disable(name)
    assert refusal(lambda: reading_ring(desk).require([PLAIN]), KeyServiceError).code == "key.disabled"
    assert apply(house.settings).done.unshare == (SHARE,)
    assert shares(house).read(SHARE) == {}
    service.enable(name)
    assert apply(house.settings).done.share == (SHARE,)
    reading_ring(desk).require([PLAIN])
    service.destroy(name)
    assert refusal(lambda: reading_ring(desk).require([PLAIN]), KeyServiceError).code == "key.destroyed"
    applied = apply(house.settings)
    assert applied.done.unshare == (SHARE,)
    assert (applied.refused, applied.done.grant) == ((), ())  # nothing can be granted on it any more


def test_of_two_roles_the_one_that_opens_is_found(house: AccessHouse) -> None:
    role = POLICY.split("  desk-staff:\n")[1].split("principals:")[0]
    policy = POLICY.replace("desk-staff", "archive").replace("principals:", f"  zoo:\n{role}principals:")
    house.say(policy + "  eve: {roles: [zoo]}\n")
    apply(house.settings)
    for name in ("dan", "eve"):
        reading_ring(house.seen_by(name, "service desk")).require([PLAIN])
    assert {share.role for share in shares(house).of(PLAIN)} == {"archive", "zoo"}


def test_shared_keys_are_a_key_service(house: AccessHouse) -> None:
    """All but `unwrap` is the service's own."""
    service = SharedKeys(service_of(house.settings), shares(house), house.settings.dataset_keys)
    assert isinstance(service, KeyService)
    assert (repr(service), service.uri) == ("SharedKeys()", house.settings.keys)
    name = KeyName("synthetic/plain")
    key, wrapped = service.generate(name, {"a": "b"})
    assert service.unwrap(name, wrapped, {"a": "b"}).reveal() == key.reveal()
    assert service.unwrap(name, service.wrap(name, key, {}), {}).reveal() == key.reveal()
    odd = {"use": "dataset key", "zone": "protected", "class": "plain", "dataset": "people", "v": "1"}
    assert service.unwrap(name, service.wrap(name, key, odd), odd).reveal() == key.reveal()
    service.disable(name)
    service.enable(name)
    assert service.rotate(name) == service.describe(name)
    assert name in service.names()
    grant = replace(service.grants()[0], purpose="another")
    service.grant(grant)
    assert grant in service.grants()
    service.revoke(grant)
    assert grant not in service.grants()
    service.destroy(name)
    assert service.describe(name).versions == ()
    assert service.connection().protocol == "in process"
