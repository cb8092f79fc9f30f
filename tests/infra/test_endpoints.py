"""Policies of the VPC's endpoints and of what isn't the lake: nothing leaves with somebody else's credentials."""

from __future__ import annotations

import json

import pytest
from tests.support.cloud import Account, render
from tests.support.iam import Policies, Request, allowed, statements

AT = Account()
OURS = {"aws:PrincipalAccount": AT.account}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
VALUES = {"account": AT.account, "partition": AT.partition, "region": AT.region}


def passes(endpoint: str, action: str, resource: str, context: dict[str, str]) -> bool:
    """Return whether somebody who may do everything gets through an endpoint; it bounds as a boundary does."""
    request = Request(AT.role("platform"), action, resource, context)
    return allowed(request, Policies([ALL], render(endpoint, VALUES)))


@pytest.mark.parametrize(
    "action", ["kms:Decrypt", "sts:AssumeRole", "secretsmanager:GetSecretValue", "logs:PutLogEvents"]
)
def test_endpoints_pass_this_account_s_identities_alone(action: str) -> None:
    assert passes("endpoint", action, "*", OURS)
    assert not passes("endpoint", action, "*", {"aws:PrincipalAccount": "999999999999"})
    assert not passes("endpoint", action, "*", {})  # nobody's: a request without a signature


def test_s3_s_endpoint_passes_our_identities_in_our_buckets_alone() -> None:
    ours, theirs = {**OURS, "aws:ResourceAccount": AT.account}, {**OURS, "aws:ResourceAccount": "999999999999"}
    place = f"{AT.bucket()}/{AT.prefix}/synthetic/x"
    assert passes("endpoint_s3", "s3:PutObject", place, ours)
    assert not passes("endpoint_s3", "s3:PutObject", "arn:aws:s3:::elsewhere/x", theirs)
    foreign = {"aws:PrincipalAccount": "999999999999", "aws:ResourceAccount": "999999999999"}
    for context in (foreign, {**foreign, "aws:ResourceAccount": AT.account}, {"aws:ResourceAccount": AT.account}):
        assert not passes("endpoint_s3", "s3:PutObject", place, context)


def test_layers_of_images_are_fetched_by_the_registry_s_own_signature() -> None:
    layers = f"arn:aws:s3:::prod-{AT.region}-starport-layer-bucket/x"
    registry = {"aws:PrincipalAccount": "888888888888", "aws:ResourceAccount": "888888888888"}
    assert passes("endpoint_s3", "s3:GetObject", layers, registry)
    assert not passes("endpoint_s3", "s3:PutObject", layers, registry)


def test_the_home_is_mounted_by_its_access_point_and_over_tls_alone() -> None:
    here = f"arn:aws:elasticfilesystem:{AT.region}:{AT.account}"
    system, point = f"{here}:file-system/fs-1", f"{here}:access-point/fsap-1"
    document = render("efs_home", {"file_system_arn": system, "access_point_arn": point})
    sound = {
        "elasticfilesystem:AccessedViaMountTarget": "true",
        "elasticfilesystem:AccessPointArn": point,
        "aws:SecureTransport": "true",
    }

    def mounts(**changed: str) -> bool:
        context = {**sound, **{key.replace("__", ":"): value for key, value in changed.items()}}
        request = Request(AT.role("platform"), "elasticfilesystem:ClientMount", system, context)
        return allowed(request, Policies(resource=document))

    assert mounts()
    assert not mounts(aws__SecureTransport="false")
    assert not mounts(elasticfilesystem__AccessPointArn="")
    assert not mounts(elasticfilesystem__AccessedViaMountTarget="false")


def test_alarms_are_published_without_a_condition_that_eventbridge_does_not_meet() -> None:
    """EventBridge publishes to topics of its rules without telling account or source: an alarm would stay unsent."""
    topic = render("sns_alarms", {"topic_arn": "arn:aws:sns:eu-west-1:123456789012:x", "account": AT.account})
    key = render("kms_trail_key", {
        "deployer": AT.deployer, "trail": "arn:aws:cloudtrail:eu-west-1:123456789012:trail/x", "account": AT.account,
        "region": AT.region, "partition": AT.partition, "auditor": AT.role("auditor"),
    })  # fmt: skip
    for document in (topic, key):
        [alarms] = [one for one in statements(document) if "events.amazonaws.com" in json.dumps(one.get("Principal"))]
        assert "Condition" not in alarms
        assert alarms["Principal"] == {"Service": "events.amazonaws.com"}


@pytest.mark.parametrize("name", ["trail", "access-logs"])
def test_what_services_wrote_is_removed_by_nobody(name: str) -> None:
    from tests.support.cloud import bucket_documents

    document = bucket_documents(AT)[name]
    place, context = f"{AT.bucket('-' + name)}/x", {"aws:PrincipalIsAWSService": "false", "aws:SecureTransport": "true"}
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObject", "s3:BypassGovernanceRetention"):
        for who in (AT.deployer, AT.role("break-glass"), f"arn:aws:iam::{AT.account}:root"):
            assert not allowed(Request(who, action, place, context), Policies([ALL], resource=document)), (who, action)
