"""A console over a small real installation, asked by viewers of every role without a browser."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx
import sqlalchemy as sa
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from cloakhouse.console.access import Person, nobody
from cloakhouse.console.app import create_app
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED, Action, Event, encode
from cloakhouse.ledger.merkle import Frontier, leaf_hash
from cloakhouse.settings import Settings

BROWSER = {"accept": "text/html,application/xhtml+xml"}
BASE = "http://127.0.0.1:8090"
PAGES = (
    "/",
    "/datasets",
    "/datasets/people_synthetic",
    "/datasets/people_synthetic/1",
    "/budgets",
    "/budgets/transactions",
    "/keys",
    "/access",
    "/approvals",
    "/requests",
    "/alerts",
    "/log",
    "/log/0",
    "/downloads",
)
START = dt.datetime(2026, 10, 25, tzinfo=dt.UTC)


class HeaderGate:
    """Tells who asks by a header, as the tests say it."""

    async def who(self, request: Request) -> Person:
        role = request.headers.get("x-role", "")
        if not role:
            raise nobody("no token")
        return Person(request.headers.get("x-name", "ann"), role)

    def login(self, request: Request) -> str | None:
        return "/auth/login?next=" + request.url.path if request.headers.get("x-login") else None


@dataclass(frozen=True)
class Asked:
    """A console, and who asks."""

    app: FastAPI
    client: TestClient

    def get(self, path: str, role: str = "auditor", **headers: str) -> httpx.Response:
        """Return what a browser is answered."""
        given = {**BROWSER, "x-role": role, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.get(path, headers=given, follow_redirects=False)

    def post(self, path: str, data: dict[str, str], role: str = "auditor", **headers: str) -> httpx.Response:
        """Return what a browser is answered that sends a form."""
        given = {**BROWSER, "x-role": role, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.client.post(path, data=data, headers=given, follow_redirects=False)


def asked(settings: Settings) -> Asked:
    """Return a console over the installation of `settings`."""
    app = create_app(settings, HeaderGate())
    return Asked(app, TestClient(app, base_url=BASE, raise_server_exceptions=False))


def simulated(count: int, datasets: Sequence[str], start: dt.datetime = START) -> Iterator[Event]:
    """Yield `count` events of four weeks that end a day after the last: the same every time."""
    actions = (Action.READ, Action.USE_KEY, Action.LAND, Action.PUBLISH, Action.VALIDATE, Action.RUN, Action.DETOKENIZE)
    step = dt.timedelta(days=28) / max(count, 1)
    for at in range(count):
        decision = REFUSED if at % 211 == 7 else FAILED if at % 503 == 9 else ALLOWED
        yield Event(
            actor=f"person-{at % 23}",
            action=actions[at % 7 if at % 7 != 6 or at % 91 == 6 else 0],
            object=f"{datasets[at % len(datasets)]}@{at % 5}",
            purpose="operations",
            count=at % 1_000,
            decision=decision,
            code="" if decision == ALLOWED else "access.key",
            at=start + at * step,
            dataset=datasets[at % len(datasets)],
            run=f"scheduled__{at // 400:06d}",
            dag="protect_transactions",
        )


def fill(settings: Settings, events: Iterator[Event], batch: int = 20_000) -> int:
    """Add `events` to an empty log, a batch in one statement, and return how many there were."""
    frontier, rows, number = Frontier(), [], 0
    engine = db.open_database(settings.database)
    copied = ("at", "action", "actor", "dataset", "decision", "run", "count")
    with engine.begin() as connection:
        for number, event in enumerate(events):
            content = encode(event)
            row = {name: getattr(event, name) for name in copied}
            rows.append({**row, "number": number, "content": content, "hashes": frontier.add(leaf_hash(content))})
            if len(rows) == batch:
                connection.execute(sa.insert(db.audit_entry), rows)
                rows = []
        if rows:
            connection.execute(sa.insert(db.audit_entry), rows)
    return number + 1
