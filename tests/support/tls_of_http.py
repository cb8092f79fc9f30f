"""TLS in front of a server that speaks plain HTTP: what is inside is passed on as it is."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tests.support.certificates import Pair


@contextlib.contextmanager
def tls_of_http(port: int, pair: Pair) -> Iterator[int]:
    """Yield the port on 127.0.0.1 where the server behind `port` speaks TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(pair.certificate, pair.key)
    door = socket.create_server(("127.0.0.1", 0), backlog=64)
    thread = threading.Thread(target=_serve, args=(door, port, context), daemon=True)
    thread.start()
    try:
        yield door.getsockname()[1]
    finally:
        door.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        door.close()
        thread.join(5)


def _serve(door: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):  # closed
        while True:
            outer, _ = door.accept()
            threading.Thread(target=_pass_on, args=(outer, port, context), daemon=True).start()


def _pass_on(outer: socket.socket, port: int, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=120) as inner:
        outer.settimeout(120)
        with context.wrap_socket(outer, server_side=True) as shown:
            back = threading.Thread(target=_copy, args=(inner, shown), daemon=True)
            back.start()
            _copy(shown, inner)
            back.join(120)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
