"""A real OpenBao for tests: TLS 1.3 only, transit enabled, audit off.

One server serves a whole test session and is stopped at its end; each folder has a prefix of its own there, so tests
don't meet. `Bao` may also be started by itself, to seal it or to kill it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.certificates import Authority

from cloakhouse.keys.openbao import OpenBaoService
from cloakhouse.keys.protocol import KeyService

START_WAIT_S = 30.0
CALL_WAIT_S = 10.0


class Bao:
    """A server of its own in `folder`: `ca` is its authority's file, `token_file` holds the root token.

    It keeps everything in memory, or with `lasting` in files, so that it can be killed and started again.
    """

    def __init__(self, folder: Path, *, lasting: bool = False) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        authority = Authority(folder)
        self.ca = authority.ca
        self.port = _free_port()
        self.token_file = folder / "token"
        self._context = ssl.create_default_context(cafile=str(self.ca))
        self._process: subprocess.Popen[bytes] | None = None
        pair = authority.server()
        listener = {
            "address": f"127.0.0.1:{self.port}",
            "tls_cert_file": str(pair.certificate),
            "tls_key_file": str(pair.key),
            "tls_min_version": "tls13",
        }
        storage = folder / "storage"
        storage.mkdir()
        settings = {
            "listener": [{"tcp": listener}],
            "storage": {"raft": {"path": str(storage), "node_id": "one", "performance_multiplier": "1"}}
            if lasting
            else {"inmem": {}},
            "api_addr": f"https://127.0.0.1:{self.port}",
            "cluster_addr": f"https://127.0.0.1:{_free_port()}",
        }
        (folder / "server.json").write_text(json.dumps(settings))
        self.start()
        made = self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._unseal_key, self.root = made["keys"][0], made["root_token"]
        self.unseal()
        self.call("PUT", "sys/mounts/transit", {"type": "transit"})
        self.token_file = self.keep(self.root, "token")

    def uri(self, prefix: str = "cloakhouse", token_file: Path | None = None) -> str:
        """Return the service's URI, with the root token unless `token_file` names another."""
        token = token_file or self.token_file
        return f"bao:https://127.0.0.1:{self.port}/transit?ca={self.ca}&prefix={prefix}&token-file={token}"

    def call(self, method: str, path: str, body: object = None, token: str | None = None) -> dict[str, Any]:
        """Return the server's answer to a call of its API, made without the code under test."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": token or getattr(self, "root", "")},
        )
        with urllib.request.urlopen(request, timeout=CALL_WAIT_S, context=self._context) as answer:
            text = answer.read()
        document: dict[str, Any] = json.loads(text) if text else {}
        return document

    def token(self, *policies: str, ttl: str = "1h") -> str:
        """Return a fresh token that holds `policies` and the server's `default` one."""
        made = self.call("POST", "auth/token/create-orphan", {"policies": list(policies), "ttl": ttl})
        token: str = made["auth"]["client_token"]
        return token

    def keep(self, token: str, name: str, mode: int = 0o600) -> Path:
        """Return a file that holds `token`."""
        path = self._folder / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(f"{token}\n")
        path.chmod(mode)
        return path

    def start(self) -> None:
        """Start the server and wait until it answers; it is sealed then."""
        program = Path(sys.executable).parent / "bao"
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, "server", f"-config={self._folder / 'server.json'}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"HOME": str(self._folder), "PATH": os.environ.get("PATH", "")},
            )
        deadline = time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.call("GET", "sys/seal-status")
                return
            time.sleep(0.05)
        self.kill()
        raise AssertionError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        """End the server without a word, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(CALL_WAIT_S)
            self._process = None

    def seal(self) -> None:
        """Seal the server: it forgets the key of its storage."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Unseal the server and wait until it serves."""
        self.call("PUT", "sys/unseal", {"key": self._unseal_key})
        deadline = time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.HTTPError):
                self.call("GET", "sys/health")
                return
            time.sleep(0.05)
        raise AssertionError("the server stays sealed")


@functools.cache
def shared() -> Bao:
    """Return the session's server, started at first use and stopped when the process that started it ends."""
    folder = Path(tempfile.mkdtemp(prefix="bao-of-tests-"))
    owner = os.getpid()
    server = Bao(folder)

    def stop() -> None:
        if os.getpid() == owner:
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return server


def prefix_of(folder: Path) -> str:
    """Return the prefix of the keys of `folder`."""
    return "t" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]


def open_service(folder: Path) -> Callable[[], KeyService]:
    """Return what opens, each time anew, the key service of `folder` at the session's server."""
    return lambda: OpenBaoService.from_uri(shared().uri(prefix_of(folder)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
