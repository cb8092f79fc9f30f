"""Linkage: tokens of one purpose or period become those of another, for a principal that holds both grants.

A token is AES-CMAC, under the purpose's key, of the domain's pseudonym; whoever holds two purposes' keys can therefore
translate without any value, and without the domain's key can't try a list of values (`cloakhouse.tokens.linking`).

1. The request is sound: two different scopes of one domain, both of columns in contracts, and a reason that can stand.
   One that isn't leaves no record. There is no integrity in these tokens, so a misspelt scope would go unnoticed.
2. Who asks is a principal, and both keys open: the key service decides, by the grants on `purposes/<purpose>`. The
   roots are those that the lake's tokens were made with. A restored home that isn't settled opens nothing. A refusal
   is recorded, whatever it comes from.
3. The event is recorded, with the number of tokens: one record for the whole linkage, before the first is translated.
4. Tokens are translated batch by batch in this process; their number must be the one that was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ConfigurationError, IntegrityError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.ledger.audit_event import Action
from cloakhouse.settings import Settings
from cloakhouse.stages.authority import asked, check_reason, refusals_recorded
from cloakhouse.stages.restored import require_open_for_reading
from cloakhouse.stages.token_roots import recognised_keys
from cloakhouse.tokens.linking import translate

ACTION = Action.LINK
PERIODS = {None: "", "month": "[0-9]{4}-(0[1-9]|1[0-2])", "quarter": "[0-9]{4}Q[1-4]", "year": "[0-9]{4}"}


@dataclass(frozen=True)
class Scope:
    """What tokens are bound to: a purpose, and the period where the contract names one."""

    purpose: str
    period: str = ""

    def __str__(self) -> str:
        return f"{self.purpose}:{self.period}" if self.period else self.purpose

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Return the scope in `PURPOSE` or `PURPOSE:PERIOD`."""
        purpose, _, period = text.partition(":")
        return cls(purpose, period)


@dataclass(frozen=True)
class Linkage:
    """A translation of the tokens of `domain`."""

    domain: str
    source: Scope
    target: Scope


class Linker:
    """An authorised linkage at work: translates up to the number of tokens that was recorded."""

    def __init__(self, source: SecretKey, target: SecretKey, count: int) -> None:
        self._source, self._target = source, target
        self._left = count

    def __repr__(self) -> str:
        return "Linker()"

    def translated(self, batches: Iterable[pa.Array]) -> Iterator[pa.Array]:
        """Yield the tokens of each batch (fixed_size_binary(16)) in the target's scope; null stays null.

        Raises IntegrityError when there are more or fewer than recorded; what was made of them must then be discarded.
        """
        for batch in batches:
            self._left -= len(batch) - batch.null_count
            if self._left < 0:
                raise self._changed("more")
            yield translate(batch, self._source, self._target)
        if self._left:
            raise self._changed("fewer")

    def _changed(self, found: str) -> IntegrityError:
        return IntegrityError(
            where="the tokens to link",
            expected="as many as were counted and recorded",
            found=found,
            not_done="the linkage was not finished; its record stands",
            remedy="link a file that nobody is writing to",
            code="count",
        )


def check_request(settings: Settings, linkage: Linkage, reason: str) -> None:
    """Return if a linkage can be asked for. Raises ConfigurationError (`configuration.link`, `configuration.reason`)
    and, for the contracts, ContractError."""
    if linkage.source == linkage.target:
        raise _unusable("another purpose or period to link to", "the same", "tokens of one scope join as they are")
    known = {
        (p["domain"], p["purpose"], p.get("period"))
        for contract in load_contracts(settings.contracts).values()
        for p in (c.treatment.parameters for c in contract.columns if c.treatment.name == "token")
    }
    for scope in (linkage.source, linkage.target):
        patterns = [PERIODS[kind] for *names, kind in known if names == [linkage.domain, scope.purpose]]
        if not any(re.fullmatch(pattern, scope.period) for pattern in patterns):
            names = sorted(
                f"{domain} of {purpose}{f':{kind.upper()}' if kind else ''}" for domain, purpose, kind in known
            )
            raise _unusable(
                "scopes of tokens in contracts: " + (", ".join(names) or "there are none"),
                "another domain, purpose or period",
                "correct it: PURPOSE, or PURPOSE:PERIOD with a period such as 2026-11, 2026Q4 or 2026",
            )
    check_reason(reason)


def authorised(settings: Settings, linkage: Linkage, reason: str, count: int) -> Linker:
    """Return the linker for `count` tokens, recorded.

    Raises as `check_request`; AccessRefused (a grant is missing, or `access.restored`), KeyServiceError, NotFound and
    IntegrityError (a root that no token was made with, that is lost, or another one), StorageError.
    """
    check_request(settings, linkage, reason)
    what = f"{linkage.domain}: {linkage.source} to {linkage.target}"
    log, event = asked(settings, ACTION, what, reason, count)
    scopes = (linkage.source, linkage.target)
    uses = [KeyUse.layer(linkage.domain, scope.purpose, scope.period) for scope in scopes]
    with refusals_recorded(log, event):
        require_open_for_reading(settings)
        keys = recognised_keys(settings, [use.root for use in uses])
        source, target = map(keys.key, uses)
    log.record(event)
    return Linker(source, target, count)


def _unusable(expected: str, found: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(
        where="the linkage",
        expected=expected,
        found=found,
        not_done="nothing was linked",
        remedy=remedy,
        code="link",
    )
