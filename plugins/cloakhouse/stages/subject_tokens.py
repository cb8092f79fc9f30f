"""Tokens of the lake in a file of persons: of the subject's domain, of a purpose that the platform can link."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.stages.subject_identifiers import Flags, Identifiers
from cloakhouse.tokens.linking import translate
from cloakhouse.tokens.render import from_base32, from_hex
from cloakhouse.tokens.subjects import RIGHTS_TYPE, rights_uses

HEX = r"^[0-9a-f]{32}$"
BASE32 = r"^[A-Z2-7]{25}[AEIMQUY4]$"  # 130 bits, the last two of them zero


class TokenReader:
    """Reads tokens into rights tokens. Opens the keys of the purposes that it meets, and no other."""

    def __init__(self, identifiers: Identifiers) -> None:
        self._identifiers = identifiers
        parameters = identifiers.column.treatment.parameters
        self._domain, self._default = parameters["domain"], parameters["purpose"]
        self._purposes = {
            p["purpose"]
            for contract in identifiers.contracts.values()
            for p in (c.treatment.parameters for c in contract.columns if c.treatment.name == "token")
            if p["domain"] == self._domain and "period" not in p
        }

    def read(self, texts: pa.Array, purpose: str) -> tuple[pa.Array, dict[str, Flags]]:
        """Return the rights tokens (null where a text is refused) and, by reason, which texts these are.

        `purpose` is empty for that of the customer master. Raises AccessRefused and KeyServiceError.
        """
        named = purpose or self._default
        if named not in self._purposes:
            return pa.nulls(len(texts), RIGHTS_TYPE), {"unknown_purpose": np.ones(len(texts), np.bool_)}
        tokens = _decoded(texts)
        source = self._identifiers.keys.key(KeyUse.layer(self._domain, named))
        return translate(tokens, source, self._target()), {"wrong_token": _nulls(tokens)}

    def _target(self) -> SecretKey:
        return self._identifiers.keys.key(rights_uses(self._identifiers.column)[1])


def _decoded(texts: pa.Array) -> pa.Array:
    """Return the tokens that texts (binary, UTF-8) write in either form; null for others."""
    given = texts.cast(pa.string())
    return pc.coalesce(from_hex(_matching(given, HEX)), from_base32(_matching(given, BASE32)))


def _matching(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))


def _nulls(values: pa.Array) -> Flags:
    flags: Flags = pc.is_null(values).to_numpy(zero_copy_only=False)
    return flags
