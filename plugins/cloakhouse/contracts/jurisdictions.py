"""Whose law decides what a person must have said before rows are used: a profile for each, chosen by country.

| profile | countries | without a choice | a choice that counts | source |
| --- | --- | --- | --- | --- |
| gdpr | EU, EEA, United Kingdom, Switzerland | no | a grant, until it is withdrawn | GDPR Art. 4(11), 6(1)(a), 7, 21 |
| lgpd | Brazil | no | a grant, until it is withdrawn | LGPD Art. 7 I, 8, 18 IX |
| pipl | China | no | a grant; sharing by a consent of its own | PIPL Art. 13, 14, 15, 23 |
| ccpa | United States | yes, once told | an opt-out, or Global Privacy Control | Civ. Code 1798.100(a), .120, .135 |
| other | every other, and none that is known | no | a grant, until it is withdrawn | the strictest of the above |

Under opt-out, too, a person without a record is used for nothing: the law has the person told at or before collection,
and only the register shows that this happened. The register keeps a consent per purpose, so that one for sharing is
always of its own. Global Privacy Control opts out of sharing (11 CCR 7025(b)) and is honoured wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cloakhouse.contracts.subject import PURPOSES


@dataclass(frozen=True)
class Profile:
    """What one law asks for.

    Attributes:
        name: as the register keeps it.
        opt_out: purposes that a person who was told and made no choice is used for; all others need a grant.
        source: articles that say so.
    """

    name: str
    opt_out: frozenset[str]
    source: str

    def without_choice(self, purpose: str) -> bool:
        """Return whether somebody who was told of `purpose`, and made no choice, is used for it."""
        return purpose in self.opt_out


_NONE: frozenset[str] = frozenset()
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (  # the strictest first: of two that are told of one person at once the first counts
            Profile("other", _NONE, "the strictest of the others"),
            Profile("pipl", _NONE, "PIPL Art. 13, 14, 15, 23"),
            Profile("gdpr", _NONE, "GDPR Art. 4(11), 6(1)(a), 7, 21"),
            Profile("lgpd", _NONE, "LGPD Art. 7 I, 8, 18 IX"),
            Profile("ccpa", frozenset(PURPOSES), "Cal. Civ. Code 1798.100(a), 1798.120, 1798.135; 11 CCR 7025"),
        )
    }
)
STRICTEST = "other"
_EUROPE = (
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK "  # European Union
    "IS LI NO GB CH"  # European Economic Area; UK GDPR; the Swiss act asks for no less where this platform uses it
)
_BY_COUNTRY = {**dict.fromkeys(_EUROPE.split(), "gdpr"), "US": "ccpa", "BR": "lgpd", "CN": "pipl"}


def profile_of(country: str) -> Profile:
    """Return the profile for a country (ISO 3166-1, two capital letters); the strictest for any other text."""
    return PROFILES[_BY_COUNTRY.get(country, STRICTEST)]
