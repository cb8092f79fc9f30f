"""Pages of a list whose length is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloakhouse.console import inputs
from cloakhouse.console.pages import query

MOST_PAGES = 100_000


@dataclass(frozen=True)
class Paging:
    """Which part of a list is shown: `page` counts from 1; `filters` go along with every link."""

    page: int
    pages: int
    total: int
    size: int
    filters: Mapping[str, str]

    @classmethod
    def of(cls, given: Mapping[str, str], total: int, size: int, **filters: str) -> Paging:
        """Return the page that `given` asks for, the last one where it asks for more.

        Raises ConfigurationError (`.input`) for another text.
        """
        pages = max(-(-total // size), 1)
        asked = inputs.whole(given, "page", MOST_PAGES, 1) or 1
        return cls(min(asked, pages), pages, total, size, filters)

    @property
    def chosen(self) -> slice:
        """The part of the list."""
        return slice((self.page - 1) * self.size, self.page * self.size)

    @property
    def before(self) -> str | None:
        """The query string of the page before, None on the first."""
        return query(self.filters, page=self.page - 1) if self.page > 1 else None

    @property
    def after(self) -> str | None:
        """The query string of the next page, None on the last."""
        return query(self.filters, page=self.page + 1) if self.page < self.pages else None
