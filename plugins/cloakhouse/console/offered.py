"""What other rooms make for an auditor to take away, and the events that the console leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cloakhouse.console.access import Viewer
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

    Raises what making it does.
    """
    from cloakhouse.console import drawn
    from cloakhouse.report.page import report_page
    from cloakhouse.stages import reporting

    if form == "json":
        return reporting.sealed_report(settings, version)
    made = reporting.report(settings, version)
    return drawn.pdf(made) if form == "pdf" else report_page(made).encode()


def bundle(settings: Settings, viewer: Viewer, version: DatasetVersion) -> tuple[bytes, str]:
    """Return the offline bundle of `version`, and the ending of its file's name; that `viewer` takes it away is
    recorded first. Raises as `report`."""
    from cloakhouse.stages.bundle import bundle as bundled

    return bundled(settings, version, _taken(viewer, f"bundle of {version.name}", version.dataset)), "zip"


def documents() -> Mapping[str, str]:
    """Return the governance documents that can be made, by their short names."""
    return DOCUMENTS


def document(settings: Settings, kind: str) -> bytes:
    """Return a governance document of all contracts as HTML. Raises as `report`, ContractError."""
    from cloakhouse.governance.activity import as_of, chosen, gather
    from cloakhouse.governance.documents import written
    from cloakhouse.governance.findings import check
    from cloakhouse.governance.organisation import load_organisation, organisation_file

    organisation = load_organisation(organisation_file(settings))
    contracts = chosen(settings.contracts, ())
    activities = gather(settings, contracts, None)
    findings, day = check(contracts, organisation, organisation.profiles), as_of(activities, None)
    return written(kind, "html", organisation, activities, findings, organisation.profiles, day).encode()


def _taken(viewer: Viewer, what: str, dataset: str) -> Event:
    return Event(viewer.name, Action.EXPORT_LOG, what, PURPOSE, role=viewer.role, dataset=dataset)
