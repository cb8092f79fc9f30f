"""Detokenization from Python, for a principal with the grant.

    import cloakhouse

    values = cloakhouse.detokenize("customers", "email", tokens, reason="case 4711: the customer asked for a receipt")

Who asks, and what for, is in the environment (CLOAKHOUSE_IDENTITY, CLOAKHOUSE_PURPOSE).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pyarrow as pa

from cloakhouse.client.control import explained, open_catalogue
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import NotFound
from cloakhouse.settings import Settings
from cloakhouse.stages import detokenize as stage


def detokenize(
    dataset: str,
    column: str,
    tokens: Sequence[str | bytes | None],
    reason: str,
    *,
    day: dt.date | None = None,
) -> pa.Array:
    """Return the values behind reversible tokens of a dataset's column; see `cloakhouse.stages.detokenize`.

    Raises as that does; NotFound for an unknown dataset or an installation that isn't there.
    """
    settings = installed()
    contracts = load_contracts(settings.contracts)
    if dataset not in contracts:
        raise NotFound(
            where="the contracts",
            expected="one of: " + ", ".join(contracts),
            found=f"none called `{dataset}`",
            not_done="nothing was detokenized",
            remedy="`cloakhouse contracts` lists them",
        )
    with explained(settings):
        return stage.detokenize(settings, contracts[dataset], column, tokens, reason, day=day)


def installed() -> Settings:
    """Return the settings of the environment, once the control database is there: a misspelt one would hold a record
    that nobody reads. Raises NotFound, ConfigurationError, StorageError, IntegrityError."""
    settings = Settings.from_environment()
    open_catalogue(settings)
    return settings
