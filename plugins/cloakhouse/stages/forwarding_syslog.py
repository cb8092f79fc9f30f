"""A receiver of kind syslog: one message an entry (RFC 5424), octet counting over TLS (RFC 5425).

Syslog has no acknowledgement. What stands for one: a connection is for one batch; after the last message comes our
close_notify (RFC 5425, section 4.4), and the receiver's own in answer says that its TLS read everything before. A
receiver that ends the connection without it, resets it or is silent leaves the batch unconfirmed: it is sent again.
`farewell: optional` is for receivers that answer with nothing but the connection's end; what they lose at that moment
is lost. What a receiver does with a message that it has read no syslog sender knows.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED, Action, stamp
from cloakhouse.ledger.merkle import leaf_hash
from cloakhouse.ledger.ocsf import FORMATS, severity_of
from cloakhouse.stages.forwarding_faults import forwarding_error, of_connection
from cloakhouse.stages.forwarding_receivers import Receiver
from cloakhouse.stages.forwarding_tls import (
    ANSWER_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    EndedSilentlyError,
    bounded,
    context_of,
    told,
)

FACILITY = 13  # log audit (RFC 5424, section 6.2.1)
WARNING, ERROR, INFORMATIONAL = 4, 3, 6
_OF_ALERTS = {1: 6, 2: 5, 3: 4, 4: 2, 5: 1}  # severities of syslog by those of OCSF
APP_NAME = "cloakhouse"
BOM = b"\xef\xbb\xbf"
_LARGEST_SEQUENCE = 2**31 - 1


class SyslogSender:
    """Sends entries to one receiver, each batch over a connection of its own."""

    def __init__(self, receiver: Receiver, origin: str) -> None:
        self._receiver, self._origin = receiver, origin
        self._host = printable(socket.gethostname(), 255)

    def send(self, entries: Sequence[Entry]) -> None:
        """Send `entries`, and return once the receiver said that it read them. Raises ForwardingError."""
        receiver = self._receiver
        context = context_of(receiver)
        content = b"".join(framed(message(entry, receiver, self._origin, self._host)) for entry in entries)
        try:
            plain = socket.create_connection((receiver.host, receiver.port), timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError) as fault:
            raise of_connection(receiver.name, fault) from None
        with plain:
            plain.settimeout(ANSWER_TIMEOUT_S)
            try:
                with bounded(plain):
                    told(plain, context, receiver.host, content)
            except EndedSilentlyError:
                if receiver.farewell == "required":
                    raise self._unconfirmed("the connection's end instead") from None
            except (ConnectionError, ssl.SSLEOFError):
                raise self._unconfirmed("the connection broken off") from None
            except TimeoutError:
                raise self._unconfirmed("no answer in time") from None
            except (OSError, ValueError) as fault:
                raise of_connection(receiver.name, fault) from None

    def _unconfirmed(self, found: str) -> Exception:
        expected = "the receiver's close_notify in answer to ours"
        return forwarding_error(self._receiver.name, "unconfirmed", expected, found)


def message(entry: Entry, receiver: Receiver, origin: str, host: str) -> bytes:
    """Return one message: header, structured data, and the entry as UTF-8 after its byte order mark (RFC 5424, 6)."""
    event = entry.event
    assert event.at is not None
    number = f"cloakhouse@{receiver.enterprise}"
    data = element(number, {"origin": origin, "number": str(entry.number), "leaf": leaf_hash(entry.content).hex()})
    if entry.number < _LARGEST_SEQUENCE:
        data += element("meta", {"sequenceId": str(entry.number + 1)})  # from 1 on (section 7.3.1)
    priority = FACILITY * 8 + _severity(entry)
    kind = printable(event.action.replace(" ", "_"), 32)
    header = f"<{priority}>1 {stamp(event.at)} {host} {APP_NAME} - {kind} {data} "
    return header.encode() + BOM + FORMATS[receiver.format](entry, origin)


def framed(content: bytes) -> bytes:
    """Return a message with its length in front (RFC 5425, section 4.3)."""
    return b"%d %b" % (len(content), content)


def element(name: str, values: dict[str, str]) -> str:
    """Return an element of structured data, its values with `\\`, `"` and `]` escaped (RFC 5424, section 6.3.3)."""
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]") for k, v in values.items()}
    return "[" + name + "".join(f' {key}="{value}"' for key, value in escaped.items()) + "]"


def printable(text: str, longest: int) -> str:
    """Return `text` in printable ASCII without spaces, `-` for nothing (RFC 5424, section 6)."""
    return "".join(c for c in text if 33 <= ord(c) <= 126)[:longest] or "-"


def _severity(entry: Entry) -> int:
    event = entry.event
    if event.action == Action.ALERT:
        return _OF_ALERTS[severity_of(event)]
    return INFORMATIONAL if event.decision == ALLOWED else WARNING if event.decision == REFUSED else ERROR
