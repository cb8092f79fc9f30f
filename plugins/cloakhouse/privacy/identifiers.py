"""Detectors of direct identifiers in text columns: e-mail, telephone, payment card, IBAN.

They count cells and return nothing else. Each distinct text is looked at once. The detectors prefer a missed
odd notation over an alarm on a label or a year: cards must pass Luhn (ISO/IEC 7812-1 annex B), IBANs
ISO 7064 MOD 97-10 (ISO 13616), telephone numbers need a plus sign, a separator or a valid North American
area code.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]

EMAIL = r"[\p{L}\p{N}._%+'-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)*\.\p{L}{2,}"
PHONE = "|".join(
    (
        r"(?:^|[^\d+])\+\d(?:[ ()./-]{0,2}\d){7,14}(?:$|\D)",  # ITU-T E.164, 8-15 digits
        r"(?:^|[^\d.])(?:(?:001|\+?1)[ .-]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}(?:$|\D)",
        r"^1?[2-9]\d{2}[2-9]\d{6}$",  # North American, bare
        r"^\(?0\d{2,5}\)?[ /-]\d{5,9}$",  # national with trunk prefix
        r"^0\d{1,4}(?: \d{2,4}){2,4}$",
    )
)
CARD_GROUPS = (
    (r"\b(\d{4})[ -](\d{4})[ -](\d{4})[ -](\d{1,7})\b", r"\1\2\3\4"),
    (r"\b(\d{4})[ -](\d{6})[ -](\d{4,5})\b", r"\1\2\3"),
)
IBAN = r"\b(?P<iban>[A-Z]{2}\d{2}(?:(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?|[A-Z0-9]{11,30}))\b"
_IBAN_LENGTHS = (  # ISO 13616 registry: country and length (characters)
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 "
    "QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
)


@dataclass(frozen=True)
class IdentifierCounts:
    """Cells of one column that look like a direct identifier; a cell may count under several kinds.

    Attributes:
        cells: cells that hold a text (not null).
        emails / phones / cards / ibans: cells of each kind.
        flagged: cells of at least one kind.
    """

    cells: int = 0
    emails: int = 0
    phones: int = 0
    cards: int = 0
    ibans: int = 0
    flagged: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts as a flat dictionary."""
        return asdict(self)


def count_identifiers(column: pa.ChunkedArray | pa.Array) -> IdentifierCounts:
    """Return how many cells of `column` look like a direct identifier. Columns of other types than text
    (string, large_string, string_view, or a dictionary of them) count zero cells."""
    texts, weights = _distinct(column)
    if not len(texts):
        return IdentifierCounts()
    emails, phones, cards, ibans = (find(texts) for find in (find_emails, find_phones, find_cards, find_ibans))
    return IdentifierCounts(
        cells=int(weights.sum()),
        emails=int(weights[emails].sum()),
        phones=int(weights[phones].sum()),
        cards=int(weights[cards].sum()),
        ibans=int(weights[ibans].sum()),
        flagged=int(weights[emails | phones | cards | ibans].sum()),
    )


def scan_table(table: pa.Table, exempt: Collection[str] = ()) -> dict[str, IdentifierCounts]:
    """Return the counts of every text column of `table` that is not in `exempt`, by column name. Columns
    of one name are numbered (`note`, `note#2`)."""
    found: dict[str, IdentifierCounts] = {}
    for at, name in enumerate(table.column_names):
        if name not in exempt and _is_text(table.field(at).type):
            repeats = table.column_names[: at + 1].count(name)
            found[name if repeats == 1 else f"{name}#{repeats}"] = count_identifiers(table.column(at))
    return found


def find_emails(texts: pa.Array) -> Mask:
    """Return which of `texts` (string array) hold an e-mail address (RFC 5321 mailbox, unquoted)."""
    return _matches(texts, EMAIL)


def find_phones(texts: pa.Array) -> Mask:
    """Return which of `texts` hold a telephone number: ITU-T E.164 with a plus sign, North American with
    separators, or a bare or national number that fills the whole cell."""
    return _matches(pc.utf8_trim_whitespace(texts), PHONE)


def find_cards(texts: pa.Array) -> Mask:
    """Return which of `texts` hold a run of 13-19 digits, plain or in the groups printed on cards, that
    passes Luhn and is not a repetition of zeros."""
    for pattern, joined in CARD_GROUPS:
        texts = pc.replace_substring_regex(texts, pattern=pattern, replacement=joined)
    hits = np.zeros(len(texts), dtype=np.bool_)
    candidates = np.flatnonzero(_matches(texts, r"\d{13}"))
    runs = pc.split_pattern_regex(texts.take(pa.array(candidates)), pattern=r"\D+")
    owners = candidates[np.asarray(pc.list_parent_indices(runs), dtype=np.int64)]
    digits = pc.list_flatten(runs)
    lengths = np.asarray(pc.utf8_length(digits))
    fits = (lengths >= 13) & (lengths <= 19)
    hits[owners[fits][luhn_valid(digits.filter(pa.array(fits)))]] = True
    return hits


def luhn_valid(digits: pa.Array) -> Mask:
    """Return which of `digits` (strings of 1-19 digits) have a valid check digit and hold more than zeros.
    Source: ISO/IEC 7812-1:2017 annex B."""
    numbers = _characters(pc.utf8_lpad(digits, width=19, padding="0"), 19).astype(np.int64) - ord("0")
    doubled = numbers[:, -2::-2] * 2
    total = numbers[:, ::-2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
    return np.asarray((total % 10 == 0) & numbers.any(axis=1))


def find_ibans(texts: pa.Array) -> Mask:
    """Return which of `texts` hold an IBAN, plain or in groups of four; the first candidate of a cell is
    checked, cut to the length that its country registered (ISO 13616)."""
    found = pc.struct_field(pc.extract_regex(pc.utf8_upper(texts), pattern=IBAN), "iban")
    at = np.flatnonzero(np.asarray(pc.is_valid(found)))
    compact = pc.replace_substring(found.take(pa.array(at)), pattern=" ", replacement="")
    hits = np.zeros(len(texts), dtype=np.bool_)
    if len(at):
        hits[at[_mod97_valid(compact)]] = True
    return hits


def _mod97_valid(ibans: pa.Array) -> Mask:
    """Return which of `ibans` (15-34 characters A-Z 0-9) have remainder 1 (ISO 7064 MOD 97-10)."""
    registry = _IBAN_LENGTHS.split()
    registered = pa.array([entry[:2] for entry in registry])
    sizes = np.array([int(entry[2:]) for entry in registry])
    country = pc.fill_null(pc.index_in(pc.utf8_slice_codeunits(ibans, 0, 2), value_set=registered), -1)
    actual = np.asarray(pc.utf8_length(ibans), dtype=np.int64)
    known = np.asarray(country)
    wanted = np.where(known >= 0, sizes[known], actual)
    codes = _characters(pc.utf8_rpad(ibans, width=34, padding="0"), 34).astype(np.int64)
    values = np.where(codes >= ord("A"), codes - ord("A") + 10, codes - ord("0"))
    rest = np.zeros(len(values), dtype=np.int64)
    for at in [*range(4, 34), *range(4)]:  # the first four characters move to the end
        step = (rest * np.where(values[:, at] > 9, 100, 10) + values[:, at]) % 97
        rest = np.where((at < 4) | (at < wanted), step, rest)
    return np.asarray((rest == 1) & (actual >= wanted))


def _characters(texts: pa.Array, width: int) -> npt.NDArray[np.uint8]:
    """Return ASCII strings of exactly `width` characters as a matrix of bytes, one row per string."""
    fixed = texts.cast(pa.binary()).cast(pa.binary(width))
    size = len(fixed)
    raw = np.frombuffer(fixed.buffers()[1] or b"", dtype=np.uint8)
    return raw[fixed.offset * width : (fixed.offset + size) * width].reshape(size, width)


def _distinct(column: pa.ChunkedArray | pa.Array) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    if not _is_text(column.type):
        return pa.array([], type=pa.string()), np.zeros(0, dtype=np.int64)
    counted = pc.value_counts(pc.drop_null(column.cast(pa.string())))
    return counted.field("values"), np.asarray(counted.field("counts"), dtype=np.int64)


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _matches(texts: pa.Array, pattern: str) -> Mask:
    return np.asarray(pc.match_substring_regex(texts, pattern=pattern), dtype=np.bool_)
