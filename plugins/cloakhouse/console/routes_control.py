"""Budgets, keys, access and approvals: who decides over data, and with what."""

from __future__ import annotations

import datetime as dt

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloakhouse.console import data_decisions, data_log, drawing, inputs
from cloakhouse.console.access import Need, needs
from cloakhouse.console.house import House, now
from cloakhouse.console.kept import attempt
from cloakhouse.console.pages import Pages
from cloakhouse.console.routes_home import overdue, used
from cloakhouse.ledger.access_uses import Use
from cloakhouse.ledger.allowance import Account, Allowance
from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import Action
from cloakhouse.stages.spending import AccountState

A_PAGE = 50
LOOKED_BEHIND = (Action.DETOKENIZE, Action.LINK, Action.EXPORT_TOKENIZATION)
CHANGED = (Action.GRANT, Action.REVOKE, Action.ENROL)
KEY_ACTIONS = (Action.ROTATE_KEY, Action.REWRITE_KEY, Action.DISABLE_KEY, Action.ENABLE_KEY, Action.SHRED_KEY)


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/budgets")
    @needs(Need.EVIDENCE)
    def budgets(request: Request) -> Response:
        states = house.budgets.get()
        shown = [(state, used(state), _address(state.account)) for state in states.value]
        return pages(request, "budgets.html", shown=shown, at=states.at)

    @routes.get("/budgets/{dataset}")
    @needs(Need.EVIDENCE)
    def budget(request: Request, dataset: str) -> Response:
        inputs.dataset_name(dataset)
        states = [s for s in house.budgets.get().value if s.account.dataset == dataset]
        if not states:
            raise inputs.missing("budget", "a dataset with a privacy budget")
        shown = []
        with house.reading() as connection:
            for state in states:
                begin, end = _period(state)
                spends = data_decisions.spends(connection, state.account, begin)
                start = begin if begin.year > 1 else (spends[0].at if spends else now())
                total = state.balance.spent_rho + state.balance.left_rho
                title = f"Burn-down of {state.account}"
                drawn = drawing.burn_down([(s.at, s.rho) for s in spends], total, start, end or now(), title)
                shown.append((state, used(state), drawn, spends[::-1]))
        return pages(request, "budget.html", dataset=dataset, shown=shown)

    @routes.get("/keys")
    @needs(Need.EVIDENCE)
    def keys(request: Request) -> Response:
        known = attempt(house.keys.get)
        entries = attempt(lambda: _entries(house, KEY_ACTIONS))
        if known.problem and entries.problem:
            raise known.problem
        about = overdue(known.value.value) if known.value else None
        return pages(
            request,
            "keys.html",
            known=known,
            about=about,
            coverage=house.coverage.peek(),
            entries=entries,
            rotation_days=house.settings.rotation_days,
        )

    @routes.get("/access")
    @needs(Need.EVIDENCE)
    def access(request: Request) -> Response:
        review = attempt(house.review.get)
        uses = attempt(lambda: _uses(house))
        behind = attempt(lambda: _entries(house, LOOKED_BEHIND))
        changed = attempt(lambda: _entries(house, CHANGED))
        if review.problem and uses.problem:
            raise uses.problem
        return pages(request, "access.html", review=review, uses=uses, behind=behind, changed=changed)

    @routes.get("/approvals")
    @needs(Need.EVIDENCE)
    def approvals(request: Request) -> Response:
        before = inputs.whole(request.query_params, "before", 2**31)
        contracts = attempt(house.contracts.get)
        with house.reading() as connection:
            found = data_decisions.approvals(connection, A_PAGE + 1, before=before)
        more = found[A_PAGE - 1][0] if len(found) > A_PAGE else None
        known = contracts.value.value.values() if contracts.value else ()
        asked = [contract for contract in known if contract.approval is not None]
        return pages(request, "approvals.html", found=found[:A_PAGE], more=more, asked=asked, problem=contracts.problem)

    return routes


def _address(account: Account) -> str:
    return f"budgets/{account.dataset}"


def _period(state: AccountState) -> tuple[dt.datetime, dt.datetime | None]:
    return Allowance(0.0, 0.0, state.renewal).window(now())


def _entries(house: House, actions: tuple[Action, ...]) -> list[Entry]:
    with house.reading() as connection:
        return data_log.of_actions(connection, actions, A_PAGE)


def _uses(house: House) -> list[Use]:
    with house.reading() as connection:
        return data_decisions.uses(connection)
