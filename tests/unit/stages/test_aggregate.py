"""Queries on a real installation: answered once, out of the budget, published, and refused where they must be."""

from __future__ import annotations

import atexit
import csv
import functools
import hashlib
import io
import json
import math
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from click.testing import CliRunner, Result
from tests.support import house as house_support
from tests.support.acting import said
from tests.support.house import House, validated
from tests.support.principals import events, principal, protected_column
from tests.support.processes import in_fork

from cloakhouse.client import asking
from cloakhouse.client.api import connect
from cloakhouse.client.cli import cli
from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import AccessRefused, ContractError, IntegrityError, NotFound, ValidationRefused
from cloakhouse.lake.coverage import coverage
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import BudgetExhausted, PrivacyLedger, Spend
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.sample import write_feed
from cloakhouse.stages import aggregate as stage
from cloakhouse.stages import query_plan
from cloakhouse.stages.asked_query import asked_of
from cloakhouse.stages.auditing import event
from cloakhouse.stages.land import land
from cloakhouse.stages.publish_answer import publish_answer
from cloakhouse.stages.query_plan import plan
from cloakhouse.stages.validate import validate_protected

SHIPPED = Path(__file__).parents[3] / "dags" / "contracts"
SALES = ("--from", "transactions", "--sum", "sales_value")
WEEKLY = (*SALES, "--by", "week", "--clip", "300")
FINE = (*SALES, "--by", "week", "--by", "department", "--clip", "300")


class Killed(BaseException):
    """Stands for the end of the process."""


@functools.cache
def stocked() -> House:
    """Return the house with the product list, too."""
    home = Path(tempfile.mkdtemp(prefix="cloakhouse-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    house = validated().copy(home)
    write_feed(house.settings.inbox, weeks=range(1, 2), wanted=lambda name: name.startswith("products"))
    land(house.settings, house.contracts["products"])
    house.protect("products")
    validate_protected(house.settings, house.contracts["products"])
    return house


@functools.cache
def parsed(*texts: tuple[str, str]) -> dict[str, Contract]:
    """Return the contracts in `texts` (file name, content), read once: that takes most of a test's time."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts:
            (Path(folder) / name).write_text(text)
        return load_contracts(Path(folder))


def read_once(folder: Path) -> dict[str, Contract]:
    return dict(parsed(*((path.name, path.read_text()) for path in sorted(folder.glob("*.odcs.yaml")))))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return entered(stocked().copy(tmp_path / "home"), monkeypatch)


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> House:
    """Return the house of all tests, for those that leave nothing in it."""
    return entered(stocked(), monkeypatch)


def entered(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    for module in (asking, query_plan, house_support):
        monkeypatch.setattr(module, "load_contracts", read_once)
    for name, value in house.settings.environment().items():
        monkeypatch.setenv(name, value)
    return house


def contract_of(house: House, *options: str, epsilon: float = 1.0, **changed: Any) -> Contract:
    """Return the contract of the query that options of `cloakhouse query` ask for."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "estimate", lambda query: found.append(query) or {"accounts": [], "refused": None})
        result = CliRunner().invoke(cli, ["query", "--dry-run", "--epsilon", str(epsilon), *options])
    assert result.exit_code == 0, result.output
    return asked_of(house.contracts, replace(found[0], **changed))


def command(*options: str, epsilon: object = 1) -> Result:
    return CliRunner().invoke(cli, ["query", "--epsilon", str(epsilon), *options])


def answered(house: House, contract: Contract) -> dict[str, Any]:
    """Return the evidence of the answer."""
    found = stage.aggregate(house.settings, contract)
    assert isinstance(found, ManifestRef)
    return read_manifest(FolderStore(house.settings.lake), found, "validation")


def spends(house: House) -> list[Spend]:
    return PrivacyLedger(house.settings.database).spends()


def states(house: House) -> list[tuple[str, str]]:
    """Return the part and the state of every spend."""
    return [("first" if spend.id.endswith("-first") else "answer", spend.state) for spend in spends(house)]


def truth(house: House) -> float:
    return float(pc.sum(protected_column(house, "transactions", "sales_value")).as_py())


def forbid_reading(patch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("rows of persons were read")

    patch.setattr(stage, "_contributions", read)


def test_the_shipped_aggregate_is_answered_published_and_read(house: House) -> None:
    contract = house.contracts["weekly_sales"]
    found = stage.aggregate(house.settings, contract)
    assert isinstance(found, ManifestRef)
    version = publish_answer(house.settings, contract, found)
    dataset = connect().dataset("weekly_sales")
    assert (dataset.zone, dataset.version, dataset.rows) == ("aggregates", version.version, 10)
    table = dataset.to_arrow()
    assert table.column_names == ["week", "department", "value", "low", "high", "standard_error"]
    assert table.column("department").to_pylist()[:2] == ["GROCERY", "DRUG GM"]
    assert set(map(str, table.column("week").to_pylist())) == {"2017-01-02"}
    error = table.column("standard_error")[0].as_py()
    assert pc.max(pc.subtract(table.column("high"), table.column("low"))).as_py() == pytest.approx(2 * 1.959964 * error)
    card, evidence = dataset.card(), dataset.evidence()
    assert card["privacy"]["guarantee"]["epsilon"] == 1.0
    assert card["privacy"]["guarantee"]["neighbours"] == "add or remove one household with all of its rows"
    assert evidence["passed"] is True
    assert evidence["mechanism"]["clip_norm"] == 500.0
    assert sum(evidence["mechanism"]["rho"].values()) <= rho_of(1.0, 1e-6)
    assert set(evidence["sources"]) == {"products", "transactions"}
    assert not coverage(house.settings.lake, deep=False).findings
    assert states(house) == [("answer", "committed")]
    [event] = events(house)
    assert (event.action, event.object, event.count) == (
        "query",
        "sum of transactions.sales_value by week, department",
        10,
    )


def test_the_same_query_is_answered_once(house: House) -> None:
    contract = contract_of(house, *WEEKLY, "--expected", "100000")
    first = stage.aggregate(house.settings, contract)
    assert isinstance(first, ManifestRef)
    assert stage.aggregate(house.settings, contract) == first  # not published yet
    version = publish_answer(house.settings, contract, first)
    assert stage.aggregate(house.settings, contract) == version
    assert publish_answer(house.settings, contract, first) == version
    assert states(house) == [("answer", "committed")]
    assert len(events(house)) == 1
    other_threshold = contract_of(house, *WEEKLY, "--max-relative-error", "0.4")
    assert stage.aggregate(house.settings, other_threshold) == version
    assert isinstance(stage.aggregate(house.settings, contract_of(house, *WEEKLY, epsilon=2)), ManifestRef)


def test_a_declared_mean_cell_stands_for_a_total_and_nothing_is_bought(house: House) -> None:
    contract = contract_of(house, *WEEKLY)
    assert contract.query is not None
    store = TableStore(open_store(house.settings), open_ring(house.settings))
    declared = replace(contract, query=replace(contract.query, expected_mean=9000.0))
    planned, unknown = plan(house.settings, declared, store), plan(house.settings, contract, store)
    assert (planned.total, planned.rho_total) == (9000.0 * planned.cells, 0.0)
    assert (unknown.total, planned.fingerprint) == (None, unknown.fingerprint)
    assert planned.likely_error is not None


def test_the_shipped_aggregate_is_never_refused_by_the_noise_of_a_total() -> None:
    [shipped] = [c for c in load_contracts(SHIPPED).values() if c.kind is Kind.AGGREGATE]
    assert shipped.query is not None
    assert shipped.query.expected_mean is not None


def test_figures_are_the_truth_within_their_noise(house: House) -> None:
    contract = contract_of(house, *SALES, "--by", "week", "--by", "age", "--clip", "1000", epsilon=10)
    evidence = answered(house, contract)
    error = evidence["mechanism"]["standard_error"] * math.sqrt(evidence["answer"]["cells"])
    assert error < 0.02 * truth(house)
    assert evidence["answer"]["cells"] == 2 * 3
    assert abs(evidence["answer"]["total"] - truth(house)) < 6 * error


def test_segments_and_baskets_are_counted(house: House) -> None:
    households = ("--from", "customers", "--count-distinct", "household_id", "--by", "age", "--clip", "2")
    query = contract_of(house, *households).query
    assert query is not None
    version, _ = asking.ask(query)
    table = version.to_arrow()
    assert table.column("age").to_pylist() == ["under 45", "45+", None]
    known = len(protected_column(house, "customers", "household_id"))
    assert abs(pc.sum(table.column("value")).as_py() - known) < 6 * 9.3 * math.sqrt(3) / math.sqrt(0.95)
    assert version.evidence()["mechanism"]["bias"].startswith("none")
    options = ("--from", "transactions", "--count-distinct", "basket_id", "--by", "size:basket_id", "--bins", "1,2,10")
    result = command(*options, "--output", "csv", epsilon=5)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["size"] for row in rows] == ["1", "2-9", "10+"]


def test_a_breakdown_known_to_be_too_fine_costs_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_reading(monkeypatch)
    with pytest.raises(ValidationRefused) as refused:
        stage.aggregate(house.settings, contract_of(house, *FINE, "--expected", "100000"))
    assert refused.value.code == "validation.too-fine"
    assert "64 cells" in refused.value.found
    assert "at most 3" in refused.value.remedy  # cells
    assert "epsilon of 1." in refused.value.remedy
    assert spends(house) == []
    assert [(event.decision, event.code) for event in events(house)] == [("refused", "validation.too-fine")]


def test_a_breakdown_that_turns_out_too_fine_costs_the_first_part_once(house: House) -> None:
    contract = contract_of(house, *FINE)
    with pytest.raises(ValidationRefused) as refused:
        stage.aggregate(house.settings, contract)
    assert states(house) == [("first", "committed"), ("answer", "released")]
    assert spends(house)[0].rho == pytest.approx(0.05 * rho_of(1.0, 1e-6), rel=1e-4)
    with pytest.raises(ValidationRefused) as again:
        stage.aggregate(house.settings, contract)
    assert again.value.as_dict() == refused.value.as_dict()
    assert len(spends(house)) == 2
    [path] = (house.settings.lake / "evidence" / "queries").glob("*/validation-*.json")
    kept = ManifestRef(str(path.relative_to(house.settings.lake)), hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ValidationRefused, match="evidence"):
        publish_answer(house.settings, contract, kept)
    answered(house, contract_of(house, *FINE, "--max-relative-error", "3"))
    assert states(house)[2:] == [("first", "committed"), ("answer", "committed")]


def test_a_bought_norm_is_part_of_the_price(house: House) -> None:
    evidence = answered(house, contract_of(house, *SALES, "--by", "week", clip=None))
    assert evidence["mechanism"]["clip_norm_is"] == "bought"
    assert 20 < evidence["mechanism"]["clip_norm"] < 2000
    assert sum(spend.rho for spend in spends(house)) <= rho_of(1.0, 1e-6)
    assert spends(house)[0].rho == pytest.approx(0.15 * rho_of(1.0, 1e-6), rel=1e-4)


def test_an_answer_makes_finer_questions_of_the_same_rows_free_to_refuse(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = contract_of(house, *WEEKLY)
    found = stage.aggregate(house.settings, contract)
    assert isinstance(found, ManifestRef)
    publish_answer(house.settings, contract, found)
    before = len(spends(house))
    forbid_reading(monkeypatch)
    with pytest.raises(ValidationRefused):
        stage.aggregate(house.settings, contract_of(house, *FINE))
    assert len(spends(house)) == before
    later = query_plan.plan(house.settings, contract_of(house, *WEEKLY, epsilon=0.5), house.store)
    assert later.total == pytest.approx(read_manifest(FolderStore(house.settings.lake), found)["answer"]["total"])
    assert later.rho_total == 0


def test_an_exhausted_budget_refuses_before_anything_is_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit_contract("transactions", "epsilon: {default: 12}", "epsilon: {default: 1, poor: 0.98}")
    rich = contract_of(house, *WEEKLY)
    answered(house, rich)
    forbid_reading(monkeypatch)
    with pytest.raises(BudgetExhausted):
        stage.aggregate(house.settings, contract_of(house, *WEEKLY, "--until", "2017-01-01"))
    with pytest.raises(BudgetExhausted):  # the first part would fit, and is given back
        stage.aggregate(house.settings, contract_of(house, *WEEKLY, "--consumer", "poor"))
    assert [state for _, state in states(house)] == ["committed", "committed", "released"]
    asked = [event for event in events(house) if event.action == "query"]
    assert [event.code for event in asked][1:] == ["access.budget"] * 2
    first = spends(house)[-1].id
    assert said(house.settings.database, "spend", "give back")[-3:] == [
        ("spend", first, "allowed", 0),
        ("spend", first.removesuffix("-first"), "refused", 0),
        ("give back", first, "allowed", 0),
    ]


def test_a_source_without_a_budget_answers_nothing(house: House) -> None:
    path = house.settings.contracts / "transactions.odcs.yaml"
    lines = path.read_text().splitlines(keepends=True)
    at = lines.index("  - property: privacyBudget\n")
    path.write_text("".join(lines[:at] + lines[at + 2 :]))
    with pytest.raises(ContractError, match="budget"):
        stage.aggregate(house.settings, contract_of(house, *WEEKLY))


def test_what_fails_before_the_noise_gives_the_budget_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_reading(monkeypatch)
    with pytest.raises(AssertionError):
        stage.aggregate(house.settings, contract_of(house, *WEEKLY))
    assert states(house) == [("first", "released"), ("answer", "released")]


def test_killed_between_noise_and_answer_the_spend_stays(house: House) -> None:
    contract = contract_of(house, *WEEKLY)

    def kill(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        stage.aggregates.release = kill  # type: ignore[assignment]
        stage.aggregate(house.settings, contract)

    assert in_fork(work) == -signal.SIGKILL
    assert states(house) == [("first", "reserved"), ("answer", "reserved")]
    assert "answer" in answered(house, contract)
    assert [state for _, state in states(house)] == ["reserved", "reserved", "committed", "committed"]


def test_killed_before_the_commit_the_answer_is_found_and_its_spend_committed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = contract_of(house, *WEEKLY)

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PrivacyLedger, "commit", die)
        with pytest.raises(Killed):
            stage.aggregate(house.settings, contract)
    assert [state for _, state in states(house)] == ["reserved", "reserved"]
    evidence = answered(house, contract)
    assert evidence["spends"] == [spend.id for spend in spends(house)]
    assert [state for _, state in states(house)] == ["committed", "committed"]


def test_an_answer_whose_files_are_lost_is_asked_for_anew_at_its_price(house: House) -> None:
    contract = contract_of(house, *WEEKLY, "--expected", "100000")
    for item in answered(house, contract)["files"]:
        (house.settings.lake / item["path"]).unlink()
    answered(house, contract)
    assert [state for _, state in states(house)] == ["committed", "committed"]
    assert isinstance(stage.aggregate(house.settings, contract), ManifestRef)
    assert len(spends(house)) == 2


def test_an_answer_that_was_collected_with_its_evidence_hinders_no_other(house: House) -> None:
    contract = house.contracts["weekly_sales"]
    found = stage.aggregate(house.settings, contract)
    assert isinstance(found, ManifestRef)
    version = publish_answer(house.settings, contract, found)
    by = event(house.settings, Action.WITHDRAW, "weekly_sales@1", dataset="weekly_sales")
    house.register.withdraw("weekly_sales", version.version, by)
    assert house.register.condemn("weekly_sales", version.version, by)
    FolderStore(house.settings.lake).delete(found.path)
    house.register.collected("weekly_sales", version.version, by)
    assert contract.query is not None
    other = replace(contract, query=replace(contract.query, clip=400.0))
    assert isinstance(stage.aggregate(house.settings, other), ManifestRef)


def test_changed_evidence_is_no_answer(house: House) -> None:
    contract = contract_of(house, *WEEKLY)
    answered(house, contract)
    [path] = (house.settings.lake / "evidence" / "queries").glob("*/validation-*.json")
    path.chmod(0o600)
    path.write_text(path.read_text().replace('"epsilon":1.0', '"epsilon":0.1'))
    with pytest.raises(IntegrityError):
        stage.aggregate(house.settings, contract)


def test_who_may_read_aggregates_may_not_ask(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = contract_of(house, *WEEKLY)
    found = stage.aggregate(house.settings, contract)
    assert isinstance(found, ManifestRef)
    publish_answer(house.settings, contract, found)
    keys = ["aggregates/plain", "aggregates/footer"]
    team = principal(house, "model-team", keys, purpose="model-training", reads="synthetic, aggregates")
    for name, value in team.environment().items():
        monkeypatch.setenv(name, value)
    assert connect().dataset("queries@1").to_arrow().num_rows == 2
    with pytest.raises(AccessRefused):
        stage.aggregate(team, contract_of(house, *SALES, "--by", "week", "--clip", "200"))
    assert states(house)[2:] == [("answer", "released")]  # the total is known from the answer
    synthetic = ["synthetic/plain", "synthetic/footer"]
    other = principal(house, "synthetic-team", synthetic, purpose="model-training", reads="aggregates")
    for name, value in other.environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AccessRefused):
        connect().dataset("queries@1").to_arrow()


def test_a_calendar_without_deliveries_has_no_answer(house: House) -> None:
    with pytest.raises(NotFound, match="calendar"):
        stage.aggregate(house.settings, contract_of(house, *WEEKLY, "--since", "2018-01-01", "--until", "2018-02-01"))


def test_the_command_answers_as_table_and_json_and_estimates_for_nothing(house: House) -> None:
    estimate = json.loads(command(*FINE, "--dry-run", "--expected", "100000", "--output", "json").stdout)
    assert estimate["cells"] == 64
    assert estimate["refused"].startswith("validation.too-fine")
    assert estimate["answered"] is False
    assert estimate["accounts"][0]["asked"] == estimate["rho"]
    assert spends(house) == events(house) == []
    table = command(*WEEKLY, "--dry-run")
    assert "nothing that is known without data" in table.output
    result = command(*WEEKLY, "--output", "json", "--reason", "figures of the quarter")
    facts = json.loads(result.stdout)
    assert [row["week"] for row in facts["rows"]] == ["2016-12-26", "2017-01-02"]
    assert (facts["epsilon"], facts["delta"], facts["clip_norm"]) == (1.0, 1e-6, 300.0)
    assert events(house)[-1].reason == "figures of the quarter"
    again = command(*WEEKLY)
    assert "nothing: answered before" in again.output
    assert json.loads(command(*WEEKLY, "--dry-run", "--output", "json").stdout)["answered"] is True


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf", "51"])
def test_an_epsilon_out_of_range_is_refused(untouched: House, epsilon: str) -> None:
    result = command(*WEEKLY, epsilon=epsilon)
    assert result.exit_code == 2
    assert "epsilon" in result.output
    assert spends(untouched) == events(untouched) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*SALES, "--by", "colour"), "`colour` in transactions"),
        ((*SALES, "--by", "store_id"), "known from the data alone"),
        (("--from", "transactions", "--sum", "card_number"), "protected as string"),
        (("--from", "nowhere", "--count"), "no feed of that name"),
        ((*SALES, "--by", "week", "--clip", "-1"), "above 0"),
        ((*SALES, "--by", "week", "--delta", "0.5"), "delta"),
        ((*SALES, "--by", "day:transaction_timestamp", "--until", "9999-12-31"), "2,000,000 cells"),
    ],
)
def test_what_cannot_be_asked_is_refused(untouched: House, options: Sequence[str], said: str) -> None:
    result = command(*options)
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert spends(untouched) == events(untouched) == []
