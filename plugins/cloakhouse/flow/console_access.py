"""Who looks at the console inside Airflow: what its auth manager knows and allows, as a role of the console.

A mounted app has no authentication of its own, so every request comes here:

1. the token of the request (Authorization: Bearer, else Airflow's cookie) must be one that the auth manager made and
   that holds: none or an expired one is nobody, another is refused;
2. whoever may not read runs and their log of events in Airflow sees nothing here;
3. the role is told by what the auth manager allows, so that it holds for any auth manager:

| may change assets | may start runs | role of the console | SimpleAuthManager |
| ----------------- | -------------- | ------------------- | ----------------- |
| yes, and is named an administrator | | admin | admin |
| yes               |                | engineer            | op                |
| no                | yes            | model               | user              |
| no                | no             | auditor             | viewer            |

A role `model` sees datasets and cards only; the console makes approvers of those whom a contract names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloakhouse.errors import AccessRefused

if TYPE_CHECKING:
    from fastapi import Request

_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
_ADDRESS = re.compile(r"/[A-Za-z0-9._/?&=%+:@~-]{0,2000}")


@dataclass(frozen=True)
class AirflowViewer:
    """A user of Airflow: the name as events carry it, and the role in the console."""

    name: str
    role: str


class AirflowGate:
    """Tells who asks, by Airflow's auth manager."""

    async def who(self, request: Request) -> AirflowViewer:
        """Return who asks. Raises AccessRefused: `access.token` for nobody, `access.console` who may see nothing."""
        user = await _user(request)
        name = str(user.get_name())
        if not _USER.fullmatch(name):
            raise _refused("a user whose name isn't one of letters, digits and . _ @ + -")
        return AirflowViewer(name, _role(user))

    def login(self, request: Request) -> str | None:
        """Return the address of Airflow's page to sign in, which leads back to a page of this site."""
        from airflow.api_fastapi.app import get_auth_manager

        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        wanted = quote(path, safe="/?&=%+:@~.-_")
        back = wanted if _ADDRESS.fullmatch(wanted) and not wanted.startswith("//") else None
        url: str = get_auth_manager().get_url_login(next_url=back) if back else get_auth_manager().get_url_login()
        return url


async def _user(request: Request) -> Any:
    """Return the user of the request's token (1)."""
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import HTTPException
    from fastapi.security import HTTPAuthorizationCredentials

    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=credentials) if credentials else None
    try:
        return await get_user(request, None, bearer)
    except HTTPException as problem:
        if problem.status_code == 401:
            raise _nobody() from None
        raise _refused("a token that isn't one of this Airflow") from None
    except Exception:  # noqa: BLE001  # whatever a forged token makes a library raise: fail closed
        raise _refused("a token that can't be read") from None


def _role(user: Any) -> str:
    """Return the role in the console (2, 3)."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity

    manager = get_auth_manager()
    reads = (DagAccessEntity.RUN, DagAccessEntity.AUDIT_LOG)
    if not all(manager.is_authorized_dag(method="GET", access_entity=entity, user=user) for entity in reads):
        raise _refused("a user who may not read the runs and events of Airflow")
    if manager.is_authorized_asset(method="POST", user=user):
        return "admin" if str(getattr(user, "role", "")).upper() == "ADMIN" else "engineer"
    starts = manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, user=user)
    return "model" if starts else "auditor"


def _nobody() -> AccessRefused:
    return AccessRefused(
        where="the console",
        expected="somebody who is signed in to Airflow",
        found="no token, or one that has expired",
        not_done="nothing was shown",
        remedy="sign in, then open the page again",
        code="token",
    )


def _refused(found: str) -> AccessRefused:
    return AccessRefused(
        where="the console",
        expected="a user of Airflow who may read runs and their events",
        found=found,
        not_done="nothing was shown",
        remedy="sign in again, or ask whoever administers users for a role",
        code="console",
    )
