"""Whether a release keeps the guarantee that it states, found out from the model, the training rows and the ledger.

A synthesizer that ignores its epsilon may pass every attack; these figures don't ask it:

1. the rho of all noise that the sealed model records, added up by OpenDP, is at most what was promised; a record that
   contradicts itself has no such figure;
2. the exact counts are made again from the training rows: what the model holds beside them is noise of the declared
   scale, neither none nor too little;
3. the tables that rows are drawn from are made again from the noisy counts, so that no exact one went into them;
4. the rows of the release are those that the sealed model gives for the chunks that follow from contract and model, so
   that nothing else went into them, nor into the choice of chunks;
5. the privacy ledger holds the spend of this very model, committed, on every dataset that it has to charge.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Privacy
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import IntegrityError
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.allowance import COMMITTED, Account
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.curve import utility_curve
from cloakhouse.stages.fitting import SealedModel, cost_of, open_sealed
from cloakhouse.stages.gate import DEPARTURE, FOREIGN, LIKELIHOOD, RHO_COMMITTED, RHO_OF_MODEL, Figure
from cloakhouse.stages.remaking import CLOSE, departure
from cloakhouse.stages.sampling import chunks_of
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.spending import balances, charges
from cloakhouse.stages.synthesize import plan_of
from cloakhouse.stages.views import ShardFiles, Side
from cloakhouse.stages.workers import LocalWorkers
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.dp_marginals.recount import LIKELY, accounted, residuals
from cloakhouse.synthesis.protocol import Plan


@dataclass(frozen=True)
class Guaranteed:
    """What was found out about a release under a guarantee.

    Attributes:
        figures: for the gate.
        account: what its consumer has spent and has left, of the account with least left (epsilon).
        curve: utility against epsilon (`cloakhouse.stages.curve`).
    """

    figures: tuple[Figure, ...] = ()
    account: dict[str, Any] | None = None
    curve: list[dict[str, float]] = field(default_factory=list)


def guaranteed(
    settings: Settings, contract: Contract, content: dict[str, Any], synthetic: pa.Table, progress: Progress
) -> Guaranteed:
    """Return what was found out; nothing of a release without a guarantee. `synthetic` holds rows of the release.

    Raises IntegrityError for a sealed model that was altered, KeyServiceError.
    """
    assert contract.synthesis is not None
    privacy = contract.synthesis.privacy
    if privacy is None:
        return Guaranteed()
    plan = plan_of(contract)
    file = ManifestRef.of(content["model"])
    sealed = SealedModel(contract.synthesis.engine, plan, file, content["fingerprint"], trusted_key(settings))
    model = open_sealed(settings, sealed)
    assert isinstance(model, MarginalsModel)
    promised, delta = cost_of(contract, plan)
    training = Side.of(content["training"])
    shards = ShardFiles(settings, LocalWorkers(), training, contract.synthesis.max_training_rows, progress.step)
    noise = residuals(model, shards)
    foreign = _foreign(settings, contract, content, plan, model)
    due = charges(load_contracts(settings.contracts), contract.sources, contract.unit_of_privacy, privacy.consumer)
    committed = _committed(settings, contract, content, delta, due)
    figures = (
        Figure(RHO_OF_MODEL, _accounted(model), promised, at_most=True),
        Figure(LIKELIHOOD, noise.likelihood, LIKELY, at_most=False),
        Figure(DEPARTURE, departure(model), CLOSE, at_most=True),
        Figure(FOREIGN, foreign, 0.0, at_most=True),
        Figure(RHO_COMMITTED, committed, promised, at_most=False),
    )
    curve = utility_curve(plan, model, synthetic, progress.step)
    return Guaranteed(figures, _account(settings, privacy, due), curve)


def _account(settings: Settings, privacy: Privacy, due: Collection[Account]) -> dict[str, Any]:
    least = min((state for state in balances(settings) if state.account in due), key=lambda state: state.left or 0.0)
    return {
        "dataset": least.account.dataset,
        "consumer": privacy.consumer,
        "spent_epsilon": least.spent,
        "left_epsilon": least.left,
        "renews": least.balance.renews.date().isoformat() if least.balance.renews else None,
    }


def _accounted(model: MarginalsModel) -> float | None:
    try:
        return accounted(model)
    except IntegrityError:
        return None  # more than the model's own guarantee, or a log of something else


def _foreign(
    settings: Settings, contract: Contract, content: dict[str, Any], plan: Plan, model: MarginalsModel
) -> float:
    """Return how many rows stand in files that differ from what the model gives for their chunk; of files that aren't
    one for each chunk, all rows."""
    assert contract.synthesis is not None
    store = TableStore(open_store(settings), open_ring(settings))
    files, chunks = file_entries(content["files"]), chunks_of(plan, contract.synthesis.rows or model.roots)
    if len(files) != len(chunks):
        return float(max(sum(entry.rows for entry in files), 1))
    foreign = 0
    for entry, chunk in zip(files, chunks, strict=True):
        foreign += 0 if store.read(entry).equals(model.sample(chunk)) else max(entry.rows, 1)
    return float(foreign)


def _committed(
    settings: Settings, contract: Contract, content: dict[str, Any], delta: float, due: Collection[Account]
) -> float | None:
    """Return the rho of the model's spend, None where it is missing, not committed, another's, of too little `delta`,
    or not charged to every account that is `due`."""
    spend_id = f"{contract.name}-{PurePosixPath(content['model']['path']).stem}"
    spends = {spend.id: spend for spend in PrivacyLedger(settings.database).spends()}
    found = spends.get(spend_id)
    if (
        found is None
        or found.state != COMMITTED
        or found.delta < delta
        or (content.get("spend") or {}).get("id") != spend_id
    ):
        return None
    paid = {(account.dataset, account.unit) for account in found.accounts}
    return found.rho if {(account.dataset, account.unit) for account in due} <= paid else None
