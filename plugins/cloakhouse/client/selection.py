"""What a reader asks of a dataset's rows, checked against what it may see, before anything is decrypted.

How a column is shown follows from the access policy: as it is; masked, as nulls or the text `***`, for which its key
is never asked for; or not at all, as if it weren't there.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from cloakhouse.client.names import quoted
from cloakhouse.contracts.access_policy import Shown
from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, NotFound
from cloakhouse.lake.filters import Condition, RowFilter


@dataclass(frozen=True)
class Selection:
    """A checked choice.

    Attributes:
        columns: names of the columns, in the order asked for, each once.
        clear: those of them that are read; the others are masked.
        where: conditions on rows, all on columns that are shown as they are.
        limit: number of rows at most; None for all.
    """

    columns: tuple[str, ...]
    clear: tuple[str, ...]
    where: tuple[Condition, ...]
    limit: int | None

    @property
    def touched(self) -> tuple[str, ...]:
        """The columns whose keys are asked for: those that are read or filtered by."""
        return tuple(dict.fromkeys((*self.clear, *(column for column, _, _ in self.where))))


def select(
    label: str,
    shown: Mapping[str, Shown],
    columns: Sequence[str] | None,
    where: Sequence[Condition] | None,
    limit: int | None,
) -> Selection:
    """Return the choice of `columns` (None: all that may be seen), `where` and `limit`.

    `label` names the dataset in messages, `shown` says how each of its columns is shown. Raises ConfigurationError for
    what is no list of columns, no condition or no limit, NotFound for unknown columns, AccessRefused (`access.column`)
    for a column that the reader may not see, and for a condition on one that isn't shown as it is.
    """
    known = [name for name, how in shown.items() if how is not Shown.OMIT]
    chosen = tuple(known) if columns is None else _chosen(label, shown, known, columns)
    conditions = RowFilter.of(where)
    for column in conditions.columns:
        if column not in shown:
            _refuse(NotFound, f"conditions on {label}", f"no column {quoted(column)}", known)
        if shown[column] is not Shown.CLEAR:
            raise _not_shown(label, column, "a condition on a column that isn't shown as it is")
    clear = tuple(name for name in chosen if shown[name] is Shown.CLEAR)
    return Selection(chosen, clear, conditions.conditions, checked_limit(limit))


def checked_limit(limit: int | None) -> int | None:
    """Return `limit` if it is a number of rows, or None. Raises ConfigurationError (`configuration.limit`)."""
    if limit is None:
        return None
    try:
        number = operator.index(limit)
    except TypeError:
        number = -1
    if number < 0 or isinstance(limit, bool):
        raise ConfigurationError(
            where="limit of rows",
            expected="a whole number, 0 or more, or None for all rows",
            found="a negative number" if isinstance(limit, int) else f"a value of type {type(limit).__name__}",
            not_done="nothing was read",
            remedy="choose another limit",
            code="limit",
        )
    return number


def _chosen(label: str, shown: Mapping[str, Shown], known: list[str], columns: Sequence[str]) -> tuple[str, ...]:
    where = f"columns of {label}"
    if isinstance(columns, str) or not columns:
        _refuse(ConfigurationError, where, "a text" if isinstance(columns, str) else "an empty list", known)
    for name in columns:
        if name not in shown:
            _refuse(NotFound, where, f"no column {quoted(name)}", known)
        if shown[name] is Shown.OMIT:
            raise _not_shown(label, name, "a column that is left out for this reader")
    return tuple(dict.fromkeys(columns))


def _refuse(kind: type[CloakhouseError], where: str, found: str, known: list[str]) -> NoReturn:
    raise kind(
        where=where,
        expected="a list of some of its columns",
        found=found,
        not_done="nothing was read",
        remedy="use some of: " + ", ".join(known),
        code="columns",
    )


def _not_shown(label: str, column: str, found: str) -> AccessRefused:
    return AccessRefused(
        where=f"{label}, column {column}",
        expected="a column that the access policy lets this principal read for this purpose",
        found=found,
        not_done="no key was asked for and nothing was decrypted",
        remedy="leave the column out, or ask whoever keeps the access policy (CLOAKHOUSE_POLICY)",
        code="column",
    )
