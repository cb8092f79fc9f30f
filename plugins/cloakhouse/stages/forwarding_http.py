"""A receiver of kind http: batches by POST over TLS, as JSON lines or one array.

Acknowledged is a batch whose answer is 2xx and came whole. 429, 5xx and broken connections are tried again a few times
with growing pauses (Retry-After is kept where it is short), then at the next call. Any other answer stops the receiver
with its code: nothing is skipped, and somebody has to look. A body that is too large (413) is sent in halves. No
redirect is followed: it would take the token elsewhere.
"""

from __future__ import annotations

import http.client
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.ocsf import FORMATS
from cloakhouse.stages.forwarding_faults import ForwardingError, forwarding_error, of_connection
from cloakhouse.stages.forwarding_receivers import Receiver
from cloakhouse.stages.forwarding_tls import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, bounded, context_of

ATTEMPTS = 4
LONGEST_PAUSE_S = 20.0
LARGEST_ANSWER = 1 << 16  # bytes
LONGEST_TOKEN = 8192
TOO_LARGE = 413
AGAIN = (408, 425, 429)


class HttpSender:
    """Posts entries to one receiver."""

    def __init__(self, receiver: Receiver, origin: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._receiver, self._origin, self._pause = receiver, origin, pause

    def send(self, entries: Sequence[Entry]) -> None:
        """Post `entries`, and return once the receiver said that it has them. Raises ForwardingError."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, after = self._post(entries)
            except ForwardingError as fault:
                if attempt == ATTEMPTS or not fault.retryable:
                    raise
                status, after = 0, None
            if 200 <= status < 300:
                return None
            if status == TOO_LARGE and len(entries) > 1:
                middle = len(entries) // 2
                self.send(entries[:middle])
                return self.send(entries[middle:])
            if status and status not in AGAIN and status < 500:
                raise self._refused(status)
            if attempt < ATTEMPTS:
                self._pause(_wait(attempt, after))
        raise forwarding_error(self._receiver.name, "unavailable", "an answer of 2xx", f"{status}, {ATTEMPTS} times")

    def _post(self, entries: Sequence[Entry]) -> tuple[int, str | None]:
        """Return the answer's status, and what its Retry-After says. Raises ForwardingError."""
        receiver = self._receiver
        headers = {"Content-Type": "application/x-ndjson" if receiver.body == "lines" else "application/json"}
        if receiver.token_file is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        parts = urlsplit(receiver.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port or 443, timeout=CONNECT_TIMEOUT_S, context=context_of(receiver)
        )
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_TIMEOUT_S)
            with bounded(connection.sock):
                connection.request("POST", target, self._body(entries), headers)
                answer = connection.getresponse()
                return self._whole(answer), answer.getheader("Retry-After")
        except http.client.HTTPException as fault:
            expected = "a whole answer in HTTP"
            raise forwarding_error(receiver.name, "unconfirmed", expected, type(fault).__name__) from None
        except (OSError, ValueError) as fault:
            raise of_connection(receiver.name, fault) from None
        finally:
            connection.close()

    def _whole(self, answer: http.client.HTTPResponse) -> int:
        """Return the status of an answer that came whole, or is longer than anybody needs to read."""
        answer.read(LARGEST_ANSWER)
        if answer.length and answer.length > 0 and not answer.isclosed() and not answer.fp.peek(1):
            raise http.client.IncompleteRead(b"")
        return answer.status

    def _body(self, entries: Sequence[Entry]) -> bytes:
        line = FORMATS[self._receiver.format]
        lines = [line(entry, self._origin) for entry in entries]
        return b"\n".join(lines) + b"\n" if self._receiver.body == "lines" else b"[" + b",".join(lines) + b"]"

    def _token(self) -> str:
        path = self._receiver.token_file
        assert path is not None
        try:
            with path.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                token = stream.read(LONGEST_TOKEN + 1).decode("ascii").strip()
        except (OSError, ValueError) as fault:
            found = type(fault).__name__
        else:
            if token and len(token) <= LONGEST_TOKEN and token.isprintable() and not mode & stat.S_IRWXO:
                return token
            found = "a file that others can read" if mode & stat.S_IRWXO else "no token, or one too long"
        expected = "a file with a token in ASCII, not readable by others"
        raise forwarding_error(self._receiver.name, "settings", expected, found, "correct `tokenFile`")

    def _refused(self, status: int) -> ForwardingError:
        remedy = {401: "renew the token in `tokenFile`", 403: "have the token allowed to write"}.get(
            status, "see in the receiver's own log what it does not take; nothing is sent until it does"
        )
        return forwarding_error(self._receiver.name, f"refused-{status}", "an answer of 2xx", str(status), remedy)


def _wait(attempt: int, after: str | None) -> float:
    """Return how long to pause (seconds): what the receiver asks for if that is short, else 0.5, 1, 2 with jitter."""
    if after is not None and after.isascii() and after.isdecimal() and len(after) < 6:
        return min(float(after), LONGEST_PAUSE_S)
    return float(2 ** (attempt - 2)) * (1 + secrets.randbelow(250) / 1000)
