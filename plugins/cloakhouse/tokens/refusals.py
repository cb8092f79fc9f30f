"""The refusal of a treatment's settings, as `arrays.refuse` is that of a column's data."""

from __future__ import annotations

from cloakhouse.errors import ContractError


def unusable(code: str, what: str, expected: str, found: str) -> ContractError:
    """Return the refusal of the setting `what`; the caller raises it."""
    return ContractError(
        code=code,
        where=what,
        expected=expected,
        found=found,
        not_done="no value was treated",
        remedy="correct the column's treatment in the contract",
    )
