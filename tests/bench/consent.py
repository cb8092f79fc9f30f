"""What it costs to ask who may be used: pseudonymizing a week of receipts with and without the sieve, interleaved.

All ways treat the same landed delivery in this process, with the keys opened. In the second everybody has agreed, so
that every row is looked up and written all the same; the last leaves out who refused in the sample, which saves work.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pyarrow as pa
from tests.support.house import House, consenting, planned

from cloakhouse.stages.sieve import Persons, Sieve
from cloakhouse.stages.sieve_lists import person_column
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.tokens.subjects import rights_tokens

ROUNDS = 7
WEEK = "2017-01-02"
EVERYBODY, NOBODY_ASKED, AGREED = "all agreed, each row asked", "not asked", "as the sample's persons chose"


def measure(folder: Path) -> str:
    """Return the table of CPU seconds: the best of each way."""
    house = consenting().copy(folder / "consent")
    try:
        best = _measured(house)
    finally:
        shutil.rmtree(folder / "consent")
    lines = [f"| {name} | {s:.3f} | {100 * (s / best[NOBODY_ASKED] - 1):+.1f} % |" for name, s in best.items()]
    return "\n".join(
        ["| one week, 31,459 lines | CPU seconds | against not asking |", "| --- | --- | --- |", *lines, ""]
    )


def _measured(house: House) -> dict[str, float]:
    contract = house.contracts["transactions"]
    _, [delivery], treater = planned(house.settings, contract, [WEEK], reprocess=True)
    ways = {name: _like(treater) for name in (NOBODY_ASKED, EVERYBODY, AGREED)}
    column = person_column(contract)
    assert column is not None
    everybody = rights_tokens(pa.array(range(1, 2_502), pa.int64()), column, token_keys(house.settings))
    ways[NOBODY_ASKED]._sieve = None
    ways[EVERYBODY]._sieve = Sieve(
        Persons.passing(everybody, everybody.slice(0, 0)), column, token_keys(house.settings)
    )
    best = dict.fromkeys(ways, float("inf"))
    for number in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way.run(DeliveryTask(WEEK, delivery["object"], delivery["rows"], f"transactions/{WEEK}/bench{number}"))
            best[name] = min(best[name], time.process_time() - start)
    return best


def _like(treater: Treater) -> Treater:
    other = Treater.__new__(Treater)
    other.__dict__.update(treater.__dict__)
    return other
