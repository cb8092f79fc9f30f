"""Who acts, in which role and in which run: what every event of the audit log says of its origin."""

from __future__ import annotations

import functools
import os
import pwd
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cloakhouse.contracts.access_policy import AccessPolicy
from cloakhouse.errors import AccessRefused, CloakhouseError, ResidencyRefused, ValidationRefused, VersionWithdrawn
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.keystore import PLATFORM
from cloakhouse.keys.protocol import KeyService
from cloakhouse.ledger.audit_event import FAILED, LONGEST_TEXT, REFUSED, Event
from cloakhouse.ledger.run_names import name_of, run_name
from cloakhouse.settings import Settings

UNKNOWN = "unknown"  # the actor in an event of somebody whom the key service doesn't know
UNPRINTABLE = "unprintable"
_REFUSALS = (AccessRefused, ResidencyRefused, ValidationRefused, VersionWithdrawn)


def account(service: KeyService) -> str:
    """Return who acts: the principal of the age keystore; elsewhere the service's scheme and the user, `aws-kms:ann`.

    The user is the process's, as the system knows it: no variable of the environment changes it. Raises
    KeyServiceError, and AccessRefused (`access.identity`) for an identity that isn't enrolled.
    """
    if not isinstance(service, AgeKeyService):
        return f"{service.uri.partition(':')[0]}:{_user()}"
    principal = PLATFORM if service.unmade else service.principal()
    if principal is None:
        raise AccessRefused(
            where="CLOAKHOUSE_IDENTITY",
            expected="the identity of a principal of the keystore",
            found="one that isn't enrolled",
            not_done="nothing was opened",
            remedy="have it enrolled (`cloakhouse keys enrol`)",
            code="identity",
        )
    return principal


def role_of(settings: Settings, actor: str) -> str:
    """Return the roles of `actor` in the access policy, joined by `, `: those with the purpose it states, else all.

    Empty where the policy doesn't name it, isn't there or can't be read: no event fails for that. The policy is parsed
    anew only when its file has changed.
    """
    try:
        status = settings.policy.stat()
    except OSError:
        return ""
    policy = _policy(settings.policy, (status.st_ino, status.st_size, status.st_mtime_ns))
    scheme, _, user = actor.partition(":")
    known = policy.principals.get(user or scheme) if policy else None
    if policy is None or known is None:
        return ""
    acting = [role.name for role in policy.roles_of(known.name, settings.purpose)]
    return printable(", ".join(acting or sorted(known.roles)))


def described(
    settings: Settings,
    actor: str,
    action: str,
    what: str,
    *,
    dataset: str = "",
    count: int = 0,
    reason: str = "",
    facts: Mapping[str, str | int] | None = None,
) -> Event:
    """Return the event of `actor` doing `action` on `what`, allowed, not recorded yet, in the run of this process."""
    return Event(
        actor,
        action,
        what,
        printable(settings.purpose),
        reason,
        count,
        role=role_of(settings, actor),
        dataset=dataset,
        facts=dict(facts or {}),
        dag=name_of(os.environ.get("AIRFLOW_CTX_DAG_ID", "")),
        run=run_name(os.environ.get("AIRFLOW_CTX_DAG_RUN_ID", "")),
        task=name_of(os.environ.get("AIRFLOW_CTX_TASK_ID", "")),
    )


def code_of(problem: Exception) -> str:
    """Return the code that an event gives for `problem`: its own, or `internal` for one that nobody foresaw."""
    return problem.code if isinstance(problem, CloakhouseError) else "internal"


def unsuccessful(event: Event, problem: Exception) -> Event:
    """Return `event` as it ended with `problem`: refused by policy, or failed."""
    return replace(event, decision=REFUSED if isinstance(problem, _REFUSALS) else FAILED, code=code_of(problem))


def printable(text: str) -> str:
    """Return `text` as an event can hold it: another one in its place where it is too long, or not printable."""
    return text if len(text) <= LONGEST_TEXT and text.isprintable() else UNPRINTABLE


@functools.lru_cache(maxsize=2)
def _policy(path: Path, _mark: tuple[int, int, int]) -> AccessPolicy | None:
    from cloakhouse.contracts.access_parser import load_policy  # which imports YAML, and clients rarely need it

    try:
        return load_policy(path)
    except (CloakhouseError, RecursionError):
        return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.getuid()}"
