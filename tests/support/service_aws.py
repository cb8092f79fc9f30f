"""AWS KMS for tests, on loopback: moto's server, and a server that answers as it is told.

moto (5.2) speaks KMS's protocol over real HTTP, so boto3 signs, sends and parses as always. It does not check
signatures, permissions or a key's state. The last of these is added here, with the errors that KMS gives: encrypting
and decrypting with a disabled key, or with one that is scheduled for deletion.

`scripted` serves recorded answers: for what moto never says (throttling, denial, expired credentials, faults).
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cloakhouse.keys.aws_kms import AwsKmsService
from cloakhouse.keys.protocol import KeyService

REGION = "eu-west-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTINGTESTING00",
    "AWS_SECRET_ACCESS_KEY": "throwaway/secret/access/key/of/the/tests",
    "AWS_SESSION_TOKEN": "throwaway-session-token-of-the-tests",
}
ELSEWHERE = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")


def open_service(folder: Path) -> Callable[[], KeyService]:
    """Return a function that opens the service of a prefix of its own at moto's server."""
    uri = new_uri()
    return lambda: AwsKmsService.from_uri(uri)


def new_uri() -> str:
    """Return the URI of a fresh prefix at moto's server, which is started with the first one."""
    return f"aws-kms:alias/test-{uuid.uuid4().hex}?region={REGION}&endpoint={moto()}"


@functools.cache
def moto() -> str:
    """Start moto's server for the rest of this process and return its endpoint."""
    from moto.server import ThreadedMotoServer

    use_dummy_credentials()
    _check_key_states()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"


def use_dummy_credentials() -> None:
    """Set credentials that open nothing, for this process and its children, so that no test can use real ones."""
    for name in ELSEWHERE:
        os.environ.pop(name, None)
    os.environ.update(CREDENTIALS)
    os.environ.update(
        AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE=os.devnull, AWS_SHARED_CREDENTIALS_FILE=os.devnull
    )


def _check_key_states() -> None:
    from moto.core.exceptions import JsonRESTError
    from moto.kms.models import KmsBackend

    def checked(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            key = self.keys.get(self.any_id_to_key_id(kwargs["key_id"]))
            if key is not None and key.key_state == "Disabled":
                raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
            if key is not None and key.key_state == "PendingDeletion":
                raise JsonRESTError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
            return method(self, *args, **kwargs)

        return call

    for name in ("encrypt", "decrypt"):  # GenerateDataKey goes through encrypt
        setattr(KmsBackend, name, checked(getattr(KmsBackend, name)))


@dataclass(frozen=True)
class Answer:
    """One answer: status, JSON body (or raw bytes) and further headers. Its Date is `behind_s` seconds ago."""

    status: int
    body: dict[str, Any] | bytes
    headers: dict[str, str] = field(default_factory=dict)
    behind_s: float = 0.0


def gave(**body: Any) -> Answer:
    """Return a successful answer."""
    return Answer(200, body)


def refused(code: str, message: str | None = "", status: int = 400, *, behind_s: float = 0.0, **headers: str) -> Answer:
    """Return an error as KMS gives it (AWS JSON 1.1); None for one without a message."""
    body = {"__type": code, **({} if message is None else {"message": message})}
    return Answer(status, body, headers, behind_s)


@dataclass
class Script:
    """A running server: its endpoint, what was asked of it as (operation, parameters), and from which ports."""

    endpoint: str
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    @property
    def uri(self) -> str:
        """The URI of a key service at this server."""
        return f"aws-kms:alias/scripted?region={REGION}&endpoint={self.endpoint}"

    @property
    def operations(self) -> list[str]:
        """The operations that were asked for, in order."""
        return [operation for operation, _ in self.asked]


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a refused handshake is what some tests are about."""


@contextlib.contextmanager
def scripted(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Script]:
    """Serve `answers` in order, the last one for ever, over HTTP or with `tls` over HTTPS."""
    use_dummy_credentials()
    waiting, guard = list(answers), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            parameters = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with guard:
                script.ports.append(self.client_address[1])
                script.asked.append((self.headers["X-Amz-Target"].removeprefix("TrentService."), parameters))
                answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response_only(answer.status)
            headers = {
                "Date": self.date_time_string(time.time() - answer.behind_s),
                "Content-Type": "application/x-amz-json-1.1",
                "Content-Length": str(len(body)),
                "x-amzn-RequestId": str(uuid.uuid4()),
                **answer.headers,
            }
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = _Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    script = Script(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
