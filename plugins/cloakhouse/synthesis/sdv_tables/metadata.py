"""SDV's metadata, made from codings and never detected from data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cloakhouse.synthesis.sdv_tables.frames import CATEGORY, NUMBER, Coding

TABLE = "rows"
UNITS = "units"
KEY = "key"  # the unit's number in the table of units
OF = "of"  # the same in the table of rows


def kinds(codings: Iterable[Coding]) -> dict[str, dict[str, str]]:
    """Return the `columns` of a table."""
    found = {}
    for coding in codings:
        if coding.kind == NUMBER:
            found[coding.name] = {"sdtype": "numerical"}
        if coding.kind == CATEGORY or coding.flagged:
            found[coding.flag if coding.flagged else coding.name] = {"sdtype": "categorical"}
    return found


def single(codings: Iterable[Coding]) -> Any:
    """Return the Metadata of one table of rows."""
    return _loaded({"tables": {TABLE: {"columns": kinds(codings)}}})


def sequences(codings: Iterable[Coding]) -> Any:
    """Return the Metadata of one table of rows in order, with the unit that each belongs to in `OF`."""
    columns = {OF: {"sdtype": "id"}, **kinds(codings)}
    return _loaded({"tables": {TABLE: {"columns": columns, "sequence_key": OF}}})


def hierarchy(units: Iterable[Coding], rows: Iterable[Coding]) -> Any:
    """Return the Metadata of two tables: units with their `KEY`, rows with the key of their unit in `OF`."""
    tables = {
        UNITS: {"columns": {KEY: {"sdtype": "id"}, **kinds(units)}, "primary_key": KEY},
        TABLE: {"columns": {OF: {"sdtype": "id"}, **kinds(rows)}},
    }
    relation = {
        "parent_table_name": UNITS,
        "child_table_name": TABLE,
        "parent_primary_key": KEY,
        "child_foreign_key": OF,
    }
    return _loaded({"tables": tables, "relationships": [relation]})


def _loaded(described: dict[str, Any]) -> Any:
    from sdv.metadata import Metadata

    return Metadata.load_from_dict(described)
