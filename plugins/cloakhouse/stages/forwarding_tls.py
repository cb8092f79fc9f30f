"""TLS connections to receivers of the audit log, each bounded in time as a whole.

TLS 1.2 or newer (RFC 9325, section 3.1.1: many collectors have no 1.3), certificate and name verified, optionally with
a client's certificate of our own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from cloakhouse.stages.forwarding_faults import forwarding_error
from cloakhouse.stages.forwarding_receivers import Receiver

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 15.0
_BLOCK = 1 << 16
DEADLINE_S = 45.0  # for one batch, from the connection to the acknowledgement


class _EndedError(ConnectionError):
    """The other side ended the connection without a word."""


class EndedSilentlyError(ConnectionError):
    """The other side ended the connection without a word, after all was sent and our farewell, too."""


def context_of(receiver: Receiver) -> ssl.SSLContext:
    """Return the client's context. Raises ForwardingError (`forwarding.settings`) for files that can't be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if receiver.ca is None:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.load_verify_locations(cafile=str(receiver.ca))
        if receiver.certificate is not None:
            context.load_cert_chain(receiver.certificate, receiver.key, password=lambda: "")
    except (OSError, ValueError) as fault:
        expected = "readable files in PEM: `ca`, and `certificate` with its `key`"
        remedy = "correct the files that the receiver's settings name"
        raise forwarding_error(receiver.name, "settings", expected, type(fault).__name__, remedy) from None
    return context


@contextlib.contextmanager
def bounded(connection: socket.socket, seconds: float = DEADLINE_S) -> Iterator[None]:
    """Cut `connection` when the block takes longer than `seconds`: a timeout of a socket is for each byte anew."""
    timer = threading.Timer(seconds, _cut, (connection,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def told(plain: socket.socket, context: ssl.SSLContext, host: str, content: bytes) -> None:
    """Send `content` over TLS on the fresh connection `plain`, then close_notify; return once the other side's own has
    come: it read everything. Raises EndedSilentlyError where only the connection's end came then, OSError else.

    The handshake alone tells nothing of our certificate: in TLS 1.3 (RFC 8446, section 4.4) it is refused afterwards.
    And `SSLSocket.unwrap` takes any fatal alert for a farewell. So the bytes are moved here: what comes after our
    close_notify is read as data is, which tells the two apart.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=host)

    def stepped(step: Callable[[], object]) -> None:
        while True:
            try:
                step()
                return
            except ssl.SSLWantReadError:
                plain.sendall(outgoing.read())
                block = plain.recv(_BLOCK)
                if not block:
                    raise _EndedError from None
                incoming.write(block)

    stepped(tls.do_handshake)
    for start in range(0, len(content), _BLOCK):
        tls.write(content[start : start + _BLOCK])
        plain.sendall(outgoing.read())
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.unwrap()  # nothing has been received, so this only sends
        raise _EndedError
    plain.sendall(outgoing.read())
    try:
        while True:
            stepped(lambda: tls.read(_BLOCK))
    except ssl.SSLZeroReturnError:
        return
    except _EndedError:
        raise EndedSilentlyError from None


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # SSLSocket's own would wait for the one who reads
