from __future__ import annotations

import datetime as dt

import pytest

from cloakhouse.client import names
from cloakhouse.client.names import parse_name, quoted
from cloakhouse.contracts.columns import NAME
from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.versions import TAG, Selector

HOSTILE = [
    "",
    " ",
    "name@",
    "name@X",
    "name@-x",
    "name@certified!",
    "name@" + "x" * 32,
    "name@2026-13-01",
    "name@2026-02-29",
    "name@0000-01-01",
    "name@2026-1-1",
    "name@2026-11-01T00:00",
    "name@2026-11-01@3",
    "name@0",
    "name@-1",
    "name@01",
    "name@1@2",
    "name@1 ",
    "name@1\n",
    "name@\u0663",
    "name@9999999999",
    "@1",
    "../name",
    "a/../../protected/customers",
    "protected/customers",
    "name\x00",
    "Name",
    "n\u0430me",
    "\u202ename",
    "name'; drop table dataset_version; --",
    "a" * 64,
    "1name",
    "_name",
]


def test_a_name_and_a_version() -> None:
    assert parse_name("baskets_synthetic") == Selector("baskets_synthetic")
    assert parse_name("a" * 63 + "@999999999") == Selector("a" * 63, version=999_999_999)
    assert parse_name("b2@2026-11-01") == Selector("b2", day=dt.date(2026, 11, 1))
    assert parse_name("b2@certified") == Selector("b2", tag="certified")
    assert parse_name("b2@v-2") == Selector("b2", tag="v-2")
    assert str(parse_name("b2@3")) == "b2@3"


@pytest.mark.parametrize("text", HOSTILE)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_name(text)
    assert caught.value.code == "configuration.name"
    assert caught.value.explain().isascii()
    assert all(line.isprintable() for line in caught.value.explain().splitlines())


@pytest.mark.parametrize("value", [None, 3, b"name", ["name"]])
def test_values_that_are_no_text_are_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"a value of type {type(value).__name__}"):
        parse_name(value)  # type: ignore[arg-type]


def test_names_are_those_of_contracts() -> None:
    assert NAME.pattern == names._NAME
    assert TAG.pattern in names._FORM.pattern


def test_a_message_repeats_little_of_a_wrong_name() -> None:
    assert quoted("x" * 10_000) == repr("x" * 40 + "...")
