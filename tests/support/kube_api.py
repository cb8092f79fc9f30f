"""As much of Kubernetes' API server as a Spark driver needs to ask for executors: it notes pods, and starts none.

No Kubernetes can run in these tests. What the real one would start is what is noted here: Spark's own client made the
request, over TLS, from the properties of the job.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.certificates import Pair


@dataclass
class KubeApi:
    """The stub: its port, and what it was asked to make, by kind (`pods`, `configmaps`)."""

    port: int
    made: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pod: threading.Event = field(default_factory=threading.Event)


@contextlib.contextmanager
def kube_api(pair: Pair) -> Iterator[KubeApi]:
    """Yield a stub on 127.0.0.1 that shows the certificate of `pair`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            watches = "watch=true" in self.path
            listed = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []}
            self._answer(200, {} if watches else listed)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kind = self.path.split("?")[0].rsplit("/", 1)[1]
            stub.made.setdefault(kind, []).append({"path": self.path, **body})
            body.setdefault("metadata", {}).update(uid="00000000-0000-0000-0000-000000000001", resourceVersion="1")
            self._answer(201, body)
            if kind == "pods":
                stub.pod.set()

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

        do_PATCH = do_PUT = do_DELETE

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode() if body else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    stub = KubeApi(server.server_address[1])
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
