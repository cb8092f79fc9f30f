"""From a contract's treatment to the function that applies it, a whole column at a time.

`output_type` says what a treated column holds, `untreatable` which rows a treatment can't take (they are
quarantined), `treat` does it. Key of a token: (algorithm, domain, purpose), see `cloakhouse.keys.derive`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Column
from cloakhouse.contracts.treatments import ALPHABETS
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.tokens import generalize
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.ff1 import ff1_encrypt, ff1_valid
from cloakhouse.tokens.mask import mask

TOKEN_TYPE = pa.binary(16)
TREATMENTS_VERSION = 1  # raised when a treatment gives another result for the same value
LOGICAL: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
TEXT_RESULTS = ("ageBands", "bins", "prefix", "groups")


def output_type(column: Column) -> pa.DataType:
    """Return the Arrow type of the treated column."""
    treatment = column.treatment
    if treatment.name == "token":
        return TOKEN_TYPE
    if treatment.name == "generalize" and any(name in treatment.parameters for name in TEXT_RESULTS):
        return pa.string()
    return LOGICAL[column.logical_type]


def untreatable(values: pa.Array, column: Column) -> npt.NDArray[np.bool_]:
    """Return which rows the treatment of `column` can't take: FF1 of another length or alphabet, age of the unborn."""
    bad = np.zeros(len(values), np.bool_)
    if column.treatment.name == "format-preserving token":
        parameters = column.treatment.parameters
        fits = ff1_valid(values, **_ff1_settings(parameters), column=column.name)
        lengths = pc.fill_null(pc.equal(pc.utf8_length(values), parameters["length"]), True)
        bad |= ~pc.and_(fits, lengths).to_numpy(zero_copy_only=False).astype(np.bool_)
    if "ageBands" in column.treatment.parameters:
        alive = generalize.age_valid(values, column.treatment.parameters["on"], column=column.name)
        bad |= ~alive.to_numpy(zero_copy_only=False).astype(np.bool_)
    return bad


def treat(values: pa.Array, column: Column, keys: TokenKeys) -> pa.Array:
    """Return `values` under the treatment of `column`, of type `output_type(column)`; null stays null.

    Raises TreatmentError for a value that the treatment can't take, KeyServiceError, IntegrityError.
    """
    name, parameters = column.treatment.name, column.treatment.parameters
    if name == "keep":
        return values
    if name == "token":
        return cmac_tokens(values, _key("AES-256-CMAC", parameters, keys), column=column.name)
    if name == "format-preserving token":
        settings = _ff1_settings(parameters)
        return ff1_encrypt(values, _key("FF1", parameters, keys), **settings, column=column.name)
    if name == "mask":
        kept = parameters.get("keepPrefix", 0), parameters.get("keepSuffix", 0)
        return mask(values, *kept, parameters.get("sign", "*"), column=column.name)
    if name == "generalize":
        return _generalize(values, parameters, column.name)
    raise ValueError(f"`{name}` has no column to give: it ends at landing")


def _key(algorithm: str, parameters: Mapping[str, Any], keys: TokenKeys) -> Any:
    return keys.key(algorithm, parameters["domain"], parameters["purpose"])


def _ff1_settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "alphabet": ALPHABETS[parameters.get("alphabet", "digits")],
        "keep_prefix": parameters.get("keepPrefix", 0),
        "keep_suffix": parameters.get("keepSuffix", 0),
    }


def _generalize(values: pa.Array, parameters: Mapping[str, Any], column: str) -> pa.Array:
    if "to" in parameters:
        return generalize.floor_time(values, parameters["to"], column=column)
    if "ageBands" in parameters:
        return generalize.age_band(values, parameters["on"], parameters["ageBands"], column=column)
    if "bins" in parameters:
        return generalize.numeric_bins(values, parameters["bins"], column=column)
    if "prefix" in parameters:
        return generalize.prefix(values, parameters["prefix"], column=column)
    return generalize.recode(values, parameters["groups"], parameters.get("other"), column=column)
