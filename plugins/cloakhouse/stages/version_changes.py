"""What operators do to published versions, and who may: whoever can sign releases.

The authority is that of the master key `signing/releases`, which the key service grants: who may not publish may not
roll back, withdraw or expire either. Everything is recorded, in the register and in the audit log, with who did it and
why; so is what was refused.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from cloakhouse.contracts.model import Contract
from cloakhouse.lake.release_checks import NAME
from cloakhouse.lake.releases import SIGNER
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, failures_recorded
from cloakhouse.stages.authority import check_reason
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.version_checks import check_register


@dataclass(frozen=True)
class Operator:
    """Somebody who may change versions, and the register. Made by `operator`."""

    register: VersionRegister
    settings: Settings
    by: Event

    def rollback(self, dataset: str, version: int | None, reason: str) -> DatasetVersion:
        """Have the name stand for `version` (default: the one before), and return it. See VersionRegister.rollback."""
        with self._doing(Action.ROLL_BACK, dataset, [version], check_reason(reason)) as by:
            return self.register.rollback(dataset, version, by)

    def withdraw(self, dataset: str, version: int, reason: str) -> DatasetVersion:
        """Withdraw a version for good and return it; `reason` is shown to every later reader."""
        with self._doing(Action.WITHDRAW, dataset, [version], check_reason(reason)) as by:
            return self.register.withdraw(dataset, version, by)

    def expire(self, dataset: str, versions: Collection[int], reason: str) -> list[DatasetVersion]:
        """Expire versions, all or none, and return them. See VersionRegister.expire."""
        with self._doing(Action.EXPIRE, dataset, versions, check_reason(reason)) as by:
            return self.register.expire(dataset, versions, by)

    def tag(self, dataset: str, version: int, tag: str) -> DatasetVersion:
        """Tag a version and return it. See VersionRegister.tag."""
        with self._doing(Action.TAG, dataset, [version]) as by:
            return self.register.tag(dataset, version, tag, by)

    def untag(self, dataset: str, version: int, tag: str) -> DatasetVersion:
        """Take a tag off a version and return it."""
        with self._doing(Action.UNTAG, dataset, [version]) as by:
            return self.register.untag(dataset, version, tag, by)

    def hold(self, dataset: str, version: int, reason: str) -> DatasetVersion:
        """Hold a version's files and return it. See VersionRegister.hold."""
        with self._doing(Action.HOLD, dataset, [version], check_reason(reason)) as by:
            return self.register.hold(dataset, version, by)

    def lift(self, dataset: str, version: int) -> DatasetVersion:
        """Lift the holds of a version and return it."""
        with self._doing(Action.LIFT_HOLD, dataset, [version]) as by:
            return self.register.lift(dataset, version, by)

    def expire_due(self, contracts: Mapping[str, Contract], now: dt.datetime) -> list[DatasetVersion]:
        """Expire the versions that are older than their contracts keep them (`retentionDays` of the zone), and return
        them; those that a name stands for, that are tagged or held stay."""
        held = {(hold.dataset, hold.version) for hold in self.register.holds()}
        done: list[DatasetVersion] = []
        for name, contract in sorted(contracts.items()):
            by_days: dict[int, list[int]] = {}
            for version in self.register.versions(name):
                days = contract.retention_days.get(version.zone)
                free = version.state is VersionState.PUBLISHED and not version.head and not version.tags
                if days is None or not free or (name, version.version) in held:
                    continue
                if version.published_at + dt.timedelta(days=days) <= now:
                    by_days.setdefault(days, []).append(version.version)
            for days, due in by_days.items():
                done += self.expire(name, due, f"kept for {days} days by its contract")
        return done

    @contextlib.contextmanager
    def _doing(
        self, action: Action, dataset: str, versions: Collection[int | None], reason: str = ""
    ) -> Iterator[Event]:
        """Yield who does this and why, once the register is known to be current; record it if it is refused."""
        by = replace(self.by, action=action, reason=reason)
        numbers = [number for number in versions if number is not None]
        named = dataset if NAME.fullmatch(dataset) else ""  # any other text may be anything
        what = f"{named}@{numbers[0]}" if named and len(numbers) == 1 else named or "another name"
        with failures_recorded(self.settings, replace(by, object=what, dataset=named)):
            check_register(open_store(self.settings), self.register, dataset)
            yield by


def operator(settings: Settings) -> Operator:
    """Return who acts, with the register. Raises AccessRefused for a principal that may not sign releases,
    IntegrityError, KeyServiceError, StorageError."""
    signing_key(settings, SIGNER)
    return Operator(VersionRegister(settings.database), settings, event(settings, Action.TAG, "versions"))
