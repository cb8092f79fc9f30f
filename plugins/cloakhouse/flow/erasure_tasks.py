"""The tasks of the DAG of erasures: each does one part of every open erasure, and returns a count."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cloakhouse.errors import CloakhouseError, internal
from cloakhouse.flow import engines
from cloakhouse.flow.submit import Cluster
from cloakhouse.flow.tasks import explained
from cloakhouse.progress import Progress

log = logging.getLogger(__name__)


@explained("erase")
def recut_deliveries() -> int:
    """Cut erased persons out of what landed since; return how many lines went."""
    from cloakhouse.stages.erase_sources import recut_new

    totals = recut_new(engines.settings())
    log.info("%d deliveries looked at, %d lines cut", totals["files"], totals["lines"])
    return totals["lines"]


@explained("erase")
def cut(**context: Any) -> int:
    """Cut the persons out of the sources; return of how many erasures."""
    from cloakhouse.flow.erasing import CUT

    return len(_each(CUT, context))


@explained("erase")
def renew(**context: Any) -> int:
    """Remove what was made of the persons' rows, make it anew, and tell the assets of what was published; return for
    how many erasures."""
    from cloakhouse.flow.erasing import RENEW
    from cloakhouse.flow.operator import connected

    done = _each(RENEW, context, connected())
    for batch in done:
        _tell_assets(batch, context)
    return len(done)


@explained("erase")
def prove(**context: Any) -> int:
    """Search everything, attack what was made anew, sign the certificates; return how many. Raises StageError when an
    erasure couldn't be proved because a part before didn't end."""
    from cloakhouse.flow.erasing import PROVE

    return len(_each(PROVE, context))


def _each(part: str, context: Mapping[str, Any], cluster: Cluster | None = None) -> list[str]:
    """Do `part` of the erasure in the parameters, else of every open one, and return their names.

    One that fails keeps no other waiting: what stopped the first is raised when each had its turn.
    """
    from cloakhouse.flow.erasing import erase, open_batches

    settings, chosen = engines.settings(), context["params"]["batch"]
    done: list[str] = []
    problems: list[CloakhouseError] = []
    for name in [chosen] if chosen else open_batches(settings):
        try:
            erase(settings, name, _Told(name), parts=(part,), cluster=cluster)
        except CloakhouseError as problem:
            problems.append(problem)
        except Exception as fault:  # noqa: BLE001 - its text may quote values
            problems.append(internal("erase", fault))
        else:
            done.append(name)
    for other in problems[1:]:
        Progress.of("erase", "").trouble(other.explain())
        log.error("%s", other.explain())
    if problems:
        raise problems[0]
    return done


class _Told:
    """Tells the steps of one erasure to the log."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, step: str) -> None:
        log.info("%s: %s", self._name, step)


def _tell_assets(batch: str, context: Mapping[str, Any]) -> None:
    """Send the asset events of versions made anew as the DAGs that publish them do, through the task's alias."""
    from cloakhouse.flow.erasing import made_anew
    from cloakhouse.flow.factory import published_asset
    from cloakhouse.ledger.versions import VersionRegister

    settings = engines.settings()
    register = VersionRegister(settings.database)
    for dataset, number in made_anew(settings, batch).items():
        [version] = [one for one in register.versions(dataset) if one.version == number]
        facts = {"sha256": version.manifest.sha256, "version": version.version, "rows": version.rows}
        for alias in context["task"].outlets:
            context["outlet_events"][alias].add(published_asset(dataset, version.zone), extra=facts)
