"""Publish an answer: a query's noisy figures become visible in the catalogue, in one atomic step, with their card.

The evidence must have passed and be of this contract; the rest is what `cloakhouse.stages.publish_release` does. Killed
before its last step, nothing is visible; a rerun finds the answer and spends nothing.
"""

from __future__ import annotations

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ValidationRefused
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.answers import ZONE, release_content
from cloakhouse.stages.auditing import failures_recorded
from cloakhouse.stages.erased_runs import erasure_told
from cloakhouse.stages.publish_release import make_visible, publishing


def publish_answer(settings: Settings, contract: Contract, evidence: ManifestRef) -> DatasetVersion:
    """Publish the answer that `evidence` tells of and return the version; the same one again for the same answer.

    Raises ValidationRefused for evidence that is no answer of this contract, StageError (`stage.overtaken`) for an
    answer that an erasure took, IntegrityError, KeyServiceError.
    """
    progress = Progress.of("publish", contract.name)
    by = publishing(settings, contract, evidence.as_dict())
    with failures_recorded(settings, by), erasure_told(settings, contract.name, [evidence]):
        content = read_manifest(open_store(settings), evidence, "validation")
    matches = content["dataset"] == contract.name and content["contract"]["digest"] == contract.digest
    with failures_recorded(settings, by):
        if content["passed"] is not True or not matches or "answer" not in content:
            raise ValidationRefused(
                where=f"aggregate {contract.name}",
                expected=f"an answer under contract {contract.version}",
                found="a refusal, or an answer under another contract",
                not_done="nothing was published",
                remedy="run the query again under the contract in force",
                code="evidence",
            )
    return make_visible(settings, contract, ZONE, release_content(contract, evidence, content), progress)
