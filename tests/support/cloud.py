"""The policies of infra/terraform for an account that doesn't exist, rendered without Terraform.

The values that templates take are composed here as infra/terraform/modules/policies composes them;
tests/infra/test_rendering.py holds the two against each other where a terraform is installed.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "infra" / "terraform" / "policies"
SLOT = re.compile(r"\$\{([a-z0-9_]+)\}")
NOT_MADE_YET = "nobody"
PATH_ROLES = ("platform", "spark", "jobs")
SPARK_READS = ("landing", "models", "rights")
SPARK_WRITES = ("protected", "quarantine", "views", "synthetic")
JOBS_READS = ("landing", "rights")
JOBS_WRITES = ("protected", "quarantine", "views", "synthetic", "models", "rights/sieves", "jobs")
PEOPLE = {"protected", "quarantine", "views"}


@dataclass(frozen=True)
class Account:
    """Where it all lies: the variables of the module, under its names."""

    name: str = "cloakhouse"
    partition: str = "aws"
    region: str = "eu-west-1"
    account: str = "123456789012"
    organization: str = "o-example1234"
    people_account: str = "210987654321"
    deployer: str = "arn:aws:iam::123456789012:role/deployer"
    lake_bucket: str = "retail-lake"
    prefix: str = "lake"
    s3_endpoint: str = "vpce-0000000000000000a"
    kms_endpoint: str = "vpce-0000000000000000b"
    storage_key_arn: str = "arn:aws:kms:eu-west-1:123456789012:key/storage"
    application_arn: str = "arn:aws:emr-serverless:eu-west-1:123456789012:/applications/00example"
    enclave_image_sha384: str = ""

    def role(self, name: str) -> str:
        """Return the ARN of a role of the platform."""
        return f"arn:{self.partition}:iam::{self.account}:role/{self.name}-{name}"

    def member(self, role: str) -> str:
        """Return the ARN of somebody who may take `role`."""
        return f"arn:{self.partition}:iam::{self.people_account}:role/{role}-people"

    def bucket(self, suffix: str = "") -> str:
        """Return the ARN of the lake's bucket, or of the one that is named after it."""
        return f"arn:{self.partition}:s3:::{self.lake_bucket}{suffix}"


@functools.cache
def platform() -> Mapping[str, Any]:
    """Return zones, master keys and roles, as platform.json has them."""
    found: Mapping[str, Any] = json.loads((FOLDER / "platform.json").read_text(encoding="utf-8"))
    return found


def render(name: str, values: Mapping[str, str]) -> Any:
    """Return the document of a template. Raises KeyError for a value that isn't given."""
    text = (FOLDER / f"{name}.json.tftpl").read_text(encoding="utf-8")
    return json.loads(SLOT.sub(lambda slot: values[slot[1]], text))


def _common(at: Account) -> dict[str, str]:
    return {
        **{field: getattr(at, field) for field in ("name", "partition", "region", "account", "organization")},
        **{field: getattr(at, field) for field in ("people_account", "deployer", "prefix", "enclave_image_sha384")},
        "lake_arn": at.bucket(),
        "trail_arn": at.bucket("-trail"),
        "trail": f"arn:{at.partition}:cloudtrail:{at.region}:{at.account}:trail/{at.name}",
        "applications_arn": f"arn:{at.partition}:emr-serverless:{at.region}:{at.account}:/applications/*",
        "own_secrets_arn": f"arn:{at.partition}:secretsmanager:{at.region}:{at.account}:secret:{at.name}/*",
        "authorities_arn": f"arn:{at.partition}:secretsmanager:{at.region}:{at.account}:secret:{at.name}/ca.crt-??????",
        "cluster_arn": f"arn:{at.partition}:eks:{at.region}:{at.account}:cluster/{at.name}",
        "key_administrator": at.role("key-administrator"),
        "break_glass": at.role("break-glass"),
        "auditor": at.role("auditor"),
        "platform": at.role("platform"),
        "jobs_role": at.role("jobs"),
        "jobs_secrets_arn": f"arn:{at.partition}:secretsmanager:{at.region}:{at.account}:secret:{at.name}/jobs/*",
        "autoscaling_role": f"arn:{at.partition}:iam::{at.account}:role/aws-service-role/autoscaling.amazonaws.com/"
        "AWSServiceRoleForAutoScaling",
    }


def _objects(at: Account, zones: Any) -> str:
    return json.dumps([f"{at.bucket()}/{at.prefix}/{zone}/*" for zone in zones])


def _roles(at: Account, names: Any) -> str:
    return json.dumps([at.role(name) for name in names] or [at.role(NOT_MADE_YET)])


def role_documents(at: Account, role: str) -> dict[str, Any]:
    """Return `trust`, `policy` and `boundary` of a role. Each role has one member, but for those of services."""
    is_ = platform()["roles"][role]
    values = {
        **_common(at),
        "members": json.dumps([at.member(role)]),
        "mfa_age_s": str(is_["mfa_age_s"]),
        "read_objects": _objects(at, is_["reads"]),
        "read_prefixes": json.dumps([f"{at.prefix}/{zone}/*" for zone in is_["reads"]]),
        "spark_reads": _objects(at, SPARK_READS),
        "spark_writes": _objects(at, SPARK_WRITES),
        "jobs_reads": _objects(at, JOBS_READS),
        "jobs_writes": _objects(at, JOBS_WRITES),
        "application_arn": at.application_arn,
    }
    return {part: render(is_[part], values) for part in ("trust", "policy", "boundary")}


def key_document(at: Account, key: str) -> Any:
    """Return the key policy of a master key, e.g. `protected/direct`."""
    is_ = platform()["keys"][key]
    values = {**_common(at), "key": key, "kms_endpoint": at.kms_endpoint}
    values |= {"users": _roles(at, is_["users"]), "grantees": _roles(at, is_["grantees"])}
    found = render("kms_master_key", values)
    if at.enclave_image_sha384 and key in platform()["enclave_keys"]:
        found["Statement"] += render("kms_enclave", values)["Statement"]
    return found


def service_key_documents(at: Account) -> dict[str, Any]:
    """Return the policies of the keys `storage`, `trail` and `service`."""
    readers = [role for role, is_ in platform()["roles"].items() if is_["reads"]]
    values = {**_common(at), "readers": _roles(at, sorted(readers)), "writers": _roles(at, PATH_ROLES)}
    return {name: render(f"kms_{name}_key", values) for name in ("storage", "trail", "service")}


def bucket_documents(at: Account) -> dict[str, Any]:
    """Return the policies of the buckets: `lake`, `trail`, `access-logs`."""
    readers = {role: set(is_["reads"]) for role, is_ in sorted(platform()["roles"].items()) if is_["reads"]}
    common = _common(at)
    lake = {
        **common,
        "storage_key_arn": at.storage_key_arn,
        "s3_endpoint": at.s3_endpoint,
        "may_touch_landing": _roles(at, [*PATH_ROLES, *(r for r, zones in readers.items() if "landing" in zones)]),
        "may_touch_people": _roles(at, [*PATH_ROLES, *(r for r, zones in readers.items() if zones & PEOPLE)]),
        "writers": _roles(at, PATH_ROLES),
    }
    closed = {
        "trail": {
            "bucket_arn": at.bucket("-trail"),
            "service": "cloudtrail.amazonaws.com",
            "source_arn": common["trail"],
        },
        "access-logs": {
            "bucket_arn": at.bucket("-access-logs"),
            "service": "logging.s3.amazonaws.com",
            "source_arn": f"{at.bucket()}*",
        },
    }
    return {"lake": render("s3_lake", lake), **{b: render("s3_closed", {**common, **v}) for b, v in closed.items()}}
