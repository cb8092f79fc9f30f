"""One expectation while a suite runs: which rows and columns it needs, and what was answered so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloakhouse.privacy.copies import MATCHES_HOLDOUT, MATCHES_TRAINING
from cloakhouse.quality.results import ExpectationResult

# Expectations about one row or about the schema; whatever is not named here needs all rows at once.
PER_BATCH = frozenset(
    {
        "expect_column_to_exist",
        "expect_column_pair_values_a_to_be_greater_than_b",
        "expect_column_pair_values_to_be_equal",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_value_lengths_to_be_between",
        "expect_column_value_lengths_to_equal",
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_in_set",
        "expect_column_values_to_be_null",
        "expect_column_values_to_be_of_type",
        "expect_column_values_to_match_regex",
        "expect_column_values_to_not_be_in_set",
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_not_match_regex",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
        "expect_table_to_hold_no_direct_identifier",
    }
)
_NEEDS = {
    "expect_table_row_count_to_be_between": (),
    "expect_table_row_count_to_equal": (),
    "expect_copy_excess_to_be_at_most": (MATCHES_TRAINING, MATCHES_HOLDOUT),
}


@dataclass
class Tally:
    """One expectation of the suite and what the batches said about it so far."""

    position: int
    type: str
    kwargs: Mapping[str, Any]
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def per_batch(self) -> bool:
        """Whether batches can be asked one by one; what most rows have to be is a question about all of them."""
        return self.type in PER_BATCH and "mostly" not in self.kwargs

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its parameters name."""
        single = [self.kwargs[key] for key in ("column", "column_A", "column_B") if key in self.kwargs]
        many = [self.kwargs.get(key) or [] for key in ("column_list", "column_set", "columns")]
        return tuple(str(name) for names in (single, *many) for name in names)

    @property
    def needs(self) -> tuple[str, ...] | None:
        """Columns needed to evaluate it; None for all of them."""
        if "row_condition" in self.kwargs:
            return None
        return _NEEDS.get(self.type, self.columns or None)

    def result(self) -> ExpectationResult:
        """Return the answers of all batches as one; no answer is a failure."""
        elements, unexpected = self._total("element_count"), self._total("unexpected_count")
        return ExpectationResult(
            type=self.type,
            columns=self.columns,
            success=bool(self.answers) and all(answer["success"] for answer in self.answers),
            observed_value=self._total("observed_value"),
            element_count=elements,
            unexpected_count=unexpected,
            unexpected_percent=100.0 * unexpected / elements if elements and unexpected is not None else None,
            exception_class=next((a["exception"] for a in self.answers if a["exception"]), None),
        )

    def _total(self, key: str) -> Any:
        """Per-batch numbers are counts and add up; the others have one answer."""
        known = [answer[key] for answer in self.answers if answer[key] is not None]
        return sum(known) if known else None
