"""The evaluator of policies against what AWS's reference documents, example by example."""

import pytest
from tests.support.iam import Grant, Policies, Request, allowed, statements, trusts
from tests.support.iam_conditions import arn_glob, glob, holds

ROLE = "arn:aws:iam::111122223333:role/reader"
OTHER = "arn:aws:iam::111122223333:role/other"
ROOT = "arn:aws:iam::111122223333:root"
OBJECT = "arn:aws:s3:::bucket/folder/x"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1"


def document(*given):
    return {"Version": "2012-10-17", "Statement": list(given)}


def says(effect="Allow", action="s3:GetObject", resource="*", **rest):
    return {"Effect": effect, "Action": action, "Resource": resource, **rest}


READ = document(says())
GET = Request(ROLE, "s3:GetObject", OBJECT)


def test_what_nothing_allows_is_denied():
    assert not allowed(GET, Policies())
    assert not allowed(GET, Policies(identity=[document(says(action="s3:PutObject"))]))


def test_a_denial_wins_wherever_it_stands():
    no = document(says("Deny"))
    named = document(says("Deny", Principal="*"))
    assert allowed(GET, Policies(identity=[READ]))
    assert not allowed(GET, Policies(identity=[READ, no]))
    assert not allowed(GET, Policies(identity=[READ], boundary=document(says(), says("Deny"))))
    assert not allowed(GET, Policies(identity=[READ], resource=named))


def test_a_boundary_allows_nothing_by_itself_and_bounds_the_rest():
    assert not allowed(GET, Policies(boundary=READ))
    assert allowed(GET, Policies(identity=[READ], boundary=READ))
    assert not allowed(GET, Policies(identity=[READ], boundary=document(says(action="s3:ListBucket"))))
    named = document(says(Principal={"AWS": ROLE}))
    assert allowed(GET, Policies(resource=named, boundary=READ))
    assert not allowed(GET, Policies(resource=named, boundary=document(says(action="s3:ListBucket"))))


def test_a_resource_opens_to_the_role_that_it_names():
    assert allowed(GET, Policies(resource=document(says(Principal={"AWS": [OTHER, ROLE]}))))
    assert not allowed(GET, Policies(resource=document(says(Principal={"AWS": OTHER}))))
    assert not allowed(GET, Policies(resource=document(says(Principal={"AWS": ROOT}))))  # the account decides further


def test_a_key_opens_by_its_own_policy_or_by_a_grant():
    use = Request(ROLE, "kms:Decrypt", KEY)
    mine = [document(says(action="kms:*"))]
    root = document(says(action="kms:*", Principal={"AWS": ROOT}))
    assert not allowed(use, Policies(identity=mine, resource=document()))
    assert allowed(use, Policies(identity=mine, resource=root))
    assert not allowed(use, Policies(resource=root))
    assert allowed(use, Policies(resource=document(says(action="kms:Decrypt", Principal={"AWS": ROLE}))))
    grant = Grant(ROLE, KEY, ("Decrypt",))
    assert allowed(use, Policies(resource=document(), grants=[grant]))
    assert not allowed(Request(OTHER, "kms:Decrypt", KEY), Policies(resource=document(), grants=[grant]))
    assert not allowed(Request(ROLE, "kms:Encrypt", KEY), Policies(resource=document(), grants=[grant]))
    no = document(says("Deny", "kms:Decrypt", Principal="*"))
    assert not allowed(use, Policies(resource=no, grants=[grant]))


def test_not_action_and_not_resource_are_about_everything_else():
    all_but = [document({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})]
    assert allowed(GET, Policies(identity=all_but))
    assert not allowed(Request(ROLE, "IAM:CreateUser", "*"), Policies(identity=all_but))
    elsewhere = [document({"Effect": "Allow", "Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/*"})]
    assert not allowed(GET, Policies(identity=elsewhere))
    assert allowed(Request(ROLE, "s3:GetObject", "arn:aws:s3:::else/x"), Policies(identity=elsewhere))


def test_patterns():
    assert glob("s3:Get*", "s3:GetObject")
    assert glob("a?c", "abc")
    assert not glob("a.c", "abc")
    assert glob("arn:aws:s3:::b/*", "arn:aws:s3:::b/x/y")
    assert arn_glob("arn:aws:iam::*:role/a*", "arn:aws:iam::1:role/ab/c")
    assert not arn_glob("arn:aws:*", "arn:aws:iam::1:role/a")


@pytest.mark.parametrize(
    ("condition", "context", "expected"),
    [
        ({"StringEquals": {"k": ["a", "b"]}}, {"k": "b"}, True),  # several values: any of them
        ({"StringEquals": {"K": "a"}}, {"k": "a"}, True),  # names of keys have no case
        ({"StringEquals": {"k": "a"}}, {"k": "A"}, False),
        ({"StringEqualsIgnoreCase": {"k": "a"}}, {"k": "A"}, True),
        ({"StringEquals": {"k": "a"}}, {}, False),  # a key that isn't there
        ({"StringNotEquals": {"k": "a"}}, {}, True),  # of which each negated operator holds
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),  # several values: none of them
        ({"StringNotEqualsIfExists": {"k": "a"}}, {"k": "b"}, True),
        ({"StringNotEqualsIfExists": {"k": "a"}}, {"k": "a"}, False),
        ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
        ({"StringLike": {"k": "a*"}}, {"k": "abc"}, True),
        ({"StringNotLike": {"k": "a*"}}, {"k": "abc"}, False),
        ({"Bool": {"k": "true"}}, {"k": "true"}, True),
        ({"Bool": {"k": "true"}}, {}, False),
        ({"BoolIfExists": {"k": "false"}}, {}, True),
        ({"NumericLessThan": {"k": "1.3"}}, {"k": "1.2"}, True),
        ({"NumericLessThan": {"k": "1.3"}}, {"k": "1.3"}, False),
        ({"NumericLessThan": {"k": "900"}}, {}, False),
        ({"Null": {"k": "true"}}, {}, True),
        ({"Null": {"k": "false"}}, {}, False),
        ({"ArnLike": {"k": "arn:aws:iam::1:role/*"}}, {"k": "arn:aws:iam::1:role/a"}, True),
        ({"ArnNotEquals": {"k": ["arn:aws:iam::1:role/a"]}}, {"k": "arn:aws:iam::1:role/a"}, False),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": "a"}}, {}, True),  # as documented: Null has to rule it out
        ({"ForAnyValue:StringEquals": {"k": ["a", "b"]}}, {"k": ["c", "b"]}, True),
        ({"ForAnyValue:StringEquals": {"k": "a"}}, {}, False),
        ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a"}, False),  # all keys, and all operators
        ({"StringEquals": {"k": "a"}, "Bool": {"l": "true"}}, {"k": "a", "l": "false"}, False),
    ],
)
def test_conditions(condition, context, expected):
    assert holds(condition, context) is expected


def test_what_is_not_known_is_refused():
    with pytest.raises(ValueError, match="DateLessThan"):
        holds({"DateLessThan": {"k": "2026"}}, {"k": "2025"})
    with pytest.raises(ValueError, match="several"):
        holds({"StringEquals": {"k": "a"}}, {"k": ["a"]})
    with pytest.raises(ValueError, match="NotPrincipal"):
        statements(document({"Effect": "Deny", "NotPrincipal": "*", "Action": "*", "Resource": "*"}))
    with pytest.raises(ValueError, match="variables"):
        allowed(GET, Policies(identity=[document(says(resource="arn:aws:s3:::b/${aws:username}"))]))


def test_trust_names_a_role_a_service_or_an_account():
    take = Request(ROLE, "sts:AssumeRole", "*")
    for principal in ({"AWS": ROLE}, {"AWS": ROOT}, {"AWS": "111122223333"}):
        assert trusts(document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}), take)
    service = document({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    assert not trusts(service, take)
    assert trusts(service, Request("ec2.amazonaws.com", "sts:AssumeRole", "*"))
