"""`cloakhouse budget`, as people and programs see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.support.acting import by
from tests.support.budgets import installation, write_contracts

from cloakhouse.client.cli import cli
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.settings import Settings
from cloakhouse.stages.spending import charges

Cloakhouse = Callable[..., Result]
REASON = "run 4711 was killed before it drew noise"
NAMES = ("KEYS", "DATABASE", "EXPECTATIONS", "IDENTITY", "PURPOSE", "DEBUG")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installation(tmp_path)


@pytest.fixture
def run(settings: Settings) -> Cloakhouse:
    def command(*arguments: str, **more: str) -> Result:
        env: dict[str, str | None] = {f"CLOAKHOUSE_{name}": None for name in NAMES}
        env |= {"CLOAKHOUSE_HOME": str(settings.home), "CLOAKHOUSE_CONTRACTS": str(settings.contracts), **more}
        result = CliRunner().invoke(cli, ["budget", *arguments], env=env, prog_name="cloakhouse")
        assert "Traceback" not in result.stdout + result.stderr
        assert all(len(line) <= 100 for line in result.stdout.splitlines())
        return result

    return command


def answer(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def spend(settings: Settings, name: str, sources: list[str], *, commit: bool = False) -> None:
    ledger = PrivacyLedger(settings.database)
    account = charges(load_contracts(settings.contracts), sources, "household", "model teams")
    ledger.reserve(name, account, rho_of(3.0, 1e-6), 0.0, f"synthetic rows of {name}", by())
    if commit:
        ledger.commit(name, by())


def test_what_is_left_as_a_table_and_as_json(run: Cloakhouse, settings: Settings) -> None:
    spend(settings, "baskets_private@1", ["transactions"], commit=True)
    table = run("show")
    assert (table.exit_code, table.stderr) == (0, "")
    rows = [line.split() for line in table.stdout.splitlines()[3:]]
    assert [row[:6] for row in rows] == [
        ["customers", "household", "default", "6.000", "0.000", "6.000"],
        ["transactions", "household", "default", "12.000", "3.000", rows[1][5]],
        ["transactions", "household", "research", "3.000", "0.000", "3.000"],
    ]
    assert 11 < float(rows[1][5]) < 12
    found = answer(run("show", "--output", "json"))
    assert [(row["dataset"], row["consumer"], row["epsilon"]) for row in found] == [
        ("customers", "default", 6.0),
        ("transactions", "default", 12.0),
        ("transactions", "research", 3.0),
    ]
    assert found[1]["spent_rho"] == rho_of(3.0, 1e-6)
    assert found[1]["spent_epsilon"] <= 3.0
    assert found[1]["renews"].endswith("-01-01T00:00:00+00:00")


def test_without_a_budget_there_is_nothing_to_show(run: Cloakhouse, settings: Settings) -> None:
    write_contracts(settings.contracts, {"transactions": "", "customers": ""})
    result = run("show")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no contract has a privacy budget" in result.stderr
    assert answer(run("show", "--output", "json")) == []


def test_a_budget_that_was_lowered_below_what_is_spent(run: Cloakhouse, settings: Settings) -> None:
    account = charges(load_contracts(settings.contracts), ["transactions"], "household", "x")
    PrivacyLedger(settings.database).reserve("a", account, 0.1, 5e-7, "x", by())
    lower = "{unit: household, epsilon: {default: 12}, delta: 1.0e-7, renewal: never}"
    write_contracts(settings.contracts, {"transactions": lower, "customers": ""})
    assert run("show").stdout.splitlines()[3].split() == [
        *("transactions", "household", "default", "12.000", "-", "0.000", "1e-07", "never")
    ]
    assert answer(run("show", "--output", "json"))[0]["spent_epsilon"] is None


def test_history(run: Cloakhouse, settings: Settings) -> None:
    assert run("history").stderr == "nothing has been spent yet\n"
    assert answer(run("history", "--output", "json")) == []
    spend(settings, "baskets_private@1", ["transactions"], commit=True)
    spend(settings, "people@1", ["transactions", "customers"])
    found = answer(run("history", "--output", "json"))
    assert [(s["id"], s["state"], len(s["accounts"])) for s in found] == [
        ("baskets_private@1", "committed", 1),
        ("people@1", "reserved", 2),
    ]
    assert all(2.99 < s["epsilon_alone"] <= 3.0 for s in found)
    assert [s["id"] for s in answer(run("history", "--dataset", "customers", "--output", "json"))] == ["people@1"]
    table = run("history")
    assert (table.exit_code, table.stderr) == (0, "")
    assert "baskets_private@1" in table.stdout
    assert table.stdout.count("3.000") == 2
    assert run("history", "--dataset", "products").stderr == "nothing has been spent yet\n"
    unknown = run("history", "--dataset", "tills")
    assert (unknown.exit_code, unknown.stdout) == (5, "")
    assert "one of: customers, products, transactions" in unknown.stderr


def test_a_dead_run_s_spend_is_given_back(run: Cloakhouse, settings: Settings) -> None:
    for name in ("a", "b"):
        spend(settings, name, ["transactions", "customers"])
    told = run("release", "a", "--reason", REASON)
    assert (told.exit_code, told.stdout) == (0, "")
    assert "customers (per household, for default), transactions" in told.stderr.replace("\n", " ")
    assert answer(run("release", "b", "--reason", REASON, "--output", "json"))["state"] == "released"
    assert [s["state"] for s in answer(run("history", "--output", "json"))] == ["released", "released"]
    assert [row["spent_rho"] for row in answer(run("show", "--output", "json"))] == [0.0] * 3
    given_back = [e for e in AuditLog(settings.database).events() if e.action == "give back"]
    assert [(e.object, e.dataset, e.reason) for e in given_back] == [
        (name, dataset, REASON) for name in ("a", "b") for dataset in ("customers", "transactions")
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["a"], 2, "--reason"),
        (["a", "--reason", "why not"], 2, "configuration.reason"),
        (["b", "--reason", REASON], 5, "not-found.spend"),
        (["out", "--reason", REASON], 3, "access.spend"),
    ],
)
def test_what_cannot_be_given_back(
    run: Cloakhouse, settings: Settings, arguments: list[str], code: int, told: str
) -> None:
    spend(settings, "a", ["transactions"])
    spend(settings, "out", ["transactions"], commit=True)
    result = run("release", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert [s.state for s in PrivacyLedger(settings.database).spends()] == ["reserved", "committed"]


def test_where_nothing_is_installed_nothing_is_made(run: Cloakhouse, tmp_path: Path) -> None:
    for command in (["show"], ["history"], ["release", "a", "--reason", REASON]):
        result = run(*command, "--output", "json", CLOAKHOUSE_HOME=str(tmp_path / "none"))
        assert (result.exit_code, result.stdout) == (5, "")
        assert json.loads(result.stderr)["code"] == "not-found.home"
    assert not (tmp_path / "none").exists()
