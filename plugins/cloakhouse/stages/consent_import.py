"""Choices that persons made elsewhere, registered: one (`record_choice`), or a file of them (`import_choices`).

1. Who asks is known, and may open the keys of rights tokens: the key service decides, by the grants on
   `tokens/root` and `purposes/rights`. A refusal is recorded.
2. Everything is read and checked. A line that can't be registered refuses all of them: nothing is half done. So does
   a reason that holds an identifier of one of the persons; until then it isn't recorded.
3. All choices and their event, with a count, are one transaction. The same again adds nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from cloakhouse.contracts.model import Column
from cloakhouse.errors import ConfigurationError, NotFound
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.files import storage_error
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.consent_model import API
from cloakhouse.ledger.consents import ConsentRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, check_reason, refusals_recorded
from cloakhouse.stages.consent_lines import NEEDED, OPTIONAL, Line, LineReader, csv_lines, json_lines
from cloakhouse.stages.consent_master import declared, required_master
from cloakhouse.stages.request_reason import UNCHECKED, require_not_among
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import rights_uses

MOST_BYTES = 256 << 20  # of a file
MOST_LINES = 250_000  # one transaction, during which nobody else writes to a SQLite database
DELIMITERS = ",;\t"
HEADER_CHARACTERS = 4096


@dataclass(frozen=True)
class Registered:
    """What came of a call: choices that were given, and those of them that the register didn't have."""

    choices: int
    added: int


def record_choice(
    settings: Settings,
    identifier: str,
    purpose: str,
    choice: str,
    reason: str,
    *,
    policy: str,
    country: str = "",
    source: str = API,
    chosen_at: dt.datetime | None = None,
) -> Registered:
    """Register what one person chose: `identifier` as the customer master's subject column has it.

    `purpose`, `choice`, `policy`, `country` and `source` as `consent_lines` tells; `chosen_at` is now if not given.
    Raises ConfigurationError (`configuration.consent`, `.reason`, `.register`), AccessRefused, KeyServiceError,
    IntegrityError, StorageError.
    """
    now = dt.datetime.now(dt.UTC)
    dataset, column = _column(settings)
    at = (chosen_at or now).isoformat()
    line = {column.name: identifier, "purpose": purpose, "choice": choice, "chosen_at": at}
    line |= {"policy": policy, "country": country, "source": source}
    with _authorised(settings, column, reason, "a choice", dataset) as (keys, event):
        reader = LineReader(column, keys, now)
        table = _sound(reader, reader.table([(1, line)]), "the choice")
        told = _named(column, keys, reason, table, event)
        return Registered(1, ConsentRegister(settings.database).add(table, told))


def import_choices(settings: Settings, path: Path, reason: str) -> Registered:
    """Register the choices of a file, all of them or none: JSONL where its name ends in `.jsonl`, else CSV.

    Raises NotFound; ConfigurationError as `record_choice`, for lines that can't be registered, told by number, and for
    a file of more than 256 MiB or 250,000 lines; else as `record_choice`.
    """
    dataset, column = _column(settings)
    try:
        if not path.is_file():
            raise _missing(path)
        if path.stat().st_size > MOST_BYTES:
            raise _unusable(path.name, f"at most {MOST_BYTES >> 20} MiB", "a larger file")
        with (
            _authorised(settings, column, reason, "choices of a file", dataset) as (keys, event),
            path.open(encoding="utf-8-sig", errors="replace", newline="") as stream,
        ):
            reader = LineReader(column, keys, dt.datetime.now(dt.UTC))
            table = _sound(reader, reader.table(_counted(_lines(path, stream, column), path)), path.name)
            if table.num_rows == 0:
                raise _unusable(path.name, "at least one choice", "none")
            told = _named(column, keys, reason, table, event)
            return Registered(table.num_rows, ConsentRegister(settings.database).add(table, told))
    except OSError as fault:
        raise storage_error(fault, path, "no choice was registered") from None


def _column(settings: Settings) -> tuple[str, Column]:
    """Return the customer master's name, and its column that names persons."""
    contract = required_master(settings)
    return contract.name, contract.column(declared(contract)[0].column)


@contextmanager
def _authorised(
    settings: Settings, column: Column, reason: str, what: str, dataset: str
) -> Iterator[tuple[TokenKeys, Event]]:
    """Yield keys of rights tokens and the event of who asks; whatever refuses in the block is recorded with it."""
    check_reason(reason)
    log, event = asked(settings, Action.RECORD_CONSENT, what, UNCHECKED, 0, dataset=dataset, platform=True)
    with refusals_recorded(log, event):
        ensure_roots(settings, [use.root for use in rights_uses(column)])
        yield token_keys(settings), event


def _named(column: Column, keys: TokenKeys, reason: str, table: pa.Table, event: Event) -> Event:
    """Return `event` with its reason, once that holds no identifier of somebody whose choice is in `table`."""
    require_not_among(column, keys, reason, table["subject"].combine_chunks())
    return replace(event, reason=check_reason(reason))


def _lines(path: Path, stream: TextIO, column: Column) -> Iterator[tuple[int, Line | None]]:
    known = (column.name, *NEEDED, *OPTIONAL)
    if path.suffix == ".jsonl":
        return json_lines(stream, known)
    first = stream.readline(HEADER_CHARACTERS).rstrip("\r\n")
    delimiter = max(DELIMITERS, key=first.count)
    header = [name.strip() for name in first.split(delimiter)]
    missing = [name for name in (column.name, *NEEDED) if name not in header]
    if missing or len(set(header)) != len(header) or not set(header) <= set(known):
        expected = f"a header of {', '.join(known[: 1 + len(NEEDED)])}, perhaps {' and '.join(OPTIONAL)}"
        found = f"{len(header)} columns" + (f", without {', '.join(missing)}" if missing else ", some of them others")
        raise _unusable(path.name, expected, found)
    return csv_lines(stream, delimiter, header)


def _counted(lines: Iterator[tuple[int, Line | None]], path: Path) -> Iterator[tuple[int, Line | None]]:
    for count, line in enumerate(lines, 1):
        if count > MOST_LINES:
            raise _unusable(path.name, f"at most {MOST_LINES:,} lines", "more")
        yield line


def _sound(reader: LineReader, table: pa.Table, where: str) -> pa.Table:
    if reader.faults.counts:
        expected = "choices that can be registered, every one of them"
        raise _unusable(where, expected, f"of {reader.lines:,}: {reader.faults}")
    return table


def _missing(path: Path) -> NotFound:
    return NotFound(
        where=path.name,
        expected="a file of choices",
        found="no such file",
        not_done="no choice was registered",
        remedy="check the path",
    )


def _unusable(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="no choice was registered",
        remedy="correct it, and give all of it again: what is registered already is recognised",
        code="consent",
    )
