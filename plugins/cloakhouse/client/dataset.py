"""One published version of a dataset: what is known of it; its rows come through `Readable`."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from cloakhouse.client.card_figures import is_private
from cloakhouse.client.cells import utc_text
from cloakhouse.client.readable import Readable, Where
from cloakhouse.contracts.access_policy import Shown
from cloakhouse.errors import AccessRefused
from cloakhouse.lake.manifests import read_manifest

if TYPE_CHECKING:
    from cloakhouse.client.lineage import Node
    from cloakhouse.lake.releases import Release

__all__ = ["Dataset", "Where"]


class Dataset(Readable):
    """One published version of a dataset. Made by `Lake.dataset`; never changes once published.

    Rows are read by the methods of `Readable`: `to_arrow`, `to_pandas`, `to_polars`, `to_duckdb`, `to_torch`,
    `to_spark`, `batches`.
    """

    def __repr__(self) -> str:
        return f"Dataset({self._version.name}, {self.rows:,} rows)"

    @property
    def name(self) -> str:
        """Name without version."""
        return self._version.dataset

    @property
    def version(self) -> int:
        """Number of this version, counted from 1."""
        return self._version.version

    @property
    def zone(self) -> str:
        """The lake's zone that holds it."""
        return self._version.zone

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self._release.rows

    @property
    def published_at(self) -> dt.datetime:
        """When the version became visible (UTC)."""
        return self._version.published_at

    @property
    def tags(self) -> tuple[str, ...]:
        """Tags of this version when it was opened, such as `certified`."""
        return self._version.tags

    @property
    def release(self) -> Release:
        """The signed release: schema, files with their digests, keys, treatments, parents, run and code."""
        return self._release

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that this reader sees, masked ones included, in the order of the contract."""
        return self._access.visible

    @property
    def masked(self) -> tuple[str, ...]:
        """Names of the columns that this reader sees masked."""
        return tuple(name for name in self.columns if self._access.columns[name] is not Shown.CLEAR)

    def card(self) -> dict[str, Any]:
        """Return the dataset card: purpose, provenance, privacy, utility, limits and licence, as JSON-ready values.

        The keys are those of `cloakhouse.client.card.dataset_card`. No row is read. Raises IntegrityError (evidence
        missing or changed), StorageError.
        """
        from cloakhouse.client.card_exports import card_of

        return card_of(self)

    def croissant(self) -> dict[str, Any]:
        """Return the card as Croissant (MLCommons, JSON-LD) with the responsible-AI extension. Raises as `card`."""
        from cloakhouse.client.card_exports import croissant_of

        return croissant_of(self)

    def card_page(self) -> str:
        """Return the card as one self-contained HTML page for people. Raises as `card`."""
        from cloakhouse.client.card_exports import page_of

        return page_of(self)

    def evidence(self) -> dict[str, Any]:
        """Return the validation that admitted this version: suite results and gate figures, without values.

        Of a synthetic dataset under a guarantee it holds figures that were counted in real rows without noise: raises
        AccessRefused (`access.evidence`) for who may not read the protected datasets that it was made from. Raises
        IntegrityError when its manifest is missing or changed.
        """
        inside = self.zone == "aggregates" or not is_private(self._release.card)
        if not inside and not self._place.sees_sources(self._release):
            raise _for_auditors(self._version.name)
        return read_manifest(self._place.store, self._release.evidence, "validation")

    def lineage(self) -> Node:
        """Return the tree of manifests that this version derives from, each compared with its digest; see `Node`.

        Of a release under a guarantee, who may not read its sources is not told how many rows these have.
        """
        from cloakhouse.client.card_figures import is_private
        from cloakhouse.client.lineage import lineage_of, without_counts

        found = lineage_of(self._place.store, self._release, self._version.manifest)
        hidden = is_private(self._release.card) and not self._place.sees_sources(self._release)
        return without_counts(found) if hidden else found

    def describe(self) -> dict[str, Any]:
        """Return what is known of this version, as JSON-ready values.

        Keys: name, version, zone, rows, published (ISO 8601, UTC), tags, columns (name, type, class of each, and how it
        is shown: clear, null or redact), contract (version, digest), engine, card, gate (name, value, threshold,
        at_most, passed of each figure), parents (count of the protected partitions it derives from), evidence and
        release (paths within the lake).
        """
        card = dict(self._release.card)
        return {
            "name": self.name,
            "version": self.version,
            "zone": self.zone,
            "rows": self.rows,
            "published": utc_text(self.published_at),
            "tags": list(self.tags),
            "columns": self._columns(),
            "contract": dict(self._release.contract),
            "engine": card["provenance"]["engine"],
            "card": card,
            "gate": [dict(figure) for figure in card["privacy"]["gate"]],
            "parents": sum(len(partitions) for partitions in self._release.parents.values()),
            "evidence": self._release.evidence.path,
            "release": self._version.manifest.path,
        }

    def _columns(self) -> list[dict[str, Any]]:
        shown = self._access.columns
        return [
            {**{key: column[key] for key in ("name", "type", "class")}, "shown": shown[column["name"]].value}
            for column in self._release.columns
            if column["name"] in self.columns
        ]


def _for_auditors(label: str) -> AccessRefused:
    return AccessRefused(
        where=f"the evidence of {label}",
        expected="a role that reads the protected datasets, too: its figures were counted in them, outside of epsilon",
        found="no such role of this principal, for this purpose",
        not_done="the evidence was not read",
        remedy="take the card, which holds what the guarantee covers, or ask an auditor",
        code="evidence",
    )
