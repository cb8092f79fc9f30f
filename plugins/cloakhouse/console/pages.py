"""Pages: templates, and what every one of them is given."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import math
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from cloakhouse.console.access import Need, Viewer, may

NAVIGATION = (
    ("", "Overview", Need.EVIDENCE),
    ("datasets", "Datasets", Need.DATASETS),
    ("budgets", "Budgets", Need.EVIDENCE),
    ("keys", "Keys", Need.EVIDENCE),
    ("access", "Access", Need.EVIDENCE),
    ("approvals", "Approvals", Need.EVIDENCE),
    ("requests", "Requests", Need.EVIDENCE),
    ("alerts", "Alerts", Need.EVIDENCE),
    ("log", "Audit log", Need.EVIDENCE),
    ("downloads", "Downloads", Need.EVIDENCE),
)
CODE = re.compile(r"`([^`]+)`")
STATIC = {"console.css": "text/css", "proof.js": "text/javascript", "mark.svg": "image/svg+xml"}


class Pages:
    """Renders templates; every text is escaped, and a name that isn't given is an error."""

    def __init__(self) -> None:
        self._environment = Environment(
            autoescape=True,
            undefined=StrictUndefined,
            loader=FunctionLoader(_template),
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"number": whole, "when": stamp, "ago": ago, "share": percent, "short": short}
        self._environment.filters["told"] = told
        self._environment.globals["query"] = query
        self._environment.globals["need"] = Need

    def __call__(self, request: Request, template: str, status: int = 200, **context: Any) -> HTMLResponse:
        """Return the page as an answer."""
        viewer: Viewer | None = getattr(request.state, "viewer", None)
        root = str(request.scope.get("root_path", ""))
        given = {
            "root": root,
            "here": template.removesuffix(".html"),
            "viewer": viewer,
            "navigation": [n for n in NAVIGATION if viewer is not None and may(viewer, n[2])],
            "may": lambda need: viewer is not None and may(viewer, need),
            "now": dt.datetime.now(dt.UTC),
            "static": {name: f"{root}/static/{name}?v={digest(name)}" for name in STATIC},
        }
        return HTMLResponse(self._environment.get_template(template).render(**given | context), status_code=status)


@functools.cache
def static(name: str) -> bytes:
    """Return the bytes of a file of STATIC."""
    return (files("cloakhouse.console") / "static" / name).read_bytes()


@functools.cache
def digest(name: str) -> str:
    """Return what tells one version of a static file from another."""
    return hashlib.sha256(static(name)).hexdigest()[:12]


def query(given: Mapping[str, object], **changed: object) -> str:
    """Return a query string of what is given, with some changed; empty values are left out."""
    kept = {name: value for name, value in {**given, **changed}.items() if value not in ("", None)}
    return f"?{urlencode(kept)}" if kept else ""


def told(text: str) -> Markup:
    """Return a sentence for a page: escaped, what stands between backticks as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def whole(value: float | None) -> str:
    """Return a number for people: 12,345; 0.0312; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if math.isfinite(value) else "–"


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 in percent, rounded down, so that 100 % is all of it; a dash for none."""
    return "–" if share is None else f"{math.floor(share * 1000 + 1e-9) / 10:g} %"


def stamp(at: dt.datetime | dt.date | None) -> str:
    """Return a time with its zone, or a day; a dash for none."""
    if at is None:
        return "–"
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(at, dt.datetime) else at.isoformat()


def ago(at: dt.datetime, now: dt.datetime) -> str:
    """Return how far `at` is from `now`, roughly, for people."""
    seconds = (now - at).total_seconds()
    size = abs(seconds)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if size >= length:
            many = int(size // length)
            said = f"{many} {unit}{'s' if many > 1 else ''}"
            return f"{said} ago" if seconds > 0 else f"in {said}"
    return "just now"


def short(digest: str) -> str:
    """Return the first 12 characters of a digest."""
    return digest[:12]


def _template(name: str) -> str | None:
    found = files("cloakhouse.console") / "templates" / name
    return found.read_text(encoding="utf-8") if found.is_file() else None
