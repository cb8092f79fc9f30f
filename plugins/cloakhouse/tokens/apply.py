"""From a contract's treatment to the function that applies it, a whole column at a time.

`output_type` says what a treated column holds, `uses` which keys its treatment needs, `untreatable` which rows it
can't take (they are quarantined), `treat` does it. Treatments with a key are in `cloakhouse.tokens.keyed`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column
from cloakhouse.keys.derive import KeySource, KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import generalize, keyed
from cloakhouse.tokens.ff1 import ff1_valid
from cloakhouse.tokens.keyed import uses
from cloakhouse.tokens.mask import fixed, mask
from cloakhouse.tokens.normalise import normalisable, normalise
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.rare import suppress
from cloakhouse.tokens.refusals import unusable
from cloakhouse.tokens.rounding import round_to
from cloakhouse.tokens.scrub import ALL_KINDS, scrub
from cloakhouse.tokens.work import Around, Work

__all__ = ["TREATMENTS_VERSION", "Around", "check", "output_type", "treat", "untreatable", "uses"]

TREATMENTS_VERSION = 2  # raised when a treatment gives another result for the same value
LOGICAL: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
NOT_BY_VALUE = ("shuffle", "perturb", "suppress rare")  # no value can be looked up under them
TEXT_RESULTS = ("ageBands", "bins", "prefix", "groups", "hierarchy")


def output_type(column: Column) -> pa.DataType:
    """Return the Arrow type of the treated column."""
    name, parameters = column.treatment.name, column.treatment.parameters
    if name in ("token", "reversible token"):
        binary = pa.binary(16) if name == "token" else pa.binary()
        return binary if parameters.get("form", "binary") == "binary" else pa.string()
    if name == "bucket":
        return pa.int32()
    if name == "substitute" or (name == "generalize" and any(key in parameters for key in TEXT_RESULTS)):
        return pa.string()
    return LOGICAL[column.logical_type]


def check(columns: Iterable[Column]) -> None:
    """Return if every treatment can be applied to its column: each is, to no rows, under keys that are thrown away.

    Raises ContractError for settings that a treatment can't take, before any data is read.
    """
    for column in columns:
        if column.reference is not None and column.treatment.name in NOT_BY_VALUE:
            others = ", ".join(name for name in TREATMENTS if name not in NOT_BY_VALUE)
            raise unusable("reference", f"column {column.name}", f"a reference under one of {others}", "another one")
        none = pa.array([], LOGICAL[column.logical_type])
        subject = column.treatment.parameters.get("perSubject", column.name)
        around = Around(Place("", "1970-01-01"), {subject: pa.array([], pa.string())}, {column.name: none})
        untreatable(none, column)
        treated = treat(none, column, _Throwaway(), around)
        assert treated.type == output_type(column), (column.name, treated.type)


class _Throwaway:
    def key(self, use: KeyUse) -> SecretKey:
        return SecretKey(os.urandom(use.length))


def untreatable(values: pa.Array, column: Column) -> npt.NDArray[np.bool_]:
    """Return which rows the treatment of `column` can't take.

    FF1 of another length, alphabet or check digit; text that can't be normalised; the age of the unborn.
    """
    parameters = column.treatment.parameters
    good = pa.scalar(True)
    how = parameters.get("normalise", "exact")
    if how != "exact":
        good = normalisable(values, how, column=column.name)
        values = normalise(pc.if_else(good, values, None), how, column=column.name)
    if column.treatment.name == "format-preserving token":
        fits = ff1_valid(values, **keyed.ff1_settings(parameters), column=column.name)
        lengths = pc.fill_null(pc.equal(pc.utf8_length(values), parameters["length"]), True)
        good = pc.and_(good, pc.and_(fits, lengths))
    if "ageBands" in parameters:
        good = generalize.age_valid(values, parameters["on"], column=column.name)
    if isinstance(good, pa.Scalar):
        return np.zeros(len(values), np.bool_)
    flags: npt.NDArray[np.bool_] = ~good.to_numpy(zero_copy_only=False).astype(np.bool_)
    return flags


def treat(values: pa.Array, column: Column, keys: KeySource, around: Around) -> pa.Array:
    """Return `values` under the treatment of `column`, of type `output_type(column)`; null stays null.

    Raises TreatmentError for a value that the treatment can't take, KeyServiceError, IntegrityError.
    """
    name = column.treatment.name
    if name not in TREATMENTS:
        raise ValueError(f"`{name}` has no column to give: it ends at landing")
    how = column.treatment.parameters.get("normalise", "exact")
    if how != "exact":
        values = normalise(values, how, column=column.name)
    return TREATMENTS[name](Work(values, column, keys, around))


def _mask(work: Work) -> pa.Array:
    p = work.parameters
    if "with" in p:
        return fixed(work.values, p["with"])
    kept = p.get("keepPrefix", 0), p.get("keepSuffix", 0)
    return mask(work.values, *kept, p.get("sign", "*"), column=work.name)


def _generalize(work: Work) -> pa.Array:
    p, values, name = work.parameters, work.values, work.name
    if "to" in p:
        return generalize.floor_time(values, p["to"], column=name)
    if "ageBands" in p:
        return generalize.age_band(values, p["on"], p["ageBands"], column=name)
    if "bins" in p:
        return generalize.numeric_bins(values, p["bins"], column=name)
    if "prefix" in p:
        return generalize.prefix(values, p["prefix"], p.get("fill"), column=name)
    if "clamp" in p:
        return generalize.clamp(values, p["clamp"].get("bottom"), p["clamp"].get("top"), column=name)
    if "hierarchy" in p:
        return generalize.recode_by(values, p["hierarchy"]["labels"], p.get("other"), column=name)
    return generalize.recode(values, p["groups"], p.get("other"), column=name)


def _rare(work: Work) -> pa.Array:
    frequent = work.around.frequent[work.name]
    return suppress(work.values, frequent, work.parameters.get("other"), column=work.name)


TREATMENTS: Mapping[str, Callable[[Work], pa.Array]] = {
    "keep": lambda work: work.values,
    "token": keyed.token,
    "reversible token": keyed.reversible_token,
    "format-preserving token": keyed.format_preserving_token,
    "mask": _mask,
    "substitute": keyed.substituted,
    "shuffle": keyed.shuffled,
    "generalize": _generalize,
    "perturb": keyed.perturbed,
    "round": lambda work: round_to(work.values, work.parameters["to"], column=work.name),
    "bucket": keyed.bucketed,
    "suppress rare": _rare,
    "scrub": lambda work: scrub(work.values, work.parameters.get("kinds", ALL_KINDS), column=work.name),
}
