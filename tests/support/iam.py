"""Evaluation of AWS IAM policies in one account, as its reference says (IAM User Guide, "Policy evaluation logic").

1. An explicit denial in any policy ends it.
2. A key of KMS opens by its key policy (the role itself is named, or the account, and then an identity policy has to
   allow it too) or by a grant. Anything else opens by an identity policy, or by a policy of the resource that names the
   role itself.
3. A permissions boundary has to allow whatever an identity policy, or a resource's policy that names the role, allows.
   A grant isn't taken to be bounded: that is the more open reading of what AWS says.

Not modelled: policies of the organization, session policies, other accounts' identity policies. Where an element isn't
known here, ValueError is raised. Documents are what json.loads returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.iam_conditions import Context, glob, holds, listed

Document = Mapping[str, Any]
ELEMENTS = {
    "Sid", "Effect", "Principal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One call: who (the ARN of a role, or a service's name), what (`s3:GetObject`), on which ARN, in which context."""

    principal: str
    action: str
    resource: str
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Grant:
    """A grant of KMS without constraints: `grantee` may do `operations` (`Decrypt`) with the key `resource`."""

    grantee: str
    resource: str
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Policies:
    """What decides over a request: policies of the identity, its boundary, that of the resource, grants of the key."""

    identity: Sequence[Document] = ()
    boundary: Document | None = None
    resource: Document | None = None
    grants: Iterable[Grant] = ()


def allowed(request: Request, policies: Policies) -> bool:
    """Return whether the request is allowed."""
    attached = [*policies.identity, *([policies.boundary] if policies.boundary else [])]
    if any(_says("Deny", document, request) for document in attached):
        return False
    if policies.resource is not None and _says("Deny", policies.resource, request, who=_named_or_account):
        return False
    by_identity = any(_says("Allow", document, request) for document in policies.identity)
    bounded = policies.boundary is None or _says("Allow", policies.boundary, request)
    named = policies.resource is not None and _says("Allow", policies.resource, request, who=_named)
    if request.action.startswith("kms:") and policies.resource is not None:
        delegated = by_identity and _says("Allow", policies.resource, request, who=_account)
        return (bounded and (named or delegated)) or any(_gives(grant, request) for grant in policies.grants)
    return bounded and (by_identity or named)


def trusts(trust: Document, request: Request) -> bool:
    """Return whether a role's trust policy lets `request.principal`, or anybody its account allows, take the role."""
    if _says("Deny", trust, request, who=_named_or_account):
        return False
    return _says("Allow", trust, request, who=_named_or_account)


def statements(document: Document) -> list[Mapping[str, Any]]:
    """Return the statements of a document. Raises ValueError for an element that isn't known here."""
    found = document["Statement"]
    found = [found] if isinstance(found, Mapping) else list(found)
    for statement in found:
        if unknown := set(statement) - ELEMENTS:
            raise ValueError(f"elements {sorted(unknown)} aren't known here")
        if statement["Effect"] not in ("Allow", "Deny"):
            raise ValueError("an effect is Allow or Deny")
    return found


def _gives(grant: Grant, request: Request) -> bool:
    operation = request.action.removeprefix("kms:")
    return (grant.grantee, grant.resource) == (request.principal, request.resource) and operation in grant.operations


def _says(effect: str, document: Document, request: Request, who: Any = None) -> bool:
    return any(
        statement["Effect"] == effect
        and (who is None or who(statement["Principal"], request.principal))
        and _about(statement, "Action", request.action.lower(), str.lower)
        and _about(statement, "Resource", request.resource, str)
        and holds(statement.get("Condition", {}), request.context)
        for statement in statements(document)
    )


def _about(statement: Mapping[str, Any], element: str, found: str, form: Any) -> bool:
    if f"Not{element}" in statement:
        return not any(glob(form(pattern), found) for pattern in listed(statement[f"Not{element}"]))
    if element not in statement and element == "Resource" and "Principal" in statement:
        return True  # a trust policy is about its own role
    return any(glob(form(pattern), found) for pattern in listed(statement[element]))


def _named(principal: Any, who: str) -> bool:
    if principal == "*":
        return True
    kind = "AWS" if who.startswith("arn:") else "Service"
    names = listed(principal.get(kind, ()))
    return who in names or "*" in names


def _account(principal: Any, who: str) -> bool:
    if principal == "*" or not who.startswith("arn:"):
        return False
    partition, account = who.split(":")[1], who.split(":")[4]
    ours = {account, f"arn:{partition}:iam::{account}:root"}
    return bool(ours & set(listed(principal.get("AWS", ()))))


def _named_or_account(principal: Any, who: str) -> bool:
    return _named(principal, who) or _account(principal, who)
