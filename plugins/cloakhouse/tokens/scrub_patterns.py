"""What personal data looks like in free text: the shapes that `scrub` looks for, and what each must fulfil.

A shape is written once, for two engines: RE2 tells for a whole column which texts may hold it, Python's `re` finds
where. All repetition is bounded, so that either needs time linear in the text. Shapes are met by folded text (see
`scrub`): ASCII digits, blanks and hyphens, no accents.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cloakhouse.tokens import checks
from cloakhouse.tokens.phone_shapes import CONTEXT, PHONES

Check = Callable[[str], int]
"""From what a shape met to the number of its characters, from the first, that are personal data; 0 for none."""

_BEFORE = r"(?<![0-9A-Za-z_+])(?<![0-9][.,:-])(?<![A-Za-z]-)"
_AFTER = r"(?![0-9A-Za-z])(?![.,:-][0-9])"
_NO_SLASH = r"(?<![0-9]/)", r"(?!/[0-9])"  # before and after telephone numbers, as dates have them
_FILE_ENDINGS = frozenset(["png", "jpg", "jpeg", "gif", "svg", "webp"])  # logo@2x.png is a picture
_LOCAL = re.compile(r"\w[\w.+%'&~!#$*-]{0,63}\Z")
_DOMAIN = re.compile(r"@((?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W\d_]{2,24})(?![\w@])")


@dataclass(frozen=True)
class Shape:
    """One way in which a kind of personal data is written."""

    kind: str
    core: str
    """The pattern in what RE2 and `re` have in common; a group `x`, if there is one, is the personal data."""
    check: Check
    _find: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        before, after = _NO_SLASH if self.kind == "phone" else ("", "")
        pattern = f"{_BEFORE}{before}(?:{self.core}){_AFTER}{after}"
        object.__setattr__(self, "_find", re.compile(pattern, re.ASCII | re.IGNORECASE))

    @property
    def filter(self) -> str:
        """The RE2 pattern of texts that may hold this."""
        return f"(?i)(?:^|[^0-9A-Za-z])(?:{self.core.replace('(?P<x>', '(?:')})(?:$|[^0-9A-Za-z])"

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of every find in folded `text`, ascending, without overlap."""
        at = 0
        while met := self._find.search(text, at):
            start, end = met.span("x" if "x" in self._find.groupindex else 0)
            size = self.check(text[start:end])
            at = start + size if size else met.start() + 1
            if size:
                yield start, start + size


@dataclass(frozen=True)
class Address:
    """An e-mail address: RFC 5322 dot-atoms (RFC 6531 letters too) before and after the @; no quoted local part."""

    kind: str = "email"
    filter: str = "@"

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of every find, ascending, without overlap: from each @ to the left, so in linear time."""
        last = 0
        for met in _DOMAIN.finditer(text):
            local = _LOCAL.search(text, max(last, met.start() - 64), met.start()) if met.start() else None
            if local and met[1].rpartition(".")[2].lower() not in _FILE_ENDINGS:
                yield local.start(), met.end()
                last = met.end()


def _bare(text: str) -> str:
    return re.sub(r"[^0-9A-Z]", "", text.upper())


def _whole(check: Callable[[str], bool]) -> Check:
    return lambda text: len(text) if check(_bare(text)) else 0


def _iban(text: str) -> int:
    """The shape may run on into the next word: the country tells where an IBAN ends."""
    length = checks.IBAN_LENGTHS.get(text[:2].upper(), 0)
    places = [place for place, character in enumerate(text) if character.isalnum()]
    if not length or len(places) < length:
        return 0
    end = places[length - 1] + 1
    bare = _bare(text[:end])
    prose = sum(character.isdigit() for character in bare[4:]) < 8
    return 0 if prose or text[end : end + 1].isalnum() or not checks.iban(bare) else end


def _card(text: str) -> int:
    """The shape may begin with a card and run on into another number: try its groups, most first."""
    groups = text.replace("-", " ").split(" ")
    while groups:
        digits = "".join(groups)
        if 13 <= len(digits) <= 19 and checks.luhn(digits):
            article = len(groups) == 1 and len(digits) == 13 and checks.gs1(digits)
            return 0 if article else len(digits) + len(groups) - 1
        groups.pop()
    return 0


def _codice_fiscale(text: str) -> bool:
    return sum(character.isdigit() for character in text) >= 5 and checks.it_codice_fiscale(text)


NATIONAL = "national id"
SHAPES: tuple[Shape | Address, ...] = (
    Address(),
    Shape("iban", r"[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}", _iban),
    Shape(NATIONAL, r"[1-8]\d{5} ?(?:18|19|20)\d{6} ?\d{3}[\dX]", _whole(checks.cn_resident_id)),
    Shape(
        NATIONAL,
        r"[A-Z]{3} ?[A-Z]{3} ?[\dL-NP-V]{2} ?[A-EHLMPRST] ?[\dL-NP-V]{2} ?[A-Z] ?[\dL-NP-V]{3} ?[A-Z]",
        _whole(_codice_fiscale),
    ),
    Shape(
        NATIONAL,
        r"[1278][ .-]?\d{2}[ .-]?\d{2}[ .-]?(?:\d{2}|2[AB])[ .-]?\d{3}[ .-]?\d{3}[ .-]?\d{2}",
        _whole(checks.fr_nir),
    ),
    Shape(NATIONAL, r"[A-Z]{2}[ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D]", _whole(checks.uk_nino)),
    Shape(NATIONAL, r"(?:\d{8}|\d{2}\.\d{3}\.\d{3}|[XYZ][ -]?\d{7})[ -]?[A-Z]", _whole(checks.es_dni)),
    Shape(NATIONAL, r"\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}", _whole(checks.us_ssn)),
    Shape(
        NATIONAL,
        r"(?:ssn|social security(?: number| no)?)[^0-9]{0,12}(?P<x>\d{3}[ .-]?\d{2}[ .-]?\d{4})",
        _whole(checks.us_ssn),
    ),
    Shape(NATIONAL, r"\d{2} \d{3} \d{3} \d{3}|\d{11}", _whole(checks.de_steuer_id)),
    Shape(
        NATIONAL,
        r"\d{3}\.\d{3}\.\d{3}[-/.]\d{2}|\d{3} \d{3} \d{3} \d{2}|\d{9}-\d{2}|\d{11}",
        _whole(checks.br_cpf),
    ),
    Shape(NATIONAL, r"\d{4}\.\d{2}\.\d{3}", _whole(checks.nl_bsn)),
    Shape(
        NATIONAL,
        r"(?:bsn|burgerservicenummer|sofi-?nummer)[^0-9]{0,12}(?P<x>\d{9}|\d{3}[ .]\d{3}[ .]\d{3}|\d{4} \d{2} \d{3})",
        _whole(checks.nl_bsn),
    ),
    Shape("card", r"[2-6]\d{1,18}(?:[ -]\d{2,17}){0,6}", _card),
    *(Shape("phone", core, check) for core, check in PHONES),
    *(Shape("phone", core, check) for core, check in CONTEXT),
)
"""In the order in which they are looked for: what an earlier one found, a later one doesn't see."""
