"""The three documents in the three forms, by name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Document
from cloakhouse.governance.dpia import dpia
from cloakhouse.governance.findings import Finding
from cloakhouse.governance.html import html
from cloakhouse.governance.json_ld import json_ld
from cloakhouse.governance.markdown import markdown
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.record import record
from cloakhouse.governance.transparency import transparency


def written(
    kind: str,
    form: str,
    organisation: Organisation,
    activities: Sequence[Activity],
    findings: Sequence[Finding],
    profiles: Sequence[str],
    day: dt.date | None,
) -> str:
    """Return the document `kind` (record, dpia, transparency) in `form` (html, markdown, json-ld).

    The same inputs give the same text.
    """
    if form == "json-ld":
        return json_ld(kind, organisation, activities, findings, profiles, day)
    document = made(kind, organisation, activities, findings, profiles, day)
    return html(document) if form == "html" else markdown(document)


def made(
    kind: str,
    organisation: Organisation,
    activities: Sequence[Activity],
    findings: Sequence[Finding],
    profiles: Sequence[str],
    day: dt.date | None,
) -> Document:
    """Return the document `kind` as data."""
    if kind == "record":
        return record(organisation, activities, findings, day)
    if kind == "dpia":
        return dpia(organisation, activities, findings, day)
    return transparency(organisation, activities, profiles, day)
