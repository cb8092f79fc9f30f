"""The page of a report as PDF/UA-1: tagged, for screen readers; the same report gives the same bytes.

Nothing is fetched: whatever asks for a file or an address is refused, and the page names none.
"""

from __future__ import annotations

import hashlib

from cloakhouse.report.page import report_page
from cloakhouse.report.report_style import SVG_STYLE
from cloakhouse.stages.reporting import Report


def report_pdf(report: Report) -> bytes:
    """Return the PDF. Its identifier follows from the report, and it holds no date of its own.

    Raises MissingDependency (ModuleNotFoundError, which the command line tells) without WeasyPrint.
    """
    from weasyprint import HTML

    page = report_page(report).replace("</desc>", f"</desc><style>{SVG_STYLE}</style>")
    identifier = hashlib.sha256(report.to_bytes()).digest()[:16]
    document = HTML(string=page, base_url=None, url_fetcher=refused)
    found: bytes = document.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=identifier)
    return found


def refused(url: str, *_args: object, **_options: object) -> dict[str, object]:
    """Refuse to fetch `url`. Raises ValueError."""
    raise ValueError(f"a report fetches nothing, {len(url)} characters of an address neither")
