"""Names of published datasets, and which of their versions is meant.

| text                            | version                                                                     |
| ------------------------------- | --------------------------------------------------------------------------- |
| `baskets_synthetic`             | the one that the name stands for now                                        |
| `baskets_synthetic@3`           | the third                                                                   |
| `baskets_synthetic@2026-11-01`  | the one that the name stood for at the end of that day (UTC)                |
| `baskets_synthetic@certified`   | the newest one that has this tag                                            |

Names are lower case, so that no two of them differ in case alone; no other text reaches a path or a query.
"""

from __future__ import annotations

import datetime as dt
import re

from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.versions import Selector

_NAME = "[a-z][a-z0-9_]{0,62}"  # as contracts name their datasets
_FORM = re.compile(
    f"(?P<name>{_NAME})"
    "(?:@(?:(?P<version>[1-9][0-9]{0,8})|(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})|(?P<tag>[a-z][a-z0-9-]{0,30})))?"
)
_SHOWN = 40  # characters of a wrong name that a message repeats


def parse_name(text: str) -> Selector:
    """Return the dataset and the version that `text` names. Raises ConfigurationError for every other text."""
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    try:
        if match is not None:
            version, day = match["version"], match["day"]
            return Selector(
                match["name"],
                version=int(version) if version else None,
                day=dt.date.fromisoformat(day) if day else None,
                tag=match["tag"],
            )
    except ValueError:  # a day that no calendar has
        pass
    raise ConfigurationError(
        where="name of a dataset",
        expected="`name`, `name@3` (a version), `name@2026-11-01` (a day, UTC) or `name@certified` (a tag); names are "
        "of a-z, 0-9 and _, tags of a-z, 0-9 and -",
        found=quoted(text),
        not_done="nothing was read",
        remedy="`cloakhouse datasets` lists the names with their versions and tags",
        code="name",
    )


def quoted(text: object) -> str:
    """Return `text`, which the caller typed, fit for a message: short, ASCII, without control characters."""
    if not isinstance(text, str):
        return f"a value of type {type(text).__name__}"
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
