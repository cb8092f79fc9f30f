"""What every key service does, whatever is behind it."""

from __future__ import annotations

import datetime as dt
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.processes import in_fork
from tests.support.services import PARAMETERS, SERVICES

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.protocol import FILE, KeyName, KeyService, KeyState, master_key, new_data_key, zone_key
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.service import open_key_service

NAME = master_key("protected", ColumnClass.DIRECT)
OTHER = zone_key("landing", FILE)
CONTEXT = {"zone": "landing", "dataset": "people"}

Reopen = Callable[[], KeyService]


@pytest.fixture(params=PARAMETERS)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    return SERVICES[request.param](tmp_path)


@pytest.fixture
def service(reopen: Reopen) -> KeyService:
    return reopen()


def refusal(code: str, call: Callable[[], object]) -> KeyServiceError:
    with pytest.raises(KeyServiceError) as refused:
        call()
    assert refused.value.code == f"key.{code}"
    return refused.value


def test_it_is_a_key_service(service: KeyService) -> None:
    assert isinstance(service, KeyService)
    assert ":" in service.uri


@pytest.mark.parametrize("length", [16, 24, 32, 48, 64])
def test_a_wrapped_key_opens_again(service: KeyService, length: int) -> None:
    key = SecretKey(bytes(range(length)))
    assert service.unwrap(NAME, service.wrap(NAME, key, CONTEXT), CONTEXT).reveal() == key.reveal()


def test_a_generated_key_opens_again_and_is_new_each_time(service: KeyService) -> None:
    made = [service.generate(NAME, CONTEXT) for _ in range(5)]
    assert {len(key) for key, _ in made} == {32}
    assert len({key.reveal() for key, _ in made}) == 5
    for key, wrapped in made:
        assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()
        refusal("context", lambda wrapped=wrapped: service.unwrap(NAME, wrapped, {**CONTEXT, "dataset": "x"}))


def test_it_opens_in_another_instance_whichever_made_the_master_key(reopen: Reopen) -> None:
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
    refusal("context", lambda: service.unwrap(NAME, wrapped, context))


def test_the_order_of_the_context_does_not_count(service: KeyService) -> None:
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    assert service.unwrap(NAME, wrapped, dict(reversed(CONTEXT.items()))).reveal() == key.reveal()


def test_another_master_key_is_refused(service: KeyService) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    service.wrap(OTHER, new_data_key(), CONTEXT)
    for name in (OTHER, KeyName("never/made")):
        with pytest.raises(KeyServiceError) as refused:
            service.unwrap(name, wrapped, CONTEXT)
        assert name in refused.value.where
    assert "nothing was decrypted" in refused.value.not_done


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


def test_unwrapping_and_describing_make_no_master_key(reopen: Reopen) -> None:
    wrapped = reopen().wrap(NAME, new_data_key(), CONTEXT)
    service = reopen()
    for _ in range(2):
        with pytest.raises(KeyServiceError):
            service.unwrap(KeyName("never/made"), wrapped, CONTEXT)
        refusal("missing", lambda: service.describe(KeyName("never/made")))
    assert service.names() == (NAME,)


def test_master_keys_are_listed_and_described(service: KeyService) -> None:
    assert service.names() == ()
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    for name in (NAME, OTHER):
        service.wrap(name, new_data_key(), CONTEXT)
    assert service.names() == tuple(sorted((NAME, OTHER)))
    described = service.describe(NAME)
    assert (described.name, described.state, [v.version for v in described.versions]) == (NAME, KeyState.ENABLED, [1])
    assert before < described.versions[0].created < dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


def test_a_rotated_key_wraps_anew_and_opens_what_it_wrapped_before(reopen: Reopen) -> None:
    service, other = reopen(), reopen()
    key = new_data_key()
    wrapped = [service.wrap(NAME, key, CONTEXT)]
    for number in (2, 3):
        assert [v.version for v in service.rotate(NAME).versions] == list(range(1, number + 1))
        wrapped.append(other.wrap(NAME, key, CONTEXT))
    assert [v.version for v in other.describe(NAME).versions] == [1, 2, 3]
    for blob in wrapped:
        for opener in (service, other, reopen()):
            assert opener.unwrap(NAME, blob, CONTEXT).reveal() == key.reveal()


def test_a_key_that_does_not_exist_can_not_be_changed(service: KeyService) -> None:
    for change in (service.rotate, service.disable, service.enable, service.destroy):
        refusal("missing", lambda change=change: change(KeyName("never/made")))
    assert service.names() == ()


def test_a_destroyed_key_opens_nothing_ever_again(reopen: Reopen) -> None:
    service = reopen()
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    kept = service.wrap(OTHER, new_data_key(), CONTEXT)
    service.destroy(NAME)
    for opener in (service, reopen()):
        refusal("destroyed", lambda opener=opener: opener.unwrap(NAME, wrapped, CONTEXT))
        refusal("destroyed", lambda opener=opener: opener.wrap(NAME, new_data_key(), CONTEXT))
        refusal("destroyed", lambda opener=opener: opener.rotate(NAME))
        refusal("destroyed", lambda opener=opener: opener.enable(NAME))
        described = opener.describe(NAME)
        assert (described.state, described.versions) == (KeyState.DESTROYED, ())
        assert opener.unwrap(OTHER, kept, CONTEXT)
    service.destroy(NAME)


def test_many_threads_and_a_fork_share_a_service(service: KeyService) -> None:
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)

    def work(number: int) -> bool:
        own = service.wrap(NAME, key, {"number": str(number)})
        opened = [service.unwrap(NAME, own, {"number": str(number)}), service.unwrap(NAME, wrapped, CONTEXT)]
        return all(found.reveal() == key.reveal() for found in opened)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(24)))

    def child() -> None:
        assert work(99)

    assert in_fork(child) == 0
    assert work(100)


def test_connecting_tells_what_was_negotiated(service: KeyService) -> None:
    service.wrap(NAME, new_data_key(), CONTEXT)
    connection = service.connection()
    assert connection.endpoint
    assert connection.protocol in {"TLSv1.3", "in process", "HTTP (loopback)"}
    assert connection.leaves_process == (connection.protocol != "in process")


def test_the_service_prints_and_pickles_no_keys(service: KeyService) -> None:
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    assert len(repr(service)) < 40
    with pytest.raises(Exception):  # noqa: B017  # whatever refuses first: a lock, a client, a key
        pickle.dumps(service)
    error = str(refusal("context", lambda: service.unwrap(NAME, wrapped, {})))
    for secret in (key.reveal(), wrapped):
        assert secret.hex() not in error
    assert str(os.getpid()) not in repr(service)


def test_a_disabled_key_is_refused_until_it_is_enabled(reopen: Reopen) -> None:
    service, other = reopen(), reopen()
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    service.disable(NAME)
    assert other.describe(NAME).state is KeyState.DISABLED
    for opener in (service, other, reopen()):
        refusal("disabled", lambda opener=opener: opener.unwrap(NAME, wrapped, CONTEXT))
        refusal("disabled", lambda opener=opener: opener.wrap(NAME, key, CONTEXT))
    service.disable(NAME)
    service.enable(NAME)
    for opener in (service, other):
        assert opener.describe(NAME).state is KeyState.ENABLED
        assert opener.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()
        assert opener.wrap(NAME, key, CONTEXT)


def test_names_of_master_keys() -> None:
    assert {master_key("protected", c) for c in ColumnClass} == {
        "protected/direct",
        "protected/indirect",
        "protected/sensitive",
        "protected/payment",
        "protected/plain",
    }


def test_a_uri_opens_its_service(tmp_path: Path) -> None:
    service = open_key_service(f"age:{tmp_path}/a:b")
    assert service.uri == f"age:{tmp_path}/a:b"
    for uri in ("", "age:", "age", "local:/x", "file:/x", "https://x"):
        with pytest.raises(ConfigurationError) as refused:
            open_key_service(uri)
        assert "CLOAKHOUSE_KEYS" in refused.value.where
