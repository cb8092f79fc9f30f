"""Names of published datasets: `baskets_synthetic` is its newest version, `baskets_synthetic@3` its third."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloakhouse.errors import ConfigurationError

_NAME = "[a-z][a-z0-9_]{0,62}"  # as contracts name their datasets
_FORM = re.compile(f"({_NAME})(?:@([1-9][0-9]{{0,8}}))?")
_SHOWN = 40  # characters of a wrong name that a message repeats


@dataclass(frozen=True)
class DatasetName:
    """A dataset and the version asked for, counted from 1; None asks for the newest."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


def parse_name(text: str) -> DatasetName:
    """Return what `text` names. Raises ConfigurationError for every text but `name` and `name@version`.

    A name is 1 to 63 of a-z, 0-9 and _, a letter first; so no text reaches a path or a query unchecked.
    """
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ConfigurationError(
            where="name of a dataset",
            expected="`name` or `name@version`: a name of a-z, 0-9 and _, a version of 1 or more",
            found=quoted(text),
            not_done="nothing was read",
            remedy="`cloakhouse datasets` lists the names and their newest versions",
            code="name",
        )
    return DatasetName(match[1], int(match[2]) if match[2] else None)


def quoted(text: object) -> str:
    """Return `text`, which the caller typed, fit for a message: short, ASCII, without control characters."""
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
