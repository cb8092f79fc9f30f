"""Calls of an S3 server from the right process, within a time limit, with every fault translated.

Clients are kept by process, place and patience, so that opening a store costs nothing and a forked child never writes
to a connection of its parent. A store that is pickled takes no client along.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cloakhouse.errors import CloakhouseError, KeyServiceError, MissingDependency, StorageError
from cloakhouse.keys.aws_place import Patience, time_limit
from cloakhouse.lake.store.s3_refusals import PROTOCOL, Refusal, code_of, refuse, translate
from cloakhouse.lake.store.s3_uri import PATIENCE, Place

SLOWEST = 64 << 10  # bytes per second; a body that comes slower than that, after `read_s`, is given up
BLOCK = 1 << 20  # bytes
BACK_OFF_S = 0.2  # doubled each time
MISSING = ("NoSuchKey", "404", "NotFound")
_clients: dict[tuple[int, Place, Patience], Any] = {}


class NotMade(Exception):
    """The server found the condition of a write not fulfilled, or another write under way (412, 409)."""


class NoUpload(Exception):
    """The server doesn't know the multi-part upload any more."""


@dataclass(frozen=True)
class Calls:
    """What a store does at the server that `place` names."""

    place: Place
    patience: Patience = PATIENCE

    def key(self, path: str) -> str:
        """Return the object's key in the bucket."""
        return self.place.prefix + path

    def call(self, operation: str, where: str, not_done: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to `operation` (`put_object`) on the bucket.

        Raises FileNotFoundError for an object that isn't there, NotMade, NoUpload, StorageError, ConfigurationError,
        MissingDependency.
        """
        client = self.client()
        from cloakhouse.lake.store.s3_client import FAULTS

        try:
            with time_limit(self.patience):
                return dict(getattr(client, operation)(Bucket=self.place.bucket, **parameters))
        except FAULTS as fault:
            code, status = code_of(fault)
            if code in MISSING and status == 404:
                raise FileNotFoundError(where) from None
            if status in (409, 412) and ("IfMatch" in parameters or "IfNoneMatch" in parameters):
                raise NotMade from None
            if code == "NoSuchUpload":
                raise NoUpload from None
            raise translate(fault, where, not_done, client.meta.endpoint_url) from None

    def head(self, path: str) -> dict[str, Any]:
        """Return what the server tells of the object. Raises as `call`."""
        try:
            return self.call("head_object", path, "nothing was read", Key=self.key(path))
        except StorageError as refused:
            if refused.code not in ("storage.refused", "storage.protocol"):
                raise
        # an answer to HEAD has no body, so no code either: the same question again, so that the server says why
        first = self.call("get_object", path, "nothing was read", Key=self.key(path), Range="bytes=0-0")
        first["Body"].close()
        raise refuse(PROTOCOL, path, "nothing was read", "an answer to GET, and none to HEAD")

    def get(self, path: str, take: Callable[[dict[str, Any]], Callable[[bytes], object]]) -> dict[str, Any]:
        """Have the object's bytes taken and return the answer that they came with.

        `take` is called with the answer, and returns what takes the blocks; after a fault in the middle all of it
        happens again, as often as `patience` has attempts. Raises as `call`.
        """
        client = self.client()
        from botocore.exceptions import BotoCoreError
        from urllib3.exceptions import HTTPError

        for attempt in range(self.patience.attempts):
            answer = self.call("get_object", path, "nothing was read", Key=self.key(path))
            sink = take(answer)
            try:
                self._body(answer, sink, path)
                return answer
            except (BotoCoreError, HTTPError, OSError) as fault:
                if isinstance(fault, OSError) and fault.errno is not None and not isinstance(fault, ConnectionError):
                    raise  # the disk's refusal, not the network's
                if attempt == self.patience.attempts - 1:
                    raise translate(fault, path, "nothing was read", client.meta.endpoint_url) from None
            time.sleep(BACK_OFF_S * 2**attempt)
        raise AssertionError("no attempt")

    def _body(self, answer: dict[str, Any], sink: Callable[[bytes], object], path: str) -> None:
        until = time.monotonic() + self.patience.read_s + int(answer.get("ContentLength", 0)) / SLOWEST
        body = answer["Body"]
        with contextlib.closing(body):  # `with body` would give the stream below, which doesn't mind a missing end
            while block := body.read(BLOCK):
                sink(block)
                if time.monotonic() > until:
                    slow = Refusal("unreachable", f"at least {SLOWEST:,} bytes a second", "fewer", "run again")
                    raise refuse(slow, path, "nothing was read")

    def client(self) -> Any:
        """Return this process's client. Raises StorageError, ConfigurationError, MissingDependency."""
        held = _clients.get((os.getpid(), self.place, self.patience))
        if held is not None:
            return held
        try:
            from cloakhouse.lake.store import s3_client
        except ImportError:
            raise _not_installed() from None
        try:
            client = s3_client.open_client(self.place, self.patience)
        except s3_client.FAULTS as fault:
            raise translate(fault, self.place.uri, "nothing was sent", "") from None
        # two threads may both come here: each has a working client, and one of the two stays
        return _clients.setdefault((os.getpid(), self.place, self.patience), client)

    def negotiated(self) -> tuple[str, str]:
        """Connect and return (protocol, cipher). Raises StorageError."""
        client = self.client()
        from cloakhouse.lake.store.s3_client import negotiated

        try:
            return negotiated(self.place, client, self.patience)
        except KeyServiceError as told:
            found = Refusal(told.code.removeprefix("key."), told.expected, told.found, told.remedy)
            raise refuse(found, told.where, told.not_done) from None


def _not_installed() -> CloakhouseError:
    return MissingDependency(
        where="the lake at an S3 server",
        expected="the package boto3",
        found="no such package",
        not_done="nothing was sent",
        remedy="pip install 'cloakhouse[client]'",
        code="boto3",
    )
