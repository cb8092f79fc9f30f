"""The decision of the access policy: deny by default, purpose required, masking, the keys that a read takes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest

from cloakhouse.contracts.access_policy import (
    ROLE_KEYS,
    Access,
    AccessPolicy,
    Principal,
    Role,
    Rule,
    Shown,
    decide,
    everything,
)
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused
from cloakhouse.keys.protocol import FILE, FOOTER

DAY = dt.date(2027, 3, 31)
COLUMNS = {
    "store": ColumnClass.PLAIN,
    "household": ColumnClass.DIRECT,
    "age": ColumnClass.INDIRECT,
    "note": ColumnClass.SENSITIVE,
    "card": ColumnClass.PAYMENT,
}
ANALYST = Role(
    "analyst",
    ("reporting", "audit"),
    (
        Rule(
            ("synthetic", "aggregates"),
            ("*",),
            frozenset({ColumnClass.PLAIN}),
            {ColumnClass.DIRECT: Shown.REDACT, ColumnClass.INDIRECT: Shown.NULL, ColumnClass.PAYMENT: Shown.OMIT},
        ),
    ),
    DAY,
)
DESK = Role(
    "service-desk",
    ("reporting",),
    (Rule(("protected",), ("customers", "basket_?"), frozenset({ColumnClass.DIRECT, ColumnClass.PLAIN})),),
    DAY,
)
LANDED = Role("lander", ("repair",), (Rule(("landing",), ("*",), frozenset(ColumnClass)),), DAY)
POLICY = AccessPolicy(
    {role.name: role for role in (ANALYST, DESK, LANDED)},
    {
        "ann": Principal("ann", ("analyst", "service-desk"), None, "ann"),
        "ben": Principal("ben", ("lander",), None, "arn:aws:iam::123456789012:role/ben"),
    },
)


def decided(
    zone: str = "synthetic",
    dataset: str = "baskets",
    who: str = "ann",
    purpose: str = "reporting",
    columns: Mapping[str, ColumnClass] = COLUMNS,
) -> Access:
    return decide(POLICY, who, purpose, zone, dataset, columns)


def refusal(zone: str, dataset: str, who: str, purpose: str) -> AccessRefused:
    with pytest.raises(AccessRefused) as refused:
        decided(zone, dataset, who, purpose)
    return refused.value


def test_each_column_is_shown_as_the_rule_says() -> None:
    access = decided()
    assert dict(access.columns) == {
        "store": Shown.CLEAR,
        "household": Shown.REDACT,
        "age": Shown.NULL,
        "note": Shown.OMIT,
        "card": Shown.OMIT,
    }
    assert list(access.columns) == list(COLUMNS)
    assert (access.readable, access.visible) == (("store",), ("store", "household", "age"))
    assert (access.principal, access.purpose, access.role) == ("ann", "reporting", "analyst")


@pytest.mark.parametrize(
    ("zone", "dataset", "who", "purpose", "found"),
    [
        ("synthetic", "baskets", "eve", "reporting", "a principal that the policy doesn't name"),
        ("synthetic", "baskets", "ann", "training", "no role of it with this purpose"),
        ("synthetic", "baskets", "ann", "", "no role of it with this purpose"),
        ("synthetic", "baskets", "ann", "operations", "no role of it with this purpose"),
        ("synthetic", "baskets", "ben", "repair", "roles with this purpose, none of which reads it"),
        ("protected", "customers", "ann", "audit", "roles with this purpose, none of which reads it"),
        ("protected", "products", "ann", "reporting", "roles with this purpose, none of which reads it"),
        ("protected", "customers2", "ann", "reporting", "roles with this purpose, none of which reads it"),
        ("landing", "customers", "ann", "reporting", "roles with this purpose, none of which reads it"),
    ],
)
def test_nothing_is_allowed_that_no_rule_allows(zone: str, dataset: str, who: str, purpose: str, found: str) -> None:
    refused = refusal(zone, dataset, who, purpose)
    assert (refused.code, refused.exit_code, refused.where) == ("access.role", 3, f"{zone}/{dataset}")
    assert refused.found == found
    assert f"`{purpose}`" in refused.expected
    assert "CLOAKHOUSE_POLICY" in refused.remedy
    for other in ("baskets", "customers", "basket_?", "service-desk", "analyst"):
        assert other in dataset or other not in refused.explain()


def test_a_dataset_of_which_nothing_may_be_seen_is_refused() -> None:
    assert decided(columns={}).columns == {}
    with pytest.raises(AccessRefused):
        decided(columns={"card": ColumnClass.PAYMENT, "note": ColumnClass.SENSITIVE})


def test_rules_of_several_roles_add_up() -> None:
    rule = Rule(("synthetic",), ("b*",), frozenset({ColumnClass.DIRECT}))
    wide = AccessPolicy(
        {
            "analyst": ANALYST,
            "more": Role("more", ("reporting",), (rule,), DAY),
        },
        {"ann": Principal("ann", ("more", "analyst"), None, "ann")},
    )
    access = decide(wide, "ann", "reporting", "synthetic", "baskets", COLUMNS)
    assert access.role == "analyst, more"
    assert access.readable == ("store", "household")
    assert access.columns["age"] is Shown.NULL
    assert dict(access.keys)["household"] == ("access/more",)
    assert access.keys_for(["store", "household"]) == ("access/more", "synthetic/footer", "synthetic/plain")


def test_the_keys_of_a_read() -> None:
    assert decided().keys_for(["store"]) == ("synthetic/footer", "synthetic/plain")
    assert decided().keys_for(["household", "note", "none"]) == ()
    assert decided("protected", "customers").keys_for(["store", "household"]) == ("access/service_desk",)
    assert decided("landing", "customers", "ben", "repair").keys_for(COLUMNS) == ("landing/file",)
    assert everything(COLUMNS).keys_for(COLUMNS) == ()


def test_names_of_keys_are_those_of_the_room_below() -> None:
    rule = ANALYST.reads[0]
    assert rule.uses("synthetic") == (FOOTER, "plain")
    assert LANDED.reads[0].uses("landing") == (FILE,)
    assert DESK.key == f"{ROLE_KEYS}/service_desk"


def test_the_platform_sees_everything() -> None:
    access = everything(COLUMNS)
    assert access.readable == tuple(COLUMNS)
    assert (access.principal, access.role) == ("platform", "platform")


def test_what_was_decided_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        decided().columns["note"] = Shown.CLEAR  # type: ignore[index]
