"""Export of tokenization keys: what a till or gateway needs to make a dataset's tokens itself, and the record of it.

1. The request is sound: columns that can be treated at the edge, days for keys of a period, a recipient, a reason.
2. Keys that could detokenize are refused unless that is asked for in so many words; a refusal is recorded.
3. The roots are those that the lake's tokens are made with, and the key service opens them; a refusal is recorded.
4. The keys are sealed to the recipient, the event is recorded, and only then are the bytes given.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.errors import AccessRefused, ConfigurationError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.identity import check_recipient
from cloakhouse.ledger.audit_event import Action
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, refusals_recorded
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.apply import uses
from cloakhouse.tokens.edge_columns import EDGE_TREATMENTS, REVERSIBLE
from cloakhouse.tokens.edge_keys import seal_edge_keys
from cloakhouse.tokens.place import period_of

ACTION = Action.EXPORT_TOKENIZATION


def export_keys(
    settings: Settings,
    contract: Contract,
    column_names: Sequence[str],
    recipient: str,
    reason: str,
    *,
    days: Sequence[dt.date],
    allow_reversible: bool = False,
) -> bytes:
    """Return the tokenization key file for columns of a dataset, sealed to `recipient` (age1...).

    Its keys are those of the periods that `days` fall in, for columns whose tokens are bound to one; `days` are those
    of partitions, as in the lake. One event is recorded, with the number of keys. Raises ConfigurationError, NotFound
    (an unknown column), AccessRefused (`access.reversible`: the file could detokenize; or no grant), KeyServiceError,
    IntegrityError (a root that is lost or another one), StorageError.
    """
    columns = chosen_columns(contract, column_names)
    wanted = needed(columns, days)
    check_recipient(recipient)
    what = _object(contract, columns, wanted)
    log, event = asked(settings, ACTION, what, reason, len(wanted), dataset=contract.name, platform=True)
    with refusals_recorded(log, event):
        if not allow_reversible:
            _refuse_reversible(contract, columns)
        ensure_roots(settings, sorted({use.root for use in wanted}))
        source = token_keys(settings)
        sealed = seal_edge_keys(contract, columns, {use: source.key(use) for use in wanted}, recipient)
    log.record(event)
    return sealed


def chosen_columns(contract: Contract, names: Sequence[str]) -> tuple[Column, ...]:
    """Return the columns called `names`, in that order. Raises NotFound, and ConfigurationError (`configuration.edge`)
    for none, one twice, or one whose treatment needs other rows, keeps the value or drops it.
    """
    columns = tuple(contract.column(name) for name in names)
    unfit = [column for column in columns if column.treatment.name not in EDGE_TREATMENTS]
    if unfit:
        raise _unusable(
            contract,
            "columns under " + ", ".join(EDGE_TREATMENTS),
            ", ".join(f"`{column.name}` under `{column.treatment.name}`" for column in unfit),
            "leave them out: what the edge doesn't tokenize is kept (`--keep`) or not sent",
        )
    if not columns or len(set(names)) != len(names):
        found = "none" if not columns else "one of them twice"
        raise _unusable(contract, "columns, each once", found, "name the columns that the edge tokenizes")
    return columns


def needed(columns: Iterable[Column], days: Sequence[dt.date]) -> tuple[KeyUse, ...]:
    """Return the keys that `columns` need for data of partitions of `days`, in order.

    Raises ConfigurationError (`configuration.edge`) for a column that needs days where there are none.
    """
    found: set[KeyUse] = set()
    for column in columns:
        kind = column.treatment.parameters.get("period")
        if kind is not None and not days:
            raise ConfigurationError(
                where=f"column {column.name}",
                expected=f"days, as its tokens are bound to a {kind}",
                found="none",
                not_done="no key was exported",
                remedy="name the days that the edge tokenizes for (`--day`, or `--from-day` and `--to-day`)",
                code="edge",
            )
        for period in {period_of(day, kind) for day in days} if kind is not None else {""}:
            found.update(uses(column, period))
    return tuple(sorted(found))


def _refuse_reversible(contract: Contract, columns: Iterable[Column]) -> None:
    reversible = [column.name for column in columns if column.treatment.name in REVERSIBLE]
    if reversible:
        raise AccessRefused(
            where=f"{contract.name}: {', '.join(reversible)}",
            expected="columns whose tokens nothing undoes",
            found="reversible tokens: whoever has the file could detokenize every token of these columns",
            not_done="no key was exported",
            remedy="leave them out; or, if that may be, say so with `--allow-reversible`",
            code="reversible",
        )


def _object(contract: Contract, columns: Iterable[Column], wanted: Iterable[KeyUse]) -> str:
    periods = sorted({use.period for use in wanted if use.period})
    named = f"{contract.name} {', '.join(column.name for column in columns)}"
    return f"{named} of {', '.join(periods)}" if periods else named


def _unusable(contract: Contract, expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"contract {contract.name} {contract.version}",
        expected=expected,
        found=found,
        not_done="no key was exported",
        remedy=remedy,
        code="edge",
    )
