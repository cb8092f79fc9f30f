"""What a reader asks before anything is read: who am I, what may I see, which keys open it, and that it is recorded.

    access = access_of(settings)("synthetic", "baskets_synthetic", {"store_id": ColumnClass.PLAIN})
    record_use(settings, access, "synthetic", access.readable)
    store = TableStore(open_store(settings), reading_ring(settings))
    table = store.read(entry, access.readable)

The decision here keeps an honest reader from asking for keys that it has no grant of, and says how the rest is masked.
What keeps the others out are the keys: see `cloakhouse.stages.access_apply`.

A reader may have a copy of the control database, or a role there that can't write the audit log. So its uses of keys
are no events: they are counted in the table `access_use`, which such a role may write. A use that the key service
refuses is an event where the reader's role can add one; else the refusal stands by itself. The platform's own uses are
events like any other, and stop when they can't be written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping

import sqlalchemy.exc

from cloakhouse.contracts.access_parser import load_policy
from cloakhouse.contracts.access_policy import Access, decide, everything
from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.age import OPERATIONS
from cloakhouse.keys.keystore import PLATFORM
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.shared_keys import SharedKeys
from cloakhouse.keys.shares import Shares
from cloakhouse.ledger.access_uses import AccessUses
from cloakhouse.ledger.audited_keys import open_ring, reading_service
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import actor

RELEASED = ("synthetic", "aggregates")  # zones whose rows are of nobody
Decision = Callable[[str, str, Mapping[str, ColumnClass]], Access]


def principal_of(settings: Settings) -> str | None:
    """Return the name under which the policy knows who asks; None for the platform, which is outside of it.

    At the age keystore that is the principal of CLOAKHOUSE_IDENTITY, and nobody's identity is the platform's own.
    Other services know accounts: there the system's user asks, unless it states no purpose of its own
    (CLOAKHOUSE_PURPOSE), as the platform does; the service decides by the credentials alone. Raises KeyServiceError,
    AccessRefused (`access.identity`).
    """
    embedded = settings.keys.startswith("age:")
    if settings.identity is None and (embedded or settings.purpose == OPERATIONS):
        return None
    name = actor(settings)
    if embedded:
        return None if name == PLATFORM else name
    return name.partition(":")[2]


def access_of(settings: Settings) -> Decision:
    """Return what decides over (zone, dataset, {column: class}) for who asks, by the policy as it is now.

    The decision raises AccessRefused (`access.role`). Raises ContractError for a policy that can't be read, and as
    `principal_of`.
    """
    principal = principal_of(settings)
    if principal is None:
        return lambda _zone, _dataset, columns: everything(columns)
    policy = load_policy(settings.policy)
    return lambda zone, dataset, columns: decide(policy, principal, settings.purpose, zone, dataset, columns)


def reading_ring(settings: Settings) -> KeyRing:
    """Return the dataset keys as who asks may open them, by shares, too. Raises as `principal_of`."""
    if principal_of(settings) is None:
        return open_ring(settings)
    shares = Shares(settings.key_shares)
    shared = reading_service(settings, lambda service: SharedKeys(service, shares, settings.dataset_keys))
    return KeyRing(shared, settings.dataset_keys)


def record_use(settings: Settings, access: Access, zone: str, columns: Iterable[str]) -> bool:
    """Record that `columns` of a dataset in `zone` are about to be read; return whether it was. Call it before.

    A read of rows of people must be recorded: raises StorageError, and then nothing may be read. Released zones hold
    rows of nobody, so a reader that can't write the control database reads them all the same, unrecorded. The
    platform's own reads are not recorded.
    """
    keys = access.keys_for(columns)
    if not keys:
        return False
    if zone not in RELEASED:
        AccessUses(settings.database).record(access.principal, keys, access.purpose)
        return True
    with contextlib.suppress(CloakhouseError, sqlalchemy.exc.SQLAlchemyError, OSError):
        AccessUses(settings.database).record(access.principal, keys, access.purpose)
        return True
    return False
