"""The reason of a request about persons, searched for these persons before it is recorded: it is kept for good.

The audit log can't be changed: a name in it would outlast the erasure, whose closing search finds it there. So a reason
is refused that holds

1. what has the form of a token of the lake (`authority.check_reason`, for every reason);
2. an identifier of the file, or of one of the persons, in any form that the file could have it;
3. what an identifying column of the customer master has of one of the persons, in any landed delivery: a name, an
   address, a number; whatever the case.

A short value counts as a word of its own, so that `4711` is found in `household 4711` and not in `SD-4711`. The error
tells the columns and never the value; until this has passed, what is recorded of the request holds UNCHECKED instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.derive import KeySource
from cloakhouse.settings import Settings
from cloakhouse.stages.raw_subjects import legible
from cloakhouse.stages.subject_file import Named
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_lookup import LookedUp, master_rows, union
from cloakhouse.stages.sweep_values import SHORTEST
from cloakhouse.stages.worklist_values import identifying
from cloakhouse.tokens.subjects import rights_tokens

UNCHECKED = "not kept: it was not yet searched for names of persons"
WORD = re.compile(r"[^\W_]+")
JOINING = "-/_"  # beside a short value they make it part of a longer word
EDGES, BLANKS = r"^[^\pL\pN]+|[^\pL\pN]+$", r"\s+"


def require_nobody_named(
    settings: Settings, identifiers: Identifiers, reason: str, named: Named, found: LookedUp
) -> None:
    """Return if `reason` names none of the persons whom the file names.

    Raises ConfigurationError (`configuration.reason`), and as `look_up`.
    """
    parts = _parts(reason)
    persons = union([found.persons, found.unknown_persons])
    where: dict[str, bool] = {}
    for name in (identifiers.column.name, *identifiers.also):
        tokens, _ = identifiers.read(parts.cast(pa.binary()), name)
        asked = union([named.tokens[name]["token"]] if name in named.tokens else [])
        known = union([asked, persons]) if name == identifiers.column.name else asked
        where[name] = _any_in(tokens, known)
    if len(persons):
        for name in _in_masters(settings, identifiers, _folded(parts), persons):
            where[name] = True
    if any(where.values()):
        raise _names_one([name for name, is_so in where.items() if is_so])


def require_not_among(column: Column, keys: KeySource, reason: str, persons: pa.Array) -> None:
    """Return if no part of `reason` is an identifier, of the subject's `column`, of one of `persons` (rights tokens).

    For who may name persons by that column and not read the customer master. Raises as `require_nobody_named`.
    """
    values = legible(_parts(reason).cast(pa.binary()), column)
    if _any_in(rights_tokens(values, column, keys), pc.unique(persons)):
        raise _names_one([column.name])


def _parts(reason: str) -> pa.Array:
    """Return every part of a text, from the beginning of a word to the end of one, that may be a value; each once."""
    words = [word.span() for word in WORD.finditer(reason)]
    found = {
        reason[start:end]
        for at, (start, _) in enumerate(words)
        for _, end in words[at:]
        if end - start >= SHORTEST or not (_joined(reason, start - 1) or _joined(reason, end))
    }
    return pa.array(sorted(found), pa.string())


def _joined(reason: str, at: int) -> bool:
    return 0 <= at < len(reason) and reason[at] in JOINING


def _in_masters(settings: Settings, identifiers: Identifiers, parts: pa.Array, persons: pa.Array) -> Iterator[str]:
    """Yield the identifying columns that have one of `parts` in a row of one of `persons`."""
    subject, names = identifiers.column.name, [column.name for column in identifying(identifiers.master)]
    for table in master_rows(settings, identifiers, names):
        rights = identifiers.tokens(table[subject].combine_chunks(), subject)
        mine = table.filter(pc.is_in(rights, value_set=persons))
        for name in names:
            if _any_in(_folded(mine[name].cast(pa.string())), parts):
                yield name


def _folded(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return texts in small letters, with single blanks, and without what stands before and after their words."""
    bare = pc.replace_substring_regex(pc.utf8_lower(texts), EDGES, "")
    return pc.replace_substring_regex(bare, BLANKS, " ")


def _any_in(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> bool:
    known = among.combine_chunks() if isinstance(among, pa.ChunkedArray) else among
    return bool(pc.any(pc.is_in(values, value_set=known, skip_nulls=True), min_count=0).as_py())


def _names_one(columns: list[str]) -> ConfigurationError:
    return ConfigurationError(
        where="the reason",
        expected="a text that names none of the persons of the file: it is kept for good, and an erasure finds it",
        found="what names one: " + ", ".join(columns),
        not_done="nothing was requested, and the reason was not recorded",
        remedy="name the case alone; a number that stands alone may be somebody's: write it as SD-4711",
        code="reason",
    )
