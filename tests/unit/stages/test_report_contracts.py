"""A contract read again from its text alone is the one that the platform read, as far as a report needs it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.cards import Page

from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.errors import ContractError
from cloakhouse.report.page import report_page
from cloakhouse.settings import Settings
from cloakhouse.stages.gate_check import recomputed
from cloakhouse.stages.report_contracts import contract_text, digest_of
from cloakhouse.stages.report_fields import code_version, day, libraries, number, run_id, whole
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.reporting import Report

FOLDER = Settings.from_environment({}).contracts
CONTRACTS = load_contracts(FOLDER)
PUBLISHED = {name: contract for name, contract in CONTRACTS.items() if contract.sources}


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_it_is_the_same_contract(name: str) -> None:
    known = PUBLISHED[name]
    text = contract_text(FOLDER, known.digest, name)
    assert digest_of(text, name) == known.digest
    assert parse_contract(text, name, accepted=True) == known


@pytest.mark.parametrize("text", ["a: 1", "name: x\ncustomProperties: [7]", "customProperties: []", ""])
def test_a_text_that_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_contract(text, "x", accepted=True)


def test_forms_of_fields() -> None:
    assert [number(value) for value in (1, 1.5, True, "1", float("nan"), 2**60)] == [1, 1.5, None, None, None, None]
    assert [whole(value) for value in (0, -1, 1.0, True, 7)] == [0, None, None, None, 7]
    assert [day(value) for value in ("2017-01-02", "2017-02-30", "2017-1-2", 7)] == ["2017-01-02", None, None, None]
    assert libraries("numpy 2.4.6, opendp 0.16.0, erika 1.0") == ["numpy 2.4.6", "opendp 0.16.0"]
    assert [code_version(value) for value in ("0.1.0", "0.1", None)] == ["0.1.0", None, None]
    ids = ("scheduled__2026-11-22T10:00:00+00:00", "manual__2026-11-22T10:00:00.123456+00:00_AbCdEf12", "erika")
    assert [run_id(value) for value in ids] == [*ids[:2], None]


def _answer(error: Any) -> dict[str, Any]:
    figure = {"name": "expected relative error", "value": error, "threshold": 0.5, "at_most": True}
    limit = CONTRACTS["weekly_sales"].query
    assert limit is not None
    passed = isinstance(error, float) and error <= limit.max_relative_error
    expectation = {"type": "one row a cell", "columns": [], "success": True, "element_count": 52}
    return {
        "suite": {"name": "weekly_sales"},
        "quality": {"expectations": [expectation]},
        "gate": [{**figure, "threshold": limit.max_relative_error, "passed": passed}],
        "privacy_guarantee": {"rho": 0.01},
        "sources": {"transactions": [{"partition": "2017-01-02"}]},
        "rows": 52,
        "passed": passed,
    }


def test_the_answer_to_a_query_has_a_report_too() -> None:
    contract = CONTRACTS["weekly_sales"]
    parts = derived(contract, _answer(0.05), {}, None)
    assert (parts["verdict"]["passed"], parts["verdict"]["agrees"], parts["utility"]) == (True, True, None)
    assert contract.query is not None
    assert parts["privacy"]["guarantee"]["epsilon"] == contract.query.privacy.epsilon
    assert (parts["privacy"]["anonymity"], parts["privacy"]["attacks"]) == (None, [])
    head = {"dataset": contract.name, "version": None, "release": None, "evidence": {"sha256": "0" * 64}}
    rest = {"approvals": [], "protection": None, "audit": {"entries": 0, "first": None, "last": None, "numbers": []}}
    shown = Page(report_page(Report({**head, **parts, **rest}))).shown
    assert "a query, with noise" in shown
    assert not recomputed(contract, _answer(0.9), {}).passed
    assert not recomputed(contract, _answer(None), {}).passed
