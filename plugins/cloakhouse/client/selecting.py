"""What `--columns` and `--where` say of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cloakhouse.client.where import parse_where

if TYPE_CHECKING:
    from cloakhouse.client.dataset import Dataset
    from cloakhouse.lake.filters import Condition


def chosen_columns(text: str | None) -> list[str] | None:
    """Return the names in a list with commas, None for None; what they name is checked by the dataset."""
    return None if text is None else [part.strip() for part in text.split(",")]


def conditions(dataset: Dataset, texts: Sequence[str]) -> list[Condition] | None:
    """Return the conditions of all `texts`, None without any. Raises ConfigurationError (`configuration.where`)."""
    types = {column["name"]: column["type"] for column in dataset.describe()["columns"]}
    return [condition for text in texts for condition in parse_where(text, types)] or None
