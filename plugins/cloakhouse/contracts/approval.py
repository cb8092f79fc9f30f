"""The `approval` of a contract: who must agree before a version is published."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.model import Approval
from cloakhouse.contracts.source import Path, Source

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MOST_APPROVERS = 20
MOST_HOURS = 720


def read_approval(source: Source, properties: Mapping[str, Path]) -> Approval | None:
    """Return the checked `approval` of a contract, None where nobody is asked. Raises ContractError."""
    if "approval" not in properties:
        return None
    fields = Fields(source, properties["approval"])
    approvers = fields.names("approvers")
    wrong = sum(USER.fullmatch(name) is None for name in approvers)
    if wrong or len(approvers) > MOST_APPROVERS or len({name.casefold() for name in approvers}) != len(approvers):
        raise fields.fault(
            "approvers",
            f"1 to {MOST_APPROVERS} different names of Airflow users: letters, digits, `.`, `_` and `-`",
            f"{len(approvers)} names, {wrong} of another form",
            "correct `approvers`",
        )
    approval = Approval(approvers, fields.whole("timeoutHours", 1, MOST_HOURS))
    fields.nothing_else()
    return approval
