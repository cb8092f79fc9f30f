"""What a database refuses, as errors for people: never a value, a password, or a part of a URL.

SQLite names its refusals (SQLITE_FULL), PostgreSQL numbers them (53100, its appendix A). A refusal to connect has no
number: there only the words of libpq tell the cases apart, and they are told in ours.
"""

from __future__ import annotations

import sqlalchemy as sa

from cloakhouse.errors import StorageError

CONFLICT = "conflict"
_SPACE = ("no space left on its disk", "free space on the disk of the control database, then run again")
_LOCKED = ("another process held it for too long", "see what else runs and holds the control database, then run again")
_LOGIN = ("it refused the user or the password", "correct user and password in CLOAKHOUSE_DATABASE")
_NO_DATABASE = ("no database of that name", "have the operator create it, or correct CLOAKHOUSE_DATABASE")
_CROWDED = ("it has no connection left", "end what holds connections or raise max_connections, then run again")
_AWAY = ("no answer", "check that the database runs and that CLOAKHOUSE_DATABASE names it, then run again")
_SLOW = ("a statement that took too long", "see what keeps the database busy, then run again")
_CHANGED = ("other writers that changed the same rows each time", "run again")
_FORBIDDEN = (
    "the role of the URL may not do this",
    "have the operator grant it: `cloakhouse database upgrade --grant-to ROLE` does",
)
_READ_ONLY = ("it takes no writes (a standby, or a read-only file)", "let CLOAKHOUSE_DATABASE name the primary")
_TLS = (
    "no TLS connection with a certificate that could be verified",
    "let sslrootcert in CLOAKHOUSE_DATABASE name the file of the authority that signed the server's certificate",
)
_OTHER = ("it refused", "check space and permissions where CLOAKHOUSE_DATABASE points, then run again")
_SAID = {
    "SQLITE_FULL": _SPACE,
    "SQLITE_IOERR_SHMSIZE": _SPACE,  # of the index beside its journal
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_READONLY": _READ_ONLY,
    "08": _AWAY,
    "25006": _READ_ONLY,
    "28": _LOGIN,
    "3D000": _NO_DATABASE,
    "40001": _CHANGED,
    "40P01": _CHANGED,
    "42501": _FORBIDDEN,
    "53100": _SPACE,
    "53300": _CROWDED,
    "55P03": _LOCKED,
    "57014": _SLOW,
    "57P": _AWAY,
}
_WORDS = {  # how libpq begins to say why it has no connection
    "FATAL:  password authentication failed": _LOGIN,
    "FATAL:  role": _LOGIN,
    "FATAL:  no pg_hba.conf entry": _LOGIN,
    "fe_sendauth: no password supplied": _LOGIN,
    "FATAL:  database": _NO_DATABASE,
    "FATAL:  sorry, too many clients": _CROWDED,
    "FATAL:  too many connections": _CROWDED,
    "FATAL:  remaining connection slots": _CROWDED,
    "SSL error": _TLS,
    "root certificate file": _TLS,
    "server certificate": _TLS,
    "server does not support SSL": _TLS,
}


def as_storage_error(context: sa.engine.ExceptionContext) -> None:
    """Raise what the library is about to raise as a StorageError, or, of broken constraints, without values.

    A listener for SQLAlchemy's `handle_error`. Codes: `storage.database`, and `storage.conflict` for a transaction
    that may be tried again. IntegrityError and ProgrammingError of SQLAlchemy stay what they are.
    """
    fault = context.sqlalchemy_exception
    if context.is_pre_ping or not isinstance(fault, sa.exc.DatabaseError | sa.exc.InterfaceError):
        return
    state = getattr(fault.orig, "sqlstate", None)
    if isinstance(fault, sa.exc.IntegrityError | sa.exc.ProgrammingError) and state != "42501":
        if state:  # PostgreSQL's text quotes the row
            bare = type(fault)(fault.statement, None, Exception(f"SQLSTATE {state}"), hide_parameters=True)
            raise bare from None
        return
    otherwise = (
        _connecting(str(fault.orig)) if context.connection is None else _AWAY if context.is_disconnect else _OTHER
    )
    raise storage_fault(fault.orig, otherwise) from None


def storage_fault(fault: BaseException | None, otherwise: tuple[str, str] = _OTHER) -> StorageError:
    """Return the driver's `fault` as an error for people; `otherwise` are found and remedy of one without a number."""
    state = getattr(fault, "sqlstate", None)
    name = str(getattr(fault, "sqlite_errorname", None) or state or type(fault).__name__)
    matching = (said for start, said in _SAID.items() if name.startswith(start))
    found, remedy = next(matching, _OTHER if name.startswith("SQLITE") else otherwise)
    return StorageError(
        where="the control database",
        expected="a database that can be read and written",
        found=f"{found} ({name})",
        not_done="nothing was read or changed; what was recorded before still stands",
        remedy=remedy,
        code=CONFLICT if (found, remedy) == _CHANGED else "database",
    )


def _connecting(text: str) -> tuple[str, str]:
    said = text.partition(" failed: ")[2].partition(" failed: ")[2]  # "connection failed: connection to ... failed: "
    return next((answer for start, answer in _WORDS.items() if said.startswith(start)), _AWAY)
