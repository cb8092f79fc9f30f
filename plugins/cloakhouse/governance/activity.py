"""What is known of each processing activity: its contract, its newest release, the access policy and the audit log.

Nothing is decrypted and no key is asked for: contracts, signed releases and the control database hold no value. Where
there is no installation yet, documents are made from contracts alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.contracts.access_policy import AccessPolicy
from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.processing import Processing
from cloakhouse.errors import NotFound
from cloakhouse.governance.log_facts import Done, done_with
from cloakhouse.governance.predicates import ZONES_OF, about_persons, stated
from cloakhouse.lake.releases import Release
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.version_checks import open_release


@dataclass(frozen=True)
class Activity:
    """One processing activity, which is what one contract describes.

    Attributes:
        release: the newest version that is published; None: there is none.
        overdue: versions that are published still, past the days of their contract.
        roles: names of the roles that may read it, with the purposes they read it for.
        done: what the audit log says of it.
    """

    contract: Contract
    release: Release | None = None
    overdue: tuple[str, ...] = ()
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    done: tuple[Done, ...] = ()

    @property
    def stated(self) -> Processing:
        """What the contract states of its processing."""
        return stated(self.contract)


def chosen(folder: Path, names: Sequence[str]) -> dict[str, Contract]:
    """Return the contracts of `folder` that `names` says, all for none. Raises ContractError, NotFound."""
    contracts = load_contracts(folder)
    for name in names:
        if name not in contracts:
            raise NotFound(
                where="datasets",
                expected="names of datasets that have a contract",
                found="another name",
                not_done="nothing was checked or written",
                remedy="`cloakhouse contracts` lists the names",
            )
    return {name: contract for name, contract in contracts.items() if not names or name in names}


def gather(settings: Settings, contracts: Mapping[str, Contract], day: dt.date | None) -> list[Activity]:
    """Return the activities of `contracts` that are about persons, by name, as of the end of `day` (UTC; None: of all
    there is). Raises IntegrityError for a release that isn't what was signed, ContractError, StorageError."""
    wanted = [contracts[name] for name in sorted(contracts) if about_persons(contracts[name])]
    policy = load_policy(settings.policy) if settings.policy.is_file() else AccessPolicy({}, {})
    if not _installed(settings):
        return [Activity(contract, roles=_roles(policy, contract)) for contract in wanted]
    until = None if day is None else dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC)
    log, register = AuditLog(settings.database), VersionRegister(settings.database)
    found = []
    for contract in wanted:
        done = done_with(log.engine, contract.name, until)
        versions = [v for v in register.versions(contract.name) if until is None or v.published_at < until]
        standing = [v for v in versions if v.state is VersionState.PUBLISHED]
        release = open_release(settings, standing[-1]) if standing else None
        found.append(Activity(contract, release, _overdue(contract, standing, until), _roles(policy, contract), done))
    return found


def as_of(activities: Sequence[Activity], day: dt.date | None) -> dt.date | None:
    """Return the day of a document: `day`, else that of the newest release or event, None where there is neither."""
    moments = [done.last for activity in activities for done in activity.done]
    moments += [activity.release.published_at for activity in activities if activity.release]
    return day or max((moment.astimezone(dt.UTC).date() for moment in moments), default=None)


def _installed(settings: Settings) -> bool:
    """Return whether there is a control database; opening one that isn't there would make it."""
    own = settings.home / "control.db"
    return settings.database != f"sqlite:///{own}" or own.is_file()


def _overdue(contract: Contract, standing: Sequence[DatasetVersion], until: dt.datetime | None) -> tuple[str, ...]:
    if until is None:
        until = max((version.published_at for version in standing), default=dt.datetime.min.replace(tzinfo=dt.UTC))
    return tuple(
        version.name
        for version in standing
        if (days := contract.retention_days.get(version.zone)) and version.published_at + dt.timedelta(days) < until
    )


def _roles(policy: AccessPolicy, contract: Contract) -> dict[str, tuple[str, ...]]:
    zones = ZONES_OF[contract.kind]
    return {
        name: role.purposes
        for name, role in sorted(policy.roles.items())
        if any(rule.about(zone, contract.name) for rule in role.reads for zone in zones)
    }
