"""Our own expectations, for Great Expectations on pandas: k-anonymity, direct identifiers, exact copies.

Importing this module registers them under their snake-case names, e.g. `expect_table_k_anonymity_to_be_at_least`.
Parameters that decide are required: Great Expectations leaves a parameter that equals its default out of
a suite's JSON. A result holds one number, the rows looked at, and no value.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
from great_expectations.compatibility import pydantic
from great_expectations.core.metric_domain_types import MetricDomainTypes
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.metrics.metric_provider import metric_value
from great_expectations.expectations.metrics.table_metric_provider import TableMetricProvider

from cloakhouse.privacy.copies import MATCHES_HOLDOUT, MATCHES_TRAINING, excess_of_matches
from cloakhouse.privacy.identifiers import scan_table
from cloakhouse.privacy.kanonymity import k_anonymity

Metric = dict[str, float | int]


def _frame(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the pandas frame that a metric is asked about (the engine passes keywords only)."""
    engine: PandasExecutionEngine = kwargs.get("execution_engine") or args[0]
    domain = kwargs["metric_domain_kwargs"]
    return engine.get_compute_domain(domain_kwargs=domain, domain_type=MetricDomainTypes.TABLE)[0]


class TableKAnonymity(TableMetricProvider):  # type: ignore[misc]
    """Rows, and the k-anonymity over `columns`."""

    metric_name = "table.cloakhouse.k_anonymity"
    value_keys = ("columns",)

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, *args: Any, **kwargs: Any) -> Metric:
        frame, columns = _frame(args, kwargs), kwargs["metric_value_kwargs"]["columns"]
        table = pa.Table.from_pandas(frame.loc[:, frame.columns.isin(columns)], preserve_index=False)
        return {"rows": len(frame), "k": k_anonymity(table, columns)}


class TableDirectIdentifiers(TableMetricProvider):  # type: ignore[misc]
    """Rows, cells that look like a direct identifier, and forbidden columns that are there."""

    metric_name = "table.cloakhouse.direct_identifiers"
    value_keys = ("forbidden_columns", "exempt_columns")

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, *args: Any, **kwargs: Any) -> Metric:
        frame, asked = _frame(args, kwargs), kwargs["metric_value_kwargs"]
        forbidden = {str(name).casefold() for name in asked["forbidden_columns"]}
        texts = frame.select_dtypes(include=["object", "string", "category"])
        found = scan_table(pa.Table.from_pandas(texts, preserve_index=False), asked["exempt_columns"])
        return {
            "rows": len(frame),
            "cells": sum(counts.flagged for counts in found.values()),
            "columns": sum(str(name).casefold() in forbidden for name in frame.columns),
        }


class TableCopyExcess(TableMetricProvider):  # type: ignore[misc]
    """Rows, the excess of exact copies, and its upper confidence bound."""

    metric_name = "table.cloakhouse.copy_excess"
    value_keys = ("confidence",)

    @metric_value(engine=PandasExecutionEngine)  # type: ignore[untyped-decorator]
    def _pandas(cls, *args: Any, **kwargs: Any) -> Metric:
        frame, confidence = _frame(args, kwargs), kwargs["metric_value_kwargs"].get("confidence")
        matches = [frame[name] for name in (MATCHES_TRAINING, MATCHES_HOLDOUT)]
        if any(column.dtype != bool for column in matches):
            raise TypeError("match columns must be boolean and without nulls")
        excess = excess_of_matches(*(m.to_numpy() for m in matches), confidence=confidence or 0.95)
        return {"rows": len(frame), "excess": excess.upper_bound if confidence else excess.excess}


class ExpectTableKAnonymityToBeAtLeast(BatchExpectation):  # type: ignore[misc]
    """Expect every equivalence class over `columns` to hold at least `k` rows. The observed value is the
    k-anonymity of the batch. Source: Samarati & Sweeney 1998, def. 3."""

    columns: list[str]
    k: int = pydantic.Field(ge=1)

    metric_dependencies: ClassVar[tuple[str, ...]] = (TableKAnonymity.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("columns", "k")

    def _validate(self, metrics: dict[str, Metric], **_: Any) -> dict[str, Any]:
        found = metrics[TableKAnonymity.metric_name]
        return _outcome(found["k"] >= self.k, found["k"], found["rows"])


class ExpectTableToHoldNoDirectIdentifier(BatchExpectation):  # type: ignore[misc]
    """Expect no column named in `forbidden_columns` (in any case of letters), and no text cell outside
    `exempt_columns` that looks like an e-mail address, telephone number, payment card or IBAN. The observed
    value is the number of such cells and columns. Exempt a column only if it holds tokens that keep the
    form of an identifier (FF1)."""

    forbidden_columns: list[str]
    exempt_columns: list[str]

    metric_dependencies: ClassVar[tuple[str, ...]] = (TableDirectIdentifiers.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("forbidden_columns", "exempt_columns")

    def _validate(self, metrics: dict[str, Metric], **_: Any) -> dict[str, Any]:
        found = metrics[TableDirectIdentifiers.metric_name]
        findings = found["cells"] + found["columns"]
        return _outcome(findings == 0, findings, found["rows"])


class ExpectCopyExcessToBeAtMost(BatchExpectation):  # type: ignore[misc]
    """Expect the share of rows marked `matches_training` to exceed the share marked `matches_holdout` by at
    most `max_excess` (0-1). With `confidence` (0.5-1), its one-sided upper bound must keep the limit as
    well: an honest batch of fewer than some 2.7 / `max_excess` rows then fails, as it shows nothing.
    The observed value is what was compared with the limit."""

    max_excess: float = pydantic.Field(ge=0, le=1)
    confidence: float | None = pydantic.Field(default=None, gt=0.5, lt=1)

    metric_dependencies: ClassVar[tuple[str, ...]] = (TableCopyExcess.metric_name,)
    success_keys: ClassVar[tuple[str, ...]] = ("max_excess", "confidence")

    def _validate(self, metrics: dict[str, Metric], **_: Any) -> dict[str, Any]:
        found = metrics[TableCopyExcess.metric_name]
        return _outcome(found["excess"] <= self.max_excess, found["excess"], found["rows"])


def _outcome(success: bool, observed: float | int, rows: float | int) -> dict[str, Any]:
    return {"success": bool(success), "result": {"observed_value": observed, "element_count": rows}}
