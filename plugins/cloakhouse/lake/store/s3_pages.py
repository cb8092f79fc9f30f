"""Listings of a bucket, page by page, and the server's clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from cloakhouse.lake.store.protocol import checked_path
from cloakhouse.lake.store.s3_bucket import examined
from cloakhouse.lake.store.s3_calls import Calls, NoUpload
from cloakhouse.lake.store.s3_refusals import PROTOCOL, refuse

MARKERS = ("UploadIdMarker", "VersionIdMarker")


def pages(
    calls: Calls, operation: str, folder: str, sent: str, told: str, *, below: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield the pages of a listing below `folder`, or with `below` False of what begins with its name.

    `sent` and `told` name the parameter and the field by which the server goes on. Raises as `Calls.call`, and
    StorageError (`storage.protocol`) for a listing that the server ends before its end.
    """
    examined(calls)
    prefix = calls.key(checked_path(folder) + ("/" if below else "")) if folder else calls.place.prefix
    at: dict[str, str] = {}
    while True:
        try:
            page = calls.call(operation, folder or calls.place.uri, "nothing was listed", Prefix=prefix, **at)
        except NoUpload:
            return  # what rclone says when there are none
        yield page
        if not page.get("IsTruncated"):
            return
        onward = {sent: page[told]} if page.get(told) else {}
        onward |= {name: page[f"Next{name}"] for name in MARKERS if page.get(f"Next{name}")}
        if onward == at or sent not in onward:  # no way to go on, or round in circles: what isn't listed may stand
            raise refuse(PROTOCOL, folder or calls.place.uri, "the listing is not whole")
        at = onward


def utc(moment: dt.datetime) -> dt.datetime:
    """Return a moment that a server told, in UTC."""
    return moment.astimezone(dt.UTC)


def server_time(page: dict[str, Any]) -> dt.datetime:
    """Return the server's clock, which is the one that says when an upload began; ours if the answer has no date."""
    try:
        return parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError):
        return dt.datetime.now(dt.UTC)
