"""Fitted synthesizers: sealed artifacts, made once for a fingerprint, and their spend of the budget in the ledger.

1. a sealed model of this fingerprint is used again, and its spend committed if that was still open; a model whose
   spend somebody released meanwhile is removed;
2. else what the guarantee costs is reserved on every account that is charged; too little left stops here;
3. the engine is fitted; noise is drawn once;
4. the model is sealed (encrypted, signed) and written in one step;
5. the spend is committed.

Killed between 2 and 4, the reservation stays and counts: noise may have been drawn. The next attempt reserves anew, and
an operator who knows that nothing left the process can release the old one. Killed between 4 and 5, 1 goes on.

A refusal gives the reservation back where it tells nothing of noise: before the engine had a count of the rows, or
because the rows couldn't be counted or the model not be written. What an engine refuses after it has counted follows
from noisy numbers; whoever reads the refusal learns from them, so that it is paid for as a model would be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from cloakhouse.contracts.model import Contract, Privacy
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.signing import PublicKey, SigningKey
from cloakhouse.lake.sealed import reference, seal, unseal
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.allowance import RELEASED
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.signing import signing_key, trusted_key
from cloakhouse.stages.spending import charges
from cloakhouse.stages.views import ShardFiles
from cloakhouse.synthesis.protocol import Model, Plan, PrivateEngine, engine


@dataclass(frozen=True)
class SealedModel:
    """A sealed model by its file within the lake, and what opens it: `trusted` verifies its signature."""

    engine: str
    plan: Plan
    file: ManifestRef
    fingerprint: str
    trusted: PublicKey


@dataclass(frozen=True)
class Fitted:
    """A fitted synthesizer: the model, its sealed file, and what it spent (None without a guarantee)."""

    model: Model
    sealed: SealedModel
    spend: dict[str, Any] | None

    @property
    def file(self) -> ManifestRef:
        """The sealed file."""
        return self.sealed.file


def fitted(
    settings: Settings, contract: Contract, plan: Plan, fingerprint: str, shards: ShardFiles, progress: Progress
) -> Fitted:
    """Return the fitted synthesizer of `contract` for `fingerprint`; fit it if it isn't there yet.

    Raises BudgetExhausted, ContractError without a budget, StageError when the rows can't be fitted, IntegrityError for
    a sealed model that was altered.
    """
    if plan.privacy is None:
        path = _path(contract, fingerprint, 0)
        if open_store(settings).stat(path) is None:
            signer = signing_key(settings)
            content = engine(_name(contract)).fit(plan, shards, progress.step).to_bytes()
            _seal(settings, contract, signer, path, content, fingerprint)
        return _opened(settings, contract, plan, fingerprint, path, None)
    return _under_guarantee(settings, contract, plan, plan.privacy, fingerprint, shards, progress)


def _under_guarantee(
    settings: Settings,
    contract: Contract,
    plan: Plan,
    privacy: Privacy,
    fingerprint: str,
    shards: ShardFiles,
    progress: Progress,
) -> Fitted:
    ledger = PrivacyLedger(settings.database)
    facts = {"epsilon": format(privacy.epsilon, ".6g"), "delta": format(privacy.delta, ".6g")}
    by = event(settings, Action.SPEND, contract.name, facts=facts)
    name = f"{contract.name}-{fingerprint[:16]}"
    earlier = {spend.id: spend for spend in ledger.spends() if spend.id.startswith(f"{name}-")}
    for number in range(len(earlier), 0, -1):
        path = _path(contract, fingerprint, number)
        if open_store(settings).stat(path) is None:
            continue
        if earlier[f"{name}-{number}"].state != RELEASED:
            found = _opened(settings, contract, plan, fingerprint, path, f"{name}-{number}")
            ledger.commit(f"{name}-{number}", by)
            return found
        open_store(settings).delete(path)
    number = len(earlier) + 1
    spend_id, path = f"{name}-{number}", _path(contract, fingerprint, number)
    accounts = charges(load_contracts(settings.contracts), contract.sources, contract.unit_of_privacy, privacy.consumer)
    signer = signing_key(settings)  # a key that doesn't open is found out before noise is drawn
    rho, delta = cost_of(contract, plan)
    ledger.reserve(spend_id, accounts, rho, delta, f"synthesis of {contract.name}", by)
    watched = _Watched(shards)
    try:
        content = engine(_name(contract)).fit(plan, watched, progress.step).to_bytes()
    except CloakhouseError as refusal:
        if watched.tells:
            ledger.commit(spend_id, by)
        else:
            ledger.release(spend_id, f"the fit was refused: {refusal.code}", by)
        raise
    try:
        _seal(settings, contract, signer, path, content, fingerprint)
    except CloakhouseError as refusal:
        if open_store(settings).stat(path) is None:
            ledger.release(spend_id, f"the model was not written: {refusal.code}", by)
        raise
    ledger.commit(spend_id, by)
    return _opened(settings, contract, plan, fingerprint, path, spend_id)


def cost_of(contract: Contract, plan: Plan) -> tuple[float, float]:
    """Return what a fit under a guarantee spends: rho, and a delta of its own where categories are learnt."""
    return cast(PrivateEngine, engine(_name(contract))).cost(plan)


def open_sealed(settings: Settings, sealed: SealedModel) -> Model:
    """Return the model in a sealed file, whose signature is verified first. Raises IntegrityError, KeyServiceError."""
    content = unseal(
        open_ring(settings), sealed.trusted, open_store(settings), sealed.file, sealed.engine, sealed.fingerprint
    )
    return engine(sealed.engine).open_model(sealed.plan, content)


def _path(contract: Contract, fingerprint: str, attempt: int) -> str:
    return f"models/{contract.name}/{fingerprint[:16]}-{attempt}.model"


def _name(contract: Contract) -> str:
    assert contract.synthesis is not None
    return contract.synthesis.engine


def _seal(
    settings: Settings, contract: Contract, signer: SigningKey, path: str, content: bytes, fingerprint: str
) -> None:
    seal(open_ring(settings), signer, open_store(settings), path, content, _name(contract), fingerprint)


@dataclass
class _Watched:
    """Shards that know whether what the engine says from now on follows from the rows (`Shards`)."""

    shards: ShardFiles
    _answered: bool = False
    _failed: bool = False

    @property
    def tells(self) -> bool:
        """Whether a refusal may follow from the rows: some were counted, and it isn't the counting that failed."""
        return self._answered and not self._failed

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        """See Shards.map."""
        try:
            for answer in self.shards.map(task):
                self._answered = True
                yield answer
        except CloakhouseError:
            self._failed = True
            raise

    def table(self) -> pa.Table:
        """See Shards.table."""
        rows = self.shards.table()
        self._answered = True
        return rows


def _opened(
    settings: Settings, contract: Contract, plan: Plan, fingerprint: str, path: str, spend: str | None
) -> Fitted:
    file = reference(open_store(settings), path)
    sealed = SealedModel(_name(contract), plan, file, fingerprint, trusted_key(settings))
    return Fitted(open_sealed(settings, sealed), sealed, {"id": spend} if spend else None)
