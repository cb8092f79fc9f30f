"""Is the installation as it should be? All checks but those of connections and of Airflow, one after the other.

Nothing is made, changed or recorded: where there is no control database, or one that would be upgraded by opening it,
what needs it is left out, and that is told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from cloakhouse.errors import CloakhouseError
from cloakhouse.ledger.standing import CURRENT, standing
from cloakhouse.settings import Settings
from cloakhouse.stages import health_machine, health_records, health_rules
from cloakhouse.stages.health_model import Check, Health, skipped

CHECKS: Sequence[Check] = (*health_rules.CHECKS, *health_records.CHECKS, *health_machine.CHECKS)


def health(settings: Settings, now: dt.datetime, *, fast: bool = False) -> Iterator[Health]:
    """Yield what each check found at `now` (UTC); `fast` leaves out those that read more than a few rows."""
    database = _has_database(settings)
    keys = settings.home.is_dir()
    for check in CHECKS:
        if check.slow and fast:
            continue
        if check.database and not database:
            why = "there is no control database of this version's revision"
        elif check.platform and settings.identity is not None:
            why = "it takes the platform's own keys"
        elif check.platform and not keys:
            why = "there is no installation yet: the first run makes it"
        else:
            yield check.run(settings, now)
            continue
        yield Health(check.what, check.expected, skipped(why))


def _has_database(settings: Settings) -> bool:
    try:
        return standing(settings.database).state == CURRENT
    except CloakhouseError:
        return False  # told among the connections
