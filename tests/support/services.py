"""The key services that one behaviour suite runs over: each real. A new service joins by a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import service_aws, service_bao, service_pkcs11

from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.protocol import KeyService

Opener = Callable[[Path], Callable[[], KeyService]]

# name: from an empty folder to a function that opens the same service anew
SERVICES: dict[str, Opener] = {
    "age": lambda folder: lambda: AgeKeyService(folder / "keystore"),
    "aws-kms": service_aws.open_service,
    "openbao": service_bao.open_service,
    "pkcs11": service_pkcs11.open_service,
}
MARKS = {"pkcs11": [pytest.mark.hsm]}
PARAMETERS = [pytest.param(name, id=name, marks=MARKS.get(name, [])) for name in SERVICES]
