"""The dataset card of one published version: what it is, who may use it, how private and how good it is, how to open.

A card is made of the signed release, the evidence that admitted it and the version's standing today. It holds all that
the card within the release holds; programs find further keys beside (`dataset_card`).

Of a release under a guarantee it repeats no figure of the evidence: those were counted in real rows without noise
(`cloakhouse.client.card_figures`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cloakhouse.client.card_figures import utility_figures
from cloakhouse.client.cells import utc_text
from cloakhouse.client.epsilon_promise import LOOSE, Promise
from cloakhouse.report.parts import number

Facts = Mapping[str, Any]
SPACE = "urn:cloakhouse:dataset"


class ReleasedFile(Protocol):
    """One encrypted file of a release: path within the lake, bytes, rows, SHA-256 of its bytes (hexadecimal)."""

    @property
    def path(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def sha256(self) -> str: ...


class Released(Protocol):
    """What a card needs of a release (`cloakhouse.lake.releases.Release` is one)."""

    @property
    def dataset(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def zone(self) -> str: ...
    @property
    def published_at(self) -> dt.datetime: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def contract(self) -> Facts: ...
    @property
    def columns(self) -> Sequence[Facts]: ...
    @property
    def files(self) -> Sequence[ReleasedFile]: ...
    @property
    def rows(self) -> int: ...
    @property
    def parents(self) -> Facts: ...
    @property
    def run(self) -> Facts: ...
    @property
    def code(self) -> Facts: ...
    @property
    def card(self) -> Facts: ...


@dataclass(frozen=True)
class Standing:
    """Where a version stands today; unlike the release, this changes.

    Attributes:
        state: published, withdrawn, expired or collected.
        reason: why, where it is not published any more.
        tags: such as `certified` and `deprecated`.
    """

    state: str = "published"
    reason: str = ""
    tags: tuple[str, ...] = ()


def dataset_card(release: Released, evidence: Facts | None, standing: Standing | None = None) -> dict[str, Any]:
    """Return the card as JSON-ready values.

    Keys: those of the card within the release (title, owner, purpose, legal_basis, retention_days, provenance, privacy,
    account, curve, quality, limits, as far as it has them), and: name, version, identifier (a URN), zone, rows,
    published (ISO 8601, UTC), columns (name, type, class), licence, standing (state, reason, tags; None where it is not
    told), utility (`utility_figures`), open (`python` and `command`, one line each). `provenance` also has
    contract, fingerprint, run, code and `partitions` (by source: count, first, last); `privacy` also `statement`
    (sentences). Raises ContractError for a guarantee that holds no usable number.
    """
    card = release.card
    privacy: Facts = card.get("privacy", {})
    name = f"{release.dataset}@{release.version}"
    return {
        **card,
        "name": release.dataset,
        "version": release.version,
        "identifier": f"{SPACE}:{release.dataset}:{release.version}",
        "zone": release.zone,
        "rows": release.rows,
        "published": utc_text(release.published_at),
        "columns": [{key: column.get(key) for key in ("name", "type", "class")} for column in release.columns],
        "licence": licence(card),
        "standing": None if standing is None else _standing(standing),
        "provenance": {
            **card.get("provenance", {}),
            "contract": dict(release.contract),
            "fingerprint": release.fingerprint,
            "run": dict(release.run),
            "code": dict(release.code),
            "partitions": {source: _span(parts) for source, parts in release.parents.items()},
        },
        "privacy": {**privacy, "statement": statement(privacy, release.zone)},
        "utility": utility_figures(card, evidence, release.zone),
        "open": {
            "python": f'cloakhouse.connect().dataset("{name}").to_arrow()',
            "command": f"cloakhouse read {name}",
        },
    }


def licence(card: Facts) -> str:
    """Return who may use a dataset: the contract's licence, or that it is for its purpose only."""
    return str(card.get("licence") or f"internal: for {card.get('purpose') or 'the purpose of its contract'} only")


def statement(privacy: Facts, zone: str) -> list[str]:
    """Return what the privacy of a card means, in sentences. Raises ContractError as `Promise.of`."""
    promise = Promise.of(privacy)
    unit = str(privacy.get("unit_of_privacy") or "unit of privacy")
    if promise is None:
        return [
            f"Not differentially private: there is no bound on what these rows may reveal about a {unit}.",
            f"Before the release it was attacked, and compared with other {unit}s that the engine never saw; such "
            "tests bound only the leaks they look for.",
            "Treat it as confidential, use it for its purpose, and don't pass it on as anonymous.",
        ]
    shown = "figures" if zone == "aggregates" else "rows"
    remainder = f", but for a remainder of probability {promise.chance}" if promise.delta else ""
    said = [
        f"Whether any one {promise.unit} is in the real data or not changes the probability of anything that these "
        f"{shown} can show by a factor of at most e^epsilon = {promise.factor} (epsilon {number(promise.epsilon)})"
        f"{remainder}.",
        f"Neighbouring data: {promise.neighbours}. Mechanism: {promise.mechanism}.",
    ]
    if promise.epsilon >= LOOSE:
        said.append("This is a loose bound: a guess of one half may become a near certainty without breaking it.")
    said.append("Other releases from the same data add up, and that the checks passed is not covered.")
    return said


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "state": str(standing.state),
        "reason": standing.reason,
        "tags": list(standing.tags),
    }


def _span(partitions: Sequence[Facts]) -> dict[str, Any]:
    """Return how many partitions of a source went in, and the first and last of them by name."""
    names = sorted(str(part["partition"]) for part in partitions)
    return {"count": len(names), "first": names[0] if names else None, "last": names[-1] if names else None}
