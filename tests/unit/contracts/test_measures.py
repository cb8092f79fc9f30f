"""A view may measure only what the protected form of a column allows; else a run would end in the middle."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ContractError

CONTRACTS = Path(__file__).parents[3] / "dags" / "contracts"


@pytest.mark.parametrize(
    ("instead_of", "written", "form"),
    [
        ("hour: {hour: transaction_timestamp}", "hour: {hour: store_id}", "integer"),
        ("month: {month: transaction_timestamp}", "month: {month: department}", "string"),
        ("value: {sum: sales_value,", "value: {sum: household_id,", "token"),
        ("has_meat: {any: department,", "has_meat: {any: quantity,", "integer"),
    ],
)
def test_a_measure_of_the_wrong_form_is_refused_with_its_line(
    tmp_path: Path, instead_of: str, written: str, form: str
) -> None:
    folder = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, folder)
    file = folder / "baskets_synthetic.odcs.yaml"
    text = file.read_text()
    assert instead_of in text
    file.write_text(text.replace(instead_of, written))
    with pytest.raises(ContractError) as refusal:
        load_contracts(folder)
    line = text[: text.index(instead_of)].count("\n") + 1
    assert refusal.value.code == "contract.measure"
    assert refusal.value.where.startswith(f"baskets_synthetic.odcs.yaml:{line}:")
    assert f"protected as {form}" in refusal.value.found
