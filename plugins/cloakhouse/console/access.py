"""Who looks at the console, and what they may see: a role opens needs, each route names one, and no need is no access.

| role     | datasets | evidence | acknowledge |
| -------- | -------- | -------- | ----------- |
| admin    | yes      | yes      | yes         |
| engineer | yes      | yes      | yes         |
| auditor  | yes      | yes      | yes         |
| approver | yes      | yes      |             |
| model    | yes      |          |             |

Who somebody is, is told by a Gate: Airflow's auth manager (`cloakhouse.flow.console_access`), or the one token of a
console that stands alone (`cloakhouse.console.session`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

from cloakhouse.errors import AccessRefused

if TYPE_CHECKING:
    from fastapi import Request

TOKEN = "token"  # noqa: S105  # the code of a refusal: nobody, or nobody who can be told
Route = TypeVar("Route", bound=Callable[..., object])


class Need(StrEnum):
    """What a route shows or does."""

    DATASETS = "datasets"  # published versions and their cards
    EVIDENCE = "evidence"  # the log, keys, access, budgets, evidence, alerts, approvals
    ACKNOWLEDGE = "acknowledge"  # the one thing that can be written


_EVERYTHING = frozenset(Need)
ROLES: Mapping[str, frozenset[Need]] = {
    "admin": _EVERYTHING,
    "engineer": _EVERYTHING,
    "auditor": _EVERYTHING,
    "approver": frozenset({Need.DATASETS, Need.EVIDENCE}),
    "model": frozenset({Need.DATASETS}),
}


class Viewer(Protocol):
    """Somebody who was recognised: the name that events carry, and a role of ROLES (any other opens nothing)."""

    @property
    def name(self) -> str: ...

    @property
    def role(self) -> str: ...


@dataclass(frozen=True)
class Person:
    """A viewer."""

    name: str
    role: str


class Gate(Protocol):
    """Tells who asks."""

    async def who(self, request: Request) -> Viewer:
        """Return who asks. Raises AccessRefused: `access.token` for nobody (no token, an expired one), any other code
        for somebody who may see nothing, or a token that isn't one."""
        ...

    def login(self, request: Request) -> str | None:
        """Return the address of a page to sign in and come back from; None where there is none."""
        ...


def needs(need: Need) -> Callable[[Route], Route]:
    """Return a decorator that says what a route shows. One without it is refused to everybody."""

    def mark(route: Route) -> Route:
        route.console_need = need  # type: ignore[attr-defined]
        return route

    return mark


def may(viewer: Viewer, need: Need) -> bool:
    """Return whether the role of `viewer` opens `need`."""
    return need in ROLES.get(viewer.role, frozenset())


def require(viewer: Viewer, endpoint: object) -> None:
    """Return if `viewer` may use the route `endpoint`. Raises AccessRefused (`access.console`)."""
    need = getattr(endpoint, "console_need", None)
    if need is None or not may(viewer, need):
        raise AccessRefused(
            where="the console",
            expected="a role that opens this page",
            found=f"the role {viewer.role}" if viewer.role in ROLES else "no role of the console",
            not_done="nothing was shown",
            remedy="ask whoever administers users for another role (docs/console.md lists them)",
            code="console",
        )


def nobody(found: str) -> AccessRefused:
    """Return the refusal of a request without a token that holds; `found` says what it had."""
    return AccessRefused(
        where="the console",
        expected="somebody who is signed in",
        found=found,
        not_done="nothing was shown",
        remedy="sign in, then open the page again",
        code=TOKEN,
    )
