"""The card of an opened dataset: as values, as Croissant, as a page. What this reader doesn't see is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloakhouse.client.card import Standing, dataset_card
from cloakhouse.client.card_figures import is_private
from cloakhouse.client.card_page import card_page
from cloakhouse.client.croissant import croissant

if TYPE_CHECKING:
    from cloakhouse.client.dataset import Dataset
    from cloakhouse.lake.releases import Release


def card_of(dataset: Dataset) -> dict[str, Any]:
    """Return the card of `dataset`; see `dataset_card`. No row is read.

    The evidence is opened only for a dataset without a guarantee. Raises ContractError (a guarantee without a usable
    number), IntegrityError (evidence missing or changed), StorageError.
    """
    return dataset_card(_seen(dataset), _evidence(dataset), _standing(dataset))


def croissant_of(dataset: Dataset) -> dict[str, Any]:
    """Return the card of `dataset` as Croissant; see `croissant`. Raises as `card_of`."""
    return croissant(_seen(dataset), _evidence(dataset), _standing(dataset))


def page_of(dataset: Dataset) -> str:
    """Return the card of `dataset` as an HTML page; see `card_page`. Raises as `card_of`."""
    return card_page(card_of(dataset))


def _seen(dataset: Dataset) -> Release:
    release = dataset.release
    return replace(release, columns=tuple(c for c in release.columns if c["name"] in dataset.columns))


def _evidence(dataset: Dataset) -> dict[str, Any] | None:
    return None if dataset.zone == "aggregates" or is_private(dataset.release.card) else dataset.evidence()


def _standing(dataset: Dataset) -> Standing:
    return Standing(tags=dataset.tags)  # one that is not published any more is refused when it is opened
