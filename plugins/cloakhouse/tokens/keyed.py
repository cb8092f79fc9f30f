"""Treatments with a key: which keys each needs, and its call.

| treatment | key of | from root |
| --- | --- | --- |
| token | its domain; then (domain, purpose, period) | `tokens/root`; `purposes/<purpose>` |
| reversible token, format-preserving token | (domain, purpose, period) | `reversible/<purpose>` |
| substitute, bucket | (domain, purpose, period) | `tokens/root` |
| shuffle | the column, and where the rows stand | `tokens/root` |
| perturb | the column and where the rows stand; or, by type, the column of the subject | `tokens/root` |

A subject's shift is the same in all columns of one type and in all datasets: so the order of a subject's dates stays.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from cloakhouse.contracts.model import Column
from cloakhouse.contracts.treatments import ALPHABETS
from cloakhouse.keys.derive import FF1, SIV, KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.bucket import bucket
from cloakhouse.tokens.ff1 import ff1_encrypt
from cloakhouse.tokens.linking import column_tokens
from cloakhouse.tokens.perturb import perturb
from cloakhouse.tokens.prf import row_words, value_words
from cloakhouse.tokens.render import from_base32, from_hex, to_base32, to_hex
from cloakhouse.tokens.shuffle import shuffle
from cloakhouse.tokens.siv import siv_tokens
from cloakhouse.tokens.substitute import substitute
from cloakhouse.tokens.work import Work

BY_ROW = "row"
CALENDAR = (dt.date.min, dt.date.max)  # noise must not leave the years that readers of the tables can hold


def uses(column: Column, period: str) -> tuple[KeyUse, ...]:
    """Return the keys that the treatment of `column` needs for data of `period` (empty where it names none)."""
    name, p = column.treatment.name, column.treatment.parameters
    scope = (p.get("domain", ""), p.get("purpose", ""), period if "period" in p else "")
    if name == "token":
        return KeyUse.pseudonym(p["domain"]), KeyUse.layer(*scope)
    if name in ("reversible token", "format-preserving token"):
        return (KeyUse.reversible(SIV if name == "reversible token" else FF1, *scope),)
    if name in ("substitute", "bucket"):
        return (KeyUse.one_way(name, *scope),)
    if name == "shuffle":
        return (KeyUse.one_way(name, column.name, ""),)
    if name == "perturb":
        subject = p.get("perSubject")
        return (KeyUse.one_way(f"perturb {column.logical_type if subject else BY_ROW}", subject or column.name, ""),)
    return ()


def keys_for(work: Work) -> list[SecretKey]:
    """Return the keys of `uses` for the column and the period of its rows."""
    period = work.around.place.period(work.parameters.get("period"))
    return [work.keys.key(use) for use in uses(work.column, period)]


def token(work: Work) -> pa.Array:
    """Return the tokens of the column in the form that the contract asks for."""
    domain_key, purpose_key = keys_for(work)
    return written(column_tokens(work.values, domain_key, purpose_key, column=work.name), work.parameters)


def reversible_token(work: Work) -> pa.Array:
    """Return the AES-SIV tokens of the column in the form that the contract asks for."""
    [key] = keys_for(work)
    return written(siv_tokens(work.values, key, column=work.name), work.parameters)


def format_preserving_token(work: Work) -> pa.Array:
    """Return the FF1 tokens of the column."""
    [key] = keys_for(work)
    return ff1_encrypt(work.values, key, **ff1_settings(work.parameters), column=work.name)


def substituted(work: Work) -> pa.Array:
    """Return the substitutes of the column."""
    [key] = keys_for(work)
    p = work.parameters
    return substitute(work.values, p["as"], p.get("locale", "en_US"), key, column=work.name)


def shuffled(work: Work) -> pa.Array:
    """Return the column's values in other rows."""
    [key] = keys_for(work)
    return shuffle(work.values, key, bytes(work.around.place), column=work.name)


def perturbed(work: Work) -> pa.Array:
    """Return the column with bounded noise, within the contract's minimum and maximum."""
    [key] = keys_for(work)
    p, subject = work.parameters, work.parameters.get("perSubject")
    ends = [
        _end(work, end, last) for end, last in zip((work.column.minimum, work.column.maximum), CALENDAR, strict=True)
    ]
    bounds = {"low": ends[0], "high": ends[1], "step": p.get("step")}
    if subject is None:
        words = row_words(key, bytes(work.around.place), len(work.values))
        return perturb(work.values, p["bound"], words, **bounds, column=work.name)
    words = value_words(work.around.columns[subject], key, column=subject)  # of no subject: 0, which gives null
    return perturb(work.values, p["bound"], words, **bounds, column=work.name)


def _end(work: Work, end: Any, last: dt.date) -> Any:
    """Return a bound of the contract in the type of the column; of times, without one, the calendar's end `last`."""
    if end is None and work.column.logical_type in ("date", "timestamp"):
        end = last
    if work.column.logical_type == "timestamp" and type(end) is dt.date:
        return dt.datetime.combine(end, dt.time())
    return end


def bucketed(work: Work) -> pa.Array:
    """Return the buckets of the column's values."""
    [key] = keys_for(work)
    return bucket(work.values, work.parameters["buckets"], key, column=work.name)


def written(tokens: pa.Array, parameters: Mapping[str, Any]) -> pa.Array:
    """Return tokens in the form that `parameters` name: binary as they are, or text."""
    form = parameters.get("form", "binary")
    return {"binary": lambda t: t, "hex": to_hex, "base32": to_base32}[form](tokens)


def read_back(tokens: pa.Array, parameters: Mapping[str, Any], *, column: str) -> pa.Array:
    """Return the binary tokens that `written` wrote. Raises TreatmentError for text of another form."""
    form = parameters.get("form", "binary")
    if form == "binary":
        return tokens
    return (from_hex if form == "hex" else from_base32)(tokens, column=column)


def ff1_settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of FF1 that the parameters of a treatment mean."""
    return {
        "alphabet": ALPHABETS[parameters.get("alphabet", "digits")],
        "keep_prefix": parameters.get("keepPrefix", 0),
        "keep_suffix": parameters.get("keepSuffix", 0),
        "luhn": parameters.get("luhn"),
    }
