"""What holds of every policy: nothing without a rule, rules only add, their order is nothing; and the parser's fuzz."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from random import Random
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.contracts.access_parser import parse_policy
from cloakhouse.contracts.access_policy import (
    READ_ZONES,
    TELLING,
    Access,
    AccessPolicy,
    Principal,
    Role,
    Rule,
    Shown,
    decide,
)
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, ContractError
from cloakhouse.settings import Settings

PURPOSES = ("reporting", "training")
DATASETS = ("baskets", "baskets_private", "customers")
PATTERNS = ("*", "baskets", "baskets_*", "c?stomers", "none")
ZONES = READ_ZONES[2:5]
CLASSES = st.frozensets(st.sampled_from(list(ColumnClass)), max_size=3)
RULES = st.builds(
    Rule,
    st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True).map(tuple),
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True).map(tuple),
    CLASSES,
    st.dictionaries(st.sampled_from(list(ColumnClass)), st.sampled_from(TELLING[:3]), max_size=3),
)
COLUMNS = {f"{c.key_name}_{n}": c for c in ColumnClass for n in range(2)}


@st.composite
def policies(draw: st.DrawFn) -> AccessPolicy:
    roles = {
        name: Role(
            name,
            tuple(draw(st.lists(st.sampled_from(PURPOSES), min_size=1, max_size=2, unique=True))),
            tuple(draw(st.lists(RULES, max_size=3))),
            dt.date(2027, 1, 1),
        )
        for name in ("one", "two", "three")
    }
    principals = {
        name: Principal(name, tuple(draw(st.lists(st.sampled_from(list(roles)), unique=True))), None, name)
        for name in ("ann", "ben")
    }
    return AccessPolicy(roles, principals)


QUESTIONS = st.tuples(
    st.sampled_from(["ann", "ben", "eve"]),
    st.sampled_from([*PURPOSES, "", "operations"]),
    st.sampled_from(ZONES),
    st.sampled_from(DATASETS),
)
Question = tuple[str, str, str, str]


def answer(policy: AccessPolicy, question: Question) -> Access | None:
    try:
        return decide(policy, *question, COLUMNS)
    except AccessRefused:
        return None


def matches(rule: Rule, zone: str, dataset: str) -> bool:
    """Say it once more, in another way: patterns as regular expressions."""
    patterns = (re.escape(p).replace(r"\*", ".*").replace(r"\?", ".") for p in rule.datasets)
    return zone in rule.zones and any(re.fullmatch(pattern, dataset) for pattern in patterns)


@settings(max_examples=100)
@given(policies(), QUESTIONS)
def test_a_column_is_clear_just_when_a_matching_rule_names_its_class(policy: AccessPolicy, question: Question) -> None:
    who, purpose, zone, dataset = question
    roles = [policy.roles[name] for name in (policy.principals[who].roles if who in policy.principals else ())]
    rules = [r for role in roles if purpose in role.purposes for r in role.reads if matches(r, zone, dataset)]
    named = {c for rule in rules for c in rule.classes}
    access = answer(policy, question)
    clear = set(access.readable) if access else set()
    assert clear == {name for name, column_class in COLUMNS.items() if column_class in named}
    if access is not None:
        assert set(access.visible) >= clear
        assert all(bool(access.keys[name]) == (name in clear) for name in COLUMNS)


def rank(access: Access | None) -> list[int]:
    return [TELLING.index(shown) for shown in access.columns.values()] if access else [0] * len(COLUMNS)


@settings(max_examples=100)
@given(policies(), QUESTIONS, RULES, st.sampled_from(["one", "two", "three"]))
def test_one_rule_more_never_hides(policy: AccessPolicy, question: Question, rule: Rule, name: str) -> None:
    role = policy.roles[name]
    more = replace(policy, roles={**policy.roles, name: replace(role, reads=(*role.reads, rule))})
    before, after = rank(answer(policy, question)), rank(answer(more, question))
    assert all(a >= b for b, a in zip(before, after, strict=True))


@settings(max_examples=60)
@given(policies(), QUESTIONS)
def test_a_principal_that_is_removed_is_denied_all(policy: AccessPolicy, question: Question) -> None:
    left = {name: p for name, p in policy.principals.items() if name != question[0]}
    assert answer(replace(policy, principals=left), question) is None


@settings(max_examples=60)
@given(policies(), QUESTIONS, st.randoms())
def test_the_order_of_rules_and_roles_is_nothing(policy: AccessPolicy, question: Question, chance: Random) -> None:
    def mixed(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(chance.sample(items, len(items)))

    other = AccessPolicy(
        {n: replace(r, reads=mixed(r.reads)) for n, r in mixed(tuple(policy.roles.items()))},
        {n: replace(p, roles=mixed(p.roles)) for n, p in policy.principals.items()},
    )
    assert answer(policy, question) == answer(other, question)


# the parser

SEED = (
    Settings.from_environment({}).policy.read_text().replace("principals: {}", "principals:\n  ann: {roles: [analyst]}")
)
TOKENS = re.findall(
    r"[A-Za-z0-9_.\-]+|\s+|[^\w\s]", "\n".join(x for x in SEED.splitlines() if not x.strip().startswith("#"))
)
NASTY = st.sampled_from(
    [
        "",
        "null",
        "~",
        "[]",
        "{}",
        "-1",
        ".nan",
        "2017-13-45",
        "true",
        "!!int x",
        "&a *a",
        "<<",
        "? [a]",
        "|",
        '"\\uD800"',
        "\x00",
        "'",
        "[[",
        "{a: 1, a: 2}",
        ": ",
        "\t",
        "landing",
        "platform",
        "plain",
        "direct identifier",
        "'*'",
        "9" * 500,
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.text(max_size=6)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def outcome(text: str) -> AccessPolicy | ContractError:
    try:
        return parse_policy(text, "fuzz.yaml")
    except ContractError as fault:
        return fault


def survives(text: str) -> None:
    policy = outcome(text)
    if isinstance(policy, ContractError):
        assert re.fullmatch(r"fuzz\.yaml:[1-9]\d*:[1-9]\d*", policy.where)
        assert min(len(policy.expected), len(policy.found), len(policy.remedy)) > 0
        return
    for role in policy.roles.values():
        assert role.purposes
        assert role.reads
        for rule in role.reads:
            assert set(rule.zones) <= set(READ_ZONES)
            assert rule.zones
            assert rule.classes
            assert not set(rule.masking) & rule.classes
            assert Shown.CLEAR not in rule.masking.values()
            assert "landing" not in rule.zones or (rule.zones, rule.classes) == (("landing",), frozenset(ColumnClass))
    for principal in policy.principals.values():
        assert set(principal.roles) <= set(policy.roles)
        assert "platform" not in (principal.name, principal.account)


@settings(max_examples=100)
@given(st.data())
def test_tokens_swapped_or_replaced(data: st.DataObject) -> None:
    tokens = list(TOKENS)
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(tokens) - 1))
        tokens[i] = data.draw(NASTY | st.sampled_from(TOKENS) | st.text(max_size=6))
    survives("".join(tokens))


@settings(max_examples=60)
@given(VALUES, st.data())
def test_any_node_replaced_by_any_value(value: object, data: st.DataObject) -> None:
    document = yaml.safe_load(SEED)
    node, holder, key = document, None, None
    while isinstance(node, dict | list) and node and (holder is None or data.draw(st.integers(0, 3)) > 0):
        holder = node
        key = data.draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
        node = node[key]
    assert holder is not None
    holder[key] = value
    survives(yaml.safe_dump(document, allow_unicode=True))
