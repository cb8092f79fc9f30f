"""Publish: a validated synthetic dataset becomes visible in the catalogue, in one atomic step, with its card.

1. the evidence is read and must have passed, for exactly the manifest that it names as its subject;
2. every file is opened and compared with its entry;
3. the release manifest, which holds the dataset card, is written; nothing points to it yet;
4. one row in the control database makes the version visible.

2 to 4 hold the dataset's lock, so that no rewrite of its keys takes the files for leftovers meanwhile.

Killed before 4, nothing is visible and a rerun does it again; a rerun after 4 finds the version by its fingerprint.
"""

from __future__ import annotations

from typing import Any

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import ValidationRefused
from cloakhouse.keys.files import locked
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.ledger.catalogue import Catalogue, DatasetVersion, ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings

KIND = "release"
ZONE = "synthetic"
LOCK_WAIT_S = 600.0


def publish(settings: Settings, contract: Contract, evidence: ManifestRef) -> DatasetVersion:
    """Publish what `evidence` validated and return the version; the same inputs give the same version again.

    Raises ValidationRefused for evidence that did not pass or is of another contract, IntegrityError.
    """
    progress = Progress.of("publish", contract.name)
    validation = read_manifest(settings.lake, evidence, "validation")
    matches = validation["dataset"] == contract.name and validation["contract"]["digest"] == contract.digest
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
    synthesis = read_manifest(settings.lake, ManifestRef.of(subject), "synthesis")
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"publishing {contract.name}"):
        store = TableStore(settings.lake, open_ring(settings))
        for item in synthesis["files"]:
            for _batch in store.batches(FileEntry(**item)):
                pass
        release = write_manifest(
            settings.lake,
            f"{ZONE}/{contract.name}",
            KIND,
            {
                "dataset": contract.name,
                "fingerprint": synthesis["fingerprint"],
                "contract": synthesis["contract"],
                "columns": synthesis["columns"],
                "files": synthesis["files"],
                "rows": synthesis["rows"],
                "parents": synthesis["sources"],
                "synthesis": subject,
                "evidence": evidence.as_dict(),
                "card": _card(contract, synthesis, validation),
            },
        )
        version = Catalogue(settings.database).publish(
            contract.name, synthesis["fingerprint"], ZONE, synthesis["rows"], release
        )
    progress.finish(
        f"{contract.name}@{version.version} published, {version.rows:,} rows",
        version=version.version,
        rows=version.rows,
    )
    return version


def _card(contract: Contract, synthesis: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Return the dataset card: purpose, provenance, privacy, evidence, limits; for people and programs."""
    engine = synthesis["engine"]
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
            "training_rows": synthesis["training"]["rows"],
            "training_units": synthesis["training"]["units"],
            "suppressed_rows": synthesis["suppressed_rows"],
        },
        "privacy": {
            "unit_of_privacy": contract.unit_of_privacy,
            "guarantee": engine["privacy_guarantee"],
            "gate": validation["gate"],
        },
        "quality": {
            "suite": validation["suite"]["name"],
            "checks": len(validation["quality"]["expectations"]),
            "passed": validation["passed"],
        },
        "limits": (
            "Rows are sampled, not copied; one may equal a real row by chance. Relations beyond pairs of columns are "
            "not modelled. "
            "Without differential privacy the tests bound only the leaks they test for."
        ),
    }
