"""A logged-in token for a piece of work, and what a token's refusals mean.

The PIN. Several tries with a wrong one lock a token. A file whose PIN was refused isn't tried again in this process
(nor in its forks) until it changes, and the token's last try is never used up. Without the file nothing goes on, not
even in a process that has logged in.

Turns. SoftHSM2 keeps a token in files that it empties before it writes them: another process that reads in between
finds no token, or a key without its attributes. So the processes of a host take turns by a lock (flock) on the PIN
file: together for work that only reads, alone to log in and to change keys. HSMs need no such turns, and where the
file system knows no locks there are none.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.pkcs11_module import module_at
from cloakhouse.keys.pkcs11_uri import TokenUri, read_pin

if TYPE_CHECKING:
    import pkcs11

T = TypeVar("T")
TURN_S = 0.002  # between two looks at a lock that is held
_SALT = os.urandom(32)  # PINs are remembered as a digest that means nothing outside of this process
_accepted: dict[tuple[str, str], bytes] = {}  # module and token: the PIN that this process logged in with
_refused: dict[tuple[str, str, Path], tuple[int, ...]] = {}  # module, token and PIN file: the file's state


class Token:
    """A token of a module: `run` hands a logged-in session to a piece of work."""

    def __init__(self, uri: TokenUri, timeout_s: float) -> None:
        self.uri = uri
        self.module = module_at(uri.module)
        self._timeout_s = timeout_s
        self._place = (uri.module, uri.token)
        self._checked: pkcs11.Session | None = None
        self._lock = -1  # of the work that runs now

    def run(self, work: Callable[[pkcs11.Session], T]) -> T:
        """Return `work(session)`, which runs in the module's thread and may run twice.

        Raises KeyServiceError (`key.unreachable`, `key.identity`, `key.mode`, `key.unsupported`), and what `work`
        raises of its own.
        """
        import pkcs11

        try:
            return self.module.call(lambda: self._attempt(work), self._timeout_s)
        except TimeoutError:
            raise self._refusal(
                f"an answer of the module within {self._timeout_s:g} s",
                "none: it, or an earlier call of this process, hangs",
                "unreachable",
                "check the HSM, its network and the other processes that use it; then run again",
            ) from None
        except pkcs11.PKCS11Error as fault:
            raise self._translated(fault) from None

    def alone(self) -> None:
        """Wait until no other process of this host is at work in the token; for `work`, before it changes keys."""
        self._turn(fcntl.LOCK_EX)

    def _attempt(self, work: Callable[[pkcs11.Session], T]) -> T:
        import pkcs11

        with self._turns():
            # held here so that a process that ends while `work` hangs doesn't finalize the library, and hang as well
            library = self.module.library()
            try:
                return work(self._session(library))
            except (pkcs11.ObjectHandleInvalid, pkcs11.KeyHandleInvalid):
                return work(self._session(library))  # an object was destroyed under our hands: look again

    @contextlib.contextmanager
    def _turns(self) -> Iterator[None]:
        try:
            self._lock = os.open(self.uri.pin_file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            read_pin(self.uri.pin_file)  # says what is wrong with it
            raise
        try:
            self._turn(fcntl.LOCK_SH)
            yield
        finally:
            os.close(self._lock)

    def _turn(self, kind: int) -> None:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return fcntl.flock(self._lock, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError from None
                time.sleep(TURN_S)
            except OSError:
                return None  # a file system without locks

    def _session(self, library: Any) -> pkcs11.Session:
        import pkcs11

        session = self.module.sessions.get(self.uri.token)
        if session is not None:
            try:
                session.generate_random(64)  # a lost session shows here, before anything was begun
            except pkcs11.PKCS11Error:
                del self.module.sessions[self.uri.token]
                session = None
        if session is None:
            session = self._login(library)
        elif self._checked is not session:
            self._check_pin(read_pin(self.uri.pin_file))
        self._checked = session
        return session

    def _login(self, library: Any) -> pkcs11.Session:
        import pkcs11

        self.alone()
        token = self._find(library)
        self.check_flags(token.flags)
        if not {pkcs11.Mechanism.AES_GCM, pkcs11.Mechanism.AES_KEY_GEN} <= token.slot.get_mechanisms():
            expected = "a token with CKM_AES_GCM and CKM_AES_KEY_GEN"
            raise self._refusal(expected, "a token without", "unsupported", "use a token that knows AES-GCM")
        place, state = (*self._place, self.uri.pin_file), _state(self.uri.pin_file)
        pin = read_pin(self.uri.pin_file)
        if _refused.get(place) == state:
            raise self._pin_refusal("the PIN that the token has refused before; it was not tried again")
        try:
            session = token.open(rw=True, user_pin=pin)
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
            _refused[place] = state
            raise self._pin_refusal("a PIN that the token refuses") from None
        except pkcs11.UserAlreadyLoggedIn:
            self._check_pin(pin)
            session = token.open(rw=True)
        else:
            _accepted[self._place] = _digest(pin)
        self.module.sessions[self.uri.token] = session
        return session

    def _find(self, library: Any) -> pkcs11.Token:
        """SoftHSM2, for one, sees the tokens that were there when it was initialized: look again before giving up."""
        import pkcs11

        try:
            return library.get_token(token_label=self.uri.token)
        except pkcs11.NoSuchToken:
            self.module.sessions.clear()
            library.reinitialize()
            return library.get_token(token_label=self.uri.token)

    def _check_pin(self, pin: str) -> None:
        """A login is the whole process's; a service with another PIN must not ride on it."""
        accepted = _accepted.get(self._place)  # None: code outside of the platform logged this process in
        if accepted is not None and not hmac.compare_digest(_digest(pin), accepted):
            raise self._pin_refusal("another PIN than the one that this process is logged in with")

    def check_flags(self, flags: pkcs11.TokenFlag) -> None:
        """Raise KeyServiceError (`key.identity`) if the PIN is locked, or one more wrong one would lock it."""
        from pkcs11 import TokenFlag

        if flags & TokenFlag.USER_PIN_LOCKED:
            remedy = "have the token's security officer unlock the PIN"
            raise self._refusal("a user PIN in force", "a locked one", "identity", remedy)
        if flags & TokenFlag.USER_PIN_FINAL_TRY:
            remedy = "check the PIN file, and log in once by hand with the vendor's tool, which resets the count"
            raise self._refusal("more than one try left for the PIN", "the last try", "identity", remedy)

    def _pin_refusal(self, found: str) -> KeyServiceError:
        remedy = "write the token's PIN to the file that pin-source names; a token locks after a few wrong ones"
        return self._refusal("the token's user PIN", found, "identity", remedy)

    def _translated(self, fault: pkcs11.PKCS11Error) -> KeyServiceError:
        import pkcs11

        said = str(fault)
        if isinstance(fault, (pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.UserPinNotInitialized)):
            remedy = "have the token's security officer set the PIN"
            return self._refusal("a user PIN in force", type(fault).__name__, "identity", remedy)
        if isinstance(fault, pkcs11.NoSuchToken):
            remedy = "insert or start the token, or check `token` in CLOAKHOUSE_KEYS"
            return self._refusal("the token", "no token of that label", "unreachable", remedy)
        if isinstance(fault, pkcs11.MultipleTokensReturned):
            return self._refusal("one token", "several of that label", "unreachable", "give each token its own label")
        if said.startswith(("OS exception while loading", "Unknown exception while loading")):
            remedy = "install the HSM's PKCS#11 module (SoftHSM2: apt-get install softhsm2), or correct module-path"
            return self._refusal(f"the module {self.uri.module}", "none that loads", "unreachable", remedy)
        found = said if said.startswith("Unmapped error code") else type(fault).__name__
        remedy = "check the token and the module's own configuration (SoftHSM2: SOFTHSM2_CONF), then run again"
        return self._refusal("a token that does what is asked", f"the answer {found}", "unreachable", remedy)

    def _refusal(self, expected: str, found: str, code: str, remedy: str) -> KeyServiceError:
        return KeyServiceError(
            where=f"PKCS#11 token {self.uri.token}",
            expected=expected,
            found=found,
            not_done="nothing was wrapped and nothing was decrypted; a change that was asked for may be half done",
            remedy=remedy,
            code=code,
        )


def _state(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _digest(pin: str) -> bytes:
    return hmac.digest(_SALT, pin.encode(), hashlib.sha256)
