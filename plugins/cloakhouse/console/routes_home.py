"""The first page: is anything wrong today?"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from cloakhouse.console import data_alerts, data_log
from cloakhouse.console.access import Need, may, needs
from cloakhouse.console.house import House, now
from cloakhouse.console.kept import attempt
from cloakhouse.console.pages import Pages
from cloakhouse.ledger.audit_event import Action
from cloakhouse.stages.key_status import KeyStatus
from cloakhouse.stages.spending import AccountState

DAY = dt.timedelta(days=1)
STALE = dt.timedelta(hours=26)  # a checkpoint is made every night
NEARLY_GONE = 0.9  # share of a budget
SHOWN = 6


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of this page."""
    routes = APIRouter()

    @routes.get("/")
    @needs(Need.DATASETS)
    def overview(request: Request) -> Response:
        if not may(request.state.viewer, Need.EVIDENCE):
            return RedirectResponse(f"{request.scope.get('root_path', '')}/datasets", 303)
        log = attempt(lambda: _log(house))
        keys = attempt(lambda: overdue(house.keys.get().value))
        budgets = attempt(lambda: nearly_gone(house.budgets.get().value))
        coverage = house.coverage.peek()
        parts: dict[str, Any] = {"log": log, "keys": keys, "budgets": budgets}
        concerns = _concerns(log.value, keys.value, budgets.value, coverage.value)
        away = [name for name, outcome in parts.items() if outcome.problem]
        if log.problem and (len(away) == len(parts) or log.problem.code.endswith(".home")):
            raise log.problem
        return pages(request, "overview.html", **parts, coverage=coverage, concerns=concerns, away=away)

    return routes


def overdue(status: KeyStatus) -> dict[str, Any]:
    """Return how many master keys there are, and those whose rotation is overdue or that don't open."""
    moment = now()
    late = [m for m in status.masters if m.next_rotation is not None and m.next_rotation < moment]
    behind = sum(master.behind for master in status.masters)
    closed = [m for m in status.masters if m.description.state.value != "enabled"]
    return {"masters": status.masters, "late": late, "behind": behind, "closed": closed}


def nearly_gone(states: list[AccountState]) -> dict[str, Any]:
    """Return the accounts, and those of which 90 % of the rho or more is spent."""
    return {"all": states, "near": [state for state in states if used(state) >= NEARLY_GONE]}


def used(state: AccountState) -> float:
    """Return the share of an account's rho that is spent, 0 to 1; 1 for an account that allows nothing."""
    total = state.balance.spent_rho + state.balance.left_rho
    return state.balance.spent_rho / total if total > 0 else 1.0


def _log(house: House) -> dict[str, Any]:
    moment = now()
    with house.reading() as connection:
        since = data_log.first_since(connection, moment - DAY)
        return {
            "standing": data_log.standing(connection),
            "decisions": data_log.decisions_since(connection, since),
            "wrong": data_log.wrong(connection, since, SHOWN),
            "runs": data_log.of_actions(connection, (Action.RUN,), SHOWN),
            "published": data_log.of_actions(connection, (Action.PUBLISH, Action.WITHDRAW, Action.ROLL_BACK), SHOWN),
            "alerts": data_alerts.open_alerts(connection, SHOWN),
            "datasets": _count(connection),
        }


def _count(connection: sa.Connection) -> int:
    from cloakhouse.ledger import database as db

    return int(connection.execute(sa.select(sa.func.count()).select_from(db.dataset_head)).scalar_one())


def _concerns(log: Any, keys: Any, budgets: Any, coverage: Any) -> list[tuple[str, str]]:
    """Return what should make somebody look, each with the page that tells more."""
    found: list[tuple[str, str]] = []
    if log:
        standing = log["standing"]
        if log["alerts"].total:
            found.append((_many(log["alerts"].total, "alert is", "alerts are") + " open", "alerts"))
        wrong = log["decisions"]["failed"] + log["decisions"]["refused"]
        if wrong:
            found.append((_many(wrong, "event was", "events were") + " refused or failed in the last 24 hours", "log"))
        if standing.size and standing.checkpoint_at is None:
            found.append(("no checkpoint has been signed yet", "downloads"))
        elif standing.uncovered and standing.checkpoint_at < now() - STALE:
            found.append(("the newest checkpoint is older than a day", "downloads"))
        if standing.size and standing.verified is None:
            found.append(("no verification of the log is recorded", "downloads"))
        elif standing.verified and standing.verified.event.decision != "allowed":
            found.append(("the last verification of the log failed", f"log/{standing.verified.number}"))
    if keys and keys["late"]:
        found.append((_many(len(keys["late"]), "master key is", "master keys are") + " overdue for rotation", "keys"))
    if budgets and budgets["near"]:
        found.append(
            (_many(len(budgets["near"]), "privacy budget is", "privacy budgets are") + " nearly gone", "budgets")
        )
    if coverage and not coverage.value.complete:
        found.append(
            (_many(len(coverage.value.findings), "file isn't", "files aren't") + " encrypted as agreed", "keys")
        )
    return found


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"
