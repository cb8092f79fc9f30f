"""The `feed` property of a contract: how the files of a feed arrive."""

from __future__ import annotations

import datetime as dt

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import Feed, Kind, Period
from cloakhouse.contracts.source import Path as Node
from cloakhouse.contracts.source import Source

DELIMITERS = (",", ";", "|", "\t")


def read_feed(source: Source, properties: dict[str, Node], kind: Kind) -> Feed | None:
    """Return the checked `feed` of a feed's contract, None for a synthetic dataset. Raises ContractError."""
    if kind is not Kind.FEED:
        return None
    if "feed" not in properties:
        raise source.error(
            ("customProperties",),
            expected="a property `feed` for a feed contract",
            found="none",
            remedy="declare files, format, period, firstPartition, afterLanding",
        )
    fields = Fields(source, properties["feed"])
    files = fields.text("files")
    if files.count("{partition}") != 1 or "/" in files:
        raise fields.fault("files", "a file name with one {partition}", "another form", "e.g. a-{partition}.csv")
    first = fields.data.get("firstPartition")
    if type(first) is not dt.date:
        raise fields.fault("firstPartition", "a date as YYYY-MM-DD", type(first).__name__, "give the first day")
    delimiter = fields.data.get("delimiter", ",")
    if delimiter not in DELIMITERS:
        raise fields.fault("delimiter", "one of ',' ';' '|' or a tab", "another", "e.g. delimiter: ','")
    feed = Feed(
        files=files,
        format=fields.choice("format", ["csv", "jsonl"]),
        delimiter=str(delimiter),
        period=Period(fields.choice("period", [p.value for p in Period])),
        first_partition=first,
        max_line_bytes=fields.whole("maxLineBytes", 64, 64 << 20, 1 << 20),
        after_landing=fields.choice("afterLanding", ["delete", "keep"]),
    )
    if feed.period is Period.WEEK and first.weekday() != 0:
        raise fields.fault("firstPartition", "a Monday", "another day", "weeks start on Monday (ISO 8601)")
    fields.nothing_else("delimiter", "firstPartition")
    return feed
