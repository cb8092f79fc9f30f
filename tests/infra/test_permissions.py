"""Each role may do what permissions.yaml says, and nothing else; one permission more anywhere makes the table fail."""

import functools
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml
from tests.support.cloud import Account, platform
from tests.support.cloud_access import given, held, probes, shipped
from tests.support.iam import statements
from tests.support.iam_conditions import listed

ROLES = sorted(platform()["roles"])
AT = Account()
PEOPLE = ("landing", "protected", "quarantine", "views")


@functools.cache
def _table():
    written = yaml.safe_load(Path(__file__).with_name("permissions.yaml").read_text(encoding="utf-8"))
    labels = sorted({(probe.action, probe.label) for probe in probes(AT)})
    found = {}
    for role, rules in written.items():
        lines = [(action, on) for rule in rules for action in rule["may"] for on in rule["where"]]
        meant = {(a, on): [(a, label) for b, label in labels if b == a and _is(label, on)] for a, on in lines}
        assert all(meant.values()), "a line that names nothing"
        found[role] = frozenset(pair for pairs in meant.values() for pair in pairs)
    return found


def _is(label, on):
    return label == on or fnmatchcase(label, on)


def test_the_table_has_every_role():
    assert set(_table()) == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_table_says_and_nothing_else(role):
    assert held(shipped(), role) == _table()[role]


@pytest.mark.parametrize("role", ROLES)
def test_no_role_is_given_what_only_another_policy_takes_back(role):
    # a denial elsewhere is a second lock, not a reason to leave the first one open
    assert given(shipped(), role) <= _table()[role]


def _allowances(document):
    return [statement for statement in statements(document) if statement["Effect"] == "Allow"]


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_is_given_is_named_one_by_one_and_known_to_the_table(role):
    known = {probe.action for probe in probes(AT)}
    for statement in _allowances(shipped().roles[role]["policy"]):
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        assert set(listed(statement["Action"])) <= known


def test_what_a_key_gives_is_named_one_by_one_and_known_to_the_table():
    known = {probe.action for probe in probes(AT)} | {"kms:ListResourceTags", "kms:TagResource"}
    known |= {"kms:CreateAlias", "kms:UpdateKeyDescription"}
    for document in shipped().keys.values():
        for statement in _allowances(document):
            assert "NotAction" not in statement
            assert set(listed(statement["Action"])) <= known
            assert "*" not in listed(statement["Principal"]["AWS"])


def _more(world, role, action, resource):
    world.roles[role]["policy"]["Statement"].append({"Effect": "Allow", "Action": action, "Resource": resource})
    return world


@pytest.mark.parametrize("role", ROLES)
def test_one_permission_more_is_found(role):
    """For each pair of the universe that a role isn't given: adding that one makes the table fail for this role."""
    table, tried = _table()[role], 0
    for probe in probes(AT):
        pair = (probe.action, probe.label)
        if pair in table:
            continue
        world = shipped().changed(role)
        _more(world, role, probe.action, probe.resource)
        assert world.gives(role, probe), pair  # so given(...) <= table fails
        tried += 1
    assert tried > 900


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", ["*", "s3:*", "s3:Get*", "kms:*", "iam:*", "kms:Decrypt", "sts:AssumeRole"])
def test_a_wildcard_more_is_found(role, action):
    world = _more(shipped().changed(role), role, action, "*")
    assert any((p.action, p.label) not in _table()[role] and world.gives(role, p) for p in probes(AT))


@pytest.mark.parametrize("role", [role for role in ROLES if role != "platform"])
def test_a_role_more_in_a_key_policy_is_found(role):
    for key in platform()["keys"]:
        for action in ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"):
            probe = next(p for p in probes(AT) if (p.action, p.label) == (action, f"key:{key}"))
            if (action, probe.label) in _table()[role]:
                continue
            world = shipped().changed(key=key)
            allow = {"Effect": "Allow", "Principal": {"AWS": AT.role(role)}, "Action": action, "Resource": "*"}
            world.keys[key]["Statement"].append(allow)
            # whoever administers stays shut out by a denial; anybody else is found
            assert world.may(role, probe) is (role not in ("key-administrator", "break-glass"))


def test_a_role_more_in_the_policy_of_the_bucket_is_found():
    probe = next(p for p in probes(AT) if (p.action, p.label) == ("s3:GetObject", "object:evidence"))
    world = shipped().copy()
    allow = {"Effect": "Allow", "Principal": {"AWS": AT.role("model-team")}, "Action": "s3:*", "Resource": "*"}
    world.buckets["lake"]["Statement"].append(allow)
    assert world.may("model-team", probe)
    assert held(world, "model-team") != _table()["model-team"]


def _labels(role, action):
    return {label for found, label in _table()[role] if found == action}


def test_the_model_team_never_reaches_people_or_raw_keys():
    role = "model-team"
    assert not _labels(role, "s3:GetObject") & {f"object:{zone}" for zone in (*PEOPLE, "models", "rights", "evidence")}
    opened = {label.removeprefix("key:").split("/")[0] for label in _labels(role, "kms:Decrypt")} - {"own key:storage"}
    assert opened == {"synthetic", "aggregates"}
    world = shipped().copy()
    for action in ("s3:*", "kms:*"):
        _more(world, role, action, "*")  # even then the other locks hold
    for probe in probes(AT):
        if probe.label.startswith("object:") and probe.label.removeprefix("object:") in PEOPLE:
            assert not world.may(role, probe) or probe.action in ("s3:AbortMultipartUpload",)
        if probe.label.startswith("key:") and probe.action == "kms:Decrypt":
            assert world.may(role, probe) is ((probe.action, probe.label) in _table()[role])


def test_nobody_both_administers_and_uses_a_key():
    use = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
    administer = {"kms:CreateGrant", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:RevokeGrant"}
    for role in ROLES:
        of_keys = {action for action, label in _table()[role] if label.startswith(("key:", "own key:"))}
        assert not (of_keys & use and of_keys & administer), role


def test_only_the_path_writes_and_nobody_takes_a_destruction_back():
    for role in ROLES:
        writes = {action for action, _ in _table()[role] if action.startswith(("s3:PutObject", "s3:DeleteObject"))}
        assert not writes or role in ("platform", "spark", "jobs")
        assert not _labels(role, "kms:CancelKeyDeletion")
        assert not _labels(role, "s3:GetObjectVersion")
