"""Bytes on their way to the server: one request, or parts of an upload that is visible once it is complete.

Each upload carries a fresh random mark as metadata. When an answer was lost and the repeated request is refused, since
its condition isn't fulfilled any more or the upload is unknown, the mark tells whether our own went through.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloakhouse.errors import CloakhouseError
from cloakhouse.lake.store.s3_calls import Calls, NotMade, NoUpload
from cloakhouse.lake.store.s3_refusals import PROTOCOL, refuse

PART = 16 << 20  # bytes; also the most that is sent in one request
PARTS = 10_000  # S3's limit
STARTS = 3  # how often an upload that the server forgot is begun
MARK = "cloakhouse-made"
NOT_DONE = "the object was not made visible"


@dataclass(frozen=True)
class Upload:
    """What is made at `path`, of a file or of bytes. `condition` is If-Match or If-None-Match, or empty."""

    calls: Calls
    path: str
    source: Path | bytes
    condition: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: secrets.token_hex(16))

    def run(self) -> None:
        """Send it. Raises NotMade when the condition isn't fulfilled, StorageError, OSError."""
        size = len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size
        try:
            if size <= PART:
                block = next(self._blocks(PART), b"")
                self._call("put_object", Body=block, ContentMD5=_md5(block), **self._described, **self.condition)
                return
            self._in_parts(size)
        except NotMade:
            if not self._made():
                raise

    def _in_parts(self, size: int) -> None:
        part = max(PART, -(-size // PARTS))
        for _ in range(STARTS):
            with contextlib.suppress(NoUpload):
                upload = str(self._call("create_multipart_upload", **self._described)["UploadId"])
                try:
                    self._send(upload, part)
                    return
                except BaseException:
                    with contextlib.suppress(CloakhouseError, NoUpload, FileNotFoundError):
                        self._call("abort_multipart_upload", UploadId=upload)
                    raise
        raise refuse(PROTOCOL, self.path, NOT_DONE, "a server that forgets uploads under way")

    def _send(self, upload: str, part: int) -> None:
        sent: list[dict[str, Any]] = []
        for number, block in enumerate(self._blocks(part), 1):
            answer = self._call("upload_part", UploadId=upload, PartNumber=number, Body=block, ContentMD5=_md5(block))
            sent.append({"PartNumber": number, "ETag": answer["ETag"]})
        try:
            self._call("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": sent}, **self.condition)
        except NoUpload:
            if not self._made():
                raise

    def _made(self) -> bool:
        """Return whether the object that stands there is this upload's."""
        try:
            metadata = self.calls.head(self.path).get("Metadata", {})
        except FileNotFoundError:
            return False
        return {name.lower(): text for name, text in metadata.items()}.get(MARK) == self.mark

    @property
    def _described(self) -> dict[str, Any]:
        kind = {"ContentType": "application/octet-stream", "Metadata": {MARK: self.mark}}
        return {**kind, **self.calls.place.encrypted_at_rest}

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.calls.call(operation, self.path, NOT_DONE, Key=self.calls.key(self.path), **parameters)

    def _blocks(self, size: int) -> Iterator[bytes]:
        if isinstance(self.source, bytes):
            for start in range(0, len(self.source), size):
                yield self.source[start : start + size]
            return
        with self.source.open("rb") as stream:
            while block := stream.read(size):
                yield block


def _md5(block: bytes) -> str:
    """Return Content-MD5 (RFC 1864): a checksum of the way there, and nothing that anybody trusts."""
    return base64.b64encode(hashlib.md5(block, usedforsecurity=False).digest()).decode()
