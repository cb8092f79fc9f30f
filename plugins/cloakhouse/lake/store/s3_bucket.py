"""What is known of the bucket: that it is there, that nobody else may read it, and whether it keeps old versions.

A server that doesn't answer such a question, or doesn't let this principal ask it, is no reason to stop; `told` says
so and `doctor` shows it. A bucket that is public is.

Source: Amazon S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from cloakhouse.errors import CloakhouseError, ConfigurationError, StorageError
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_refusals import BUCKET, refuse
from cloakhouse.lake.store.s3_uri import Place, misconfigured

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
EVERYBODY = ("/global/AllUsers", "/global/AuthenticatedUsers")
NOT_DONE = "nothing of the lake was read or written"
_known: dict[tuple[int, Place], Bucket] = {}


@dataclass(frozen=True)
class Bucket:
    """What was found. `told` is for people; `versioned` None is a server that doesn't say."""

    told: str
    versioned: bool | None


def examined(calls: Calls) -> Bucket:
    """Return what is known of the bucket, looked at once in each process.

    Raises ConfigurationError (`configuration.public-bucket`, `configuration.bucket` for none), StorageError.
    """
    held = _known.get((os.getpid(), calls.place))
    if held is None:
        _require(calls)
        held = Bucket(_exposure(calls), _versioned(calls))
        _known[os.getpid(), calls.place] = held
    return held


def _require(calls: Calls) -> None:
    try:
        calls.call("head_bucket", calls.place.uri, NOT_DONE)
        return
    except FileNotFoundError:
        raise misconfigured(BUCKET.expected, BUCKET.found, "bucket") from None
    except StorageError as refused:
        if refused.code not in ("storage.refused", "storage.protocol"):
            raise
    calls.call("list_objects_v2", calls.place.uri, NOT_DONE, MaxKeys=1, Prefix=calls.place.prefix)  # says why
    raise refuse(BUCKET, calls.place.uri, NOT_DONE, "a bucket that can be listed and not looked at")


def _exposure(calls: Calls) -> str:
    """Return what is known of public access. Raises ConfigurationError when there is some."""
    block = _asked(calls, "get_public_access_block").get("PublicAccessBlockConfiguration", {})
    if all(block.get(name) for name in BLOCKS):
        return "public access is blocked"
    policy = _asked(calls, "get_bucket_policy_status")
    grants = _asked(calls, "get_bucket_acl")
    if policy.get("PolicyStatus", {}).get("IsPublic"):
        raise _public("a policy by which everybody may use it")
    open_to = [grant for grant in grants.get("Grants", ()) if _everybody(grant)]
    if open_to and not block.get("IgnorePublicAcls"):
        raise _public("an access list by which everybody may use it")
    if "Grants" in grants and ("IsPublic" in policy.get("PolicyStatus", {}) or "none" in policy):
        return "not public; public access is not blocked"
    return "the server does not tell whether it is public"


def _everybody(grant: dict[str, Any]) -> bool:
    return str(grant.get("Grantee", {}).get("URI", "")).endswith(EVERYBODY)


def _versioned(calls: Calls) -> bool | None:
    answer = _asked(calls, "get_bucket_versioning")
    return None if "refused" in answer else answer.get("Status") in ("Enabled", "Suspended")


def _asked(calls: Calls, operation: str) -> dict[str, Any]:
    """Return the answer; `none` in it is for a setting that isn't there, `refused` for a question that isn't answered.

    Raises StorageError for a server that can't be reached, and for credentials that it doesn't take.
    """
    try:
        return calls.call(operation, calls.place.uri, NOT_DONE)
    except FileNotFoundError:
        return {"refused": True}
    except CloakhouseError as refused:
        if refused.code == "storage.none":
            return {"none": True}
        if refused.code in ("storage.refused", "storage.protocol"):
            return {"refused": True}
        raise


def _public(found: str) -> ConfigurationError:
    return ConfigurationError(
        where="the bucket of CLOAKHOUSE_LAKE",
        expected="a bucket to which nobody has access without being named",
        found=found,
        not_done=NOT_DONE,
        remedy="turn on Block Public Access for the bucket (all four settings), then run again",
        code="public-bucket",
    )
