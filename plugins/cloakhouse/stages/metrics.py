"""All metrics of an installation, part by part: one that can't be read leaves the others standing, and is told.

Nothing is written for them. They come from rows that are kept anyway: the log, the catalogue, budgets, and what the key
service says of its keys; the share that is encrypted is as the nightly check measured it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import sqlalchemy as sa

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.ledger.database import open_database
from cloakhouse.settings import Settings
from cloakhouse.stages import metrics_records as records
from cloakhouse.stages import metrics_state as state
from cloakhouse.stages.forwarding import Forwarded, waiting
from cloakhouse.stages.key_status import KeyStatus, key_status
from cloakhouse.stages.metrics_log import LogTotals
from cloakhouse.stages.metrics_model import Sample
from cloakhouse.stages.retention_plan import Item, plan
from cloakhouse.stages.spending import AccountState, balances

PARTS = ("datasets", "log", "waiting", "events", "budgets", "keys", "retention", "receivers")


@dataclass(frozen=True)
class Sources:
    """Where the parts come from. A console gives what it keeps anyway; `sources` reads each anew."""

    reading: Callable[[], AbstractContextManager[sa.Connection]]
    contracts: Callable[[], Mapping[str, Contract]]
    budgets: Callable[[], Iterable[AccountState]]
    keys: Callable[[], KeyStatus]
    retention: Callable[[], Iterable[Item]]
    receivers: Callable[[], Iterable[Forwarded]]


def sources(settings: Settings) -> Sources:
    """Return the sources that read the installation of `settings` each time they are asked."""

    @contextlib.contextmanager
    def reading() -> Iterator[sa.Connection]:
        with open_database(settings.database).connect() as connection:
            yield connection

    return Sources(
        reading,
        lambda: load_contracts(settings.contracts),
        lambda: balances(settings),
        lambda: key_status(settings, dt.datetime.now(dt.UTC)),
        lambda: plan(settings, dt.datetime.now(dt.UTC)),
        lambda: waiting(settings),
    )


class Metrics:
    """The metrics of one installation; counters go on from one call to the next."""

    def __init__(self, given: Sources) -> None:
        self._from, self._totals = given, LogTotals()

    def collect(self) -> list[Sample]:
        """Return all samples there are now. A part that fails has none, and `cloakhouse_part_up` 0: `cloakhouse doctor`
        says why. Raises nothing."""
        begun, now = time.monotonic(), dt.datetime.now(dt.UTC)
        found: list[Sample] = []
        for name in PARTS:
            samples = self._part(name, now)
            found += samples or []
            found.append(Sample("cloakhouse_part_up", float(samples is not None), (name,)))
        found.append(Sample("cloakhouse_collected_timestamp_seconds", now.timestamp()))
        found.append(Sample("cloakhouse_collection_seconds", round(time.monotonic() - begun, 6)))
        return found

    def _part(self, name: str, now: dt.datetime) -> list[Sample] | None:
        try:
            return list(self._samples(name, now))
        except Exception:  # noqa: BLE001  # its text could name a value; that it is missing, `cloakhouse_part_up` tells
            return None

    def _samples(self, name: str, now: dt.datetime) -> Iterable[Sample]:
        if name == "budgets":
            return state.budgets(self._from.budgets())
        if name == "keys":
            return state.keys(self._from.keys())
        if name == "receivers":
            return state.receivers(self._from.receivers())
        contracts = self._from.contracts()
        if name == "retention":
            return state.retention(self._from.retention(), contracts, now)
        with self._from.reading() as connection:
            if name == "events":
                return self._totals.read(connection, contracts)
            if name == "log":
                return list(records.log(connection))
            part = records.datasets if name == "datasets" else records.waiting
            return list(part(connection, contracts))
