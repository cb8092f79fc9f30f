"""The attack on versions made anew: who isn't in can't be told, who is can be, and few tell nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.support.house import SYNTHETIC

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_attack import ABOVE_CHANCE, CHANCE, LEAST, TOO_FEW, attacked
from cloakhouse.stages.gate import attack_columns
from cloakhouse.synthesis.protocol import UNIT


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_contracts(Settings.from_environment({}).contracts)[SYNTHETIC]


def people(contract: Contract, count: int, seed: int) -> pa.Table:
    """Return rows of `count` strangers, one each, drawn from one distribution."""
    rng = np.random.default_rng(seed)
    columns = {UNIT: pa.array([rng.bytes(16) for _ in range(count)], pa.binary(16))}
    for column in attack_columns(contract):
        if column.categorical:
            columns[column.name] = pa.array([f"v{n}" for n in rng.integers(0, 6, count)])
        else:
            columns[column.name] = pa.array(rng.gamma(2.0, (column.maximum or 100.0) / 20, count))
    return pa.table(columns)


def test_strangers_are_told_from_strangers_no_better_than_by_chance(contract: Contract) -> None:
    found = attacked(contract, 2, people(contract, 600, 1), people(contract, 150, 2), people(contract, 300, 3))
    assert found.verdict == CHANCE
    assert found.area is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 0.5 <= found.high
    assert (found.persons, found.others) == (150, 300)


def test_persons_whose_rows_are_in_the_release_are_told(contract: Contract) -> None:
    erased = people(contract, 150, 2)
    release = pa.concat_tables([people(contract, 450, 1), erased])
    found = attacked(contract, 2, release, erased, people(contract, 300, 3))
    assert found.verdict == ABOVE_CHANCE
    assert found.low is not None
    assert found.low > 0.6


@pytest.mark.parametrize(("persons", "others"), [(LEAST - 1, 300), (0, 300), (150, LEAST - 1)])
def test_too_few_are_never_told_as_passed(contract: Contract, persons: int, others: int) -> None:
    erased = people(contract, persons, 2) if persons else None
    found = attacked(contract, 2, people(contract, 600, 1), erased, people(contract, others, 3))
    assert (found.verdict, found.area, found.persons) == (TOO_FEW, None, persons)
