"""Great Expectations at arm's length: an ephemeral context that writes, sends and says nothing."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import pyarrow as pa

from cloakhouse.errors import ValidationRefused
from cloakhouse.quality.results import exception_class, numbers_of
from cloakhouse.quality.suites import malformed
from cloakhouse.quality.tally import Tally

_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


class Engine:
    """One ephemeral context of Great Expectations, used for all batches of a run."""

    def __init__(self, name: str) -> None:
        with redirect_stderr(StringIO()), _without_spark_connect():  # imports of optional engines print there
            import great_expectations as gx
            from great_expectations.data_context.types.base import (
                DataContextConfig,
                InMemoryStoreBackendDefaults,
                ProgressBarsConfig,
            )

            import cloakhouse.quality.expectations  # noqa: F401 - registers our own

        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        )
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        asset = self._context.data_sources.add_pandas("batches").add_dataframe_asset("batch")
        self._definition = asset.add_batch_definition_whole_dataframe("whole")
        self._name = name

    def close(self) -> None:
        """Let go of the last batch: the library keeps its context, and with it the rows, for the process."""
        self._context.data_sources.delete("batches")
        del self._definition, self._context

    def build(self, tallies: Sequence[Tally]) -> None:
        """Raise ContractError for an expectation that can't be built. (A suite of Great Expectations would
        log it and go on without it.)"""
        for tally in tallies:
            problem = ""
            try:
                self._configuration(tally).to_domain_obj()
            except Exception as error:  # noqa: BLE001 - reported below, without its text
                problem = f"{tally.type} that can't be built ({type(error).__name__})"
            if problem:
                raise malformed(f"suite {self._name}, expectation {tally.position}", problem)

    def validate(self, tallies: Sequence[Tally], table: pa.Table) -> None:
        """Add one answer to each of `tallies`. Raises ValidationRefused if one is missing."""
        if not tallies:
            return
        results, problem = [], ""
        try:
            results = self._results(tallies, table)
        except Exception as error:  # noqa: BLE001 - its text may quote values; reported below
            problem = type(error).__name__
        by_position = {int(result.expectation_config.meta["position"]): result for result in results}
        if problem or set(by_position) != {tally.position for tally in tallies}:
            found = problem or f"{len(by_position)} of {len(tallies)} answers"
            raise refused("an answer to each expectation", found)
        for tally in tallies:
            tally.answers.append(_answer(tally, by_position[tally.position], table.num_rows))

    def _results(self, tallies: Sequence[Tally], table: pa.Table) -> list[Any]:
        from great_expectations.core import ExpectationSuite

        configurations = [self._configuration(tally) for tally in tallies]
        # Without the metadata: pandas' own could turn a column into the index, where no check sees it.
        frame = table.replace_schema_metadata(None).to_pandas()
        batch = self._definition.get_batch({"dataframe": frame})
        suite = ExpectationSuite(name=self._name, expectations=configurations)
        return list(batch.validate(suite, result_format=_RESULT_FORMAT).results)

    @staticmethod
    def _configuration(tally: Tally) -> Any:
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        meta = {"position": tally.position}
        return ExpectationConfiguration(type=tally.type, kwargs=dict(tally.kwargs), meta=meta)


def _answer(tally: Tally, result: Any, rows: int) -> dict[str, Any]:
    raised = exception_class(result.exception_info)
    numbers = numbers_of(tally.type, result.result or {}, rows)
    return {**numbers, "success": bool(result.success) and raised is None, "exception": raised}


@contextmanager
def _without_spark_connect() -> Iterator[None]:
    """Hide Spark Connect while Great Expectations is imported. Without grpc, its import ends the process (exit
    code 0, so a task would seem done) wherever `__main__` is no file, as in a worker of a process pool."""
    name = "pyspark.sql.connect"
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(name, None)


def refused(expected: str, found: str) -> ValidationRefused:
    """Return the error for a run that can't give an answer."""
    return ValidationRefused(
        where="validation of a suite",
        expected=expected,
        found=found,
        not_done="nothing was validated, so nothing may be published",
        remedy="pass the suite of the contract's version and the batches as they were written",
    )


@contextmanager
def silenced() -> Iterator[None]:
    """Keep Great Expectations from logging, warning and reporting; it quotes values in all three."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
