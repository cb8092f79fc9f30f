"""Croissant documents, checked by MLCommons' own library; nothing is fetched."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from tests.support.cards import COUNTED, EVIDENCE, CardRelease, aggregate_release, plain_release, private_release

from cloakhouse.client.card import Standing
from cloakhouse.client.croissant import CONTEXT, croissant

RELEASES = {"private": private_release, "plain": plain_release, "aggregate": aggregate_release}
RAI = {  # section "RAI property information" of Croissant RAI 1.0: those of cardinality ONE
    "rai:dataCollection",
    "rai:dataCollectionRawData",
    "rai:dataManipulationProtocol",
    "rai:dataSocialImpact",
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("kind", RELEASES)
@pytest.mark.usefixtures("no_network")
def test_mlcroissant_finds_neither_errors_nor_warnings(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    import mlcroissant as mlc

    document = croissant(RELEASES[kind](), EVIDENCE, Standing(tags=("certified",)))
    read = mlc.Dataset(jsonld=json.loads(json.dumps(document, allow_nan=False)))
    assert read.metadata.ctx.issues.errors == set()
    assert read.metadata.ctx.issues.warnings == set()
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert str(read.metadata.ctx.conforms_to.value) == "http://mlcommons.org/croissant/1.0"
    assert read.metadata.version == "3.0.0"
    assert [file.sha256 for file in read.metadata.file_objects] == ["7f" * 32, "ab" * 32]
    [rows] = read.metadata.record_sets
    assert [field.name for field in rows.fields] == ["month", "value", "has_meat", "day", "hour", "segment"]
    assert read.metadata.data_use_cases is not None
    assert read.metadata.personal_sensitive_information is not None


@pytest.mark.usefixtures("no_network")
def test_the_validator_would_tell_of_a_fault() -> None:
    import mlcroissant as mlc

    document = croissant(private_release(), None)
    del document["distribution"][0]["sha256"]
    with pytest.raises(mlc.ValidationError):
        mlc.Dataset(jsonld=json.loads(json.dumps(document)))


def test_name_licence_dates_and_digests_are_those_of_the_release() -> None:
    document = croissant(private_release(), None)
    assert document["conformsTo"] == ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
    assert document["@context"] is CONTEXT
    assert document["name"] == "baskets_private"
    assert document["identifier"] == document["url"] == "urn:cloakhouse:dataset:baskets_private:3"
    assert document["license"] == "internal: for analytics only"
    assert document["datePublished"] == "2026-11-22T10:30:00Z"
    assert document["creator"] == {"@type": "sc:Organization", "name": "retail-data"}
    first, second, everything = document["distribution"]
    assert first["contentUrl"] == "synthetic/baskets_private/5d5d/part-00000-aa.parquet"
    assert (first["contentSize"], first["sha256"]) == ("28975 B", "7f" * 32)
    assert (second["contentSize"], second["sha256"]) == ("12 B", "ab" * 32)
    assert everything["includes"] == "synthetic/baskets_private/5d5d/*.parquet"


def test_it_is_said_that_the_bytes_are_encrypted_and_who_opens_them() -> None:
    document = croissant(private_release(), None)
    for described in (document, *document["distribution"]):
        assert "encrypted" in described["description"]
        assert "opened by the Cloakhouse client" in described["description"]
    assert 'cloakhouse.connect().dataset("baskets_private@3")' in document["description"]


def test_every_logical_type_has_its_data_type() -> None:
    [rows] = croissant(private_release(), None)["recordSet"]
    assert {field["name"]: field["dataType"] for field in rows["field"]} == {
        "month": ["sc:Integer", "cr:Int64"],
        "value": ["sc:Float", "cr:Float64"],
        "has_meat": "sc:Boolean",
        "day": "sc:Date",
        "hour": "sc:DateTime",
        "segment": "sc:Text",
    }
    assert rows["field"][0]["source"] == {"fileSet": {"@id": "files"}, "extract": {"column": "month"}}
    other = private_release(columns=({"name": "x", "type": "other", "class": "plain"},))
    assert croissant(other, None)["recordSet"][0]["field"][0]["dataType"] == "sc:Text"


def test_a_release_under_a_guarantee_exports_nothing_counted_in_real_rows() -> None:
    written = json.dumps(croissant(private_release(), EVIDENCE))
    assert not [figure for figure in COUNTED if figure in written]
    assert "factor of at most e^epsilon = 20.1" in written


@pytest.mark.parametrize("kind", RELEASES)
def test_responsible_ai_properties_have_their_cardinality_and_no_empty_text(kind: str) -> None:
    document = croissant(RELEASES[kind](), EVIDENCE)
    told = {name: value for name, value in document.items() if name.startswith("rai:")}
    assert set(told) >= RAI
    for name, value in told.items():
        assert isinstance(value, str) if name in RAI else isinstance(value, str | list), name
        assert all(isinstance(text, str) and text for text in ([value] if isinstance(value, str) else value)), name


def test_responsible_ai_properties_tell_of_sources_persons_and_standing() -> None:
    document = croissant(private_release(), None, Standing("withdrawn", "a fault in the suite"))
    assert "products (1 partition), transactions (2 partitions)" in document["rai:dataCollection"]
    assert document["rai:dataCollectionTimeframe"] == ["2016-12-26", "2017-01-02"]
    assert "Columns of the class sensitive: value, has_meat." in document["rai:personalSensitiveInformation"]
    assert (
        "It is kept 365 days. Its state is withdrawn. Reason: a fault in the suite."
        in (document["rai:dataReleaseMaintenancePlan"])
    )
    assert "Noise hides" in document["rai:dataBiases"][-1]
    assert len(croissant(plain_release(), EVIDENCE)["rai:dataBiases"]) == 2


def test_partitions_that_are_no_days_give_no_time_frame_and_no_source_is_said_so() -> None:
    odd = private_release(parents={"products": [{"partition": "all"}]})
    assert "rai:dataCollectionTimeframe" not in croissant(odd, None)
    assert "derived from no source" in croissant(private_release(parents={}), None)["rai:dataCollection"]


def test_an_aggregate_is_no_synthetic_data() -> None:
    document = croissant(aggregate_release(), None, Standing(tags=("certified",)))
    assert document["keywords"] == ["noisy aggregates", "differential privacy", "certified"]
    assert document["rai:dataCollectionType"] == ["Secondary Data analysis"]
    assert "The query was: sum of value by week." in document["rai:dataPreprocessingProtocol"]
    assert "It is kept 30 days." in document["rai:dataReleaseMaintenancePlan"]
    assert croissant(plain_release(), EVIDENCE)["keywords"] == ["synthetic data"]


def test_a_card_that_says_little_makes_a_document_all_the_same() -> None:
    bare = CardRelease({"privacy": {"guarantee": "none"}}, files=())
    document = croissant(bare, None)
    assert document["creator"]["name"] == "not stated"
    assert document["citeAs"].startswith("baskets_private.")
    assert [entry["@id"] for entry in document["distribution"]] == ["files"]
    assert document["distribution"][0]["includes"] == "synthetic/baskets_private/*.parquet"


def test_files_in_several_folders_are_all_included() -> None:
    files = (private_release().files[0], type(private_release().files[0])("synthetic/baskets_private/6e/part.parquet"))
    assert croissant(private_release(files=files), None)["distribution"][-1]["includes"] == [
        "synthetic/baskets_private/5d5d/*.parquet",
        "synthetic/baskets_private/6e/*.parquet",
    ]
