"""The token in the form of an acknowledgement: only a page of the console, made for the same viewer, holds it.

HMAC-SHA-256 over the viewer's name, the alert and the half day, under a key that is made once for each home, so that
several processes of a server know each other's forms. Source: OWASP, "Cross-Site Request Forgery Prevention", signed
tokens. A browser that says where a request comes from (Sec-Fetch-Site, Origin) is believed as well.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from cloakhouse.errors import AccessRefused, CloakhouseError
from cloakhouse.keys.files import create_once, storage_error

HALF_DAY_S = 43_200
_SIZE = 32  # bytes of the key


class Forms:
    """Makes and checks the tokens of forms."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "console" / "forms.key"

    def token(self, viewer: str, what: str, at: float | None = None) -> str:
        """Return the token (hex) of a form that `viewer` may send about `what`. Raises StorageError."""
        return self._of(viewer, what, int((time.time() if at is None else at) // HALF_DAY_S))

    def check(self, token: str, viewer: str, what: str, at: float | None = None) -> None:
        """Return if `token` was made for `viewer` and `what` in this half day or the last.

        Raises AccessRefused (`access.form`), StorageError.
        """
        period = int((time.time() if at is None else at) // HALF_DAY_S)
        made = [self._of(viewer, what, period - back) for back in (0, 1)]
        if not any(hmac.compare_digest(token.encode(), one.encode()) for one in made):
            raise _refused("a form of another page, of somebody else, or too old")

    def _of(self, viewer: str, what: str, period: int) -> str:
        return hmac.new(self._key(), f"{period}\n{what}\n{viewer}".encode(), "sha256").hexdigest()

    def _key(self) -> bytes:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_once(self._file, secrets.token_bytes(_SIZE))
            key = self._file.read_bytes()
        except OSError as fault:
            raise storage_error(fault, self._file, "the form was not made or taken") from None
        if len(key) != _SIZE:
            raise _refused("a key of forms that isn't whole; remove console/forms.key in CLOAKHOUSE_HOME")
        return key


def same_site(headers: Mapping[str, str], host: str) -> None:
    """Return unless the browser says that another site sent the request. Raises AccessRefused (`access.form`)."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != host
    if foreign if site is None else site not in ("same-origin", "none"):
        raise _refused("one that another site sent")


def _refused(found: str) -> CloakhouseError:
    return AccessRefused(
        where="this form",
        expected="a form that this console made for you",
        found=found,
        not_done="nothing was recorded",
        remedy="open the page again and send the form from there",
        code="form",
    )
