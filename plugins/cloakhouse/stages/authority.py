"""What everything that looks behind pseudonyms asks first: who acts, why, and may they; and that it is recorded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa

from cloakhouse.errors import AccessRefused, ConfigurationError
from cloakhouse.keys.keystore import PLATFORM
from cloakhouse.keys.service import service_of  # the plain one: to ask who asks is no use of a key
from cloakhouse.ledger.acting import UNKNOWN, account, code_of, described, role_of
from cloakhouse.ledger.audit import AuditLog, log_of
from cloakhouse.ledger.audit_event import REFUSED, Event
from cloakhouse.settings import Settings
from cloakhouse.tokens.scrub import findings

__all__ = ["UNKNOWN", "actor", "asked", "check_reason", "refusals_recorded"]

SHORTEST, LONGEST = 10, 500  # characters of a reason
TOKEN = re.compile(r"(?<![^\W_])(?:[0-9A-Fa-f]{32,}|[A-Z2-7]{26,})(?![^\W_])")  # a word that has a token's form


def actor(settings: Settings) -> str:
    """Return who acts: the principal of the age keystore; elsewhere the service's scheme and the user, `aws-kms:ann`.

    The user is the process's, as the system knows it: no variable of the environment changes it. Raises
    KeyServiceError, and AccessRefused (`access.identity`) for an identity that isn't enrolled.
    """
    return account(service_of(settings))


def asked(
    settings: Settings,
    action: str,
    what: str,
    reason: str,
    count: int,
    *,
    dataset: str = "",
    platform: bool = False,
) -> tuple[AuditLog, Event]:
    """Return the log, and the event of somebody who asks for `action` on `what`, not recorded yet.

    Unless `platform` may ask, too, it is refused (`access.platform`): a grant has to be somebody's. So is who isn't
    enrolled (`access.identity`). These refusals are recorded. Raises ConfigurationError, AccessRefused,
    KeyServiceError, StorageError.
    """
    event = described(settings, UNKNOWN, action, what, dataset=dataset, count=count, reason=check_reason(reason))
    log = log_of(settings.database)
    with refusals_recorded(log, event):
        who = actor(settings)
        event = replace(event, actor=who, role=role_of(settings, who))
    with refusals_recorded(log, event):
        if event.actor == PLATFORM and not platform:
            raise _platform()
    return log, event


def check_reason(text: str) -> str:
    """Return a written reason, trimmed. Raises ConfigurationError (`configuration.reason`) for one that can't stand.

    It goes into the record for good, so it must say something and must not quote a customer's data: nothing that has
    the form of an address, a number of a card or telephone, or a token. Names have no form: where it is known whom a
    request is about, `cloakhouse.stages.request_reason` looks for theirs.
    """
    reason = text.strip()
    found = ""
    if not SHORTEST <= len(reason) <= LONGEST or not reason.isprintable():
        found = f"{len(reason)} characters" + ("" if reason.isprintable() else ", some of them unprintable")
    elif quoted := [
        *(kind for kind, times in findings(pa.array([reason])).items() if times),
        *(["a token"] if TOKEN.search(reason) else []),
    ]:
        found = "what looks like: " + ", ".join(quoted)
    if found:
        raise ConfigurationError(
            where="the reason",
            expected=f"{SHORTEST} to {LONGEST} printable characters, without personal data: it is kept for good",
            found=found,
            not_done="nothing was opened",
            remedy="name the case or ticket and what the values are needed for",
            code="reason",
        )
    return reason


@contextlib.contextmanager
def refusals_recorded(log: AuditLog, event: Event) -> Iterator[None]:
    """Record `event` as refused when the block fails, however: one record of what was asked for and not done."""
    try:
        yield
    except Exception as problem:
        code = code_of(problem)
        log.record(replace(event, decision=REFUSED, code=code))
        raise


def _platform() -> AccessRefused:
    return AccessRefused(
        where="CLOAKHOUSE_IDENTITY",
        expected="the identity of a principal that holds the grant",
        found="the platform's own, which opens every key",
        not_done="nothing was opened",
        remedy="set CLOAKHOUSE_IDENTITY to your identity file and CLOAKHOUSE_PURPOSE to the purpose of your grant "
        "(`cloakhouse keys enrol`, `cloakhouse keys grant`)",
        code="platform",
    )
