"""A key service as a member of a role sees it: dataset keys are opened by shares as well (`cloakhouse.keys.shares`)."""

from __future__ import annotations

from pathlib import Path

from cloakhouse.errors import AccessRefused
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import Connection, Context, Grant, KeyDescription, KeyName, KeyService, KeyState
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.shares import Shares


class SharedKeys:
    """A key service as somebody sees it who may have shares: a dataset key is opened by one, or as ever."""

    def __init__(self, service: KeyService, shares: Shares, dataset_keys: Path) -> None:
        self._service = service
        self._shares = shares
        self._ring = KeyRing(service, dataset_keys)

    def __repr__(self) -> str:
        return "SharedKeys()"

    @property
    def uri(self) -> str:
        """See KeyService.uri."""
        return self._service.uri

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """See KeyService.unwrap. Shares are tried first; who holds none that opens is told what the service says."""
        return self._shared(name, context) or self._service.unwrap(name, wrapped, context)

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """See KeyService.wrap."""
        return self._service.wrap(name, key, context)

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """See KeyService.generate."""
        return self._service.generate(name, context)

    def names(self) -> tuple[KeyName, ...]:
        """See KeyService.names."""
        return self._service.names()

    def describe(self, name: KeyName) -> KeyDescription:
        """See KeyService.describe."""
        return self._service.describe(name)

    def rotate(self, name: KeyName) -> KeyDescription:
        """See KeyService.rotate."""
        return self._service.rotate(name)

    def disable(self, name: KeyName) -> None:
        """See KeyService.disable."""
        self._service.disable(name)

    def enable(self, name: KeyName) -> None:
        """See KeyService.enable."""
        self._service.enable(name)

    def destroy(self, name: KeyName) -> None:
        """See KeyService.destroy."""
        self._service.destroy(name)

    def grants(self) -> tuple[Grant, ...]:
        """See KeyService.grants."""
        return self._service.grants()

    def grant(self, grant: Grant) -> None:
        """See KeyService.grant."""
        self._service.grant(grant)

    def revoke(self, grant: Grant) -> None:
        """See KeyService.revoke."""
        self._service.revoke(grant)

    def connection(self) -> Connection:
        """See KeyService.connection."""
        return self._service.connection()

    def _shared(self, name: KeyName, context: Context) -> SecretKey | None:
        if context.get("use") != "dataset key":
            return None
        key = DatasetKey(context["zone"], context["class"], context["dataset"])
        if key.master != name or not self._enabled(name):
            return None
        for share in self._shares.of(key):
            try:
                opened = self._shares.open(share, int(context["v"]), self._ring)
            except AccessRefused:
                continue  # another role's
            if opened is not None:
                return opened
        return None

    def _enabled(self, name: KeyName) -> bool:
        """Return whether the class is in use at all; who may not even ask the service that is left to the shares."""
        try:
            return self._service.describe(name).state is KeyState.ENABLED
        except AccessRefused:
            return True
