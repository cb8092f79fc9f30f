"""What a reader asks first: who it is, what it may see, and that its use is recorded where it has to be."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.access import CLASSES, AccessHouse

from cloakhouse.contracts.access_policy import Shown, everything
from cloakhouse.errors import AccessRefused, CloakhouseError, ContractError, KeyServiceError
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import apply
from cloakhouse.stages.reading_access import access_of, principal_of, reading_ring, record_use

USER = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    house = AccessHouse.make(tmp_path_factory.mktemp("access"))
    apply(house.settings)
    return house


@pytest.fixture
def house(applied: AccessHouse, tmp_path: Path) -> AccessHouse:
    return applied.copy(tmp_path)


def uses(house: AccessHouse) -> list[tuple[str, str, str, int]]:
    return [(u.principal, u.key, u.purpose, u.uses) for u in AccessUses(house.settings.database).all()]


def test_who_asks(house: AccessHouse, tmp_path: Path) -> None:
    platform = house.settings.home / "keystore" / "identities" / "platform.txt"
    assert principal_of(house.settings) is None
    assert principal_of(replace(house.settings, identity=platform, purpose="training")) is None
    assert principal_of(replace(house.settings, purpose="training")) is None
    assert principal_of(house.seen_by("mia", "training")) == "mia"
    with pytest.raises(KeyServiceError):
        principal_of(house.seen_by("nobody", "training"))
    other = AccessHouse.make(tmp_path / "other")
    with pytest.raises(CloakhouseError):
        principal_of(replace(house.settings, identity=other.seen_by("mia", "x").identity))


def test_elsewhere_the_system_s_user_asks_once_it_states_a_purpose(house: AccessHouse) -> None:
    there = replace(house.settings, keys="bao:https://127.0.0.1:1/transit?token-file=/none")
    assert principal_of(there) is None
    assert principal_of(replace(there, purpose="training")) == USER
    house.edit(("mia:", f"{USER}:"))
    access = access_of(replace(there, purpose="training"))("synthetic", "baskets", CLASSES)
    assert (access.principal, access.readable) == (USER, ("store", "age"))


def test_the_decision_is_the_policy_s(house: AccessHouse) -> None:
    access = access_of(house.seen_by("mia", "training"))("synthetic", "baskets", CLASSES)
    assert access.readable == ("store", "age")
    assert access.columns["card"] is Shown.OMIT
    with pytest.raises(AccessRefused) as refused:
        access_of(house.seen_by("mia", "training"))("protected", "people", CLASSES)
    assert refused.value.code == "access.role"
    with pytest.raises(AccessRefused):
        access_of(house.seen_by("eve", "training"))("synthetic", "baskets", CLASSES)


def test_the_platform_is_outside_of_the_policy(house: AccessHouse) -> None:
    house.settings.policy.unlink()
    assert access_of(house.settings)("protected", "people", CLASSES) == everything(CLASSES)
    with pytest.raises(ContractError):
        access_of(house.seen_by("mia", "training"))


def test_what_the_decision_shows_the_keys_open_and_nothing_more(house: AccessHouse) -> None:
    for who in (house.seen_by("mia", "training"), house.seen_by("dan", "service desk")):
        for dataset in ("synthetic/baskets", "synthetic/private", "protected/people"):
            try:
                shown = set(access_of(who)(*dataset.split("/"), CLASSES).readable)
            except AccessRefused:
                shown = set()
            assert house.opens(who, dataset) == shown


def test_a_principal_s_ring_knows_shares_and_the_platform_s_needs_none(house: AccessHouse) -> None:
    assert repr(reading_ring(house.seen_by("dan", "service desk")).service) == "AuditedKeyService(SharedKeys())"
    assert repr(reading_ring(house.settings).service) == "AuditedKeyService(AgeKeyService())"


def test_a_use_is_recorded(house: AccessHouse) -> None:
    mia, dan = house.seen_by("mia", "training"), house.seen_by("dan", "service desk")
    for settings, zone, dataset in ((mia, "synthetic", "baskets"), (dan, "protected", "people")):
        access = access_of(settings)(zone, dataset, CLASSES)
        assert record_use(settings, access, zone, access.readable)
    assert record_use(mia, access_of(mia)("synthetic", "baskets", CLASSES), "synthetic", ["store"])
    assert not record_use(mia, access_of(mia)("synthetic", "baskets", CLASSES), "synthetic", ["card"])
    platform = access_of(house.settings)("protected", "people", CLASSES)
    assert not record_use(house.settings, platform, "protected", CLASSES)
    assert uses(house) == [
        ("dan", "access/desk_staff", "service desk", 1),
        ("mia", "synthetic/footer", "training", 2),
        ("mia", "synthetic/indirect", "training", 1),
        ("mia", "synthetic/plain", "training", 2),
    ]


def test_rows_of_people_are_not_read_unrecorded_and_released_ones_are(house: AccessHouse, tmp_path: Path) -> None:
    folder = tmp_path / "no.db"
    folder.mkdir()

    def without(settings: Settings) -> Settings:
        return replace(settings, database=f"sqlite:///{folder}")

    mia, dan = without(house.seen_by("mia", "training")), without(house.seen_by("dan", "service desk"))
    access = access_of(mia)("synthetic", "baskets", CLASSES)
    assert not record_use(mia, access, "synthetic", access.readable)
    access = access_of(dan)("protected", "people", CLASSES)
    with pytest.raises(CloakhouseError) as refused:
        record_use(dan, access, "protected", access.readable)
    assert refused.value.exit_code == 6


def test_the_policy_s_place_travels_with_the_settings(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_PROJECT": str(tmp_path)})
    assert settings.policy == tmp_path / "dags" / "access.yaml"
    settings = Settings.from_environment({"CLOAKHOUSE_POLICY": str(tmp_path / "mine.yaml")})
    assert settings.policy == tmp_path / "mine.yaml"
    assert Settings.from_dict(settings.as_dict()) == settings
    assert settings.environment()["CLOAKHOUSE_POLICY"] == str(tmp_path / "mine.yaml")
    assert settings.with_home(tmp_path / "home").key_shares == tmp_path / "home" / "key-shares"
