"""Names of master keys at an OpenBao server, there and back.

Master key `protected/direct` is the transit key `cloakhouse-protected-direct` (with the prefix of the URI), and once it
is destroyed `cloakhouse.destroyed-protected-direct` says so. Transit's names know no `/`, so `-` stands for it; a
name with a `-`, or with anything but small letters, digits and `_`, is refused instead of being mapped to another's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.protocol import KeyName

PARTS = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)*")
LIMIT = 200  # characters


@dataclass(frozen=True)
class Names:
    """The names of the platform's keys under `prefix`, which has no `-` and no `.`."""

    prefix: str

    def key(self, name: KeyName) -> str:
        """Return the transit key of a master key. Raises KeyServiceError (`key.unsupported`)."""
        return f"{self.prefix}-{_flat(name)}"

    def grave(self, name: KeyName) -> str:
        """Return the transit key whose existence says that the master key was destroyed. Raises as `key`."""
        return f"{self.prefix}.destroyed-{_flat(name)}"

    def master(self, key: str) -> KeyName | None:
        """Return the master key of a transit key or of its grave; None for a key that is not the platform's."""
        for start in (f"{self.prefix}-", f"{self.prefix}.destroyed-"):
            name = key.removeprefix(start).replace("-", "/")
            if key.startswith(start) and PARTS.fullmatch(name):
                return KeyName(name)
        return None


def _flat(name: KeyName) -> str:
    if not PARTS.fullmatch(name) or len(name) > LIMIT:
        raise KeyServiceError(
            where="a master key's name",
            expected="parts of small letters, digits and `_`, with `/` between them",
            found="another character, or a name that is too long",
            not_done="the key service was not asked, and nothing was decrypted",
            remedy="rename the zone or class",
            code="unsupported",
        )
    return name.replace("/", "-")
