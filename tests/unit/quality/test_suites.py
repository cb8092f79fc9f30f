from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cloakhouse.errors import ContractError, NotFound
from cloakhouse.quality.suites import load_suite, suite_digest

BODY: dict[str, Any] = {
    "name": "shops-1.0.0",
    "meta": {"about": "shops"},
    "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "shop"}}],
}


def write(folder: Path, body: object, name: str = "shops-1.0.0") -> Path:
    (folder / f"{name}.json").write_text(body if isinstance(body, str) else json.dumps(body))
    return folder


def test_reads_and_digests_content_not_layout(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, BODY), "shops", "1.0.0")
    assert (suite.name, suite.body) == ("shops-1.0.0", BODY)
    reordered = json.dumps(dict(reversed(BODY.items())), indent=7)
    assert load_suite(write(tmp_path, reordered), "shops", "1.0.0").digest == suite.digest
    changed = copy.deepcopy(BODY)
    changed["expectations"][0]["kwargs"]["mostly"] = 0.5
    assert suite_digest(changed) != suite.digest
    assert len(suite.digest) == 64


def test_missing_suite(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as refused:
        load_suite(tmp_path, "shops", "2.0.0")
    assert "shops-2.0.0.json" in refused.value.where


def entry(**changes: Any) -> dict[str, Any]:
    return {**BODY, "expectations": [{**BODY["expectations"][0], **changes}]}


@pytest.mark.parametrize(
    "body",
    [
        "{not json",
        [],
        {**BODY, "suite_parameters": {}},
        {**BODY, "name": "other-1.0.0"},
        {**BODY, "name": 7},
        {**BODY, "expectations": {}},
        {**BODY, "expectations": ["expect_column_to_exist"]},
        {**BODY, "expectations": BODY["expectations"] * 2},
        entry(type="column_to_exist"),
        entry(type=None),
        entry(kwargs=None),
        entry(kwargs={"column": "shop", "result_format": "COMPLETE"}),
        entry(kwargs={"column": "shop", "catch_exceptions": False}),
        entry(rendered_content=[]),
    ],
)
def test_malformed_suites_are_refused(tmp_path: Path, body: object) -> None:
    with pytest.raises(ContractError):
        load_suite(write(tmp_path, body), "shops", "1.0.0")
