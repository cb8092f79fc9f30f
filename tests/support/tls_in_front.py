"""TLS in front of a PostgreSQL that was built without: answers its SSLRequest and passes on what is inside."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.support.certificates import Pair

SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # PostgreSQL, 54.2.11


@contextlib.contextmanager
def tls_in_front(of: Path, pair: Pair, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[int]:
    """Yield the port on 127.0.0.1 where the server behind the socket `of` speaks TLS of just this `version`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(pair.certificate, pair.key)
    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=_serve, args=(door, of, context), daemon=True).start()
        yield door.getsockname()[1]


def _serve(door: socket.socket, of: Path, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # closed
        while True:
            outer, _ = door.accept()
            threading.Thread(target=_pass_on, args=(outer, of, context), daemon=True).start()


def _pass_on(outer: socket.socket, of: Path, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), outer, socket.socket(socket.AF_UNIX) as inner:
        if outer.recv(8, socket.MSG_WAITALL) != SSL_REQUEST:
            return  # no TLS, no connection
        outer.sendall(b"S")
        with context.wrap_socket(outer, server_side=True) as shown:
            inner.connect(str(of))
            threading.Thread(target=_copy, args=(inner, shown), daemon=True).start()
            _copy(shown, inner)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
