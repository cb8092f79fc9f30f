from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from cloakhouse.keys.protocol import new_data_key
from cloakhouse.keys.secret import SecretKey

MATERIAL = b"sixteen-or-32-bytes-of-a-secret!"


@pytest.mark.parametrize(
    "way",
    [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, hash, lambda key: {key: 1}, lambda key: pickle.dumps([key], 0)],  # noqa: E501
)  # fmt: skip
def test_a_key_refuses_to_leave(way: Callable[[object], object]) -> None:
    with pytest.raises(TypeError) as refusal:
        way(SecretKey(MATERIAL))
    assert "secret!" not in str(refusal.value)


def test_a_key_shows_its_length_only() -> None:
    key = SecretKey(MATERIAL)
    shown_as = [repr(key), str(key), f"{key}", f"{key!r}", "%s" % key, repr([key]), repr({"k": key})]  # noqa: UP031
    for shown in shown_as:
        assert "256 bits" in shown
        assert "sixteen" not in shown
        assert MATERIAL.hex() not in shown
    with pytest.raises(TypeError):
        format(key, ">20")
    assert not hasattr(key, "__dict__")


def test_reveal_gives_the_bytes_back_and_equality_is_identity() -> None:
    key = SecretKey(bytearray(MATERIAL))
    assert key.reveal() == MATERIAL
    assert len(key) == 32
    assert key == key
    assert key != SecretKey(MATERIAL)


@pytest.mark.parametrize("length", [0, 1, 15, 31, 33, 65])
def test_odd_lengths_are_refused_without_showing_the_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="16, 24, 32") as refusal:
        SecretKey(b"q" * length)
    assert "qq" not in str(refusal.value)


def test_data_keys_are_fresh() -> None:
    assert len({new_data_key().reveal() for _ in range(50)}) == 50
    assert len(new_data_key()) == 32
