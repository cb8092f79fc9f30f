"""Parts of an HTML page: every text is escaped here, once, and numbers are written in one way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from math import ceil, floor, isfinite, log10

from cloakhouse.report.style import STYLE

NONE = "–"
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def text(value: object) -> str:
    """Return `value` as text that is safe between tags and in quoted attributes."""
    return escape(str(value), quote=True)


def paragraph(*sentences: str, kind: str = "") -> str:
    """Return a paragraph of `sentences`, which are HTML already."""
    return f"<p{_class(kind)}>{' '.join(sentences)}</p>"


def bullets(items: Iterable[tuple[str, str]]) -> str:
    """Return a list of items: what it is about (text) and a sentence (HTML)."""
    return "<ul>" + "".join(f"<li><strong>{text(about)}</strong> {said}</li>" for about, said in items) + "</ul>"


def facts(items: Iterable[tuple[str, str, str]]) -> str:
    """Return a list of facts: name and value (texts), and `big`, `wide` or nothing."""
    rows = (f"<div{_class(kind)}><dt>{text(name)}</dt><dd>{text(said)}</dd></div>" for name, said, kind in items)
    return f'<dl class="facts">{"".join(rows)}</dl>'


def table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    here: int | None = None,
    words: bool = False,
) -> str:
    """Return a table of texts; the first column names the rows, the others are numbers, or with `words` texts that may
    be long. Row `here` is marked."""
    kind = "" if words else "n"
    head = "".join(f'<th scope="col"{_class(kind if at else "")}>{text(name)}</th>' for at, name in enumerate(heads))
    body = "".join(
        f'<tr{_class("here" if at == here else "")}><th scope="row">{text(row[0])}</th>'
        + "".join(f"<td{_class(kind)}>{text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for at, row in enumerate(rows)
    )
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{text(caption)}">'
        f"<table><caption>{text(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def section(name: str, title: str, *parts: str) -> str:
    """Return a section with a heading; `name` is its id, `parts` are HTML."""
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>\n' + "\n".join(parts) + "</section>"


def document(title: str, *parts: str, style: str = "") -> str:
    """Return a whole page of `parts` (HTML), which needs nothing from outside. `style` (CSS) is added to its own."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title><style>{STYLE}{style}</style></head>\n<body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )


def number(value: object, digits: int = 3) -> str:
    """Return a number with `digits` significant ones and without an exponent where it can be read so; else a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return NONE
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        places = max(digits - 1 - floor(log10(abs(value))), 0) if value else 0
        shown = f"{value:,.{places}f}"
        return shown.rstrip("0").rstrip(".") if "." in shown else shown
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')} × 10{str(int(exponent)).translate(RAISED)}"


def decimals(value: object, places: int = 3) -> str:
    """Return a number with fixed decimal places, or a dash."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return NONE
    return f"{value:.{places}f}"


def percent(share: float, *, up: bool) -> str:
    """Return a share (0-1) in percent, rounded up for what is at most, down for what is at least."""
    value = 100 * share
    if value <= 0 or value >= 100:
        return "0\u00a0%" if value <= 0 else "100\u00a0%"
    if value < 0.01:
        return "0.01\u00a0%" if up else "under 0.01\u00a0%"
    if value > 99.99:
        return "100\u00a0%" if up else "99.99\u00a0%"
    places = 0 if 10 <= value <= 90 else (1 if 1 <= value <= 99 else 2)
    scaled = round(value * 10**places, 6)  # a share of 1 % is 1 %, whatever its last bit
    return f"{(ceil if up else floor)(scaled) / 10**places:.{places}f}\u00a0%"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
