"""Versions that somebody asks for and that can't be read any more, as events: who still uses what was withdrawn?

Readers may have a control database that they can't write, or no role there that may add to the log: then the refusal,
which they are told either way, stands by itself.
"""

from __future__ import annotations

import contextlib

import sqlalchemy.exc

from cloakhouse.errors import CloakhouseError
from cloakhouse.ledger.acting import unsuccessful
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.versions import Selector
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event, record


def not_read(settings: Settings, selector: Selector, refusal: CloakhouseError) -> bool:
    """Record that who asks was refused the version that `selector` names; return whether it was recorded.

    `refused` for a version that was withdrawn, `failed` for one that is gone. Call it for datasets that there are
    alone: a name that is none may be any text.
    """
    with contextlib.suppress(CloakhouseError, sqlalchemy.exc.SQLAlchemyError, OSError):
        asked = event(settings, Action.READ, str(selector), dataset=selector.name)
        record(settings, unsuccessful(asked, refusal))
        return True
    return False
