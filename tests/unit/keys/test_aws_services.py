"""Calls of AWS's other services: faults in the platform's words, and nothing of what AWS said or was sent."""

from __future__ import annotations

import socket

import pytest
from tests.support.service_aws import REGION, Answer, refused, scripted

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, StageError
from cloakhouse.keys import aws_services
from cloakhouse.keys.aws_place import Patience
from cloakhouse.keys.aws_services import Service, is_endpoint

HUSH = "Zwetschgenhuber"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_services, "PATIENCE", Patience(connect_s=1, read_s=2, attempts=2, begin_s=4))
    aws_services._client.cache_clear()


def ask(*answers: Answer) -> tuple[object, int]:
    with scripted(*answers) as script:
        service = Service("secretsmanager", REGION, script.endpoint)
        try:
            return service.call("get_secret_value", "nothing", SecretId=HUSH), len(script.asked)
        except CloakhouseError as problem:
            return problem, len(script.asked)


def test_an_answer_comes_back() -> None:
    found, _ = ask(Answer(200, {"SecretString": "x"}))
    assert isinstance(found, dict)
    assert found["SecretString"] == "x"


@pytest.mark.parametrize(
    ("answer", "kind", "times"),
    [
        (refused("AccessDeniedException", HUSH), AccessRefused, 1),
        (refused("ResourceNotFoundException", HUSH), ConfigurationError, 1),
        (refused("ValidationException", HUSH), ConfigurationError, 1),
        (refused("ThrottlingException", HUSH), StageError, 2),
        (refused("InternalServerException", HUSH, 500), StageError, 2),
        (refused("ExpiredTokenException", HUSH), StageError, 1),
    ],
)
def test_faults_are_told_without_aws_text_and_passing_ones_tried_again(
    answer: Answer, kind: type[CloakhouseError], times: int
) -> None:
    problem, asked = ask(answer)
    assert isinstance(problem, kind)
    assert HUSH not in str(problem)
    assert asked == times
    assert problem.not_done == "nothing"


def test_no_server_is_no_answer() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        service = Service("secretsmanager", REGION, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(StageError):
            service.call("get_secret_value", "nothing", SecretId="x")


@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("", True),
        ("https://vpce-1.example", True),
        ("http://127.0.0.1:8080", True),
        ("http://example", False),
        ("https://user:pass@example", False),
        ("https://example/path", False),
        ("https://example:x", False),
        ("ftp://example", False),
    ],
)
def test_endpoints_are_https_or_on_this_machine(text: str, sound: bool) -> None:
    assert is_endpoint(text) is sound
