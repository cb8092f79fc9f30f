"""What a task tells of an exception: the platform's message, or class and place; never a text that may quote values."""

from __future__ import annotations

import logging
import traceback

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from cloakhouse.errors import ContractError, StageError, StorageError
from cloakhouse.flow.tasks import explained

VALUE = "zzyzx.quillfeather@example.net"
PARTS = {"where": "x", "expected": "a", "found": "b", "not_done": "c", "remedy": "d"}


def failing(fault: BaseException) -> None:
    @explained("validate")
    def work(dataset: str) -> None:
        secret = VALUE  # a local that a traceback with locals would show
        raise fault if secret else AssertionError

    work("transactions")


def test_an_exception_that_nobody_foresaw_is_told_by_class_and_place(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(StageError) as caught:
        failing(ValueError(f"Could not convert {VALUE!r} to a number"))
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert VALUE not in shown
    assert "ValueError" in caught.value.found
    assert "test_explained.py:" in caught.value.where
    assert caught.value.__context__ is None
    assert caught.value.retryable


def test_a_refusal_that_a_retry_can_not_help_fails_for_good() -> None:
    with pytest.raises(AirflowFailException, match="contract"):
        failing(ContractError(**PARTS))
    with pytest.raises(StorageError):
        failing(StorageError(**PARTS))


def test_a_skip_stays_a_skip() -> None:
    with pytest.raises(AirflowSkipException):
        failing(AirflowSkipException("nothing waits"))
