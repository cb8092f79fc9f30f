from __future__ import annotations

import copy
import pickle

import pytest

from cloakhouse import errors
from cloakhouse.errors import CloakhouseError

FIELDS = {"where": "a:1:2", "expected": "x", "found": "y", "not_done": "nothing", "remedy": "do z"}
CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, CloakhouseError)]


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("code", ["", "detail"])
def test_an_error_travels_whole(cls: type[CloakhouseError], code: str) -> None:
    error = cls(**FIELDS, code=code)
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)):
        assert type(other) is cls
        assert other.as_dict() == error.as_dict() == {"code": error.code, **FIELDS}
        assert str(other) == str(error)
    assert error.code == (f"{cls.kind}.detail" if code else cls.kind)


def test_the_message_answers_five_questions_in_order() -> None:
    text = str(errors.DeliveryError(**FIELDS, code="empty"))
    assert text.splitlines() == [
        "delivery.empty at a:1:2",
        "  expected: x",
        "  found:    y",
        "  not done: nothing",
        "  to do:    do z",
    ]


def test_kinds_are_distinct_and_programs_get_a_failing_exit_code() -> None:
    assert len({c.kind for c in CLASSES}) == len(CLASSES)
    assert all(0 < c.exit_code < 128 for c in CLASSES)
    assert {c.__name__ for c in CLASSES if c(**FIELDS).retryable} == {"StorageError", "StageError"}


@pytest.mark.parametrize(
    ("code", "passes"), [("unreachable", True), ("throttled", True), ("disabled", False), ("", False)]
)
def test_a_key_service_that_does_not_answer_is_asked_again_and_a_refusal_is_not(code: str, passes: bool) -> None:
    error = errors.KeyServiceError(**FIELDS, code=code)
    assert error.retryable is passes
    assert pickle.loads(pickle.dumps(error)).retryable is passes
