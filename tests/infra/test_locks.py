"""What opens only in the right circumstances: buckets, master keys, grants of them, and the roles themselves."""

import pytest
from tests.support.cloud import Account, key_document, platform
from tests.support.cloud_access import TOKEN_GRANTS, grants_of_the_policy, probes, shipped
from tests.support.iam import Grant, Policies, Request, allowed, trusts

AT = Account()
KEY = "protected/direct"


def probe(action, label):
    return next(p for p in probes(AT) if (p.action, p.label) == (action, label))


READ = probe("s3:GetObject", "object:protected")
WRITE = probe("s3:PutObject", "object:protected")
OPEN = probe("kms:Decrypt", f"key:{KEY}")


@pytest.mark.parametrize(
    ("what", "context"),
    [
        (READ, {"aws__SecureTransport": "false"}),
        (READ, {"s3__TlsVersion": "1.2"}),
        (READ, {"aws__PrincipalOrgID": "o-somebodyelse"}),
        (READ, {"aws__PrincipalOrgID": ""}),
        (READ, {"aws__SourceVpce": "vpce-of-somebody"}),
        (READ, {"aws__SourceVpce": ""}),
        (WRITE, {"s3__x-amz-server-side-encryption": "AES256"}),
        (WRITE, {"s3__x-amz-server-side-encryption": "aws:kms:dsse"}),
        (WRITE, {"s3__x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:123456789012:key/other"}),
        (WRITE, {"s3__x-amz-server-side-encryption-customer-algorithm": "AES256"}),
    ],
)
def test_the_bucket_opens_in_no_other_circumstances(what, context):
    assert shipped().may("platform", what)
    assert not shipped().may("platform", what.but(**context))


def test_an_upload_that_asks_for_nothing_gets_the_buckets_own_encryption():
    plain = {"s3__x-amz-server-side-encryption": "", "s3__x-amz-server-side-encryption-aws-kms-key-id": ""}
    assert shipped().may("platform", WRITE.but(**plain))  # the bucket's default is the lake's key


@pytest.mark.parametrize(
    "context",
    [
        {"kms__EncryptionContext__cloakhouse__key": "protected/plain"},
        {"kms__EncryptionContext__cloakhouse__key": ""},
        {"aws__SourceVpce": ""},
        {"aws__SourceVpce": "vpce-of-somebody"},
        {"aws__PrincipalOrgID": "o-somebodyelse"},
    ],
)
def test_a_master_key_opens_in_no_other_circumstances_not_even_by_a_grant(context):
    for role in ("platform", "privacy-officer"):  # by its policy, and by a grant
        assert shipped().may(role, OPEN)
        assert not shipped().may(role, OPEN.but(**context))


def test_a_context_of_more_than_the_platform_sends_is_not_its_own():
    more = {**OPEN.context, "kms:EncryptionContextKeys": ["cloakhouse:key", "cloakhouse:context", "other"]}
    assert not shipped().may("platform", type(OPEN)(OPEN.action, OPEN.label, OPEN.resource, more))


def test_the_storage_key_opens_through_s3_for_the_lake_alone():
    use = probe("kms:Decrypt", "own key:storage")
    assert shipped().may("model-team", use)
    assert not shipped().may("model-team", use.but(kms__ViaService=""))
    assert not shipped().may("model-team", use.but(kms__EncryptionContext__aws__s3__arn="arn:aws:s3:::other"))


GRANT = probe("kms:CreateGrant", f"key:{KEY}")


def _granting(grantee, operations=("Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey")):
    context = {**GRANT.context, "kms:GranteePrincipal": AT.role(grantee), "kms:GrantOperations": list(operations)}
    return type(GRANT)(GRANT.action, GRANT.label, GRANT.resource, context)


def test_the_administrator_grants_to_whom_the_access_policy_names_and_to_nobody_else():
    able = {role for role in platform()["roles"] if shipped().may("key-administrator", _granting(role))}
    assert able == {"privacy-officer"}
    assert not shipped().may("key-administrator", _granting("privacy-officer", ("Decrypt", "CreateGrant")))
    nothing = {k: v for k, v in _granting("privacy-officer").context.items() if k != "kms:GrantOperations"}
    assert not shipped().may("key-administrator", type(GRANT)(GRANT.action, GRANT.label, GRANT.resource, nothing))


def test_a_grant_to_the_administrator_would_open_nothing():
    world = shipped().copy()
    for role in ("key-administrator", "break-glass"):
        world.grants.append(Grant(AT.role(role), OPEN.resource, ("Decrypt",)))
        assert not world.may(role, OPEN)


def test_a_key_ends_only_by_a_fresh_second_factor():
    end = probe("kms:ScheduleKeyDeletion", f"key:{KEY}")
    assert shipped().may("key-administrator", end)
    assert not shipped().may("key-administrator", end.but(aws__MultiFactorAuthAge="901"))
    assert not shipped().may("key-administrator", end.but(aws__MultiFactorAuthPresent=""))


def test_who_may_be_granted_a_key_is_what_the_access_policy_says():
    wanted = {*grants_of_the_policy(AT), *((role, key) for role, keys in TOKEN_GRANTS.items() for key in keys)}
    assert {(role, key) for key, is_ in platform()["keys"].items() for role in is_["grantees"]} == wanted


def test_the_deployer_opens_nothing():
    for key in platform()["keys"]:
        ask = probe("kms:Decrypt", f"key:{key}")
        request = Request(AT.deployer, ask.action, ask.resource, {**ask.context, "aws:PrincipalArn": AT.deployer})
        anything = [{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}]
        assert not allowed(request, Policies(anything, resource=shipped().keys[key]))


def test_an_enclave_alone_opens_its_keys_when_it_is_asked_for():
    at = Account(enclave_image_sha384="ab" * 48)
    request = Request(AT.role("platform"), OPEN.action, OPEN.resource, {**OPEN.context, "aws:PrincipalArn": "x"})
    document = key_document(at, KEY)
    assert not allowed(request, Policies(resource=document))
    attested = {**request.context, "kms:RecipientAttestation:ImageSha384": "AB" * 48}
    assert allowed(Request(request.principal, request.action, request.resource, attested), Policies(resource=document))
    assert "RecipientAttestation" not in str(key_document(at, "synthetic/plain"))


PEOPLE = sorted(role for role, is_ in platform()["roles"].items() if is_["trust"] == "trust_person")


def _taken(role, who=None, **context):
    age = platform()["roles"][role]["mfa_age_s"]
    sound = {
        "aws:PrincipalArn": who or AT.member(role),
        "aws:PrincipalOrgID": AT.organization,
        "aws:MultiFactorAuthPresent": "true",
        "aws:MultiFactorAuthAge": str(age - 1),
    }
    given = {k: v for k, v in {**sound, **{k.replace("__", ":"): v for k, v in context.items()}}.items() if v}
    return trusts(
        shipped().roles[role]["trust"], Request(given["aws:PrincipalArn"], "sts:AssumeRole", AT.role(role), given)
    )


@pytest.mark.parametrize("role", PEOPLE)
def test_a_persons_role_is_taken_by_its_members_with_a_second_factor(role):
    assert _taken(role)
    assert not _taken(role, who=AT.member("somebody"))
    assert not _taken(role, aws__MultiFactorAuthPresent="")
    assert not _taken(role, aws__MultiFactorAuthPresent="false")
    assert not _taken(role, aws__MultiFactorAuthAge=str(platform()["roles"][role]["mfa_age_s"]))
    assert not _taken(role, aws__PrincipalOrgID="o-somebodyelse")


def test_sensitive_roles_ask_for_the_second_factor_within_the_hour():
    for role in ("privacy-officer", "customer-service", "auditor", "key-administrator"):
        assert 0 < platform()["roles"][role]["mfa_age_s"] <= 3600
    assert 0 < platform()["roles"]["break-glass"]["mfa_age_s"] <= 900


def test_services_take_their_roles_for_this_account_alone():
    cluster = f"arn:aws:eks:{AT.region}:{AT.account}:cluster/{AT.name}"
    for role, service, source in (
        ("platform", "pods.eks.amazonaws.com", cluster),
        ("spark", "pods.eks.amazonaws.com", cluster),
        ("jobs", "emr-serverless.amazonaws.com", AT.application_arn),
    ):
        trust = shipped().roles[role]["trust"]
        context = {"aws:SourceAccount": AT.account, "aws:SourceArn": source}
        assert trusts(trust, Request(service, "sts:AssumeRole", AT.role(role), context))
        elsewhere = {"aws:SourceAccount": "999999999999", "aws:SourceArn": source}
        assert not trusts(trust, Request(service, "sts:AssumeRole", AT.role(role), elsewhere))
        assert not trusts(trust, Request("lambda.amazonaws.com", "sts:AssumeRole", AT.role(role), context))
        assert not trusts(trust, Request(AT.role("model-team"), "sts:AssumeRole", AT.role(role), context))


@pytest.mark.parametrize("bucket", ["trail", "access-logs"])
def test_what_is_kept_as_proof_is_written_by_its_service_alone(bucket):
    document = shipped().buckets[bucket]
    service = {"trail": "cloudtrail.amazonaws.com", "access-logs": "logging.s3.amazonaws.com"}[bucket]
    source = f"arn:aws:cloudtrail:{AT.region}:{AT.account}:trail/{AT.name}" if bucket == "trail" else AT.bucket()
    context = {"aws:SourceAccount": AT.account, "aws:SourceArn": source, "aws:SecureTransport": "true"}
    context["aws:PrincipalIsAWSService"] = "true"
    arn = f"{AT.bucket('-' + bucket)}/x"
    assert allowed(Request(service, "s3:PutObject", arn, context), Policies(resource=document))
    other = {**context, "aws:SourceAccount": "999999999999"}
    assert not allowed(Request(service, "s3:PutObject", arn, other), Policies(resource=document))
    everything = [{"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}]
    somebody = {**context, "aws:PrincipalIsAWSService": "false"}
    for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
        request = Request(AT.deployer, action, arn, somebody)
        assert not allowed(request, Policies(everything, resource=document))
