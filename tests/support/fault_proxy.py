"""A server in front of a server that does to chosen requests what networks and busy servers do.

It ends TLS with a certificate of its own and passes each request on as it is (the signature covers the address that
the client used, so the server behind sees a valid one). `faults` are asked in order for each request; the first that
answers decides.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.certificates import Authority

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Fault:
    """What happens to one request: `kind` is hang, reset, status, truncate, slow, lose (done, answer lost)."""

    kind: str
    status: int = 500
    code: str = "InternalError"
    headers: str = ""


@dataclass
class Rule:
    """A fault for the first `times` requests whose `METHOD path?query` matches `pattern`, after `skip` of them."""

    pattern: str
    fault: Fault
    times: int = 1_000
    skip: int = 0

    def takes(self, line: str) -> bool:
        """Return whether this request is hit."""
        if not re.search(self.pattern, line) or self.times <= 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Proxy:
    """A running proxy: its port, its authority's file, the rules, and the request lines that came."""

    port: int
    ca: Path
    rules: list[Rule] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def count(self, pattern: str) -> int:
        """Return how many requests matched."""
        return sum(bool(re.search(pattern, line)) for line in self.asked)


@contextlib.contextmanager
def proxy(
    folder: Path, behind: int, behind_ca: Path, *rules: Rule, newest: ssl.TLSVersion | None = None
) -> Iterator[Proxy]:
    """Run a proxy on loopback in front of the TLS server at port `behind`; `newest` caps its TLS version."""
    authority = Authority(folder / "proxy-ca")
    pair = authority.server(stem="proxy")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if newest is not None:
        context.maximum_version = newest
    listener = socket.create_server(("127.0.0.1", 0))
    running = Proxy(listener.getsockname()[1], authority.ca, list(rules))
    stop, guard = threading.Event(), threading.Lock()
    onward = ssl.create_default_context(cafile=str(behind_ca))

    def serve(plain: socket.socket) -> None:
        with contextlib.suppress(OSError), plain:
            plain.settimeout(30)
            with context.wrap_socket(plain, server_side=True) as client:
                head, rest = _head(client)
                line = head.split(b"\r\n", 1)[0].decode().rpartition(" ")[0]
                with guard:
                    running.asked.append(line)
                    fault = next((rule.fault for rule in running.rules if rule.takes(line)), None)
                _handle(client, head, rest, fault, lambda: _connected(behind, onward), stop)

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        stop.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", running.port), timeout=1).close()
        listener.close()
        thread.join(5)


def _handle(
    client: ssl.SSLSocket,
    head: bytes,
    rest: bytes,
    fault: Fault | None,
    connect: Callable[[], ssl.SSLSocket],
    stop: threading.Event,
) -> None:
    length = int(found[1]) if (found := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)) else 0
    if b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)\r\nexpect: *100-continue", b"", head)
    if fault is not None and fault.kind == "hang":
        stop.wait(20)
        return
    if fault is not None and fault.kind == "reset":
        _some(client, min(length - len(rest), length // 2))
        _reset(client)
        return
    if fault is not None and fault.kind == "status":
        _some(client, length - len(rest))
        client.sendall(_refusal(fault, head.startswith(b"HEAD")))
        return
    with connect() as server:
        server.sendall(
            re.sub(rb"(?i)\r\nconnection: *[^\r]*", b"", head)[: -len(HEAD_END)] + b"\r\nConnection: close" + HEAD_END
        )
        server.sendall(rest)
        left = length - len(rest)
        while left > 0 and (block := client.recv(min(left, 1 << 16))):
            server.sendall(block)
            left -= len(block)
        answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
    if fault is not None and fault.kind == "lose":
        _reset(client)
        return
    if fault is not None and fault.kind == "truncate":
        start = answer.index(HEAD_END) + len(HEAD_END)
        answer = answer[: start + (len(answer) - start) // 2]
    if fault is not None and fault.kind == "slow":
        for piece in range(0, len(answer), len(answer) // 10):
            client.sendall(answer[piece : piece + len(answer) // 10])
            stop.wait(0.4)
        return
    client.sendall(answer)


def _refusal(fault: Fault, bare: bool) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>sekret text</Message></Error>".encode()
    head = f"HTTP/1.1 {fault.status} Refused\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{fault.headers}Connection: close\r\n\r\n".encode() + (b"" if bare else body)


def _head(client: ssl.SSLSocket) -> tuple[bytes, bytes]:
    data = b""
    while HEAD_END not in data:
        block = client.recv(1 << 16)
        if not block:
            raise ConnectionError
        data += block
    head, _, rest = data.partition(HEAD_END)
    return head + HEAD_END, rest


def _some(client: ssl.SSLSocket, size: int) -> None:
    while size > 0 and (block := client.recv(min(size, 1 << 16))):
        size -= len(block)


def _reset(client: ssl.SSLSocket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket.close(client)


def _connected(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname="127.0.0.1")
