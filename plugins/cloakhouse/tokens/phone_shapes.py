"""How telephone numbers are written: international (ITU-T E.164, E.123), national, and bare after a word for calling.

National forms are those of the US and Canada, UK, Germany, France, Spain, Italy, the Netherlands and Brazil; most other
countries' pass too if they begin with a 0 and are grouped. A number without 0, plus sign or separators is only taken
for one after a word that says so, because orders and customers have such numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cloakhouse.tokens.checks import gs1

_COUNTRY = re.compile(r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3}", re.ASCII)  # ITU-T E.164 list
_NATIONAL_DIGITS = {  # country code -> fewest and most digits after it
    "1": (10, 10), "7": (10, 10), "31": (9, 9), "32": (8, 9), "33": (9, 9), "34": (9, 9), "39": (6, 11), "41": (9, 9),
    "44": (9, 10), "45": (8, 8), "47": (8, 8), "48": (9, 9), "49": (6, 11), "55": (10, 11), "351": (9, 9),
}  # fmt: skip
_ANY_NATIONAL_DIGITS = (6, 12)
_DATE = re.compile(
    r"(?:0?[1-9]|[12]\d|3[01])[./-](?:0?[1-9]|1[0-2])[./-](?:\d{4}|\d{2})(?![./-]?\d)", re.ASCII
)  # day first, as numbers with a leading 0 are looked at
_HOURS = re.compile(r"\d{1,2}\.[0-5]\d ?[-/] ?\d{1,2}\.[0-5]\d(?!\d)", re.ASCII)
_YEAR = re.compile(r"\D(?:19|20)\d\d-(?:19|20)\d\d$", re.ASCII)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _groups(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"\d+", text))


def _cut(text: str, low: int, high: int) -> int:
    """Return where `text` has from `low` to `high` digits and a group ends, at most; 0 for nowhere."""
    for group in reversed(_groups(text)):
        if low <= len(_digits(text[: group.end()])) <= high:
            return group.end()
    return 0


def international(text: str) -> int:
    """Return how much of `text`, which begins with + or 00, is a number of a length that its country has."""
    prefix = 2 if text.startswith("00") else 0
    digits = _digits(text)[prefix:]
    met = _COUNTRY.match(digits)
    country = met[0] if met else ""
    low, high = _NATIONAL_DIGITS.get(country, _ANY_NATIONAL_DIGITS)
    national = digits[len(country) :]
    trunk = int(national.startswith("0") and country != "39")  # +49 (0)30: a zero that isn't dialled
    if country == "1" and not re.match(r"[2-9]\d\d[2-9]", national):
        return 0
    length = prefix + len(country) + trunk
    return _cut(text, length + low, length + high)


def trunk(text: str) -> int:
    """Return how much of `text`, which begins with 0, is a national number of 9 to 12 digits, not dates or hours."""
    if _DATE.match(text) or _HOURS.match(text):
        return 0
    groups = _groups(text)
    if len(groups[0][0]) == 2 and len(groups[1][0]) < 3 and "(" not in text:
        return 0  # pairs are French and have a shape of their own; lists of small numbers are none
    return _cut(text, 9, 12)


def _all(text: str) -> int:
    return len(text)


def _not_upc(text: str) -> int:
    return 0 if gs1(text) else len(text)


def _not_round(text: str) -> int:
    return 0 if text.endswith(("000 000", "000-000")) else len(text)


def _not_years(text: str) -> int:
    return 0 if _YEAR.search(text) else len(text)


def _date_free(text: str) -> int:
    iso = re.match(r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-[0-3]\d(?!\d)", text)
    return 0 if iso or _DATE.match(text) else _cut(text, 6, 15)


PHONES: tuple[tuple[str, Callable[[str], int]], ...] = (
    (r"(?:\+ ?|00 ?)[1-9](?:[ ()./-]{0,3}\d){6,16}", international),
    (r"(?:1[ .-])?(?:\([2-9]\d{2}\)[ .-]{0,2}|[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}", _all),  # NANP
    (r"0[1-9](?:[ .-]?\d{2}){4}", lambda text: 0 if _DATE.match(text) else len(text)),  # FR, and 10 digits of anyone
    (r"0[1-9]\d{9}", _all),  # UK, DE
    (r"01[567]\d{9}", _not_upc),  # DE mobile, one digit more
    (r"\(?0[1-9]\d{0,3}\)?(?:[ ./-]{1,3}\d{2,8}){1,5}", trunk),
    (r"0[1-9]\d{4}[/-]\d{4,8}", trunk),  # DE, small towns
    (r"[6-9]\d{2}(?:[ -]\d{3}){2}|[6-9]\d{2}(?:[ -]\d{2}){3}|9\d[ -]\d{3}(?:[ -]\d{2}){2}", _not_round),  # ES
    (r"3[2-9]\d[ ./-]\d{3}[ .-]?\d{4}|3[2-9]\d (?:\d{2} ){2}\d{3}", _all),  # IT mobile
    (r"\(0?[1-9]{2}\) ?(?:9 ?)?\d{4}[ .-]?\d{4}|[1-9]{2} (?:9 ?\d{4}|[2-5]\d{3})-\d{4}", _not_years),  # BR
)
"""Patterns and their checks, as `scrub_patterns.Shape` takes them."""

_WORDS = (
    "tel telefon telefonnummer telefono telefone telefoon telefoonnummer telephone phone mobile mobil mobiel "
    "mobilnummer cell cellphone handy handynummer rufnummer portable movil cellulare celular gsm fax whatsapp call "
    "ring text landline durchwahl anrufen appeler llamar chiamare bellen ligar erreichbar "
    "joignable reach hotline fono fon sms"
)
_LINKS = (
    "me us him her them back no nr num number nummer numero is it ist est es e at on under unter au al il para op ao "
    "sur my mi mon mijn meine mio de del do anytime bitte please"
)


def _spelt(words: str) -> str:
    """Return an alternation that also meets words whose accents stand as marks of their own (folded to _)."""
    ordered = sorted(words.split(), key=len, reverse=True)
    return "|".join(re.sub("([aeiou])", "\\1_?", word) for word in ordered)


_NUMBER = r"(?P<x>\+?\(?\d(?:[ ()./-]{0,2}\d){5,13})"
CONTEXT: tuple[tuple[str, Callable[[str], int]], ...] = (
    (rf"(?:{_spelt(_WORDS)})[.:]?(?:[ ]{{1,2}}(?:{_spelt(_LINKS)})[.:]?){{0,4}}[ :#=(]{{0,4}}{_NUMBER}", _date_free),
    (
        rf"(?:my|mi|mon|mijn|meine|mein|minha|meu|mio) (?:{_spelt('numero nummer number')})[.:]?"
        rf"(?: (?:{_spelt(_LINKS)})[.:]?){{0,3}}[ :#=(]{{0,4}}{_NUMBER}",
        _date_free,
    ),
)
"""A word for calling, a few small words, and a number of 6 to 15 digits in whatever form."""
