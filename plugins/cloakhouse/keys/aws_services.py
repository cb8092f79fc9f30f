"""Calls of other services of AWS than KMS and S3: TLS 1.3, bounded in time, with faults in the platform's words.

The HTTP session is that of `cloakhouse.keys.aws_wire`, for the reasons that are told there. AWS's own text is never
quoted: it may hold what was sent, or an account.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, MissingDependency, StageError
from cloakhouse.keys.aws_place import Patience, Place, is_loopback, time_limit

REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
PATIENCE = Patience(connect_s=10.0, read_s=30.0, attempts=6, begin_s=90.0)
DENIED = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorizedException"})
UNKNOWN = frozenset(
    {"ResourceNotFoundException", "ValidationException", "InvalidParameterException", "DecryptionFailure"}
)
ASKED_AGAIN = (
    "ask again in some minutes: network, endpoint, quota of requests, clock and credentials of this machine count"
)


@dataclass(frozen=True)
class Service:
    """One service in one region; `endpoint` is a VPC endpoint, or empty for the region's own."""

    name: str
    region: str
    endpoint: str = ""

    def call(self, operation: str, not_done: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to `operation` (`start_job_run`).

        Raises AccessRefused (`access.aws`), ConfigurationError (`configuration.aws`) for what the service doesn't know
        or take, StageError (`stage.aws`) for no answer in time, MissingDependency.
        """
        try:
            from cloakhouse.keys import aws_wire
        except ImportError:
            raise _no_boto3() from None
        try:
            with time_limit(PATIENCE):
                return dict(getattr(_client(os.getpid(), self), operation)(**parameters))
        except aws_wire.FAULTS as fault:
            raise self._told(fault, operation, not_done) from None

    def _told(self, fault: Exception, operation: str, not_done: str) -> CloakhouseError:
        answer = getattr(fault, "response", None) or {}
        code = str(answer.get("Error", {}).get("Code", ""))
        where = f"{self.name}, {operation}"
        if code in DENIED:
            expected, remedy = "credentials that may do this", "compare the role's policy with infra/terraform/policies"
            return AccessRefused(
                where=where, expected=expected, found="none", not_done=not_done, remedy=remedy, code="aws"
            )
        if code in UNKNOWN or type(fault).__name__ == "ParamValidationError":
            expected, remedy = "names that the service knows", "correct Airflow's connection spark; see docs/engines.md"
            found = "it knows none of this name, or takes no such value"
            return ConfigurationError(
                where=where, expected=expected, found=found, not_done=not_done, remedy=remedy, code="aws"
            )
        found = code if re.fullmatch("[A-Za-z]{1,60}", code) else type(fault).__name__
        return StageError(
            where=where, expected="an answer in time", found=found, not_done=not_done, remedy=ASKED_AGAIN, code="aws"
        )


def is_endpoint(text: str) -> bool:
    """Return whether `text` is empty, https://HOST[:PORT], or http on this machine's loopback."""
    try:
        parts = urlsplit(text)
        sound = parts.port != 0
    except ValueError:
        return False
    plain = parts.scheme == "http" and is_loopback(parts.hostname or "")
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    return not text or (sound and bare and bool(parts.hostname) and (parts.scheme == "https" or plain))


@functools.lru_cache(maxsize=16)
def _client(_process: int, service: Service) -> Any:
    """Return this process's client of `service`: a child of a fork gets another one."""
    import boto3
    import botocore.session
    from botocore.config import Config

    from cloakhouse.keys import aws_wire, tls

    config = Config(
        retries={"mode": "standard", "total_max_attempts": PATIENCE.attempts},
        connect_timeout=PATIENCE.connect_s,
        read_timeout=PATIENCE.read_s,
        user_agent_extra="cloakhouse",
        ignore_configured_endpoint_urls=True,
    )
    session = boto3.session.Session(botocore_session=botocore.session.Session())
    client = session.client(
        service.name, region_name=service.region, endpoint_url=service.endpoint or None, config=config
    )
    aws_wire.put_session(client, Place(service.name, service.name), tls.client_context(None), PATIENCE)
    aws_wire.silence_wire()
    return client


def _no_boto3() -> MissingDependency:
    return MissingDependency(
        where="services of AWS",
        expected="the package boto3",
        found="no such package",
        not_done="nothing was sent",
        remedy="pip install 'cloakhouse[client]'",
        code="boto3",
    )
