"""The tokenization key file: what goes in comes out, nothing of it in clear, and no other file passes for it."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyrage
import pytest
from tests.support.contracts import column, feed_contract
from tests.support.edge import keys_for, new_till, sealed_file
from tests.support.keys import forms

from cloakhouse.contracts.model import Column, Treatment
from cloakhouse.errors import AccessRefused, IntegrityError, KeyServiceError, StorageError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.identity import new_identity
from cloakhouse.tokens.apply import TREATMENTS_VERSION, uses
from cloakhouse.tokens.canonical import NORMALISATION_VERSION
from cloakhouse.tokens.edge_columns import column_from, column_out
from cloakhouse.tokens.edge_keys import LIMIT, EdgeKeys, open_edge_keys, seal_edge_keys

TOKEN = "{token: {domain: customer, purpose: analytics, period: month, form: hex}}"
COLUMNS = (
    column("id", "integer", required=True, options="{minimum: 1, maximum: 99}", cls="direct identifier", how=TOKEN),
    column(
        "mail",
        options="{maxLength: 40, pattern: '.+@.+'}",
        cls="direct identifier",
        how="{token: {domain: mail, purpose: analytics, normalise: email}}",
    ),
    column("code", cls="direct identifier", how="{reversible token: {domain: code, purpose: analytics}}"),
    column(
        "card",
        cls="payment",
        how="{format-preserving token: {domain: card, purpose: analytics, length: 16, keepPrefix: 6}}",
    ),
    column("name", cls="direct identifier", how="{substitute: {as: name, domain: name, purpose: test}}"),
    column("arm", cls="direct identifier", how="{bucket: {buckets: 100, domain: customer, purpose: test}}"),
    column("phone", cls="direct identifier", how="{mask: {keepSuffix: 2}}"),
    column(
        "born",
        "date",
        options="{minimum: 1900-01-01, maximum: 2020-01-01}",
        cls="indirect identifier",
        how="{generalize: {ageBands: [35, 55], on: 2017-01-01}}",
    ),
    column("since", "date", cls="plain", how="{generalize: {clamp: {bottom: 2000-01-01, top: 2020-01-01}}}"),
    column("town", cls="plain", how='{generalize: {groups: {date: ["2017-01-01"], north: [a, b]}, other: "-"}}'),
    column(
        "at",
        "timestamp",
        options="{minimum: 2016-01-01T01:02:03, maximum: 2030-01-01}",
        how="{generalize: {to: hour}}",
    ),
    column("price", "number", options="{minimum: 0, maximum: 10.5}", how="{round: {to: 0.05}}"),
    column("note", how="{scrub: {kinds: [email, phone]}}"),
)
NAMES = ("id", "mail", "code", "card", "name", "arm", "phone", "born", "since", "town", "at", "price", "note")
CONTRACT = feed_contract(columns=COLUMNS)
PERIODS = ("2017-01", "2017-02")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return sealed_file(tmp_path, CONTRACT, NAMES, PERIODS)


def content_of(files: tuple[Path, Path]) -> Any:
    secret = pyrage.x25519.Identity.from_str(files[1].read_text().splitlines()[2])
    return json.loads(pyrage.decrypt(files[0].read_bytes(), [secret]))


def rewritten(files: tuple[Path, Path], change: Callable[[Any], Any]) -> None:
    """Put a changed content in the place of the file's, sealed to the same recipient."""
    content = content_of(files)
    content = change(content) or content
    recipient = pyrage.x25519.Recipient.from_str(files[1].read_text().splitlines()[1].split(": ")[1])
    files[0].write_bytes(pyrage.encrypt(json.dumps(content).encode(), [recipient]))


def test_what_goes_in_comes_out(files: tuple[Path, Path]) -> None:
    found = open_edge_keys(*files)
    assert (found.dataset, found.version, found.digest) == ("people", "1.0.0", CONTRACT.digest)
    assert found.columns == CONTRACT.columns
    given = keys_for(CONTRACT, NAMES, PERIODS)
    assert found.keys.uses == tuple(sorted(given))
    for use, key in given.items():
        assert found.keys.key(use).reveal() == key.reveal()


def test_the_content_is_as_documented(files: tuple[Path, Path]) -> None:
    content = content_of(files)
    assert set(content) == {
        "format",
        "dataset",
        "contract",
        "normalisation",
        "treatments",
        "substitution",
        "columns",
        "keys",
    }
    assert (content["format"], content["normalisation"], content["treatments"]) == (
        1,
        NORMALISATION_VERSION,
        TREATMENTS_VERSION,
    )
    assert content["contract"] == {"version": "1.0.0", "digest": CONTRACT.digest}
    assert content["columns"][0] == {
        "name": "id",
        "type": "integer",
        "class": "direct identifier",
        "required": True,
        "minimum": 1,
        "maximum": 99,
        "pattern": None,
        "maxLength": None,
        "treatment": "token",
        "parameters": {"domain": "customer", "purpose": "analytics", "period": "month", "form": "hex"},
    }
    assert content["columns"][7]["parameters"] == {"ageBands": [35, 55], "on": "2017-01-01"}
    assert content["columns"][10]["minimum"] == "2016-01-01T01:02:03"
    assert set(content["keys"][0]) == {"root", "algorithm", "domain", "purpose", "period", "key"}


def test_a_hierarchy_travels_with_its_labels() -> None:
    hierarchy = {"file": "towns.csv", "level": 1, "sha256": "0" * 64, "labels": {"date": "2017-01-01", "a": "north"}}
    given = replace(CONTRACT.column("town"), treatment=Treatment("generalize", {"hierarchy": hierarchy}))
    assert column_from(json.loads(json.dumps(column_out(given)))) == given


def test_no_key_and_no_name_stands_in_the_file_in_clear(files: tuple[Path, Path]) -> None:
    raw = files[0].read_bytes()
    for key in keys_for(CONTRACT, NAMES, PERIODS).values():
        assert not [form for form in forms(key.reveal()).values() if form in raw]
    assert b"customer" not in raw
    assert b"people" not in raw


def test_keys_are_not_shown_pickled_or_copied(files: tuple[Path, Path]) -> None:
    found = open_edge_keys(*files)
    shown = repr(found) + str(found.keys) + f"{found.keys!r}"
    for key in keys_for(CONTRACT, NAMES, PERIODS).values():
        assert not [form for form in forms(key.reveal()).values() if form.decode("latin-1") in shown]
    assert repr(found.keys) == "EdgeKeys(9 keys)"
    for held in (found, found.keys):
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(held)
        with pytest.raises(TypeError, match="can't be pickled"):
            copy.deepcopy(held)


def test_a_key_that_is_not_in_the_file_is_refused(files: tuple[Path, Path]) -> None:
    keys = open_edge_keys(*files).keys
    with pytest.raises(AccessRefused) as caught:
        keys.key(uses(CONTRACT.column("id"), "2017-03")[1])
    assert caught.value.code == "access.edge"
    assert caught.value.expected == "a key for AES-256-CMAC, domain customer, purpose analytics, period 2017-03"
    assert "AES-256-CMAC, domain customer, purpose analytics, period 2017-02" in caught.value.found
    assert "new file" in caught.value.remedy


@pytest.mark.parametrize("name", ["format", "normalisation", "treatments", "substitution"])
@pytest.mark.parametrize("number", [0, 3])
def test_another_version_is_refused(files: tuple[Path, Path], name: str, number: int) -> None:
    rewritten(files, lambda content: content.update({name: number}))
    with pytest.raises(IntegrityError) as caught:
        open_edge_keys(*files)
    assert caught.value.code == "integrity.version"
    assert f"{name} {number}" in caught.value.found


def set_column(member: str, value: Any, which: int = 0) -> Callable[[Any], Any]:
    return lambda content: content["columns"][which].update({member: value})


def set_key(member: str, value: Any) -> Callable[[Any], Any]:
    return lambda content: content["keys"][0].update({member: value})


@pytest.mark.parametrize(
    "change",
    [
        lambda content: [content],
        lambda content: "text",
        lambda content: content.pop("format") and None,
        lambda content: content.pop("columns") and None,
        lambda content: content.pop("dataset") and None,
        lambda content: content.update(contract="1.0.0"),
        lambda content: content.update(dataset=7),
        lambda content: content.update(format=True),
        lambda content: content.update(columns=[]),
        lambda content: content.update(columns={"id": 1}),
        lambda content: content["columns"].append(content["columns"][0]),
        lambda content: content["keys"].append(content["keys"][0]),
        lambda content: content.update(keys=[7]),
        set_column("name", "No Name"),
        set_column("name", 7),
        set_column("type", "text"),
        set_column("class", "secret"),
        set_column("required", 1),
        set_column("minimum", "1"),
        set_column("minimum", True),
        set_column("minimum", "yesterday", 7),
        set_column("maximum", 3, 7),
        set_column("minimum", 3, 10),
        set_column("minimum", 3, 1),
        set_column("pattern", 3, 1),
        set_column("maxLength", "3", 1),
        set_column("treatment", "keep"),
        set_column("treatment", "nothing"),
        set_column("parameters", {"domain": "customer"}),
        set_column("parameters", []),
        set_column("parameters", {"hierarchy": {"file": "a.csv", "level": 1, "sha256": "0" * 64, "labels": [1]}}, 9),
        set_key("key", "AAAA"),
        set_key("key", "not base64"),
        set_key("key", "A" * 86 + "=="),
        set_key("domain", 7),
        set_key("root", None),
    ],
)
def test_content_of_another_form_is_refused(files: tuple[Path, Path], change: Callable[[Any], Any]) -> None:
    rewritten(files, change)
    with pytest.raises(IntegrityError) as caught:
        open_edge_keys(*files)
    assert caught.value.code == "integrity.edge"


def test_every_changed_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path, identity = sealed_file(tmp_path, CONTRACT, ["price"])
    whole = path.read_bytes()
    assert len(whole) < 1500
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((IntegrityError, KeyServiceError)):
            open_edge_keys(path, identity)
    for changed in (whole[:-1], whole[:100], b"", whole + b"\0", b"junk", whole + whole):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError):
            open_edge_keys(path, identity)


def test_an_age_file_of_something_else_is_refused(files: tuple[Path, Path]) -> None:
    recipient = pyrage.x25519.Recipient.from_str(files[1].read_text().splitlines()[1].split(": ")[1])
    for content in (b"", b"\xff", b"{", b"[" * 100_000):
        files[0].write_bytes(pyrage.encrypt(content, [recipient]))
        with pytest.raises(IntegrityError) as caught:
            open_edge_keys(*files)
        assert caught.value.code == "integrity.edge"


def test_a_file_for_another_recipient(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    identity, _ = new_till(tmp_path / "other")
    with pytest.raises(KeyServiceError) as caught:
        open_edge_keys(files[0], identity)
    assert (caught.value.code, caught.value.found) == ("key.identity", "one for others")


def test_an_identity_of_the_platform_opens_it_as_well(tmp_path: Path) -> None:
    recipient, body = new_identity("till-12", "ed25519:" + "A" * 43 + "=")
    (tmp_path / "till.txt").touch(0o600)
    (tmp_path / "till.txt").write_bytes(body)
    (tmp_path / "till.key").write_bytes(seal_edge_keys(CONTRACT, [CONTRACT.column("price")], {}, recipient))
    assert open_edge_keys(tmp_path / "till.key", tmp_path / "till.txt").columns == (CONTRACT.column("price"),)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda identity: identity.unlink(), "key.identity"),
        (lambda identity: identity.chmod(0o644), "key.mode"),
        (lambda identity: identity.write_text("# nothing\n"), "key.identity"),
        (lambda identity: identity.write_text("AGE-SECRET-KEY-1QQQ\n"), "key.identity"),
        (lambda identity: identity.write_bytes(b"\xff\xfe"), "key.identity"),
        (lambda identity: identity.write_text(identity.read_text() * 2), "key.identity"),
    ],
)
def test_an_identity_that_can_not_be_used(files: tuple[Path, Path], damage: Callable[[Path], Any], code: str) -> None:
    secret = files[1].read_text().splitlines()[2]
    damage(files[1])
    with pytest.raises(KeyServiceError) as caught:
        open_edge_keys(*files)
    assert caught.value.code == code
    assert secret not in caught.value.explain()


def test_a_file_that_is_not_there_or_too_long(files: tuple[Path, Path]) -> None:
    with files[0].open("wb") as stream:
        stream.truncate(LIMIT + 1)
    with pytest.raises(IntegrityError):
        open_edge_keys(*files)
    files[0].unlink()
    with pytest.raises(StorageError):
        open_edge_keys(*files)
    files[0].mkdir()
    with pytest.raises(StorageError):
        open_edge_keys(*files)


def test_a_text_that_is_no_recipient() -> None:
    with pytest.raises(KeyServiceError):
        seal_edge_keys(CONTRACT, CONTRACT.columns, {}, "age1nobody")


def test_bounds_of_dates_come_back_as_dates() -> None:
    for name in ("born", "at", "since"):
        again: Column = column_from(json.loads(json.dumps(column_out(CONTRACT.column(name)))))
        assert again == CONTRACT.column(name)
    assert type(again.treatment.parameters["clamp"]["top"]) is dt.date


def test_a_file_without_keys_says_so() -> None:
    with pytest.raises(AccessRefused, match="keys for: nothing"):
        EdgeKeys({}).key(KeyUse.pseudonym("customer"))
