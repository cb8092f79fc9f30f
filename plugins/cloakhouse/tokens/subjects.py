"""Tokens of persons for the exercise of their rights: consents, objections, erasures and holds are kept by them.

A rights token is the token of purpose `rights` in the persons' domain (`cloakhouse.tokens.linking`), so that it comes
from a plain identifier, for whoever tokenizes, as well as from a token of another purpose, for whoever may link. What
is kept by it therefore never holds an identifier, nor a token that a dataset has.
"""

from __future__ import annotations

import pyarrow as pa

from cloakhouse.contracts.model import Column
from cloakhouse.errors import ContractError
from cloakhouse.keys.derive import KeySource, KeyUse
from cloakhouse.tokens.cmac import TOKEN_BYTES
from cloakhouse.tokens.keyed import read_back
from cloakhouse.tokens.linking import column_tokens, translate
from cloakhouse.tokens.normalise import normalise

RIGHTS = "rights"
RIGHTS_TYPE = pa.binary(TOKEN_BYTES)


def rights_uses(column: Column) -> tuple[KeyUse, KeyUse]:
    """Return the keys that the rights tokens of `column`, a subject's, take: of its domain, and of the purpose."""
    domain = column.treatment.parameters["domain"]
    return KeyUse.pseudonym(domain), KeyUse.layer(domain, RIGHTS)


def rights_tokens(values: pa.Array | pa.ChunkedArray, column: Column, keys: KeySource) -> pa.FixedSizeBinaryArray:
    """Return the rights tokens of plain values of `column`: fixed_size_binary(16), null where `values` is null.

    Values are normalised as the column's treatment asks. Raises TreatmentError, AccessRefused, KeyServiceError.
    """
    how = column.treatment.parameters.get("normalise", "exact")
    if how != "exact":
        values = normalise(values, how, column=column.name)
    domain_key, rights_key = map(keys.key, rights_uses(column))
    return column_tokens(values, domain_key, rights_key, column=column.name)


def rights_of_tokens(tokens: pa.Array | pa.ChunkedArray, column: Column, keys: KeySource) -> pa.FixedSizeBinaryArray:
    """Return the rights tokens of persons from their tokens in `column` of the protected zone, in the form it has.

    Raises ContractError (`contract.subject`) for a column that isn't under `token` without a period, TreatmentError,
    AccessRefused and KeyServiceError.
    """
    source, target = (keys.key(use) for use in (layer_of(column), rights_uses(column)[1]))
    whole = tokens.combine_chunks() if isinstance(tokens, pa.ChunkedArray) else tokens
    binary = read_back(whole, column.treatment.parameters, column=column.name)
    return translate(binary, source, target, column=column.name)


def tokens_of_rights(rights: pa.Array, column: Column, keys: KeySource) -> pa.FixedSizeBinaryArray:
    """Return the tokens (fixed_size_binary(16)) that `column` has for the persons of these rights tokens."""
    source, target = (keys.key(use) for use in (rights_uses(column)[1], layer_of(column)))
    return translate(rights, source, target, column=column.name)


def layer_of(column: Column) -> KeyUse:
    """Return the key of the purpose's layer of a column's tokens. Raises ContractError (`contract.subject`)."""
    parameters = column.treatment.parameters
    if column.treatment.name != "token" or "period" in parameters:
        raise ContractError(
            where=f"column {column.name}",
            expected="the treatment `token`, without a period",
            found="another treatment",
            not_done="no person was recognised",
            remedy="name a column under such a token as the contract's `subject`",
            code="subject",
        )
    return KeyUse.layer(parameters["domain"], parameters["purpose"])
