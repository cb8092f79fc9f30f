"""The values of a policy file, read one by one; a fault is kept and reading goes on, so that one run tells all."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cloakhouse.contracts.access_policy import (
    LANDING,
    PLATFORM,
    READ_ZONES,
    AccessPolicy,
    Principal,
    Role,
    Rule,
    Shown,
)
from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source
from cloakhouse.errors import ContractError

VERSION = "cloakhouse.access/v1"
NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
PURPOSE = re.compile(r"[a-z][a-z0-9_-]*( [a-z0-9_-]+)*")
LONGEST_PURPOSE = 64  # characters, as the control database keeps them
DATASETS = re.compile(r"[a-z0-9_*?]{1,63}")
ACCOUNT = re.compile(r"[A-Za-z][\w:/+=.@,-]{0,199}", re.ASCII)
CLASSES = tuple(c.value for c in ColumnClass)
MASKINGS = (Shown.REDACT, Shown.NULL, Shown.OMIT)

T = TypeVar("T")


class PolicyReader:
    """Reads one source, and on after a fault: `faults` holds all of them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.faults: list[ContractError] = []

    def policy(self) -> AccessPolicy:
        """Return the policy; what is said of something faulty is left out of it."""
        root = self._fields(())
        if root is None:
            return AccessPolicy({}, {})
        self._try(lambda: root.check_value("apiVersion", VERSION), None)
        self._try(lambda: root.child("roles"), None)
        if "principals" not in root.data or root.data["principals"] is not None:  # `principals:` alone is nobody
            self._try(lambda: root.child("principals"), None)
        self._try(lambda: root.nothing_else("principals"), None)
        roles = {name: self._role(name) for name in self._named("roles")}
        principals = {name: self._principal(name, roles) for name in self._named("principals")}
        self._distinct_accounts(principals)
        return AccessPolicy(roles, principals)

    def _named(self, table: str) -> Iterable[str]:
        content = self._source.data.get(table)
        names = list(content) if isinstance(content, dict) else []
        for name in names:
            if not NAME.fullmatch(name) or name == PLATFORM:
                expected = "a name of lower-case letters, digits and -, at most 31, other than `platform`"
                self._fault((table, name), expected, "another", "choose another name")
        return names

    def _role(self, name: str) -> Role:
        path: Node = ("roles", name)
        fields = self._fields(path)
        if fields is None:
            return Role(name, (), (), dt.date.max)
        purposes = self._names(fields, "purposes")
        for index, purpose in enumerate(purposes):
            if not PURPOSE.fullmatch(purpose) or len(purpose) > LONGEST_PURPOSE:
                expected = f"a purpose of lower-case words, at most {LONGEST_PURPOSE} characters"
                self._fault((*path, "purposes", index), expected, "another text", "e.g. model-training")
        reads = fields.data.get("reads")
        if not isinstance(reads, list) or not reads:
            self._fault((*path, "reads"), "a list of rules", _kind(reads), "declare zones, datasets and classes")
            reads = []
        rules = tuple(self._rule((*path, "reads", index)) for index in range(len(reads)))
        review_by = self._day(fields, path) or dt.date.max
        if "reviewBy" not in fields.data:
            self._fault((*path, "reviewBy"), "`reviewBy`: a day (2027-03-31)", "nothing", "add `reviewBy`")
        self._try(lambda: fields.nothing_else("reads", "reviewBy"), None)
        return Role(name, purposes, rules, review_by)

    def _rule(self, path: Node) -> Rule:
        fields = self._fields(path)
        if fields is None:
            return Rule((), (), frozenset())
        zones = self._chosen(fields, path, "zones", READ_ZONES)
        classes = self._chosen(fields, path, "classes", CLASSES)
        datasets = self._names(fields, "datasets")
        for index, dataset in enumerate(datasets):
            if not DATASETS.fullmatch(dataset):
                expected = "a dataset's name, or a pattern of letters, digits, _, * and ?"
                self._fault((*path, "datasets", index), expected, "another text", "e.g. baskets_*")
        if LANDING in zones and (len(zones) > 1 or set(classes) != set(CLASSES)):
            expected = "a rule on `landing` alone, with every class: one key opens all columns of a landed file"
            found = f"{len(zones)} zones and {len(classes)} classes"
            self._fault((*path, "zones"), expected, found, "leave `landing` out, or give it a rule of its own")
        masking = self._masking(fields, path, classes)
        self._try(lambda: fields.nothing_else("masking"), None)
        return Rule(zones, datasets, frozenset(map(ColumnClass, classes)), masking)

    def _masking(self, fields: Fields, path: Node, classes: tuple[str, ...]) -> dict[ColumnClass, Shown]:
        if "masking" not in fields.data:
            return {}
        table = self._fields((*path, "masking"))
        found: dict[ColumnClass, Shown] = {}
        for name in table.data if table is not None else ():
            if name not in CLASSES or name in classes:
                expected = "a class that the rule doesn't read: one of " + ", ".join(CLASSES)
                self._fault((*path, "masking", name), expected, f"`{name}`", "remove it, or correct its spelling")
                continue
            assert table is not None
            if table.data[name] is None:  # what YAML reads an unquoted `null` as
                found[ColumnClass(name)] = Shown.NULL
                continue
            shown = self._try(lambda name=name: table.choice(name, MASKINGS), "")  # type: ignore[misc]
            if shown:
                found[ColumnClass(name)] = Shown(shown)
        return found

    def _principal(self, name: str, roles: Iterable[str]) -> Principal:
        path: Node = ("principals", name)
        fields = self._fields(path)
        if fields is None:
            return Principal(name, (), None, name)
        given = self._chosen(fields, path, "roles", tuple(roles))
        account = name
        if "account" in fields.data:
            account = self._try(lambda: fields.text("account", ACCOUNT, "a name at the key service, or an ARN"), name)
        review_by = self._day(fields, path)
        self._try(lambda: fields.nothing_else("account", "reviewBy"), None)
        return Principal(name, given, review_by, account)

    def _distinct_accounts(self, principals: dict[str, Principal]) -> None:
        seen: set[str] = set()
        for principal in principals.values():
            if principal.account in seen or principal.account == PLATFORM:
                path = ("principals", principal.name, "account")
                self._fault(path, "an account of its own", "another principal's", "give each principal its own account")
            seen.add(principal.account)

    def _chosen(self, fields: Fields, path: Node, key: str, allowed: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names at `key`, each one of `allowed`; those that aren't are faults."""
        names = self._names(fields, key)
        for index, name in enumerate(names):
            if name not in allowed:
                expected = "one of " + ", ".join(allowed) if allowed else f"no name: there are no {key}"
                self._fault((*path, key, index), expected, f"`{name}`", "correct the spelling or remove it")
        return tuple(name for name in names if name in allowed)

    def _names(self, fields: Fields, key: str) -> tuple[str, ...]:
        nothing: tuple[str, ...] = ()
        return self._try(lambda: fields.names(key), nothing)

    def _day(self, fields: Fields, path: Node) -> dt.date | None:
        value = fields.data.get("reviewBy")
        if "reviewBy" not in fields.data or type(value) is dt.date:
            return value
        self._fault((*path, "reviewBy"), "`reviewBy` as a day, e.g. 2027-03-31", _kind(value), "correct it")
        return None

    def _fields(self, path: Node) -> Fields | None:
        return self._try(lambda: Fields(self._source, path), None)

    def _try(self, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except ContractError as fault:
            self.faults.append(fault)
            return otherwise

    def _fault(self, path: Node, expected: str, found: str, remedy: str) -> None:
        self.faults.append(self._source.error(path, expected=expected, found=found, remedy=remedy))


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
