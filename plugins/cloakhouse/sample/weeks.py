"""Weeks of the feed: numbered 1 to 53, each named by its Monday."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

from cloakhouse.errors import ConfigurationError

FIRST_MONDAY: Final = date(2016, 12, 26)
LAST_WEEK: Final = 53
ALL_WEEKS: Final = range(1, LAST_WEEK + 1)

_FORM: Final = re.compile(r"([0-9]{1,2})(?:-([0-9]{1,2}))?")


def week_start(number: int) -> date:
    """Return the Monday of week `number` (1 to 53). Raises ConfigurationError for any other number."""
    check_weeks(range(number, number + 1))
    return FIRST_MONDAY + timedelta(weeks=number - 1)


def parse_weeks(text: str) -> range:
    """Return the weeks that `text` names: `7` is one week, `1-4` the weeks 1, 2, 3 and 4.

    Raises ConfigurationError if the text has another form, names a week outside 1 to 53, or runs backwards.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _refuse(f"a text of {len(text)} characters in another form")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise _refuse(f"a first week ({first}) after the last one ({last})")
    return check_weeks(range(first, last + 1))


def check_weeks(weeks: range) -> range:
    """Return `weeks` as given. Raises ConfigurationError if it's empty or leaves 1 to 53."""
    if not weeks:
        raise _refuse("no week at all")
    if min(weeks) < 1 or max(weeks) > LAST_WEEK:
        raise _refuse(f"weeks {min(weeks)} to {max(weeks)}")
    return weeks


def _refuse(found: str) -> ConfigurationError:
    return ConfigurationError(
        code="weeks",
        where="weeks of the sample feed",
        expected=f"a week, or a first and a last week, within 1-{LAST_WEEK}, such as 7 or 1-4",
        found=found,
        not_done="no file was written",
        remedy="name the weeks again",
    )
