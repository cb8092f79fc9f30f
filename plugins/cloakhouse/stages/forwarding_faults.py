"""Why a receiver of the audit log did not get entries: errors with a code, without a byte of what it answered."""

from __future__ import annotations

import ssl

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.tls import connection_error


class ForwardingError(CloakhouseError):
    """A receiver did not acknowledge entries: its position stays, and they are sent again."""

    kind = "forwarding"
    exit_code = 6
    passing = frozenset({"forwarding.unreachable", "forwarding.unavailable", "forwarding.unconfirmed"})


def forwarding_error(where: str, code: str, expected: str, found: str, remedy: str = "") -> ForwardingError:
    """Return the error of the receiver `where`. Codes: unreachable, unavailable (it asked to come again later),
    unconfirmed (no acknowledgement), tls, refused (it doesn't take these entries), settings, storage."""
    return ForwardingError(
        where=where,
        expected=expected,
        found=found,
        not_done="what was not acknowledged is sent again; nothing is skipped",
        remedy=remedy or "see to the receiver; forwarding goes on by itself where it stopped",
        code=code,
    )


def of_connection(where: str, fault: BaseException) -> ForwardingError:
    """Return what a failed connection or handshake means: `forwarding.tls` or `forwarding.unreachable`."""
    told = connection_error(where, fault, "")
    if isinstance(fault, ssl.SSLError) and told.code == "key.tls":
        remedy = "correct the receiver's certificate or protocol, or `ca`; verification can't be left out"
        return forwarding_error(where, "tls", "a receiver with TLS and a trusted certificate", told.found, remedy)
    return forwarding_error(where, "unreachable", "a receiver that answers", told.found)
