"""Choices as people write them, CSV or JSONL, checked into rows of the register; what is wrong is told by line alone.

A line names the person (the subject's column of the customer master), `purpose`, `choice` (granted, refused, told),
`chosen_at` (ISO 8601 with a zone, not to come) and `policy` (the version of the notice). It may name `country` (ISO
3166-1; the strictest law where it doesn't) and `source`: `file`, or `gpc` for a Global Privacy Control signal, which
refuses sharing and nothing else. Other columns are refused: a register takes what it needs.

Only tokens and choices are kept while a file is read, 65,536 lines at a time: a value is in no message.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.contracts.jurisdictions import profile_of
from cloakhouse.contracts.model import Column
from cloakhouse.contracts.subject import PURPOSES
from cloakhouse.keys.derive import KeySource
from cloakhouse.ledger.consent_model import API, CHOICES, FILE, GPC, REFUSED, SCHEMA
from cloakhouse.ledger.consents import choices_table
from cloakhouse.stages.parsing import check_column
from cloakhouse.tokens.subjects import rights_tokens

NEEDED = ("purpose", "choice", "chosen_at", "policy")
OPTIONAL = ("country", "source")
LONGEST = 4096  # characters of a line
BLOCK_LINES = 65_536
FIRST_LINES = 5  # numbers of lines that are told of each kind
EARLIEST = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
REPLACED = "\ufffd"  # what bytes that are not UTF-8 were read as
_POLICY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_COUNTRY = re.compile(r"[A-Z]{2}")
REASONS = {
    "form": "not a line with the header's fields, or not a JSON object of texts",
    "person": "a text that names nobody",
    "purpose": "another purpose than " + ", ".join(PURPOSES),
    "choice": "another choice than " + ", ".join(CHOICES),
    "chosen_at": "no time with a zone that has passed",
    "policy": "no version of a notice",
    "country": "no country of two capital letters",
    "source": "another source than file or gpc, or a gpc that says anything but that sharing is refused",
}
Line = Mapping[str, str | None]


@dataclass
class Faults:
    """Lines that can't be registered, by reason: how many, and the numbers of the first ones."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    first: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, number: int) -> None:
        """Count one line."""
        self.counts[reason] += 1
        if len(self.first[reason]) < FIRST_LINES:
            self.first[reason].append(number)

    def __str__(self) -> str:
        told = []
        for reason in (reason for reason in REASONS if reason in self.counts):
            numbers = ", ".join(map(str, self.first[reason]))
            more = ", ..." if self.counts[reason] > len(self.first[reason]) else ""
            told.append(f"{self.counts[reason]:,} with {REASONS[reason]} (line {numbers}{more})")
        return "; ".join(told)


class LineReader:
    """Turns lines into rows of the register. One per file."""

    def __init__(self, column: Column, keys: KeySource, now: dt.datetime) -> None:
        self._column = replace(column, required=True)
        self._keys = keys
        self._now = now
        self.faults = Faults()
        self.lines = 0

    def table(self, lines: Iterable[tuple[int, Line | None]]) -> pa.Table:
        """Return the rows of numbered lines (None: one that has no fields); what is wrong is in `faults` then."""
        parts = [SCHEMA.empty_table()]
        block: list[tuple[int, Line]] = []
        for number, line in lines:
            self.lines += 1
            if line is None:
                self.faults.add("form", number)
                continue
            block.append((number, line))
            if len(block) == BLOCK_LINES:
                parts.append(self._rows(block))
                block = []
        return pa.concat_tables([*parts, self._rows(block)])

    def _rows(self, block: Sequence[tuple[int, Line]]) -> pa.Table:
        sound = [(number, line, at) for number, line in block if (at := self._checked(number, line)) is not None]
        named = pa.array([line.get(self._column.name) for _, line, _ in sound], pa.string())
        values, faults = check_column(pa.chunked_array([named.cast(pa.binary())]), self._column)
        wrong = np.zeros(len(sound), np.bool_)
        for flags in faults.values():
            wrong |= flags
        for index in np.flatnonzero(wrong):
            self.faults.add("person", sound[index][0])
        kept = [item for item, bad in zip(sound, wrong, strict=True) if not bad]
        lines = [line for _, line, _ in kept]
        return choices_table(
            {
                "subject": rights_tokens(values.filter(pa.array(~wrong)), self._column, self._keys),
                "purpose": [line["purpose"] for line in lines],
                "choice": [line["choice"] for line in lines],
                "jurisdiction": [profile_of(line.get("country") or "").name for line in lines],
                "policy": [line["policy"] for line in lines],
                "source": [line.get("source") or FILE for line in lines],
                "chosen_at": [at for _, _, at in kept],
            }
        )

    def _checked(self, number: int, line: Line) -> dt.datetime | None:
        """Return when a line's choice was made, None when something is wrong with it (the person aside)."""
        at = time_of(line.get("chosen_at") or "")
        source = line.get("source") or FILE
        signal = (line.get("purpose"), line.get("choice")) == ("sharing", REFUSED)
        wrong = {
            "form": any(value is not None and REPLACED in value for value in line.values()),
            "purpose": line.get("purpose") not in PURPOSES,
            "choice": line.get("choice") not in CHOICES,
            "chosen_at": at is None or not EARLIEST <= at <= self._now,
            "policy": not _POLICY.fullmatch(line.get("policy") or ""),
            "country": bool(line.get("country")) and not _COUNTRY.fullmatch(line.get("country") or ""),
            "source": source not in (FILE, GPC, API) or (source == GPC and not signal),
        }
        reason = next((name for name, is_so in wrong.items() if is_so), None)
        if reason is not None:
            self.faults.add(reason, number)
            return None
        return at


def time_of(text: str) -> dt.datetime | None:
    """Return a time of ISO 8601 with a zone, in UTC; None for another text."""
    try:
        at = dt.datetime.fromisoformat(text)
        return at.astimezone(dt.UTC) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def csv_lines(stream: Iterable[str], delimiter: str, header: Sequence[str]) -> Iterator[tuple[int, Line | None]]:
    """Yield the lines below a header, numbered as a text editor does; empty ones are passed over."""
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num + 1, None
            continue
        if fields:
            sound = len(fields) == len(header) and sum(map(len, fields)) <= LONGEST
            yield reader.line_num + 1, dict(zip(header, (f.strip() for f in fields), strict=True)) if sound else None


def json_lines(stream: Iterable[str], known: Sequence[str]) -> Iterator[tuple[int, Line | None]]:
    """Yield the lines of a JSONL file, numbered; empty ones are passed over."""
    for number, text in enumerate(stream, 1):
        if text.strip():
            yield number, _object(text, known)


def _object(text: str, known: Sequence[str]) -> Line | None:
    if len(text) > LONGEST:
        return None
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not set(found) <= set(known):
        return None
    if not all(isinstance(value, str | int | None) and not isinstance(value, bool) for value in found.values()):
        return None
    return {name: None if value is None else str(value) for name, value in found.items()}
