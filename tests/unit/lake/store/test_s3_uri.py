"""The URI of a lake at an S3 server: its parts, and what is refused without being quoted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError, MissingDependency
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_uri import Place
from cloakhouse.settings import Settings

SECRET = "sekret-424242"


def test_all_parts() -> None:
    uri = "s3://lake.one/a/b/?endpoint=https://s3.example.com:9000/&region=eu-west-1&kms_key=alias/lake&ca=/etc/ca.pem"
    place = Place.parse(uri)
    assert place == Place(
        "lake.one", "a/b/", "eu-west-1", "https://s3.example.com:9000", "alias/lake", Path("/etc/ca.pem")
    )
    assert place.uri == "s3://lake.one/a/b?endpoint=https://s3.example.com:9000"
    assert place.encrypted_at_rest == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/lake",
        "BucketKeyEnabled": True,
    }


def test_the_bucket_alone() -> None:
    place = Place.parse("s3://lake")
    assert place == Place("lake")
    assert (place.uri, place.encrypted_at_rest) == ("s3://lake", {})


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:80"])
def test_plain_http_is_for_tests_on_loopback(host: str) -> None:
    assert Place.parse(f"s3://lake?endpoint=http://{host}&insecure=loopback").endpoint == f"http://{host}"
    with pytest.raises(ConfigurationError):
        Place.parse(f"s3://lake?endpoint=http://{host}")


@pytest.mark.parametrize(
    "uri",
    [
        f"gs://{SECRET}",
        "s3:lake",
        "s3://",
        "s3://Lake",
        "s3://a",
        "s3://a..b",
        f"s3://me:{SECRET}@lake",
        "s3://lake/../x",
        "s3://lake//x",
        "s3://lake/.x",
        f"s3://lake?{SECRET}",
        f"s3://lake?aws_secret_access_key={SECRET}",
        "s3://lake?region=eu-west-1&region=eu-west-1",
        "s3://lake?region=",
        f"s3://lake?region={SECRET}!",
        "s3://lake?kms_key=%20",
        "s3://lake?insecure=yes",
        "s3://lake?endpoint=http://s3.example.com&insecure=loopback",
        "s3://lake?endpoint=ftp://s3.example.com",
        "s3://lake?endpoint=https://",
        "s3://lake?endpoint=https://host:0",
        "s3://lake?endpoint=https://host:99999",
        "s3://lake?endpoint=https://[::1",
        "s3://lake?endpoint=https://host/path",
        f"s3://lake?endpoint=https://me:{SECRET}@host",
        f"s3://lake?endpoint=https://{SECRET}@host",
    ],
)
def test_what_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Place.parse(uri)
    assert refusal.value.where == "CLOAKHOUSE_LAKE"
    assert SECRET not in refusal.value.explain()


def test_the_settings_choose(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path)})
    for text in ("", "file:"):
        store = open_store(replace(settings, store=text))
        assert isinstance(store, FolderStore)
        assert store.uri == f"file:{tmp_path}/lake"
    there = open_store(replace(settings, store="s3://lake/x", cache_bytes=77))
    assert isinstance(there, S3Store)
    assert (there.uri, there.cache.folder, there.cache.limit) == ("s3://lake/x", tmp_path / "cache", 77)
    with pytest.raises(ConfigurationError):
        open_store(replace(settings, store="/somewhere"))


def test_settings_of_the_store_travel(tmp_path: Path) -> None:
    given = {
        "CLOAKHOUSE_LAKE": "s3://lake/x?region=eu-west-1",
        "CLOAKHOUSE_CACHE": str(tmp_path / "c"),
        "CLOAKHOUSE_CACHE_BYTES": "1000",
    }
    settings = Settings.from_environment(given)
    assert (settings.store, settings.copies, settings.cache_bytes) == (given["CLOAKHOUSE_LAKE"], tmp_path / "c", 1000)
    assert settings.environment().items() >= given.items()
    assert Settings.from_environment(settings.environment()) == settings
    assert Settings.from_dict(settings.for_workers()).store == settings.store
    moved = settings.with_home(tmp_path / "home")
    assert (moved.store, moved.copies) == ("", tmp_path / "home" / "cache")
    with pytest.raises(ConfigurationError):
        Settings.from_environment({"CLOAKHOUSE_CACHE_BYTES": "10G"})


def test_no_region_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.service_aws import use_dummy_credentials

    use_dummy_credentials()
    with pytest.raises(ConfigurationError) as refusal:
        Calls(Place.parse("s3://lake")).client()
    assert "region" in refusal.value.expected


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cloakhouse.lake.store.s3_client", raising=False)
    monkeypatch.delattr("cloakhouse.lake.store.s3_client", raising=False)
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingDependency) as refusal:
        Calls(Place.parse("s3://another")).client()
    assert "cloakhouse[client]" in refusal.value.remedy
