"""Were the erased persons among those a version made anew was made from? A membership attack, with its bounds.

The attacker holds the release and the rows that the persons had before their erasure; the rows of the release's own
hold-out, whom its engine never saw, stand for strangers. A person's score is the mean of the rows' (see
`cloakhouse.privacy.attacks.membership`), and the area under the curve over persons and strangers is 0.5 by chance. It
is compared with chance at the level 99.9 %, two-sided: a version made anew without the persons passes it in all but one
of a thousand erasures. With fewer than 50 persons or strangers such an interval is too wide to tell anything, and it is
said so: it is never told as passed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.privacy.attacks.bounds import Z, area, by_household
from cloakhouse.privacy.attacks.membership import scored
from cloakhouse.privacy.attacks.population import Population
from cloakhouse.privacy.attacks.setting import Setting
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.erasure_worklist import rows_before
from cloakhouse.stages.gate import attack_columns
from cloakhouse.stages.version_checks import open_release
from cloakhouse.stages.views import Side, read_side, unit_numbers
from cloakhouse.synthesis.protocol import UNIT

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

CHANCE, ABOVE_CHANCE, TOO_FEW = "no better than chance", "better than chance", "too few to tell"
LEAST = 50  # persons, and strangers
LEVEL = 0.999  # two-sided
ATTACKED_ROWS = 250_000  # synthetic rows: whole files, at least one


@dataclass(frozen=True)
class Attack:
    """One attack on one version made anew.

    Attributes:
        dataset, version: of the release that was attacked.
        persons, others: attacked persons of the batch, and real persons who never were in the training rows.
        area: under the curve; 0.5 is chance. None where there were too few.
        low, high: bounds of the area at the level 99.9 %.
        verdict: `no better than chance`, `better than chance`, `too few to tell`.
    """

    dataset: str
    version: int
    persons: int
    others: int
    area: float | None
    low: float | None
    high: float | None
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def attack_after(settings: Settings, batch: Batch, dataset: str, version: int) -> Attack:
    """Attack `version` of `dataset`, made anew after the erasure, with the rows that the persons had before it.

    To be called before the worklist is dropped. Raises NotFound, StageError without a worklist, IntegrityError,
    KeyServiceError, AccessRefused, StorageError.
    """
    contract = load_contracts(settings.contracts)[dataset]
    release = open_release(settings, VersionRegister(settings.database).resolve(Selector(dataset, version)))
    synthesis = read_manifest(open_store(settings), release.source, "synthesis")
    before = rows_before(settings, batch, dataset)
    persons = still(settings, batch)
    erased = None if before is None else before.filter(pc.is_in(before[UNIT], value_set=persons))
    others = read_side(settings, Side.of(synthesis["holdout"]).files)
    store = TableStore(open_store(settings), open_ring(settings))
    tables: list[pa.Table] = []
    for entry in release.files:
        if tables and sum(table.num_rows for table in tables) + entry.rows > ATTACKED_ROWS:
            break
        tables.append(store.read(entry))
    return attacked(contract, version, pa.concat_tables(tables), erased, others)


def attacked(
    contract: Contract, version: int, synthetic: pa.Table, erased: pa.Table | None, others: pa.Table
) -> Attack:
    """Return the attack on `synthetic` rows with those of the `erased` persons and of `others`, who never were in."""
    assert contract.synthesis is not None
    columns = attack_columns(contract)
    names = [column.name for column in columns]
    persons, strangers = (0 if side is None else len(pc.unique(side[UNIT])) for side in (erased, others))
    if erased is None or min(persons, strangers) < LEAST:
        return Attack(contract.name, version, persons, strangers, None, None, None, TOO_FEW)
    members, controls = (Population(side.select(names), unit_numbers(side)) for side in (erased, others))
    scores = scored(Setting.of(synthetic, members, controls, columns, contract.synthesis.seed))
    mine, theirs = by_household(scores.training, scores.owners), by_household(scores.holdout, scores.others)
    found = area(mine, np.arange(len(mine)), theirs, np.arange(len(theirs)), capped=False)
    reach = (found.bound - found.value) / Z * NormalDist().inv_cdf((1 + LEVEL) / 2)
    value, low, high = (
        round(x, 6) for x in (found.value, max(0.0, found.value - reach), min(1.0, found.value + reach))
    )
    return Attack(contract.name, version, persons, strangers, value, low, high, ABOVE_CHANCE if low > 0.5 else CHANCE)
