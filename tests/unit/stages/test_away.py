"""A driver away from home: only with the bag that was packed, the package's version, and the right control database."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import house
from tests.support.house import House

from cloakhouse.errors import CloakhouseError, ConfigurationError, IntegrityError, KeyServiceError
from cloakhouse.keys.aws_services import Service
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.stages import away, carried
from cloakhouse.stages.away import Away
from cloakhouse.stages.carried_needs import Needs, identity_of

BAG = "jobs/pseudonymize/customers/0a"
KEY = DatasetKey("protected", "direct", "customers")


@dataclass
class Spark:
    """Stands for a session: notes what workers get."""

    files: list[str] = field(default_factory=list)

    @property
    def sparkContext(self) -> Spark:
        return self

    def addFile(self, path: str) -> None:
        self.files.append(Path(path).name)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """An installation whose lake and database a driver elsewhere reaches, as far as these tests go."""
    made = house.protected().copy(tmp_path / "own house")
    monkeypatch.setattr(away, "open_store", lambda _: open_store(made.settings))
    monkeypatch.setattr(Away, "_database", lambda _: made.settings.database)
    monkeypatch.setenv("CLOAKHOUSE_KEYS", made.settings.keys)
    return made


def packed(place: House, **facts: Any) -> Away:
    """Put a bag with one key into the lake and return what its driver is told."""
    needs = Needs("customers", Path(), 0.0, (KEY,), (), ())
    needs.make(place.settings)
    contents = needs.contents(place.settings)
    archive = replace(contents, facts={**contents.facts, **facts}).pack()
    open_store(place.settings).create(f"{BAG}/{carried.ARCHIVE}", archive)
    return Away(BAG, carried.digest_of(archive), "s", Service("secretsmanager", "eu-west-1"))


def test_a_driver_works_in_the_bag_and_leaves_nothing(place: House) -> None:
    told, spark = packed(place), Spark()
    with told.settings(spark) as settings:  # type: ignore[arg-type]
        assert settings.home.name.startswith(carried.HOME)
        assert settings.home != place.settings.home
        assert settings.database == place.settings.database
        assert settings.contracts == settings.home / "contracts"
        open_ring(settings).require([KEY])
        with pytest.raises(KeyServiceError) as refused:
            open_ring(settings).ensure([DatasetKey("protected", "direct", "products")])
        assert refused.value.code == "key.copy"
        home = settings.home
    assert spark.files == [f"{home.name}.zip"]
    assert not home.parent.exists()
    told.tell(b"{}")
    assert open_store(place.settings).read(f"{BAG}/{carried.RESULT}") == b"{}"


def refusal(told: Away) -> CloakhouseError:
    spark = Spark()
    with pytest.raises(CloakhouseError) as refused, told.settings(spark):  # type: ignore[arg-type]
        pass
    assert spark.files == []
    return refused.value


def test_an_image_of_another_version_is_refused(place: House) -> None:
    found = refusal(packed(place, package="0.0.0"))
    assert isinstance(found, ConfigurationError)
    assert found.code == "configuration.image"


@pytest.mark.parametrize("control", ["", "another"])
def test_another_control_database_is_refused(place: House, control: str) -> None:
    assert refusal(packed(place, control=control)).code == "configuration.database"
    assert identity_of(place.settings) not in ("", "another")


def test_another_bag_is_refused(place: House) -> None:
    told = packed(place)
    assert isinstance(refusal(replace(told, sha256="0" * 64)), IntegrityError)
    assert refusal(replace(told, bag="jobs/pseudonymize/customers/0b")).code == "integrity.bag"


@pytest.mark.parametrize("secret", [{}, {"SecretString": "sqlite:///x"}, {"SecretBinary": b"postgresql://x"}])
def test_a_secret_without_the_url_is_refused(monkeypatch: pytest.MonkeyPatch, secret: dict[str, Any]) -> None:
    told = Away(BAG, "0" * 64, "s", Service("secretsmanager", "eu-west-1"))
    monkeypatch.setattr(Service, "call", lambda *_, **__: secret)
    with pytest.raises(ConfigurationError) as refused:
        told._database()
    assert refused.value.code == "configuration.database"


def test_the_secret_is_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def answer(_: Service, *given: str, **named: str) -> dict[str, str]:
        asked.append(named)
        return {"SecretString": "postgresql://x\n"}

    monkeypatch.setattr(Service, "call", answer)
    assert Away(BAG, "", "an id", Service("secretsmanager", "eu-west-1"))._database() == "postgresql://x"
    assert asked == [{"SecretId": "an id"}]


def test_what_it_is_told_comes_back_from_the_arguments() -> None:
    told = Away(BAG, "0" * 64, "s", Service("secretsmanager", "eu-west-1", "https://vpce.example"))
    parser = argparse.ArgumentParser()
    Away.add_arguments(parser, parser)
    assert Away.of(parser.parse_args(told.arguments())) == told
    plain = replace(told, secrets=Service("secretsmanager", "eu-west-1"))
    assert Away.of(parser.parse_args(plain.arguments())) == plain
