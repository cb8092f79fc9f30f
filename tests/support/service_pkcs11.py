"""Real SoftHSM2 tokens for tests, in a temporary folder that goes away with the process that made it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from cloakhouse.keys.pkcs11 import Pkcs11Service
from cloakhouse.keys.protocol import KeyService

MODULE = os.environ.get("SOFTHSM2_MODULE", "/usr/lib/softhsm/libsofthsm2.so")
PIN = "482916"


def there_is_softhsm() -> bool:
    """Return whether SoftHSM2 is installed (SOFTHSM2_MODULE names its library where it isn't Debian's place)."""
    return Path(MODULE).exists() and shutil.which("softhsm2-util") is not None


@functools.cache
def configure() -> Path:
    """Point SoftHSM2, in this process and its children, to a token folder of its own. Return that folder."""
    home = Path(tempfile.mkdtemp(prefix="softhsm-of-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    (home / "tokens").mkdir()
    write_configuration(home)
    return home


def write_configuration(home: Path, *, reset_on_fork: bool = False) -> None:
    """Write SoftHSM2's configuration for the tokens in `home`, and name it in the environment."""
    lines = (
        f"directories.tokendir = {home}/tokens",
        "objectstore.backend = file",
        "log.level = ERROR",
        f"library.reset_on_fork = {str(reset_on_fork).lower()}",
    )
    (home / "softhsm2.conf").write_text("\n".join(lines) + "\n")
    os.environ["SOFTHSM2_CONF"] = str(home / "softhsm2.conf")


def new_token(folder: Path, pin: str = PIN) -> str:
    """Make a token and, in `folder`, its PIN file. Return the URI of its key service."""
    configure()
    label = f"cloakhouse {uuid.uuid4().hex[:12]}"
    command = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", "73519246"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(pin + "\n")
    return f"pkcs11:token={label.replace(' ', '%20')}?module-path={MODULE}&pin-source=file:{folder}/pin"


def open_service(folder: Path) -> Callable[[], KeyService]:
    """Make a token with its PIN file in `folder`; return what opens its key service anew."""
    uri = new_token(folder)
    return lambda: Pkcs11Service.from_uri(uri)
