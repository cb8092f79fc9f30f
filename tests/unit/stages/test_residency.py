"""A zone that its contract pins opens only where store, keys and this machine are in its regions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import stores
from tests.support.contracts import SHIPPED

from cloakhouse.client.place import Place as Reading
from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contract
from cloakhouse.errors import ConfigurationError, ResidencyRefused, StorageError
from cloakhouse.keys.openbao_uri import parse
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_uri import Place
from cloakhouse.ledger.audit import log_of
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages import connections, residency
from cloakhouse.stages.land import land

HERE, THERE = "eu-central-1", "us-east-1"


def settings(tmp_path: Path, region: str = "", **others: Any) -> Settings:
    return replace(Settings.from_environment({}).with_home(tmp_path), region=region, **others)


def pinned(tmp_path: Path, zones: str = f"{{landing: [{HERE}], protected: [{HERE}]}}") -> Contract:
    text = (SHIPPED / "products.odcs.yaml").read_text()
    entry = f"  - property: residency\n    value: {zones}\nschema:\n"
    path = tmp_path / "products.odcs.yaml"
    path.write_text(text.replace("schema:\n", entry, 1))
    return load_contract(path)


def told(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """Have the S3 server answer so; an exception is raised."""

    def call(_self: Calls, operation: str, *_: object) -> Any:
        answer = answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return {"ResponseMetadata": {"HTTPHeaders": {}}, **answer}

    residency.told_by_server.cache_clear()
    monkeypatch.setattr(Calls, "call", call)


def refused_by(given: Settings, zone: str, contract: Contract) -> str:
    with pytest.raises(ResidencyRefused) as refusal:
        residency.check_residency(given, contract, zone)
    assert refusal.value.exit_code == 3
    return refusal.value.code


@pytest.mark.parametrize(("region", "code"), [(THERE, "residency.region"), ("", "residency.undeclared")])
def test_a_folder_is_where_its_machine_is(tmp_path: Path, region: str, code: str) -> None:
    contract = pinned(tmp_path)
    assert refused_by(settings(tmp_path, region), "landing", contract) == code
    residency.check_residency(settings(tmp_path, region), contract, "quarantine", "synthetic")
    residency.check_residency(settings(tmp_path, HERE), contract, "landing", "protected")


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (f"aws-kms:alias/x?region={HERE}", None),
        (f"aws-kms:alias/x?region={THERE}", "residency.region"),
        ("aws-kms:alias/x", "residency.undeclared"),
        (f"aws-kms:alias/x?region={HERE}&endpoint=https://kms.{THERE}.amazonaws.com", "residency.undeclared"),
        (f"aws-kms:alias/x?region={HERE}&endpoint=https://kms.{HERE}.amazonaws.com", None),
        (f"bao:https://bao.example/transit?region={HERE}", None),
        (f"bao:https://bao.example/transit?region={THERE}", "residency.region"),
        ("bao:https://bao.example/transit", "residency.undeclared"),
    ],
)
def test_keys_are_where_their_uri_says(tmp_path: Path, keys: str, code: str | None) -> None:
    given, contract = settings(tmp_path, HERE, keys=keys), pinned(tmp_path)
    if code is None:
        residency.check_residency(given, contract, "landing")
    else:
        assert refused_by(given, "landing", contract) == code


@pytest.mark.parametrize(
    ("query", "head", "location", "code"),
    [
        (f"?region={HERE}", {"BucketRegion": HERE}, {}, None),
        (f"?region={HERE}", {"BucketRegion": THERE}, {}, "residency.region"),  # boto3 would follow it there
        (f"?region={THERE}", {"BucketRegion": THERE}, {}, "residency.region"),
        ("", {"BucketRegion": HERE}, {}, "residency.undeclared"),
        (f"?region={HERE}", {}, {"LocationConstraint": HERE}, None),
        (f"?region={HERE}", {}, {"LocationConstraint": "EU"}, "residency.region"),
        (f"?region={HERE}", {}, {"LocationConstraint": None}, "residency.region"),  # AWS's name of us-east-1
        (f"?region={HERE}&endpoint=https://s3.example", {}, {"LocationConstraint": None}, None),
        (f"?region={HERE}&endpoint=https://s3.example", {}, {"LocationConstraint": THERE}, "residency.region"),
        (
            f"?region={HERE}&endpoint=https://s3.{THERE}.amazonaws.com",
            {"BucketRegion": HERE},
            {},
            "residency.undeclared",
        ),
    ],
)
def test_a_bucket_is_where_the_server_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str, head: Any, location: Any, code: str | None
) -> None:
    told(monkeypatch, head_bucket=head, get_bucket_location=location)
    given = settings(tmp_path, HERE, store=f"s3://lake{query}")
    if code is None:
        residency.check_residency(given, pinned(tmp_path), "landing")
    else:
        assert refused_by(given, "landing", pinned(tmp_path)) == code


def test_a_bucket_that_aws_tells_nothing_of_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = StorageError(where="x", expected="y", found="z", not_done="n", remedy="r", code="refused")
    told(monkeypatch, head_bucket={}, get_bucket_location=silent)
    with pytest.raises(StorageError):
        residency.check_residency(
            settings(tmp_path, HERE, store=f"s3://lake?region={HERE}"), pinned(tmp_path), "landing"
        )
    assert residency.told_by_server(Place.parse(f"s3://lake?region={HERE}&endpoint=https://s3.example")) == ""


def test_nothing_lands_across_and_the_log_says_so(tmp_path: Path) -> None:
    given, contract = settings(tmp_path, THERE), pinned(tmp_path)
    given.inbox.mkdir()
    with pytest.raises(ResidencyRefused):
        land(given, contract)
    assert not list(given.lake.rglob("*.chl"))
    events = [one for one in log_of(given.database).events() if one.action == "land"]
    assert [(one.decision, one.code, one.dataset) for one in events] == [("refused", "residency.region", "products")]


def test_nothing_is_read_across_by_those_who_have_no_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Found:
        card = residency.residency_of(pinned(tmp_path, f"{{protected: [{HERE}]}}"), "protected")

    class Version:
        name, zone, dataset = "baskets@1", "synthetic", "baskets"

    monkeypatch.setattr("cloakhouse.client.place.open_release", lambda *_: Found())
    for region, allowed in ((HERE, True), (THERE, False)):
        given = settings(tmp_path, region)
        place = Reading(given, VersionRegister(given.database))
        if allowed:
            assert isinstance(place.release(Version()), Found)  # type: ignore[arg-type]
        else:
            with pytest.raises(ResidencyRefused):
                place.release(Version())  # type: ignore[arg-type]


def test_the_doctor_finds_it(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    pinned(tmp_path / "contracts")
    for region, ok in ((HERE, True), (THERE, False)):
        given = settings(tmp_path, region, contracts=tmp_path / "contracts")
        [found] = [finding for finding in connections.examine(given) if finding.what == "residency"]
        assert (found.ok, bool(found.remedy)) == (ok, not ok)


def test_a_region_is_a_name(tmp_path: Path) -> None:
    for text in ("EU", "eu west", "-x", "x" * 64):
        with pytest.raises(ConfigurationError):
            Settings.from_environment({"CLOAKHOUSE_REGION": text})
    with pytest.raises(ConfigurationError):
        parse("bao:https://bao.example/transit?region=EU_1")
    given = settings(tmp_path, HERE)
    assert Settings.from_dict(given.for_workers()).region == HERE


@pytest.mark.stores
def test_a_server_is_asked_where_its_bucket_is(tmp_path: Path) -> None:
    given = replace(settings(tmp_path, THERE), store=stores.moto_uri("lake", region=THERE))
    residency.check_residency(given, pinned(tmp_path, f"{{landing: [{THERE}]}}"), "landing")
    assert refused_by(given, "landing", pinned(tmp_path)) == "residency.region"
    place = {"LocationConstraint": HERE}
    stores.moto_client().create_bucket(Bucket="elsewhere", CreateBucketConfiguration=place)
    moved = replace(given, store=stores.moto_uri("lake", "elsewhere", region=THERE))
    assert refused_by(moved, "landing", pinned(tmp_path, f"{{landing: [{THERE}]}}")) == "residency.region"
