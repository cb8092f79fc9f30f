"""A document as one HTML page without script, font or picture from outside. Every text is escaped."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import TYPE_CHECKING

from cloakhouse.governance.document import Document

if TYPE_CHECKING:
    from jinja2 import Template

CONTENT_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html(document: Document) -> str:
    """Return `document` as a page."""
    template, style = _template()
    return template.render(document=document, style=style, content_security=CONTENT_SECURITY) + "\n"


@functools.cache
def _template() -> tuple[Template, str]:
    from jinja2 import Environment, StrictUndefined

    folder = files(__package__).joinpath("templates")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(folder.joinpath("document.html").read_text(encoding="utf-8"))
    return template, folder.joinpath("document.css").read_text(encoding="utf-8")
