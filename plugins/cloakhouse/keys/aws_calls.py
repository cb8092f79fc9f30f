"""Calls to AWS KMS from the right process, within a time limit, with every fault translated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from cloakhouse.errors import MissingDependency
from cloakhouse.keys.aws_place import Patience, Place, time_limit
from cloakhouse.keys.aws_refusals import NOT_KMS, UNREACHABLE, refuse, translate
from cloakhouse.keys.protocol import Connection, KeyName

PAGES = 1000  # of a listing; more would be a service that goes round in circles
NOT_DONE = {
    "encrypt": "no data key was wrapped",
    "generate_data_key": "no data key was made",
    "decrypt": "no data key was opened and nothing was decrypted",
    "create_key": "no master key was made and no data key was wrapped",
}


class KmsCalls:
    """A boto3 client that is opened at the first call in each process: connections don't survive a fork."""

    def __init__(self, place: Place, patience: Patience) -> None:
        self._place = place
        self._patience = patience
        self._held: tuple[int, Any] | None = None

    def call(self, operation: str, name: KeyName | None, **parameters: Any) -> dict[str, Any]:
        """Return KMS's answer to `operation` (`generate_data_key`), which is about master key `name`.

        Raises KeyServiceError, AccessRefused, ConfigurationError, MissingDependency.
        """
        client = self._client(name)
        from cloakhouse.keys.aws_wire import FAULTS

        try:
            with time_limit(self._patience):
                return dict(getattr(client, operation)(**parameters))
        except FAULTS as fault:
            raise translate(fault, operation, where(name), not_done(operation), client.meta.endpoint_url) from None

    def pages(self, operation: str, field: str, name: KeyName | None, **parameters: Any) -> Iterator[dict[str, Any]]:
        """Yield the entries in `field` of all pages of a listing. Raises as `call`."""
        for _ in range(PAGES):
            page = self.call(operation, name, **parameters)
            yield from self.part(page, field, name)
            if not page.get("Truncated"):
                return
            parameters["Marker"] = self.part(page, "NextMarker", name)
        raise refuse(UNREACHABLE, where(name), not_done(operation), f"a listing of more than {PAGES} pages")

    def part(self, answer: dict[str, Any], field: str, name: KeyName | None) -> Any:
        """Return a field of an answer. Raises KeyServiceError (`key.damaged`) if the service left it out."""
        if field not in answer:
            raise refuse(
                NOT_KMS,
                where(name),
                "no data key was wrapped or opened and nothing was decrypted",
                f"an answer without {field}",
            )
        return answer[field]

    def connection(self) -> Connection:
        """Connect and return what was negotiated. Raises KeyServiceError."""
        client = self._client(None)
        from cloakhouse.keys.aws_wire import connection

        return connection(self._place, client, self._patience)

    def _client(self, name: KeyName | None) -> Any:
        held = self._held
        if held is not None and held[0] == os.getpid():
            return held[1]
        try:
            from cloakhouse.keys import aws_wire
        except ImportError:
            raise MissingDependency(
                where="AWS KMS",
                expected="the package boto3",
                found="no such package",
                not_done="nothing was sent",
                remedy="pip install 'cloakhouse[platform]'",
                code="boto3",
            ) from None
        try:
            client = aws_wire.open_client(self._place, self._patience)
        except aws_wire.FAULTS as fault:
            raise translate(fault, "open", where(name), "nothing was sent", "") from None
        # Two threads may both come here: each has a working client, and one of the two stays. A lock would be worse,
        # as a fork while it is held leaves it held in the child for good.
        self._held = (os.getpid(), client)
        return client


def where(name: KeyName | None) -> str:
    """Return what an error is about."""
    return "AWS KMS" if name is None else f"master key {name} at AWS KMS"


def not_done(operation: str) -> str:
    """Return what did not happen because `operation` failed."""
    return NOT_DONE.get(operation, f"{operation.replace('_', ' ')} did not happen; nothing else was changed")
