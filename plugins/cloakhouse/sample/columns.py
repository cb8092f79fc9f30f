"""Columns of the feed, in the order of the files."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REAL_TRANSACTION_COLUMNS: Final = (
    "household_id",
    "store_id",
    "basket_id",
    "product_id",
    "quantity",
    "sales_value",
    "retail_disc",
    "coupon_disc",
    "coupon_match_disc",
    "week",
    "transaction_timestamp",
)
TRANSACTION_COLUMNS: Final = (*REAL_TRANSACTION_COLUMNS, "card_number", "cashier_id")

PRODUCT_COLUMNS: Final = (
    "product_id",
    "manufacturer_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
)

DEMOGRAPHIC_COLUMNS: Final = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)
CONSENT_SHARES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "consent_analytics": 0.93,
        "consent_personalisation": 0.68,
        "consent_synthetic": 0.81,
        "consent_sharing": 0.34,
    }
)  # share of households that agreed
CUSTOMER_COLUMNS: Final = (
    "household_id",
    "name",
    "email",
    "phone",
    "street",
    "postcode",
    "city",
    "country",
    "birth_date",
    "card_number",
    "loyalty_card",
    *DEMOGRAPHIC_COLUMNS,
    *CONSENT_SHARES,
    "marketing_note",
)

UNDECLARED_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"transactions": ("cashier_id",), "products": (), "customers": ("marketing_note",)}
)  # in the feed, in no contract
