"""What S3 servers and botocore say, in the platform's words.

One table from error codes, one from statuses where a server sends no code, one from botocore's exceptions. The
server's own text is never quoted: it may name principals and hold what was sent.
Source: Amazon S3 API Reference, "Error responses".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from cloakhouse.errors import CloakhouseError, StorageError
from cloakhouse.keys import tls

SKEW_S = 900  # seconds of difference beyond which S3 refuses a signature


@dataclass(frozen=True)
class Refusal:
    """Code, both sides of the mismatch, and the next thing to do."""

    code: str
    expected: str
    found: str
    remedy: str


UNREACHABLE = Refusal(
    "unreachable",
    "an answer of the S3 server in time",
    "none, or a fault on its side, still after trying again",
    "check network, proxy, endpoint and the server's health, then run again",
)
THROTTLED = Refusal(
    "throttled",
    "a server with room for this call",
    "one that asks to slow down, still after waiting and trying again",
    "run fewer tasks at once, or have the server's limit raised, then run again",
)
REFUSED = Refusal(
    "refused",
    "a policy of the bucket and of the principal that allows this",
    "none, or one that forbids it",
    "ask the administrator of the bucket for the permissions that docs/storage.md lists",
)
CREDENTIALS = Refusal(
    "credentials",
    "credentials that are valid now (environment, profile, SSO, or the role of the machine)",
    "none, expired ones, or ones that the server does not know",
    "renew them (`aws sso login`, or the role's session) and run again",
)
CLOCK = Refusal(
    "credentials",
    "a signature of a clock within 15 minutes of the server's",
    "one whose time the server does not accept",
    "set this machine's clock (NTP), then run again",
)
NO_SPACE = Refusal(
    "no-space",
    "room for the object on the server",
    "a server that is full, or a quota that is used up",
    "free space on the server or have the quota raised, then run again",
)
NONE = Refusal("none", "such a setting of the bucket", "none", "nothing: callers take it as an answer")
UNSUPPORTED = Refusal("protocol", "an operation that the server knows", "one that it doesn't", "use another server")
BUCKET = Refusal(
    "bucket",
    "the bucket that CLOAKHOUSE_LAKE names",
    "no such bucket",
    "make the bucket as docs/storage.md tells, or correct CLOAKHOUSE_LAKE",
)
PROTOCOL = Refusal(
    "protocol",
    "an answer as an S3 server gives it",
    "another one",
    "check that `endpoint` in CLOAKHOUSE_LAKE is an S3 server and that nothing in between changes answers",
)
DAMAGED = Refusal(
    "protocol",
    "bytes that arrive as they were sent",
    "others, still after trying again",
    "check what lies between this machine and the server, then run again",
)
CONFLICT = Refusal(
    "conflict",
    "an object that nobody else changes at this moment",
    "one that somebody changed meanwhile",
    "run again; what the other one wrote stands",
)

BY_CODE: dict[str, Refusal] = {
    "SlowDown": THROTTLED,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "TooManyRequests": THROTTLED,
    "AccessDenied": REFUSED,
    "AccountProblem": REFUSED,
    "AllAccessDisabled": REFUSED,
    "KMS.DisabledException": REFUSED,
    "KMS.NotFoundException": REFUSED,
    "ExpiredToken": CREDENTIALS,
    "InvalidToken": CREDENTIALS,
    "TokenRefreshRequired": CREDENTIALS,
    "InvalidAccessKeyId": CREDENTIALS,
    "SignatureDoesNotMatch": CREDENTIALS,
    "InvalidSecurity": CREDENTIALS,
    "AuthorizationHeaderMalformed": CREDENTIALS,
    "RequestTimeTooSkewed": CLOCK,
    "RequestExpired": CLOCK,
    "QuotaExceeded": NO_SPACE,
    "XMinioStorageFull": NO_SPACE,
    "XMinioAdminBucketQuotaExceeded": NO_SPACE,
    "InsufficientStorage": NO_SPACE,
    "NoSuchBucket": BUCKET,
    "NoSuchPublicAccessBlockConfiguration": NONE,
    "NoSuchBucketPolicy": NONE,
    "NotImplemented": UNSUPPORTED,  # with status 501
    "MethodNotAllowed": UNSUPPORTED,
    "BadDigest": DAMAGED,
    "InvalidDigest": DAMAGED,
    "XAmzContentSHA256Mismatch": DAMAGED,
    "PreconditionFailed": CONFLICT,
    "ConditionalRequestConflict": CONFLICT,
    "OperationAborted": CONFLICT,
    "RequestTimeout": UNREACHABLE,
    "InternalError": UNREACHABLE,
    "ServiceUnavailable": UNREACHABLE,
}
BY_STATUS = {
    401: CREDENTIALS,
    403: REFUSED,
    409: CONFLICT,
    412: CONFLICT,
    429: THROTTLED,
    503: THROTTLED,
    507: NO_SPACE,
}

# botocore's exceptions, the nearest base first; by name, since botocore is imported at the first call only
BY_CLASS: dict[str, Refusal] = {
    "ParamValidationError": PROTOCOL,
    "ReadTimeoutError": UNREACHABLE,
    "IncompleteReadError": UNREACHABLE,
    "ResponseStreamingError": UNREACHABLE,
    "HTTPClientError": UNREACHABLE,
    "ConnectionError": UNREACHABLE,
    "ResponseParserError": PROTOCOL,
    "OutOfTime": UNREACHABLE,
    "BotoCoreError": CREDENTIALS,  # what is left is about finding credentials: profiles, SSO, roles, metadata
}


def code_of(fault: Exception) -> tuple[str, int]:
    """Return a server's error code and HTTP status; empty and 0 for a fault that is no answer."""
    answer = getattr(fault, "response", None)
    if not isinstance(answer, Mapping):
        return "", 0
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(answer.get("Error", {}).get("Code", "")), int(status)


def translate(fault: Exception, where: str, not_done: str, endpoint: str) -> CloakhouseError:
    """Return the platform's error for an exception of botocore; its text is not shown."""
    answer: Any = getattr(fault, "response", None)
    if isinstance(answer, Mapping):
        code, status = code_of(fault)
        otherwise = BY_STATUS.get(status, UNREACHABLE if status >= 500 else PROTOCOL)
        found = BY_CODE.get(code, otherwise)
        if found in (REFUSED, CREDENTIALS) and _clocks_differ(answer):
            found = CLOCK
        return refuse(found, where, not_done)
    names = [base.__name__ for base in type(fault).__mro__]
    found = next((BY_CLASS[name] for name in names if name in BY_CLASS), UNREACHABLE)
    if found is UNREACHABLE and "OutOfTime" not in names:
        told = tls.connection_error(endpoint, fault, not_done)  # knows why: refused, timed out, TLS, certificate
        code = told.code.removeprefix("key.")
        return refuse(
            Refusal(code, told.expected.replace("key service", "S3 server"), told.found, told.remedy), where, not_done
        )
    return refuse(found, where, not_done)


def _clocks_differ(answer: Mapping[str, Any]) -> bool:
    """Return whether the server's clock and this machine's differ by more than signatures may."""
    try:
        theirs = parsedate_to_datetime(str(answer["ResponseMetadata"]["HTTPHeaders"]["date"]))
        return abs((theirs - dt.datetime.now(dt.UTC)).total_seconds()) > SKEW_S
    except (KeyError, TypeError, ValueError):  # no Date, or one without a zone: no evidence about the clocks
        return False


def refuse(refusal: Refusal, where: str, not_done: str, found: str = "") -> StorageError:
    """Return `refusal` as an error."""
    return StorageError(
        where=where,
        expected=refusal.expected,
        found=found or refusal.found,
        not_done=not_done,
        remedy=refusal.remedy,
        code=refusal.code,
    )
