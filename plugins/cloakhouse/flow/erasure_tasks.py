"""The tasks of the DAG of erasures: each reads the settings, does one part of an erasure, and passes on its name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cloakhouse.errors import StageError
from cloakhouse.flow.tasks import Reference, explained
from cloakhouse.settings import Settings

log = logging.getLogger(__name__)


@explained("erase")
def recut_deliveries() -> int:
    """Cut erased persons out of what landed since; return how many lines went."""
    from cloakhouse.stages.erase_sources import recut_new

    totals = recut_new(Settings.from_environment())
    log.info("%d deliveries looked at, %d lines cut", totals["files"], totals["lines"])
    return totals["lines"]


@explained("erase")
def batches(**context: Any) -> list[str]:
    """Return the names of the erasures to go on with: the one in the parameters, else all that are open."""
    from cloakhouse.flow.erasing import open_batches

    chosen = context["params"]["batch"]
    return [chosen] if chosen else open_batches(Settings.from_environment())


@explained("erase")
def cut(batch: str) -> str:
    """Cut the persons of a batch out of the sources; return its name."""
    from cloakhouse.flow.erasing import CUT, erase

    erase(Settings.from_environment(), batch, log.info, parts=(CUT,))
    return batch


@explained("erase")
def renew(batch: str, **context: Any) -> str:
    """Remove what was made of the persons' rows and make it anew; tell the assets of what was published; return the
    batch's name."""
    from cloakhouse.flow.erasing import RENEW, erase, made_anew
    from cloakhouse.flow.operator import connected

    settings = Settings.from_environment()
    erase(settings, batch, log.info, parts=(RENEW,), cluster=connected())
    _tell_assets(settings, made_anew(settings, batch), context)
    return batch


@explained("erase")
def prove(batch: str) -> Reference:
    """Search everything, attack what was made anew, sign the certificate; return its reference."""
    from cloakhouse.flow.erasing import PROVE, erase

    done = erase(Settings.from_environment(), batch, log.info, parts=(PROVE,))
    if done.certificate is None:
        raise StageError(
            where=f"erasure {batch}",
            expected="the parts before it done, and a certificate",
            found="an erasure that is open",
            not_done="no certificate was signed",
            remedy="clear the tasks before, so that they run",
            code="erasure-open",
        )
    return done.certificate.as_dict()


def _tell_assets(settings: Settings, versions: Mapping[str, int], context: Mapping[str, Any]) -> None:
    """Send the asset events of versions made anew as the DAGs that publish them do, through the task's alias."""
    from cloakhouse.flow.factory import published_asset
    from cloakhouse.ledger.versions import VersionRegister

    register = VersionRegister(settings.database)
    for dataset, number in versions.items():
        [version] = [one for one in register.versions(dataset) if one.version == number]
        facts = {"sha256": version.manifest.sha256, "version": version.version, "rows": version.rows}
        for alias in context["task"].outlets:
            context["outlet_events"][alias].add(published_asset(dataset, version.zone), extra=facts)
