"""The object stores that one behaviour suite runs over: a folder, moto's server, and `rclone serve s3`.

What each server is, and isn't:

- moto (5.2) honours If-None-Match and If-Match and answers the questions about public access. It takes any
  credentials, over plain HTTP on loopback: nothing about signatures or TLS is proved by it.
- rclone (1.75) checks SigV4 signatures and Content-MD5 and speaks TLS. It ignores If-None-Match and If-Match, keeps no
  versions of an object, and says nothing of public access.

`LACKS` names what a test asks for and a server hasn't got; such a test is told as skipped with that reason.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import service_aws
from tests.support.certificates import Authority

from cloakhouse.settings import Settings

BUCKET = "lake-of-tests"
KEY, SECRET = service_aws.CREDENTIALS["AWS_ACCESS_KEY_ID"], service_aws.CREDENTIALS["AWS_SECRET_ACCESS_KEY"]
START_WAIT_S = 30.0
LACKS = {
    ("rclone", "conditional writes"): "rclone ignores If-None-Match and If-Match",
    ("rclone", "versions"): "rclone keeps no versions of an object",
    ("rclone", "public access"): "rclone has neither bucket policies nor access lists",
    ("moto", "signatures"): "moto takes any credentials",
    ("moto", "tls"): "moto's server runs over plain HTTP here",
}


class Rclone:
    """`rclone serve s3` over TLS on loopback, with a certificate of an authority of its own, on a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.data = folder / "data"
        (self.data / BUCKET).mkdir(parents=True)
        self.authority = Authority(folder / "ca")
        self.port = _free_port()
        self._pair = self.authority.server()
        self._folder, self._options = folder, options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def bucket(self) -> Path:
        """The folder in which the server keeps the bucket's objects."""
        return self.data / BUCKET

    def uri(self, prefix: str = "", port: int | None = None, ca: Path | None = None, **parameters: str) -> str:
        """Return the URI of a lake at this server, or behind another port or authority."""
        given = {"endpoint": f"https://127.0.0.1:{port or self.port}", "ca": str(ca or self.authority.ca), **parameters}
        return f"s3://{BUCKET}/{prefix}?" + "&".join(f"{name}={text}" for name, text in given.items())

    def start(self) -> None:
        """Start the server and wait until it listens. The kernel ends it with whoever started it."""
        tls = ["--cert", str(self._pair.certificate), "--key", str(self._pair.key), "--min-tls-version", "tls1.3"]
        program = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(self.data)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *tls, *self._options, "--addr", f"127.0.0.1:{self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    "HOME": str(self._folder),
                    "PATH": os.environ.get("PATH", ""),
                    "RCLONE_AUTH_KEY": _csv(KEY, SECRET),
                },
                preexec_fn=_end_with_parent,
            )
        deadline = time.monotonic() + START_WAIT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.05)
        self.kill()
        raise AssertionError((self._folder / "server.log").read_text())

    def kill(self) -> None:
        """End the server without a word, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_WAIT_S)
            self._process = None


@functools.cache
def rclone() -> Rclone:
    """Return the session's server, started at first use and stopped when the process that started it ends."""
    service_aws.use_dummy_credentials()
    folder = Path(tempfile.mkdtemp(prefix="rclone-of-tests-"))
    owner = os.getpid()
    server = Rclone(folder)

    def stop() -> None:
        if os.getpid() == owner:
            server.kill()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return server


@functools.cache
def moto_bucket() -> str:
    """Return moto's endpoint, with the bucket made."""
    endpoint = service_aws.moto()
    moto_client().create_bucket(Bucket=BUCKET)
    return endpoint


def moto_client() -> Any:
    """Return a client of moto's server that none of the code under test made."""
    import boto3

    return boto3.client("s3", endpoint_url=service_aws.moto(), region_name="us-east-1")


def moto_uri(prefix: str = "", bucket: str = BUCKET, **parameters: str) -> str:
    """Return the URI of a lake at moto's server."""
    given = {"endpoint": moto_bucket(), "insecure": "loopback", **parameters}
    return f"s3://{bucket}/{prefix}?" + "&".join(f"{name}={text}" for name, text in given.items())


STORES: dict[str, Callable[[str], str]] = {
    "folder": lambda prefix: "",
    "moto": moto_uri,
    "rclone": lambda prefix: rclone().uri(prefix),
}
PARAMETERS = [pytest.param(name, id=name, marks=[] if name == "folder" else [pytest.mark.stores]) for name in STORES]
SERVERS = [pytest.param(name, id=name, marks=[pytest.mark.stores]) for name in STORES if name != "folder"]


def settings_on(name: str, home: Path) -> Settings:
    """Return the settings of an installation in `home` with an empty lake at the store called `name`."""
    settings = Settings.from_environment({}).with_home(home)
    return replace(settings, store=STORES[name](f"lake/{uuid.uuid4().hex[:12]}"))


def needs(name: str, feature: str) -> None:
    """Skip the test, saying why, when the store called `name` has no `feature`."""
    if (name, feature) in LACKS:
        pytest.skip(LACKS[name, feature])


def _csv(*texts: str) -> str:
    return '"' + ",".join(texts) + '"'


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
