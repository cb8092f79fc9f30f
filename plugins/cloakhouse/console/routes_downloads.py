"""What can be taken away: the log as CSV or JSON lines, checkpoints, public keys, cards, reports and bundles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from cloakhouse.console import data_log, inputs, offered
from cloakhouse.console.access import Need, needs
from cloakhouse.console.drawn import place
from cloakhouse.console.house import House
from cloakhouse.console.kept import attempt
from cloakhouse.console.pages import Pages
from cloakhouse.console.routes_data import find_version
from cloakhouse.console.routes_log import read_filter
from cloakhouse.console.tables import csv_line
from cloakhouse.keys.signing import public_key
from cloakhouse.ledger.audit import Entry
from cloakhouse.ledger.audit_event import stamp

BATCH = 500
SIGNERS = ("audit", "releases", "artifacts")
COLUMNS = (
    "number",
    "at",
    "action",
    "object",
    "dataset",
    "actor",
    "role",
    "purpose",
    "decision",
    "code",
    "reason",
    "count",
    "dag",
    "run",
    "task",
    "facts",
)
_SAFE = re.compile(r"[A-Za-z0-9._-]{1,120}")


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/downloads")
    @needs(Need.EVIDENCE)
    def downloads(request: Request) -> Response:
        with house.reading() as connection:
            standing = data_log.standing(connection)
        keys = {name: attempt(partial(public_key, house.settings.signing_keys, name)) for name in SIGNERS}
        return pages(request, "downloads.html", standing=standing, keys=keys, documents=offered.documents())

    @routes.get("/log.csv")
    @needs(Need.EVIDENCE)
    def log_csv(request: Request) -> Response:
        entries = _entries(house, request)
        lines = (csv_line(_row(entry)) for entry in entries)
        return _stream(_with_head(csv_line(COLUMNS), lines), "text/csv; charset=utf-8", "audit-log.csv")

    @routes.get("/log.jsonl")
    @needs(Need.EVIDENCE)
    def log_lines(request: Request) -> Response:
        entries = _entries(house, request)
        lines = (f'{{"number":{e.number},"event":{e.content.decode()}}}\n' for e in entries)
        return _stream(lines, "application/x-ndjson", "audit-log.jsonl")

    @routes.get("/checkpoint.txt")
    @needs(Need.EVIDENCE)
    def checkpoint(request: Request) -> Response:
        with house.reading() as connection:
            found = data_log.newest_checkpoint(connection)
        if found is None:
            raise inputs.missing("checkpoint", "a signed checkpoint: `cloakhouse audit checkpoint` makes one")
        return attachment(found[1].encode(), "text/plain; charset=utf-8", f"checkpoint-{found[0]:012d}.txt")

    @routes.get("/public-keys/{name}.pem")
    @needs(Need.EVIDENCE)
    def key(request: Request, name: str) -> Response:
        if name not in SIGNERS:
            raise inputs.missing("key", "a public key")
        return attachment(
            public_key(house.settings.signing_keys, name).pem, "application/x-pem-file", f"cloakhouse-{name}.pem"
        )

    @routes.get("/datasets/{name}/{number}/card.json")
    @needs(Need.DATASETS)
    def card(request: Request, name: str, number: str) -> Response:
        version = find_version(house, name, number)
        release = house.release(version)
        told = {
            "dataset": version.dataset,
            "version": version.version,
            "state": version.state.value,
            "tags": list(version.tags),
            "published_at": version.published_at.isoformat(),
            "rows": release.rows,
            "contract": dict(release.contract),
            "columns": [{k: column[k] for k in ("name", "type", "class")} for column in release.columns],
            "card": dict(release.card),
        }
        body = json.dumps(told, indent=2, sort_keys=True, ensure_ascii=False).encode()
        return attachment(body, "application/json", f"{name}-{version.version}-card.json")

    @routes.get("/datasets/{name}/{number}/report.{form}")
    @needs(Need.EVIDENCE)
    def report(request: Request, name: str, number: str, form: str) -> Response:
        if form not in offered.REPORTS:
            raise inputs.missing("page", "a report as html, pdf or json")
        version = find_version(house, name, number)
        with place():
            offered.record_taken(house.settings, request.state.viewer, f"report.{form} of {version.name}", name)
            body = offered.report(house.settings, version, form)
        return attachment(body, offered.REPORTS[form], f"{name}-{version.version}-report.{form}")

    @routes.get("/datasets/{name}/{number}/bundle")
    @needs(Need.EVIDENCE)
    def bundle(request: Request, name: str, number: str) -> Response:
        version = find_version(house, name, number)
        with place():
            body, ending = offered.bundle(house.settings, request.state.viewer, version)
        return attachment(body, "application/octet-stream", f"{name}-{version.version}-bundle.{ending}")

    @routes.get("/documents/{kind}.html")
    @needs(Need.EVIDENCE)
    def document(request: Request, kind: str) -> Response:
        if kind not in offered.documents():
            raise inputs.missing("document", "a governance document")
        house.writable()
        with place():
            offered.record_taken(house.settings, request.state.viewer, f"document {kind}")
            body = offered.document(house.settings, kind)
        return attachment(body, "text/html; charset=utf-8", f"{kind}.html")

    return routes


def attachment(body: bytes, kind: str, name: str) -> Response:
    """Return `body` as a file to keep: a browser never shows it as a page of the console."""
    return Response(body, media_type=kind, headers=_disposition(name))


def _disposition(name: str) -> dict[str, str]:
    assert _SAFE.fullmatch(name), "names of files are made of checked parts"
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def _stream(lines: Iterator[str], kind: str, name: str) -> Response:
    return StreamingResponse((line.encode() for line in lines), media_type=kind, headers=_disposition(name))


def _with_head(head: str, lines: Iterator[str]) -> Iterator[str]:
    yield head
    yield from lines


def _entries(house: House, request: Request) -> Iterator[Entry]:
    """Return all entries that fit, newest first, a batch at a time: memory is that of one batch.

    The export is an event of its own, and is recorded first.
    """
    wanted = read_filter(request.query_params)
    with house.reading() as connection:
        first = data_log.find(connection, wanted, None, BATCH, whole=True)
    offered.record_export(house.settings, request.state.viewer, request.url.path.rpartition("/")[2], wanted)
    return _batches(house, wanted, first)


def _batches(house: House, wanted: data_log.Filter, found: data_log.Found) -> Iterator[Entry]:
    yield from found.entries
    while found.next is not None:
        with house.reading() as connection:
            found = data_log.find(connection, wanted, found.next, BATCH, whole=True)
        yield from found.entries


def _row(entry: Entry) -> list[str | int]:
    event = entry.event
    assert event.at is not None
    facts = json.dumps(dict(event.facts), sort_keys=True, ensure_ascii=False) if event.facts else ""
    texts = (event.action, event.object, event.dataset, event.actor, event.role, event.purpose, event.decision)
    return [
        entry.number,
        stamp(event.at),
        *texts,
        event.code,
        event.reason,
        event.count,
        event.dag,
        event.run,
        event.task,
        facts,
    ]
