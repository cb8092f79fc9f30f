"""What every key service does, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.services import SERVICES

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.protocol import FILE, KeyName, KeyService, master_key, new_data_key, zone_key
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.service import open_key_service

NAME = master_key("protected", ColumnClass.DIRECT)
OTHER = zone_key("landing", FILE)
CONTEXT = {"zone": "landing", "dataset": "people"}


@pytest.fixture(params=SERVICES)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], KeyService]:
    return SERVICES[request.param](tmp_path)


@pytest.fixture
def service(reopen: Callable[[], KeyService]) -> KeyService:
    return reopen()


def test_it_is_a_key_service(service: KeyService) -> None:
    assert isinstance(service, KeyService)
    assert ":" in service.uri


@pytest.mark.parametrize("length", [16, 24, 32, 48, 64])
def test_a_wrapped_key_opens_again(service: KeyService, length: int) -> None:
    key = SecretKey(bytes(range(length)))
    assert service.unwrap(NAME, service.wrap(NAME, key, CONTEXT), CONTEXT).reveal() == key.reveal()


def test_it_opens_in_another_instance_whichever_made_the_master_key(reopen: Callable[[], KeyService]) -> None:
    first, second = reopen(), reopen()
    a, b = new_data_key(), new_data_key()
    wrapped_a = first.wrap(NAME, a, CONTEXT)
    wrapped_b = second.wrap(OTHER, b, CONTEXT)
    assert second.unwrap(NAME, wrapped_a, CONTEXT).reveal() == a.reveal()
    assert first.unwrap(OTHER, wrapped_b, CONTEXT).reveal() == b.reveal()
    assert reopen().unwrap(NAME, wrapped_a, CONTEXT).reveal() == a.reveal()


def test_wrapping_is_randomized_and_hides_the_key(service: KeyService) -> None:
    key = new_data_key()
    blobs = {service.wrap(NAME, key, CONTEXT) for _ in range(20)}
    assert len(blobs) == 20
    assert not any(key.reveal() in blob for blob in blobs)


@pytest.mark.parametrize(
    "context",
    [{}, {"zone": "landing"}, {**CONTEXT, "dataset": "peoples"}, {**CONTEXT, "more": ""}, {"dataset": "landing", "zone": "people"}],  # noqa: E501
)  # fmt: skip
def test_another_context_is_refused(service: KeyService, context: dict[str, str]) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    with pytest.raises(KeyServiceError):
        service.unwrap(NAME, wrapped, context)


def test_the_order_of_the_context_does_not_count(service: KeyService) -> None:
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    assert service.unwrap(NAME, wrapped, dict(reversed(CONTEXT.items()))).reveal() == key.reveal()


def test_another_master_key_is_refused(service: KeyService) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    service.wrap(OTHER, new_data_key(), CONTEXT)
    for name in (OTHER, KeyName("never/made")):
        with pytest.raises(KeyServiceError) as refusal:
            service.unwrap(name, wrapped, CONTEXT)
        assert name in refusal.value.where
    assert "nothing was decrypted" in refusal.value.not_done


def test_every_flipped_byte_is_refused(service: KeyService) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    for at in range(len(wrapped)):
        for bit in (0x01, 0x80):
            broken = bytearray(wrapped)
            broken[at] ^= bit
            with pytest.raises(KeyServiceError):
                service.unwrap(NAME, bytes(broken), CONTEXT)


def test_every_other_length_is_refused(service: KeyService) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    for broken in (*(wrapped[:n] for n in range(len(wrapped))), wrapped + b"\0", b"x" + wrapped):
        with pytest.raises(KeyServiceError):
            service.unwrap(NAME, broken, CONTEXT)


def test_unwrapping_makes_no_master_key(reopen: Callable[[], KeyService]) -> None:
    wrapped = reopen().wrap(NAME, new_data_key(), CONTEXT)
    service = reopen()
    for _ in range(2):
        with pytest.raises(KeyServiceError):
            service.unwrap(KeyName("never/made"), wrapped, CONTEXT)


def test_the_service_does_not_print_keys(service: KeyService) -> None:
    service.wrap(NAME, new_data_key(), CONTEXT)
    assert len(repr(service)) < 40


def test_names_of_master_keys() -> None:
    assert {master_key("protected", c) for c in ColumnClass} == {
        "protected/direct",
        "protected/indirect",
        "protected/sensitive",
        "protected/payment",
        "protected/plain",
    }


def test_a_uri_opens_its_service(tmp_path: Path) -> None:
    service = open_key_service(f"local:{tmp_path}/a:b")
    assert service.uri == f"local:{tmp_path}/a:b"
    for uri in ("", "local:", "local", "vault:https://x", "file:/x"):
        with pytest.raises(ConfigurationError) as refusal:
            open_key_service(uri)
        assert "CLOAKHOUSE_KEYS" in refusal.value.where
