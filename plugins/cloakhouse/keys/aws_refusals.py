"""What AWS KMS and botocore say, in the platform's words.

One table from AWS's error codes, and one from botocore's exceptions, to a code, what was found and what to do.
AWS's own text is read to tell cases apart and never quoted: it may name principals and hold what was sent.
Source: AWS KMS API Reference, "Errors" of each operation, and "Common Errors".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError
from cloakhouse.keys import tls

SKEW_S = 300  # seconds of difference beyond which AWS refuses a signature


@dataclass(frozen=True)
class Refusal:
    """Code, both sides of the mismatch, and the next thing to do."""

    code: str
    expected: str
    found: str
    remedy: str


MISSING = Refusal(
    "missing",
    "an alias that points to a key, in this account and region",
    "none",
    "check prefix and region in CLOAKHOUSE_KEYS, and the account of the credentials; only wrapping makes a master key",
)
DISABLED = Refusal(
    "disabled",
    "an enabled master key",
    "one that is disabled, or not ready for use",
    "if it may be used again: `cloakhouse keys enable`",
)
DESTROYED = Refusal(
    "destroyed",
    "a master key",
    "one that is scheduled for deletion",
    "what it wrapped can't be read; until the waiting time ends, an administrator of the AWS account can cancel that",
)
CONTEXT = Refusal(
    "context",
    "the wrapped key, context and master key as written",
    "another wrapped key, another context, or a key that was wrapped under another master key",
    "check that the lake's dataset keys and CLOAKHOUSE_KEYS belong together, or restore the wrapped key",
)
FORMAT = Refusal(
    "format",
    "a request of the form that KMS takes",
    "one that it refuses as malformed",
    "check that the wrapped key was made by this key service",
)
UNSUPPORTED = Refusal(
    "unsupported",
    "a symmetric key for encryption, of KMS's own material, and an operation it allows",
    "a key, or an account, for which KMS doesn't do this",
    "look at the key that the alias points to; it must be of the kind SYMMETRIC_DEFAULT, origin AWS_KMS",
)
THROTTLED = Refusal(
    "throttled",
    "an answer within the account's request quota",
    "too many requests, still after waiting and trying again",
    "run fewer tasks at once, or have the KMS request quota raised (Service Quotas)",
)
QUOTA = Refusal(
    "throttled",
    "room in the account's quotas for keys, aliases, grants and rotations on demand",
    "a quota that is used up",
    "have the quota raised where AWS allows it (not for rotations on demand), or remove what is not used",
)
BUSY = Refusal(
    "throttled",
    "a key that nothing else changes at this moment",
    "another change of the same key that is under way, e.g. a rotation",
    "wait some minutes, look with `cloakhouse keys status`, then decide whether it is still needed",
)
EXISTS = Refusal("exists", "a free alias", "one that exists", "use the key that it points to")
DENIED = Refusal(
    "key",
    "a key policy, IAM policy or grant that allows this to the principal of the credentials",
    "none, or one that forbids it",
    "ask the administrator for a grant (`cloakhouse keys grant`); a fresh one takes up to five minutes to be known",
)
CLOCK = Refusal(
    "clock",
    f"a clock within {SKEW_S // 60} minutes of AWS's",
    "a signature whose time AWS does not accept",
    "set this machine's clock (NTP), then run again",
)
IDENTITY = Refusal(
    "identity",
    "AWS credentials that are valid now (environment, profile, SSO, or the role of the machine)",
    "none, expired ones, or ones that AWS does not know",
    "renew them (`aws sso login`, or the role's session) and run again; `aws sts get-caller-identity` tests them",
)
UNREACHABLE = Refusal(
    "unreachable",
    "an answer from AWS KMS in time",
    "none, or a fault on its side, still after trying again",
    "check network, proxy and endpoint, and the AWS health page; nothing was changed here, so run again later",
)
NOT_KMS = Refusal(
    "damaged",
    "an answer as AWS KMS gives it",
    "one of another form",
    "check that `endpoint` in CLOAKHOUSE_KEYS is a KMS endpoint and that nothing in between changes answers",
)

BY_CODE: dict[str, Refusal] = {
    "NotFoundException": MISSING,
    "DisabledException": DISABLED,
    "KMSInvalidStateException": DISABLED,  # told apart from DESTROYED by its text, see `_state`
    "InvalidCiphertextException": CONTEXT,
    "IncorrectKeyException": CONTEXT,
    "ValidationException": FORMAT,
    "InvalidArnException": FORMAT,
    "InvalidAliasNameException": FORMAT,
    "InvalidKeyUsageException": UNSUPPORTED,
    "UnsupportedOperationException": UNSUPPORTED,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "LimitExceededException": QUOTA,
    "ConflictException": BUSY,
    "AlreadyExistsException": EXISTS,
    "AccessDeniedException": DENIED,
    "AccessDenied": DENIED,
    "NotAuthorizedException": DENIED,
    "RequestExpired": CLOCK,
    "RequestTimeTooSkewed": CLOCK,
    "UnrecognizedClientException": IDENTITY,  # these five: CLOCK if the clocks differ, see `_identity`
    "InvalidSignatureException": IDENTITY,
    "SignatureDoesNotMatch": IDENTITY,
    "ExpiredTokenException": IDENTITY,
    "ExpiredToken": IDENTITY,
    "InvalidClientTokenId": IDENTITY,
    "IncompleteSignature": IDENTITY,
    "MissingAuthenticationToken": IDENTITY,
    "KMSInternalException": UNREACHABLE,
    "DependencyTimeoutException": UNREACHABLE,
    "KeyUnavailableException": UNREACHABLE,
}

# botocore's exceptions, the nearest base first; by name, since botocore is imported at the first call only
BY_CLASS: dict[str, Refusal] = {
    "ParamValidationError": FORMAT,
    "HTTPClientError": UNREACHABLE,
    "ConnectionError": UNREACHABLE,
    "ResponseParserError": NOT_KMS,
    "OutOfTime": UNREACHABLE,
    "BotoCoreError": IDENTITY,  # what is left is about finding credentials: profiles, SSO, roles, instance metadata
}


def translate(fault: Exception, operation: str, where: str, not_done: str, endpoint: str) -> CloakhouseError:
    """Return the platform's error for an exception of botocore in `operation` (`decrypt`)."""
    answer = getattr(fault, "response", None)
    if isinstance(answer, Mapping):
        return refuse(_answered(answer, operation), where, not_done)
    names = [base.__name__ for base in type(fault).__mro__]
    found = next(BY_CLASS[name] for name in (*names, "BotoCoreError") if name in BY_CLASS)
    if found is UNREACHABLE and "OutOfTime" not in names:
        told = tls.connection_error(endpoint, fault, not_done)  # knows why: refused, timed out, TLS, certificate
        code = told.code.removeprefix("key.")
        found = Refusal(code, told.expected, told.found, f"{told.remedy} (endpoint {endpoint})")
    return refuse(found, where, not_done)


def _answered(answer: Mapping[str, Any], operation: str) -> Refusal:
    error, meta = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, text, status = str(error.get("Code", "")), str(error.get("Message", "")), meta.get("HTTPStatusCode", 0)
    found = BY_CODE.get(code)
    if found is None:
        return UNREACHABLE if status >= 500 else THROTTLED if status == 429 else UNSUPPORTED
    if code == "KMSInvalidStateException":
        return _state(text)
    if found is IDENTITY:
        return _identity(text, meta.get("HTTPHeaders", {}))
    if found is DENIED and operation == "decrypt" and ("ciphertext refers to" in text or not text):
        # KMS's answer to a wrapped key of a master key that it doesn't know; it says nothing about this principal
        return CONTEXT
    return found


def refuse(refusal: Refusal, where: str, not_done: str, found: str = "") -> CloakhouseError:
    """Return `refusal` as an error: AccessRefused for a principal that may not, else KeyServiceError."""
    kind = AccessRefused if refusal is DENIED else KeyServiceError
    return kind(
        where=where,
        expected=refusal.expected,
        found=found or refusal.found,
        not_done=not_done,
        remedy=refusal.remedy,
        code=refusal.code,
    )


def _state(text: str) -> Refusal:
    flat = text.lower().replace(" ", "")
    return DESTROYED if "pendingdeletion" in flat or "pendingreplicadeletion" in flat else DISABLED


def _identity(text: str, headers: Mapping[str, Any]) -> Refusal:
    if "Signature expired" in text or "Signature not yet current" in text:
        return CLOCK
    try:
        theirs = parsedate_to_datetime(str(headers.get("date", "")))
        skew = abs((theirs - dt.datetime.now(dt.UTC)).total_seconds())
    except (TypeError, ValueError):  # no Date, or one without a zone: no evidence about the clocks
        return IDENTITY
    return CLOCK if skew > SKEW_S else IDENTITY
