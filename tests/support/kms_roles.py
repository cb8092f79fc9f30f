"""Calls of AWS KMS as one of Terraform's roles makes them: what its policies don't allow is refused and not sent.

moto checks no permission. The policies of infra/terraform do, as tests/support/iam.py evaluates them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.cloud import Account
from tests.support.cloud_access import probes, shipped
from tests.support.cloud_probes import Probe

from cloakhouse.keys.aws_calls import KmsCalls, not_done, where
from cloakhouse.keys.aws_refusals import DENIED, refuse
from cloakhouse.keys.protocol import KeyName


class Roles:
    """Says whose role the calls of this process are made in; nobody's at first, and then all are allowed."""

    def __init__(self) -> None:
        self._role = ""
        self.asked: set[tuple[str, str]] = set()  # role, action

    @contextlib.contextmanager
    def acting(self, role: str) -> Iterator[None]:
        """Make the calls of the block as `role`."""
        self._role = role
        try:
            yield
        finally:
            self._role = ""

    def check(self, operation: str, name: KeyName | None, parameters: dict[str, Any]) -> None:
        """Raise AccessRefused for what the role may not do."""
        action = "kms:" + "".join(part.capitalize() for part in operation.split("_"))
        if not self._role:
            return
        self.asked.add((self._role, action))
        probe = _known()[action, "account" if name is None or action == "kms:CreateKey" else f"key:{name}"]
        if action == "kms:CreateGrant":
            probe = probe.but(kms__GranteePrincipal=parameters["GranteePrincipal"])
        if not shipped().may(self._role, probe):
            raise refuse(DENIED, where(name), not_done(operation))


def enforced(monkeypatch: pytest.MonkeyPatch) -> Roles:
    """Have every call of KMS checked from now on, and return what says in whose role."""
    roles, real = Roles(), KmsCalls.call

    def call(self: KmsCalls, operation: str, name: KeyName | None, **parameters: Any) -> dict[str, Any]:
        roles.check(operation, name, parameters)
        return real(self, operation, name, **parameters)

    monkeypatch.setattr(KmsCalls, "call", call)
    return roles


@functools.cache
def _known() -> dict[tuple[str, str], Probe]:
    return {(probe.action, probe.label): probe for probe in probes(Account())}
