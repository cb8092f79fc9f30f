"""Who may read what, for which purpose, and how the rest is masked: the policy's values, and the decision. No IO.

Nothing is allowed that no rule allows. A principal has roles, a role has purposes and rules, and a rule names zones,
datasets and classes of columns. A principal that states a purpose reads by the rules of those of its roles that have
this purpose. Rules only ever add: a column is clear if any matching rule names its class, else it is shown as the most
telling masking that any of them has for it. So neither the order of rules nor one rule more can hide anything.

Names of keys are built here, too, since a decision names the keys that it takes: `zone/class` where a rule is about
every dataset of a zone, and the role's own key, `access/<role>`, where it names datasets (`cloakhouse.keys.shares`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused

LANDING = "landing"
READ_ZONES = (LANDING, "quarantine", "protected", "views", "synthetic", "aggregates")
EVERY_DATASET = "*"
ROLE_KEYS = "access"
PLATFORM = "platform"


class Shown(StrEnum):
    """How a column is shown. REDACT is the text `***`, or null for a column that isn't text."""

    CLEAR = "clear"
    REDACT = "redact"
    NULL = "null"
    OMIT = "omit"


TELLING = (Shown.OMIT, Shown.NULL, Shown.REDACT, Shown.CLEAR)  # the least telling first


@dataclass(frozen=True)
class Rule:
    """What a role may read.

    Attributes:
        zones: names of READ_ZONES.
        datasets: names, or patterns with `*` and `?`; EVERY_DATASET is every one, also of later on.
        classes: the classes of columns that it may read.
        masking: how columns of other classes are shown; one that isn't named is left out.
    """

    zones: tuple[str, ...]
    datasets: tuple[str, ...]
    classes: frozenset[ColumnClass]
    masking: Mapping[ColumnClass, Shown] = field(default_factory=dict)

    @property
    def whole_zone(self) -> bool:
        """Whether the rule is about every dataset of its zones."""
        return EVERY_DATASET in self.datasets

    def about(self, zone: str, dataset: str) -> bool:
        """Return whether the rule is about `dataset` in `zone`."""
        return zone in self.zones and any(fnmatchcase(dataset, pattern) for pattern in self.datasets)

    def shows(self, column_class: ColumnClass) -> Shown:
        """Return how a column of `column_class` is shown."""
        return Shown.CLEAR if column_class in self.classes else self.masking.get(column_class, Shown.OMIT)

    def uses(self, zone: str) -> tuple[str, ...]:
        """Return the uses of keys that the rule takes in `zone`: the footer's and its classes', or a landed file's."""
        return ("file",) if zone == LANDING else ("footer", *sorted(c.key_name for c in self.classes))


@dataclass(frozen=True)
class Role:
    """A role: what its principals may read, for which purposes, and the day by which somebody looks at it again."""

    name: str
    purposes: tuple[str, ...]
    reads: tuple[Rule, ...]
    review_by: dt.date

    @property
    def key(self) -> str:
        """Name of the master key that opens the datasets which the role's rules name one by one."""
        return f"{ROLE_KEYS}/{self.name.replace('-', '_')}"

    def keys(self, rule: Rule, zone: str) -> tuple[str, ...]:
        """Return the names of the master keys that `rule`, one of the role's, takes in `zone`."""
        return tuple(f"{zone}/{use}" for use in rule.uses(zone)) if rule.whole_zone else (self.key,)


@dataclass(frozen=True)
class Principal:
    """Somebody, or something, that reads.

    Attributes:
        name: as enrolled at the age keystore; elsewhere the system's user.
        roles: names of roles.
        review_by: day by which its roles are looked at again; None leaves that to the roles' own.
        account: what the key service knows it by: its name, or the ARN of a role of AWS.
    """

    name: str
    roles: tuple[str, ...]
    review_by: dt.date | None
    account: str


@dataclass(frozen=True)
class AccessPolicy:
    """A checked policy (`cloakhouse.contracts.access_parser`): every role that a principal has is there."""

    roles: Mapping[str, Role]
    principals: Mapping[str, Principal]

    def roles_of(self, principal: str, purpose: str) -> list[Role]:
        """Return the roles that `principal` acts in for `purpose`, in order of their names; an unknown one has none."""
        known = self.principals.get(principal)
        roles = (self.roles[name] for name in sorted(known.roles)) if known else iter(())
        return [role for role in roles if purpose in role.purposes]


@dataclass(frozen=True)
class Access:
    """What one principal may read of one dataset for one purpose.

    Attributes:
        principal / purpose: who asks, and what for.
        role: names of the roles that allow it, joined by `, `.
        columns: how each column is shown, in the dataset's order.
        keys: names of the master keys that a clear column takes.
    """

    principal: str
    purpose: str
    role: str
    columns: Mapping[str, Shown]
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def readable(self) -> tuple[str, ...]:
        """The columns that are shown as they are."""
        return tuple(name for name, shown in self.columns.items() if shown is Shown.CLEAR)

    @property
    def visible(self) -> tuple[str, ...]:
        """The columns that are not left out."""
        return tuple(name for name, shown in self.columns.items() if shown is not Shown.OMIT)

    def keys_for(self, columns: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the master keys that reading `columns` takes, in order."""
        return tuple(sorted({key for column in columns for key in self.keys.get(column, ())}))


def everything(columns: Mapping[str, ColumnClass]) -> Access:
    """Return the access of the platform itself, which is outside of the policy: every column as it is."""
    return Access(PLATFORM, "operations", PLATFORM, MappingProxyType(dict.fromkeys(columns, Shown.CLEAR)))


def decide(
    policy: AccessPolicy, principal: str, purpose: str, zone: str, dataset: str, columns: Mapping[str, ColumnClass]
) -> Access:
    """Return how each of `columns` is shown to `principal`, who states `purpose`; nothing is decrypted for it.

    Raises AccessRefused (`access.role`) when no role lets it see anything of the dataset.
    """
    matching = [
        (role, rule) for role in policy.roles_of(principal, purpose) for rule in role.reads if rule.about(zone, dataset)
    ]
    shown = {name: _most_telling(matching, column_class) for name, column_class in columns.items()}
    if not matching or (shown and set(shown.values()) == {Shown.OMIT}):
        raise _refused(policy, principal, purpose, zone, dataset)
    keys = {name: tuple(sorted(set(_keys(matching, zone, columns[name])))) for name in columns}
    names = ", ".join(sorted({role.name for role, _ in matching}))
    return Access(principal, purpose, names, MappingProxyType(shown), MappingProxyType(keys))


def _most_telling(matching: Iterable[tuple[Role, Rule]], column_class: ColumnClass) -> Shown:
    return max((rule.shows(column_class) for _, rule in matching), key=TELLING.index, default=Shown.OMIT)


def _keys(matching: Iterable[tuple[Role, Rule]], zone: str, column_class: ColumnClass) -> Iterator[str]:
    for role, rule in matching:
        if column_class in rule.classes:
            needed = {f"{zone}/{use}" for use in ("file", "footer", column_class.key_name)} | {role.key}
            yield from (key for key in role.keys(rule, zone) if key in needed)


def _refused(policy: AccessPolicy, principal: str, purpose: str, zone: str, dataset: str) -> AccessRefused:
    if principal not in policy.principals:
        found = "a principal that the policy doesn't name"
    elif not policy.roles_of(principal, purpose):
        found = "no role of it with this purpose"
    else:
        found = "roles with this purpose, none of which reads it"
    return AccessRefused(
        where=f"{zone}/{dataset}",
        expected=f"a role of {principal} that may read it for the purpose `{purpose}`",
        found=found,
        not_done="no key was asked for and nothing was decrypted",
        remedy="state another purpose of yours (CLOAKHOUSE_PURPOSE), or ask whoever keeps the access policy "
        "(CLOAKHOUSE_POLICY) for a role",
        code="role",
    )
