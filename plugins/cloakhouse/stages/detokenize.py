"""Detokenize: from reversible tokens back to values, for a principal with the grant, a reason and a limit.

1. The request is sound: the column is reversible, the tokens have its form, the reason can stand. One that isn't
   leaves no record: it can't show anything, and its texts may hold what has no place in a record.
2. Who asks is a principal, and the key opens: the key service decides, by the grant on `reversible/<purpose>`. The
   root is the one that the lake's tokens were made with. A restored home that isn't settled opens nothing. A refusal
   is recorded, whatever it comes from.
3. The limit of this principal holds, and the event is recorded: in one transaction, before any value is decrypted.
4. The tokens are decrypted in this process. AES-SIV tokens are authenticated, and one forged token refuses the call;
   FF1 has no integrity. The record of step 3 stands and counts, whatever happens here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.audit_event import Action
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, refusals_recorded
from cloakhouse.stages.restored import require_open_for_reading
from cloakhouse.stages.token_roots import recognised_keys
from cloakhouse.tokens.apply import LOGICAL
from cloakhouse.tokens.ff1 import ff1_decrypt
from cloakhouse.tokens.keyed import ff1_settings, uses
from cloakhouse.tokens.place import period_of
from cloakhouse.tokens.render import from_base32, from_hex
from cloakhouse.tokens.siv import siv_values

ACTION = Action.DETOKENIZE
WINDOW = dt.timedelta(hours=1)
FF1 = "format-preserving token"
REVERSIBLE = ("reversible token", FF1)


def detokenize(
    settings: Settings,
    contract: Contract,
    column_name: str,
    tokens: Sequence[str | bytes | None],
    reason: str,
    *,
    day: dt.date | None = None,
) -> pa.Array:
    """Return the values behind `tokens` of a column, in their order, of the column's type; None stays null.

    Binary tokens are given as bytes or as hexadecimal text, others as they are written. `day` is a day of the period
    that the tokens are of, for a column whose tokens are bound to one. At most `settings.detokenize_limit` values an
    hour are given to one principal, and each sound request leaves one record. Raises ConfigurationError, NotFound,
    AccessRefused (no grant, the limit, or `access.restored`), TreatmentError for tokens that are none of this column,
    KeyServiceError, IntegrityError (a root that is lost or another one), StorageError.
    """
    column = contract.column(column_name)
    given, period = _given(contract, column, tokens), _period(contract, column, day)
    [use] = uses(column, period)
    what = f"{contract.name}.{column.name}" + (f" of {period}" if period else "")
    log, event = asked(settings, ACTION, what, reason, len(given) - given.null_count, dataset=contract.name)
    with refusals_recorded(log, event):
        require_open_for_reading(settings)
        key = recognised_keys(settings, [use.root]).key(use)
    log.record_within(event, settings.detokenize_limit, WINDOW)
    if column.treatment.name == FF1:
        return ff1_decrypt(given, key, **ff1_settings(column.treatment.parameters), column=column.name)
    return siv_values(given, key, LOGICAL[column.logical_type], column=column.name)


def _given(contract: Contract, column: Column, tokens: Sequence[str | bytes | None]) -> pa.Array:
    if column.treatment.name not in REVERSIBLE:
        reversible = [c.name for c in contract.columns if c.treatment.name in REVERSIBLE]
        raise _unusable(
            f"{contract.name}.{column.name}",
            "a column of reversible or format-preserving tokens",
            f"a column under `{column.treatment.name}`",
            f"choose one of: {', '.join(reversible)}" if reversible else "no column of this dataset can be detokenized",
        )
    form = "text" if column.treatment.name == FF1 else column.treatment.parameters.get("form", "binary")
    if form == "binary" and not isinstance(tokens, bytes) and _all(tokens, bytes):
        return pa.array(tokens, pa.binary())
    if isinstance(tokens, str | bytes) or not _all(tokens, str):
        expected = "a list of tokens as text" + (", or all as bytes" if form == "binary" else "")
        raise _unusable(f"{contract.name}.{column.name}", expected, "another type", "give them as they are written")
    encoded = [token.encode(errors="replace") if isinstance(token, str) else None for token in tokens]
    text = pa.array(encoded, pa.binary()).cast(pa.string())
    if form == "text":
        return text
    return (from_base32 if form == "base32" else from_hex)(text, kind=pa.binary(), column=column.name)


def _all(tokens: Sequence[str | bytes | None], kind: type) -> bool:
    return all(token is None or isinstance(token, kind) for token in tokens)


def _period(contract: Contract, column: Column, day: dt.date | None) -> str:
    kind = column.treatment.parameters.get("period")
    if kind is not None and day is None:
        raise _unusable(
            f"{contract.name}.{column.name}",
            f"a day of the {kind} that the tokens are of",
            "none: tokens of this column are bound to a period",
            "name the partition, or any day of its period",
        )
    return period_of(day, kind) if kind is not None and day is not None else ""


def _unusable(where: str, expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was detokenized",
        remedy=remedy,
        code="detokenize",
    )
