"""The tokens that persons have as subjects of feeds, from their rights tokens alone: no delivery needs to name them.

An earlier erasure may have cut a person's lines before a hold took the person out of it, and lines expire. What was
made of them holds the subject's token all the same, and the closing search looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.worklist_values import SCHEMA, TOKEN, distinct, feeds
from cloakhouse.tokens.render import to_base32, to_hex
from cloakhouse.tokens.subjects import layer_of, tokens_of_rights


def tokens_of_subjects(
    settings: Settings, contracts: Mapping[str, Contract], persons: pa.Array, keys: TokenKeys
) -> pa.Table:
    """Return the tokens of `persons` in the subject's column of each feed, in each form (SCHEMA).

    A column whose keys were never made has no tokens. Raises KeyServiceError, AccessRefused, IntegrityError.
    """
    catalogue, parts = Catalogue(settings.database), [SCHEMA.empty_table()]
    for contract in feeds(contracts):
        subject = contract.rights.subject
        assert subject is not None
        column = contract.column(subject.column)
        if catalogue.key_fingerprint(layer_of(column).root) is None:
            continue
        tokens = tokens_of_rights(persons, column, keys)
        for form in (tokens, to_hex(tokens), to_base32(tokens)):
            kinds = [pa.array([text] * len(persons), pa.string()) for text in (TOKEN, column.name)]
            parts.append(pa.table([persons, *kinds, form.cast(pa.binary())], schema=SCHEMA))
    return distinct(pa.concat_tables(parts))
