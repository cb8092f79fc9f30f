"""Receivers of the audit log on loopback, over real TLS: a syslog collector and an HTTPS one, with faults on call."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.support.certificates import Pair

Fault = Callable[[ssl.SSLSocket], None]


@dataclass
class Collector:
    """A running server: its port, what it received, and what it does to the next connections (oldest first)."""

    port: int
    messages: list[bytes] = field(default_factory=list)  # syslog messages
    requests: list[tuple[str, bytes]] = field(default_factory=list)  # head and body of HTTP requests
    answers: list[bytes] = field(default_factory=list)  # what HTTP requests get; else 200
    faults: list[str] = field(default_factory=list)  # reset, hang, silent (no close_notify), empty
    clients: list[str] = field(default_factory=list)  # common names of clients' certificates


def answer(status: int, body: bytes = b"{}", headers: str = "", length: int | None = None) -> bytes:
    """Return an HTTP answer; `length`: what it claims the body has."""
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body) if length is None else length}\r\n{headers}\r\n"
    return head.encode() + body


def client_pair(folder: Path) -> Pair:
    """Return a self-signed certificate for a client, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Throwaway client")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
    signed = made.not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    pair = Pair(folder / "client.pem", folder / "client.key")
    pair.certificate.write_bytes(signed.public_bytes(pem))
    pair.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return pair


@contextlib.contextmanager
def syslog_collector(pair: Pair, **options: object) -> Iterator[Collector]:
    """Run a collector of RFC 5425 messages."""
    with _server(pair, _read_syslog, **options) as running:  # type: ignore[arg-type]
        yield running


@contextlib.contextmanager
def https_collector(pair: Pair, **options: object) -> Iterator[Collector]:
    """Run a collector that takes POST requests."""
    with _server(pair, _read_http, **options) as running:  # type: ignore[arg-type]
        yield running


@contextlib.contextmanager
def _server(
    pair: Pair,
    handle: Callable[[Collector, ssl.SSLSocket, str], None],
    *,
    clients: Pair | None = None,
    newest: ssl.TLSVersion | None = None,
    plain: bool = False,
) -> Iterator[Collector]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile=str(clients.certificate))
    if newest is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = newest
    with socket.create_server(("127.0.0.1", 0)) as door:
        running, stop = Collector(door.getsockname()[1]), threading.Event()

        def serve(outer: socket.socket) -> None:
            with contextlib.suppress(OSError, ValueError), outer:
                outer.settimeout(10)
                fault = running.faults.pop(0) if running.faults else ""
                if plain:
                    outer.sendall(b"220 hello\r\n")
                    return
                with context.wrap_socket(outer, server_side=True) as secured:
                    peer = secured.getpeercert()
                    if peer:
                        running.clients.append(str(peer["subject"]))
                    if fault == "hang":
                        stop.wait(20)
                    elif fault == "reset":
                        secured.recv(10)
                        secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        socket.socket.close(secured)
                    else:
                        handle(running, secured, fault)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield running
        finally:
            stop.set()


def _read_syslog(running: Collector, secured: ssl.SSLSocket, fault: str) -> None:
    """Read frames (RFC 5425, section 4.3) up to the sender's close_notify, and answer with ours."""
    data = b""
    while block := secured.recv(65536):
        data += block
    while data:
        length, _, rest = data.partition(b" ")
        running.messages.append(rest[: int(length)])
        assert len(running.messages[-1]) == int(length)
        data = rest[int(length) :]
    if fault == "silent":
        secured.detach()  # the connection stays open, and nothing is said
        return
    if fault == "cut":
        socket.socket.shutdown(secured, socket.SHUT_RDWR)
        return
    secured.unwrap()


def _read_http(running: Collector, secured: ssl.SSLSocket, fault: str) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        block = secured.recv(65536)
        if not block:
            return
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    while found and len(body) < int(found[1]):
        body += secured.recv(65536)
    running.requests.append((head.decode(), body))
    if fault != "empty":
        secured.sendall(running.answers.pop(0) if running.answers else answer(200))
    with contextlib.suppress(OSError):
        secured.unwrap()
