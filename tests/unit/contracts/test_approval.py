"""The `approval` of a contract: what is taken, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakhouse.contracts.model import Approval
from cloakhouse.contracts.parser import load_contract
from cloakhouse.errors import ContractError

SHIPPED = Path(__file__).parents[3] / "dags" / "contracts"


def write(folder: Path, value: str, name: str = "baskets_synthetic") -> Path:
    text = (SHIPPED / f"{name}.odcs.yaml").read_text()
    file = folder / f"{name}.odcs.yaml"
    file.write_text(text.replace("schema:\n", f"  - property: approval\n    value: {value}\nschema:\n", 1))
    return file


@pytest.mark.parametrize("name", ["baskets_synthetic", "weekly_sales"])
def test_published_datasets_may_ask_for_an_approval(tmp_path: Path, name: str) -> None:
    for hours in (1, 720):
        file = write(tmp_path, f"{{approvers: [dpo, A.Example-2, '17'], timeoutHours: {hours}}}", name)
        assert load_contract(file).approval == Approval(("dpo", "A.Example-2", "17"), hours)
    assert load_contract(SHIPPED / f"{name}.odcs.yaml").approval is None


def test_the_approval_is_part_of_the_contract_s_digest(tmp_path: Path) -> None:
    digests = {
        load_contract(write(tmp_path, f"{{approvers: [dpo], timeoutHours: {hours}}}")).digest for hours in (1, 2)
    }
    assert len(digests | {load_contract(SHIPPED / "baskets_synthetic.odcs.yaml").digest}) == 3


@pytest.mark.parametrize(
    "value",
    [
        "{approvers: [], timeoutHours: 24}",
        "{approvers: dpo, timeoutHours: 24}",
        "{approvers: [dpo, dpo], timeoutHours: 24}",
        "{approvers: [dpo, DPO], timeoutHours: 24}",
        "{approvers: [ann@example.org], timeoutHours: 24}",
        "{approvers: ['dpo\\n'], timeoutHours: 24}",
        "{approvers: [-dpo], timeoutHours: 24}",
        "{approvers: [" + ", ".join(f"u{n}" for n in range(21)) + "], timeoutHours: 24}",
        "{approvers: [" + "a" * 64 + "], timeoutHours: 24}",
        "{approvers: [dpo]}",
        "{timeoutHours: 24}",
        "{approvers: [dpo], timeoutHours: 0}",
        "{approvers: [dpo], timeoutHours: 721}",
        "{approvers: [dpo], timeoutHours: 1.5}",
        "{approvers: [dpo], timeoutHours: 24, defaults: Approve}",
        "[dpo]",
        "~",
    ],
)
def test_anything_else_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    with pytest.raises(ContractError) as refusal:
        load_contract(write(tmp_path, value))
    assert refusal.value.where.startswith("baskets_synthetic.odcs.yaml:")
    assert "ann@example.org" not in str(refusal.value)


def test_a_feed_has_no_approval(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as refusal:
        load_contract(write(tmp_path, "{approvers: [dpo], timeoutHours: 24}", "products"))
    assert refusal.value.code == "contract.property"
