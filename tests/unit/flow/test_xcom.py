"""What may be stored between tasks: references and counts; nothing a feed could hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloakhouse.flow.xcom import NAMES, allowed

DIGEST = "0123456789abcdef" * 4
PATH = "protected/transactions/pseudonymization-0123456789abcdef.json"
NESTED_PATH = "protected/customers/2016-12-26/protected-0123456789abcdef.json"

FINE: list[Any] = [
    None,
    0,
    35_186,
    -1,
    1.5,
    True,
    {},
    {"path": PATH, "sha256": DIGEST},
    {"path": NESTED_PATH, "sha256": DIGEST, "version": 3, "rows": 12},
    {"path": "landing/a/landing-0.json", "sha256": DIGEST, "landed": 3, "duplicates": 0, "refused": 1},
    {"rows": None},
    {"path": "synthetic/baskets_synthetic/release-61b8e4bd3b736f6d.json"},
    {"path": "evidence/customers/validation-61b8e4bd3b736f6d.json"},
]
REFUSED: list[Any] = [
    "",
    "ann@example.org",
    "4111111111111111",
    PATH,
    DIGEST,
    b"bytes",
    [],
    [1, 2],
    (1,),
    {1, 2},
    ["ann@example.org"],
    pytest.param(object(), id="an object"),
    complex(1),
    {"email": 1},
    {"household_id": 7},
    {"rows": "ann@example.org"},
    {"rows": "12"},
    {"rows": [1]},
    {"rows": {"rows": 1}},
    {"version": "4111111111111111"},
    {"path": "ann@example.org", "sha256": DIGEST},
    {"path": f"{PATH}\n", "sha256": DIGEST},
    {"path": f"{PATH} ann@example.org"},
    {"path": "protected/Ann Example.json"},
    {"path": "/etc/passwd.json"},
    {"path": "inbox/customers-2016-12-26.jsonl"},
    {"path": "protected/" + "a" * 201 + ".json"},
    {"path": DIGEST},
    {"sha256": PATH},
    {"sha256": DIGEST.upper()},
    {"sha256": DIGEST[:-1]},
    {"sha256": f"{DIGEST}\n"},
    {"path": PATH, "sha256": DIGEST, "note": None},
    {1: 2},
    {None: None},
]


@pytest.mark.parametrize("value", FINE, ids=repr)
def test_references_and_counts_pass(value: Any) -> None:
    assert allowed(value)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: repr(value)[:60])
def test_everything_else_is_refused(value: Any) -> None:
    assert not allowed(value)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_takes_a_number_and_no_free_text(name: str) -> None:
    assert allowed({name: 1})
    assert not allowed({name: "Zwetschgenhuber"})


@pytest.mark.airflow
def test_the_backend_refuses_before_it_stores_and_quotes_nothing() -> None:
    from cloakhouse.errors import AccessRefused
    from cloakhouse.flow.xcom import ReferencesOnlyXCom

    stored = ReferencesOnlyXCom.serialize_value({"path": PATH, "sha256": DIGEST}, key="return_value", task_id="land")
    assert PATH in json.dumps(stored)
    with pytest.raises(AccessRefused) as caught:
        ReferencesOnlyXCom.serialize_value({"rows": "ann@example.org"}, key="return_value", task_id="land")
    assert "ann@example.org" not in str(caught.value)
    assert caught.value.code == "access.xcom"
    assert "land" in caught.value.where
