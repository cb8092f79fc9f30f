"""Publish: a validated synthetic dataset becomes visible in the catalogue, in one atomic step, with its card.

The evidence is read and must have passed, for exactly the manifest that it names as its subject; the rest is what
`cloakhouse.stages.publish_release` does for answers, too.
"""

from __future__ import annotations

from typing import Any

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ValidationRefused
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import failures_recorded
from cloakhouse.stages.erased_runs import erasure_told
from cloakhouse.stages.pinning import Pinned
from cloakhouse.stages.publish_release import make_visible, publishing

ZONE = "synthetic"
LIMITS_OF_TESTS = (
    "Rows are sampled, not copied; one may equal a real row by chance. Relations beyond pairs of columns are "
    "not modelled. Without differential privacy the tests bound only the leaks they test for."
)
LIMITS_OF_NOISE = (
    "Rows are sampled from noisy counts. What holds for few units of privacy drowns in the noise: don't draw "
    "conclusions about small groups or rare values. Relations that were not measured are not modelled."
)


def publish(settings: Settings, contract: Contract, evidence: ManifestRef) -> DatasetVersion:
    """Publish what `evidence` validated and return the version; the same inputs give the same version again.

    Raises ValidationRefused for evidence that did not pass or is of another contract, VersionWithdrawn and VersionGone
    for what was published before and is withdrawn or gone, StageError (`stage.overtaken`) for what an erasure took,
    IntegrityError, KeyServiceError, AccessRefused.
    """
    progress = Progress.of("publish", contract.name)
    store, by = open_store(settings), publishing(settings, contract, evidence.as_dict())
    with failures_recorded(settings, by), erasure_told(settings, contract.name, [evidence]):
        validation = read_manifest(store, evidence, "validation")
    matches = validation["dataset"] == contract.name and validation["contract"]["digest"] == contract.digest
    with failures_recorded(settings, by):
        if validation["passed"] is not True or not matches or "subject" not in validation:
            raise ValidationRefused(
                where=f"synthetic dataset {contract.name}",
                expected=f"evidence that passed, for contract {contract.version}",
                found="evidence that failed, or of another contract",
                not_done="nothing was published",
                remedy="run synthesis and validation again under the contract in force",
                code="evidence",
            )
    subject = validation["subject"]
    source = ManifestRef.of(subject)
    with failures_recorded(settings, by), erasure_told(settings, contract.name, [evidence, source]):
        synthesis = read_manifest(store, source, "synthesis")
    release = {
        **{key: synthesis[key] for key in ("fingerprint", "contract", "columns", "files", "rows")},
        "parents": synthesis["sources"],
        "source": subject,
        "evidence": evidence.as_dict(),
        "rights": synthesis.get("rights", {}),
        "card": _card(contract, synthesis, validation),
    }
    return make_visible(settings, contract, ZONE, release, progress)


def _card(contract: Contract, synthesis: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Return the dataset card: purpose, provenance, privacy, evidence, limits; for people and programs.

    Of a release under a guarantee it holds nothing that was counted in real rows without noise: neither their number
    nor the gate's figures, only whether they met their thresholds. The evidence, for auditors, holds them.
    """
    engine = synthesis["engine"]
    private = contract.synthesis is not None and contract.synthesis.privacy is not None
    return {
        "title": contract.description,
        "owner": contract.owner,
        "purpose": contract.purpose,
        "legal_basis": contract.legal_basis,
        "retention_days": dict(contract.retention_days),
        "provenance": {
            "engine": engine["engine"],
            "library": engine["library"],
            "seed": engine["seed"],
            "sources": {name: len(partitions) for name, partitions in synthesis["sources"].items()},
            **Pinned.of(synthesis).in_card(),
            **({} if private else _counts(synthesis)),
        },
        "privacy": {
            "unit_of_privacy": contract.unit_of_privacy,
            "guarantee": engine["privacy_guarantee"],
            "gate": [{**figure, "value": None} for figure in validation["gate"]] if private else validation["gate"],
            "parameters": engine.get("parameters", {}),
        },
        "account": validation.get("account"),
        "curve": validation.get("curve", []),
        "quality": {
            "suite": validation["suite"]["name"],
            "checks": len(validation["quality"]["expectations"]),
            "passed": validation["passed"],
        },
        "limits": LIMITS_OF_NOISE if private else LIMITS_OF_TESTS,
    }


def _counts(synthesis: dict[str, Any]) -> dict[str, int]:
    return {
        "training_rows": synthesis["training"]["rows"],
        "training_units": synthesis["training"]["units"],
        "suppressed_rows": synthesis["suppressed_rows"],
    }
