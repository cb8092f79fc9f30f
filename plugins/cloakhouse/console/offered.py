"""What other rooms make for an auditor to take away, and the events that the console leaves."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloakhouse.console.access import Viewer
from cloakhouse.console.inputs import missing
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.version_model import DatasetVersion
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import record

if TYPE_CHECKING:
    from cloakhouse.console.data_log import Filter

REPORTS: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "json": "application/json",
}
DOCUMENTS: Mapping[str, str] = {
    "record": "Record of processing activities (GDPR Art. 30)",
    "dpia": "Impact assessment, skeleton with measured risks (GDPR Art. 35)",
    "transparency": "Page for the persons that the data are about (GDPR Art. 13 and 14)",
}
PURPOSE = "audit"


def record_export(settings: Settings, viewer: Viewer, what: str, wanted: Filter) -> None:
    """Record that `viewer` takes a part of the log away. Raises StorageError: then nothing is given out."""
    facts = dict(wanted.texts)
    facts |= {name: at.isoformat() for name in ("since", "until") if (at := getattr(wanted, name)) is not None}
    event = Event(viewer.name, Action.EXPORT_LOG, what, PURPOSE, role=viewer.role, facts=facts)
    record(settings, event)


def record_taken(settings: Settings, viewer: Viewer, what: str, dataset: str = "") -> None:
    """Record that `viewer` takes evidence away (a report, a bundle, a document). Raises StorageError."""
    record(settings, _taken(viewer, what, dataset))


def report(settings: Settings, version: DatasetVersion, form: str) -> bytes:
    """Return the validation report of `version` as `html`, `pdf` or `json` (signed).

    Raises NotFound when the room that makes it isn't installed, and what making it does.
    """
    reporting = _room("cloakhouse.stages.reporting")
    if form == "json":
        sealed: bytes = reporting.sealed_report(settings, version)
        return sealed
    made = reporting.report(settings, version)
    if form == "pdf":
        drawn: bytes = _room("cloakhouse.console.drawn").pdf(made)
        return drawn
    page: str = _room("cloakhouse.report.page").report_page(made)
    return page.encode()


def bundle(settings: Settings, viewer: Viewer, version: DatasetVersion) -> tuple[bytes, str]:
    """Return the offline bundle of `version`, and the ending of its file's name; that `viewer` takes it away is
    recorded first. Raises as `report`."""
    taken = _taken(viewer, f"bundle of {version.name}", version.dataset)
    return _room("cloakhouse.stages.bundle").bundle(settings, version, taken), "zip"


def documents() -> Mapping[str, str]:
    """Return the governance documents that can be made, by their short names."""
    return DOCUMENTS


def document(settings: Settings, kind: str) -> bytes:
    """Return a governance document of all contracts as HTML. Raises as `report`, ContractError."""
    activity, made = _room("cloakhouse.governance.activity"), _room("cloakhouse.governance.documents")
    organisation = _room("cloakhouse.governance.organisation").load_organisation(
        settings.project / "dags" / "organisation.yaml"
    )
    contracts = activity.chosen(settings.contracts, ())
    activities = activity.gather(settings, contracts, None)
    findings = _room("cloakhouse.governance.findings").check(contracts, organisation, organisation.profiles)
    day = activity.as_of(activities, None)
    written: str = made.written(kind, "html", organisation, activities, findings, organisation.profiles, day)
    return written.encode()


def _taken(viewer: Viewer, what: str, dataset: str) -> Event:
    return Event(viewer.name, Action.EXPORT_LOG, what, PURPOSE, role=viewer.role, dataset=dataset)


def _room(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise missing("document", "a part of the platform that is installed") from None
