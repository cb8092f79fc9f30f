from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.pkcs11 import Pkcs11Service
from cloakhouse.keys.pkcs11_uri import PIN_LIMIT, TokenUri, parse, read_pin

NO_FILE = "a `pin-source` that is no file: URI of an absolute path"
REST = "?module-path=/lib/m.so&pin-source=file:/run/pin"


def test_a_uri_in_full() -> None:
    uri = "pkcs11:token=cloakhouse;object=lake?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin"
    assert parse(uri) == TokenUri("/usr/lib/softhsm/libsofthsm2.so", "cloakhouse", "lake", Path("/run/pin"))
    service = Pkcs11Service.from_uri(uri)
    assert (service.uri, repr(service)) == (uri, "Pkcs11Service()")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (f"pkcs11:token=a{REST}", TokenUri("/lib/m.so", "a", "cloakhouse", Path("/run/pin"))),
        (f"PKCS11:object=b;token=a{REST}", TokenUri("/lib/m.so", "a", "b", Path("/run/pin"))),
        (f"pkcs11:token=My%20t%3B%C3%A9{REST}", TokenUri("/lib/m.so", "My t;é", "cloakhouse", Path("/run/pin"))),
        (f"pkcs11:token=a+b&c=d{REST}", TokenUri("/lib/m.so", "a+b&c=d", "cloakhouse", Path("/run/pin"))),
        (
            "pkcs11:token=a?pin-source=file:///a%20b/%26&module-path=/l?|.so",
            TokenUri("/l?|.so", "a", "cloakhouse", Path("/a b/&")),
        ),
    ],
)
def test_values_are_decoded_as_the_rfc_says(uri: str, expected: TokenUri) -> None:
    assert parse(uri) == expected


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("", "another scheme"),
        ("file:/x", "another scheme"),
        ("pkcs11:", "no `token`"),
        ("pkcs11:object=a" + REST, "no `token`"),
        ("pkcs11:token=" + REST, "no `token`"),
        ("pkcs11:token=a?pin-source=file:/p", "no `module-path`"),
        ("pkcs11:token=a?module-path=/m.so", "no `pin-source`"),
        ("pkcs11:token=a?module-path=m.so&pin-source=file:/p", "a `module-path` that is not absolute"),
        ("pkcs11:token=a;serial=1" + REST, "an attribute beyond these four"),
        ("pkcs11:token=a;" + REST, "an attribute beyond these four"),
        ("pkcs11:token=a;module-path=/x" + REST, "an attribute beyond these four"),
        ("pkcs11:token=a" + REST + "&module-name=m", "an attribute beyond these four"),
        ("pkcs11:token=a;token=b" + REST, "`token` twice"),
        ("pkcs11:token=a" + REST + "&pin-source=file:/q", "`pin-source` twice"),
        ("pkcs11:token" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=a b" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=a/b" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=é" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=a%2" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=a%zz" + REST, "a `token` with a character that must be percent-encoded"),
        ("pkcs11:token=a%FF" + REST, "a `token` that is not UTF-8"),
        ("pkcs11:token=a%00" + REST, "a `token` with a zero byte"),
        ("pkcs11:token=a;object=" + REST, "an `object` that is empty or has a slash"),
        ("pkcs11:token=a;object=b%2Fc" + REST, "an `object` that is empty or has a slash"),
        ("pkcs11:token=a?module-path=/m&pin-source=/p", NO_FILE),
        ("pkcs11:token=a?module-path=/m&pin-source=file:p", NO_FILE),
        ("pkcs11:token=a?module-path=/m&pin-source=file://h/p", NO_FILE),
        ("pkcs11:token=a?module-path=/m&pin-source=|/p", NO_FILE),
    ],
)
def test_another_uri_is_refused(uri: str, found: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Pkcs11Service.from_uri(uri)
    assert (refused.value.where, refused.value.found) == ("CLOAKHOUSE_KEYS", found)


@pytest.mark.parametrize("uri", ["pkcs11:token=a?pin-value=482916", "pkcs11:token=a;pin-value=482916" + REST])
def test_a_pin_in_the_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse(uri)
    assert "pin-value" in refused.value.found
    assert "482916" not in str(refused.value)


@pytest.fixture
def pin_file(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    path.touch(mode=0o600)
    path.write_bytes(b"482916\n")
    return path


def refusal_of(path: Path) -> tuple[str, str]:
    with pytest.raises(KeyServiceError) as refused:
        read_pin(path)
    assert "482916" not in str(refused.value)
    return refused.value.code, refused.value.found


@pytest.mark.parametrize(
    ("content", "pin"), [(b"12 34", "12 34"), (b"1234\n", "1234"), (b"1234\r\n", "1234"), ("é\n\n".encode(), "é\n")]
)
def test_a_pin_is_the_file_without_one_line_end(pin_file: Path, content: bytes, pin: str) -> None:
    pin_file.write_bytes(content)
    assert read_pin(pin_file) == pin


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_pin_that_others_may_touch_is_refused(pin_file: Path, mode: int) -> None:
    pin_file.chmod(mode)
    assert refusal_of(pin_file) == ("key.mode", f"mode {mode:04o}")


def test_a_file_of_its_owner_alone_may_be_read_only(pin_file: Path) -> None:
    pin_file.chmod(0o400)
    assert read_pin(pin_file) == "482916"


def test_a_pin_of_another_user_is_refused(pin_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pin_file.stat().st_uid + 1)
    assert refusal_of(pin_file) == ("key.mode", "a file of another user")


def test_what_is_no_file_with_a_pin_is_refused_at_once(tmp_path: Path, pin_file: Path) -> None:
    assert refusal_of(tmp_path / "none") == ("key.identity", "FileNotFoundError")
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal_of(tmp_path / "pipe") == ("key.identity", "something else")
    assert refusal_of(tmp_path)[0] == "key.identity"
    for content in (b"", b"\n", b"1" * (PIN_LIMIT + 1), b"48\xff2916"):
        pin_file.write_bytes(content)
        assert refusal_of(pin_file)[0] == "key.identity"
