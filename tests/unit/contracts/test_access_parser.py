"""The policy file: what it says, and every fault of it at once, each with line and column."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from cloakhouse.contracts.access_parser import MAX_BYTES, load_policy, parse_policy
from cloakhouse.contracts.access_policy import Principal, Role, Rule, Shown
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ContractError
from cloakhouse.settings import Settings

GOOD = """\
apiVersion: cloakhouse.access/v1
roles:
  analyst:
    purposes: [reporting, service desk]
    reviewBy: 2027-03-31
    reads:
      - zones: [synthetic]
        datasets: ["baskets_*", stores]
        classes: [plain, indirect identifier]
        masking: {direct identifier: redact, sensitive: null, payment: omit}
  lander:
    purposes: [repair]
    reviewBy: 2027-01-31
    reads:
      - zones: [landing]
        datasets: ["*"]
        classes: [direct identifier, indirect identifier, sensitive, payment, plain]
principals:
  ann: {roles: [analyst], reviewBy: 2027-01-01}
  ben: {roles: [lander, analyst], account: "arn:aws:iam::123456789012:role/ben"}
"""


def refused(text: str) -> ContractError:
    with pytest.raises(ContractError) as fault:
        parse_policy(text, "access.yaml")
    assert fault.value.code == "contract.access"
    assert fault.value.exit_code == 2
    assert "nobody but the platform reads" in fault.value.not_done
    return fault.value


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def test_a_policy() -> None:
    policy = parse_policy(GOOD, "access.yaml")
    masking = {
        ColumnClass.DIRECT: Shown.REDACT,
        ColumnClass.SENSITIVE: Shown.NULL,
        ColumnClass.PAYMENT: Shown.OMIT,
    }
    classes = frozenset({ColumnClass.PLAIN, ColumnClass.INDIRECT})
    assert policy.roles == {
        "analyst": Role(
            "analyst",
            ("reporting", "service desk"),
            (Rule(("synthetic",), ("baskets_*", "stores"), classes, masking),),
            dt.date(2027, 3, 31),
        ),
        "lander": Role(
            "lander", ("repair",), (Rule(("landing",), ("*",), frozenset(ColumnClass)),), dt.date(2027, 1, 31)
        ),
    }
    assert policy.principals == {
        "ann": Principal("ann", ("analyst",), dt.date(2027, 1, 1), "ann"),
        "ben": Principal("ben", ("lander", "analyst"), None, "arn:aws:iam::123456789012:role/ben"),
    }


def test_the_shipped_policy_is_sound_and_gives_plain_identities_to_the_privacy_officer_alone() -> None:
    settings = Settings.from_environment({})
    policy = load_policy(settings.policy)
    others = {"platform-engineer", "model-team", "analyst", "auditor", "customer-service"}
    assert set(policy.roles) == {*others, "privacy-officer"}
    assert not policy.principals
    assert policy.roles["privacy-officer"].purposes == ("data-subject-rights",)
    rules = [rule for role in policy.roles.values() for rule in role.reads]
    assert "landing" not in {zone for name in others for rule in policy.roles[name].reads for zone in rule.zones}
    names = {d for rule in rules for d in rule.datasets if d != "*"}
    assert names <= set(load_contracts(settings.contracts))


@pytest.mark.parametrize(
    ("old", "new", "at", "expected"),
    [
        ("access/v1", "access/v2", "cloakhouse.access/v2", "one of cloakhouse.access/v1"),
        ("principals:", "principal:", "ann: {roles", "one of apiVersion, principals, roles"),
        ("roles:\n  analyst", "roles:\n  Analyst", "purposes: [reporting", "a name of lower-case letters"),
        ("  ann:", "  platform:", "{roles: [analyst], ", "other than `platform`"),
        ("[reporting, service desk]", "[]", "[]", "a list of distinct names"),
        ("[reporting, service desk]", "[Reporting]", "Reporting]", "a purpose of lower-case words"),
        (
            "[reporting, service desk]",
            "[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]",
            "at most 64 characters",
        ),
        ("    reviewBy: 2027-03-31\n", "", "purposes: [reporting", "`reviewBy`: a day (2027-03-31)"),
        ("2027-03-31", "soon", "soon", "`reviewBy` as a day"),
        ("2027-03-31", "2027-03-31 10:00:00", "2027-03-31 10", "`reviewBy` as a day"),
        ("2027-03-31", "2027-02-31", "2027-02-31", "well-formed YAML"),
        ("2027-01-01}", "never}", "never}", "`reviewBy` as a day"),
        ("zones: [synthetic]", "zones: [synthetik]", "synthetik", "one of landing, quarantine"),
        ("zones: [synthetic]", 'zones: ["*"]', '"*"]', "one of landing, quarantine"),
        ("zones: [synthetic]", "zones: [synthetic, landing]", "[synthetic, landing]", "a rule on `landing` alone"),
        (", sensitive, payment, plain]", "]", "[landing]", "one key opens all columns"),
        ('"baskets_*", stores', '"../stores"', '"../stores"', "a dataset's name, or a pattern"),
        ("[plain, indirect identifier]", "[plain, indirect]", "indirect]", "one of direct identifier"),
        ("[plain, indirect identifier]", "[]", "[]", "a list of distinct names"),
        ("payment: omit", "payment: hide", "hide", "one of redact, null, omit"),
        ("payment: omit", "payment: clear", "clear", "one of redact, null, omit"),
        ("payment: omit", "plain: omit", "omit", "a class that the rule doesn't read"),
        ("payment: omit", "colour: omit", "omit", "a class that the rule doesn't read"),
        ("    purposes: [repair]", "    purpose: [repair]", "purpose: [repair]", "`purposes`: a list of names"),
        ("[lander, analyst]", "[lander, analysts]", "analysts", "one of analyst, lander"),
        ('account: "', 'acount: "', '"arn', "one of account, reviewBy, roles"),
        ('"arn:aws:iam::123456789012:role/ben"', "ann", "ann}", "an account of its own"),
        ('"arn:aws:iam::123456789012:role/ben"', "platform", "platform", "an account of its own"),
        ('"arn:aws:iam::123456789012:role/ben"', '"a b"', '"a b"', "a name at the key service, or an ARN"),
        ("{roles: [analyst], reviewBy: 2027-01-01}", "[analyst]", "[analyst]\n", "a mapping for `ann`"),
        ("masking: {direct identifier: redact, sensitive: null, payment: omit}", "masking: all", "all", "a mapping"),
    ],
)
def test_a_fault_is_told_with_its_place(old: str, new: str, at: str, expected: str) -> None:
    """`at` is what the place points to: its first occurrence in the edited file."""
    text = edited(old, new)
    fault = refused(text)
    before = text[: text.index(at)]
    place = f"access.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
    told = [(fault.where, fault.expected), *re.findall(r"(access\.yaml:\d+:\d+): expected (.*?); found", fault.found)]
    assert [where for where, wanted in told if expected in wanted] == [place], fault.explain()


def test_all_faults_are_told_at_once() -> None:
    text = edited("access/v1", "access/v9").replace("2027-03-31", "soon").replace("[lander, analyst]", "[nobody]")
    fault = refused(text)
    assert fault.where == "access.yaml:1:13"
    assert "and 2 more" in fault.found
    assert "access.yaml:5:15: expected `reviewBy` as a day" in fault.found
    assert "access.yaml:20:17: expected one of analyst, lander; found `nobody`" in fault.found


@pytest.mark.parametrize("text", ["", "[]", "a", "roles: {}", "apiVersion: cloakhouse.access/v1\nroles: {a: {}}"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    refused(text)


def test_a_policy_without_roles_denies_all() -> None:
    policy = parse_policy("apiVersion: cloakhouse.access/v1\nroles: {}\nprincipals: {}\n", "access.yaml")
    assert (policy.roles, policy.principals) == ({}, {})
    nobody = "apiVersion: cloakhouse.access/v1\nroles: {}\nprincipals:\n"
    assert parse_policy(nobody, "access.yaml") == policy
    assert refused(nobody.replace("principals:\n", "")).expected == "`principals`: a mapping"
    fault = refused("apiVersion: cloakhouse.access/v1\nroles: {}\nprincipals: {a: {roles: [b]}}\n")
    assert "there are no roles" in fault.expected


def test_an_unreadable_file(tmp_path: Path) -> None:
    file = tmp_path / "access.yaml"
    for content, found in (
        (None, "no such file"),
        (b"\xff", "UnicodeDecodeError"),
        (b" " * (MAX_BYTES + 1), "more"),
    ):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ContractError) as fault:
            load_policy(file)
        assert (fault.value.code, fault.value.found, fault.value.where) == ("contract.file", found, "access.yaml:1:1")
