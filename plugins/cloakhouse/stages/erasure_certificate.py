"""The certificate of an erasure: signed, in the audit log and in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

FOLDER = "rights/certificates"


def certify(settings: Settings, batch: Batch) -> ManifestRef:
    """Write the signed certificate of `batch` from its recorded steps, and return its reference; one that stands stays.

    Takes the steps `sweep` (`Findings.as_dict()`) and `attack/<dataset>@<version>` (`Attack.as_dict()`), and lists all.
    """
    raise NotImplementedError


def written(settings: Settings, name: str) -> bytes:
    """Return the certificate (envelope) of the batch `name`. Raises NotFound."""
    raise NotImplementedError
