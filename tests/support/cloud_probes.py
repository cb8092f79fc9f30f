"""Everything that the tests of infra/terraform ask whether a role may do it: the universe of requests.

A probe is one action on one resource, in a context in which nothing but permissions stands in the way: over TLS 1.3,
through the VPC's endpoints, from within the organization, with a second factor a minute ago.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tests.support.cloud import Account, platform
from tests.support.iam_conditions import Context

from cloakhouse.keys.aws_grants import OPERATIONS
from cloakhouse.keys.aws_kms import _bound
from cloakhouse.keys.protocol import KeyName

USE = ("Encrypt", "Decrypt", "GenerateDataKey")
OBJECT = (
    *("GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion", "AbortMultipartUpload", "GetObjectVersion"),
    *("PutObjectAcl", "PutObjectTagging", "PutObjectRetention", "RestoreObject", "BypassGovernanceRetention"),
)
BUCKET = (
    *("ListBucketVersions", "ListBucketMultipartUploads", "GetBucketPublicAccessBlock", "GetBucketPolicyStatus"),
    *("GetBucketAcl", "GetBucketVersioning", "GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    *("PutBucketPublicAccessBlock", "PutBucketVersioning", "PutLifecycleConfiguration", "PutEncryptionConfiguration"),
    *("PutBucketLogging", "PutBucketAcl", "PutReplicationConfiguration", "DeleteBucket"),
)
KEY = (
    *(*USE, "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo", "DescribeKey", "GetKeyPolicy"),
    *("GetKeyRotationStatus", "ListKeyRotations", "ListGrants", "CreateGrant", "RevokeGrant", "RetireGrant"),
    *("PutKeyPolicy", "EnableKey", "DisableKey", "EnableKeyRotation", "DisableKeyRotation", "RotateKeyOnDemand"),
    *("ScheduleKeyDeletion", "CancelKeyDeletion", "ReplicateKey", "ImportKeyMaterial"),
)
ACCOUNT = (
    *("kms:CreateKey", "kms:ListAliases", "kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias"),
    *("iam:CreateUser", "iam:CreateAccessKey", "iam:CreateRole", "iam:AttachRolePolicy", "iam:PutRolePolicy"),
    *("iam:UpdateAssumeRolePolicy", "iam:CreatePolicyVersion", "iam:DeleteRolePermissionsBoundary", "sts:AssumeRole"),
    *("cloudtrail:LookupEvents", "cloudtrail:StopLogging", "cloudtrail:DeleteTrail", "cloudtrail:PutEventSelectors"),
    *("s3:ListAllMyBuckets", "s3:PutAccountPublicAccessBlock", "ec2:RunInstances", "ec2:CreateSnapshot"),
    *("ec2:DeleteVpcEndpoints", "ec2:AttachInternetGateway", "rds:ModifyDBInstance", "rds:CreateDBSnapshot"),
    *("rds:ModifyDBSnapshotAttribute", "lambda:CreateFunction", "logs:DeleteLogGroup", "eks:AssociateAccessPolicy"),
    *("eks:CreatePodIdentityAssociation", "ssm:StartSession", "organizations:LeaveOrganization"),
    *("emr-serverless:CreateApplication", "emr-serverless:DeleteApplication"),
)
JOB = ("StartJobRun", "GetJobRun", "ListJobRuns", "CancelJobRun")
SECRET = ("GetSecretValue", "DescribeSecret", "PutSecretValue", "DeleteSecret", "PutResourcePolicy")


@dataclass(frozen=True)
class Probe:
    """`action` (`s3:GetObject`) on `resource` (an ARN), which the table calls `label` (`object:landing`)."""

    action: str
    label: str
    resource: str
    context: Context = field(default_factory=dict)

    def but(self, **context: str) -> Probe:
        """Return the probe in another context: `aws__SourceVpce` stands for `aws:SourceVpce`, "" for a missing key."""
        changed = {**self.context, **{key.replace("__", ":"): value for key, value in context.items()}}
        return replace(self, context={key: value for key, value in changed.items() if value != ""})


def universe(at: Account) -> list[Probe]:
    """Return every probe, each action and label once."""
    return [*_objects(at), *_buckets(at), *_keys(at), *_other(at)]


def _sound(at: Account, endpoint: str = "") -> dict[str, str]:
    return {
        "aws:SecureTransport": "true",
        "aws:PrincipalOrgID": at.organization,
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:RequestedRegion": at.region,
        "aws:MultiFactorAuthPresent": "true",
        "aws:MultiFactorAuthAge": "60",
        **({"aws:SourceVpce": endpoint} if endpoint else {}),
    }


def _objects(at: Account) -> Iterator[Probe]:
    lake = {zone: f"{at.bucket()}/{at.prefix}/{zone}/customers/x" for zone in platform()["zones"]}
    others = {"elsewhere": f"{at.bucket()}/other/x", "trail": f"{at.bucket('-trail')}/x"}
    for place, arn in {**lake, **others, "access-logs": f"{at.bucket('-access-logs')}/x"}.items():
        for action in OBJECT:
            context = {**_sound(at, at.s3_endpoint), "s3:TlsVersion": "1.3"}
            if action == "PutObject":
                context["s3:x-amz-server-side-encryption"] = "aws:kms"
                context["s3:x-amz-server-side-encryption-aws-kms-key-id"] = at.storage_key_arn
            yield Probe(f"s3:{action}", f"object:{place}", arn, context)


def _buckets(at: Account) -> Iterator[Probe]:
    context = {**_sound(at, at.s3_endpoint), "s3:TlsVersion": "1.3"}
    for name, suffix in {"lake": "", "trail": "-trail", "access-logs": "-access-logs"}.items():
        for action in BUCKET:
            yield Probe(f"s3:{action}", f"bucket:{name}", at.bucket(suffix), context)
        yield Probe("s3:ListBucket", f"list:{name} without prefix", at.bucket(suffix), context)
    for zone in ("", *platform()["zones"]):
        prefix = f"{at.prefix}/{zone}/customers" if zone else f"{at.prefix}/"
        yield Probe("s3:ListBucket", f"list:{zone or 'all'}", at.bucket(), {**context, "s3:prefix": prefix})


def _keys(at: Account) -> Iterator[Probe]:
    for name, is_ in platform()["keys"].items():
        bound = _bound(KeyName(name), {"zone": name.split("/")[0], "dataset": "customers"})
        context: dict[str, str | list[str]] = {**_sound(at, at.kms_endpoint), "kms:EncryptionContextKeys": list(bound)}
        context |= {f"kms:EncryptionContext:{key}": value for key, value in bound.items()}
        grantee = at.role((is_["grantees"] or ["nobody"])[0])
        context |= {"kms:GranteePrincipal": grantee, "kms:GrantOperations": list(OPERATIONS)}
        yield from (Probe(f"kms:{action}", f"key:{name}", key_arn(at, name), context) for action in KEY)
    via = {"storage": "s3", "trail": "s3", "service": "rds"}
    for name, service in via.items():
        context = {**_sound(at), "kms:ViaService": f"{service}.{at.region}.amazonaws.com"}
        if name == "storage":
            context |= {"kms:EncryptionContext:aws:s3:arn": at.bucket(), "kms:EncryptionContextKeys": ["aws:s3:arn"]}
        yield from (Probe(f"kms:{action}", f"own key:{name}", key_arn(at, name), context) for action in KEY)
    context = {**_sound(at), "kms:ViaService": f"secretsmanager.{at.region}.amazonaws.com"}
    yield Probe("kms:Decrypt", "own key:service, for a secret", key_arn(at, "service"), context)


def _other(at: Account) -> Iterator[Probe]:
    context = _sound(at)
    yield from (Probe(action, "account", "*", context) for action in ACCOUNT)
    for role in platform()["roles"]:
        for service in ("emr-serverless", "ec2", "lambda"):
            passed = {**context, "iam:PassedToService": f"{service}.amazonaws.com"}
            yield Probe("iam:PassRole", f"role:{role} to {service}", at.role(role), passed)
    for action in JOB:
        yield Probe(f"emr-serverless:{action}", "application", at.application_arn, context)
        yield Probe(f"emr-serverless:{action}", "job", f"{at.application_arn}/jobruns/1", context)
    secrets = f"arn:{at.partition}:secretsmanager:{at.region}:{at.account}:secret:"
    places = {"database": "rds!db-1-abcdef", "pods": f"{at.name}/pgpass-abcdef", "others": "x/y-abcdef"}
    places |= {"authorities": f"{at.name}/ca.crt-abcdef", "jobs": f"{at.name}/jobs/database-abcdef"}
    for name, arn in ((name, secrets + place) for name, place in places.items()):
        yield from (Probe(f"secretsmanager:{action}", f"secret:{name}", arn, context) for action in SECRET)


def key_arn(at: Account, name: str) -> str:
    """Return the ARN of a key; the storage key's is that of the account."""
    return f"arn:{at.partition}:kms:{at.region}:{at.account}:key/{name}"
