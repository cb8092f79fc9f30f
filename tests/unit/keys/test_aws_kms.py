"""The AWS KMS key service, beyond what every key service does.

What moto's server can do runs there. It accepts any credentials, denies nobody, is never busy, and opens keys whatever
their state (the test support adds the last); so KMS's refusals are answers in the exact form that KMS gives them,
served over HTTP on loopback. botocore's own signing, parsing and retrying run in both cases.
"""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import logging
import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.support.certificates import Authority, Pair
from tests.support.processes import in_fork
from tests.support.service_aws import (
    CREDENTIALS,
    REGION,
    Answer,
    gave,
    moto,
    new_uri,
    open_service,
    refused,
    scripted,
    use_dummy_credentials,
)

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, KeyServiceError
from cloakhouse.keys.aws_kms import AwsKmsService
from cloakhouse.keys.aws_place import Patience, Place
from cloakhouse.keys.aws_wire import open_client
from cloakhouse.keys.protocol import Grant, KeyName, KeyState, new_data_key
from cloakhouse.keys.secret import SecretKey

NAME = KeyName("protected/direct")
CONTEXT = {"zone": "landing", "dataset": "people"}
BOUND = {"cloakhouse:key": NAME, "cloakhouse:context": '{"dataset":"people","zone":"landing"}'}
ARN = f"arn:aws:kms:{REGION}:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_ARN = ARN[:-1] + "c"
ROLE = "arn:aws:iam::123456789012:role/modelling"
KEY = bytes(range(32))
QUICK = Patience(connect_s=2, read_s=2, attempts=1)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


OPENED = gave(KeyId=ARN, Plaintext=encoded(KEY))
WRAPPED = gave(KeyId=ARN, CiphertextBlob=encoded(b"wrapped"))


def metadata(state: str = "Enabled", arn: str = ARN) -> Answer:
    key_id = arn.rpartition("/")[2]
    return gave(KeyMetadata={"Arn": arn, "KeyId": key_id, "KeyState": state, "CreationDate": 1.7e9})


@pytest.fixture
def service(tmp_path: Path) -> AwsKmsService:
    service = open_service(tmp_path)()
    assert isinstance(service, AwsKmsService)
    return service


@pytest.fixture
def raw(service: AwsKmsService) -> Any:
    return boto3.client("kms", region_name=REGION, endpoint_url=moto())


def alias(service: AwsKmsService, name: str = NAME) -> str:
    return f"{Place.parse(service.uri).prefix}/{name}"


def fails(call: Callable[[], object], code: str) -> CloakhouseError:
    with pytest.raises(CloakhouseError) as failure:
        call()
    assert failure.value.code == code, failure.value
    return failure.value


def unwrapping(uri: str, patience: Patience = QUICK) -> Callable[[], SecretKey]:
    return lambda: AwsKmsService.from_uri(uri, patience).unwrap(NAME, b"wrapped", CONTEXT)


# --- the URI


def test_a_uri_comes_back_as_it_was_given() -> None:
    uri = "aws-kms:alias/cloakhouse/eu?region=eu-west-1&endpoint=https://vpce-1.kms.eu-west-1.vpce.amazonaws.com&ca=/x.pem"
    assert AwsKmsService.from_uri(uri).uri == uri
    place = Place.parse(uri)
    assert (place.prefix, place.region, place.ca) == ("alias/cloakhouse/eu", "eu-west-1", Path("/x.pem"))
    assert Place.parse("aws-kms:alias/c") == Place("aws-kms:alias/c", "alias/c")


@pytest.mark.parametrize(
    "uri",
    [
        "aws-kms:",
        "aws-kms:cloakhouse",
        "aws-kms:alias/",
        "aws-kms:alias/a//b",
        "aws-kms:alias/a/",
        "aws-kms:alias/aws/s3",
        "aws-kms:alias/a b",
        "aws-kms:alias/" + "a" * 129,
        "aws-kms:alias/a?secret-key=hunter2",
        "aws-kms:alias/a?region=",
        "aws-kms:alias/a?region",
        "aws-kms:alias/a?region=eu-west-1&region=eu-west-2",
        "aws-kms:alias/a?region=evil.example/",
        "aws-kms:alias/a?endpoint=http://kms.example",
        "aws-kms:alias/a?endpoint=http://127.0.0.1.example:5000",
        "aws-kms:alias/a?endpoint=http://10.0.0.1:5000",
        "aws-kms:alias/a?endpoint=ftp://127.0.0.1",
        "aws-kms:alias/a?endpoint=https://user:hunter2@kms.example",
        "aws-kms:alias/a?endpoint=https://kms.example/path",
        "aws-kms:alias/a?endpoint=https://",
        "aws-kms:alias/a?endpoint=https://kms.example:99999",
        "vault:alias/a",
    ],
)
def test_a_uri_that_can_not_be_used_is_refused_and_not_quoted(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        AwsKmsService.from_uri(uri)
    assert refusal.value.where == "CLOAKHOUSE_KEYS"
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "127.9.9.9"])
def test_http_is_for_loopback(host: str) -> None:
    assert Place.parse(f"aws-kms:alias/a?endpoint=http://{host}:5000").endpoint == f"http://{host}:5000"


def test_a_region_must_come_from_somewhere() -> None:
    use_dummy_credentials()
    failure = fails(unwrapping("aws-kms:alias/a"), "configuration")
    assert "region" in failure.expected


def test_the_environment_does_not_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    use_dummy_credentials()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://kms.example")
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", "http://kms.example")
    client = open_client(Place.parse(f"aws-kms:alias/a?region={REGION}"), QUICK)
    assert client.meta.endpoint_url == "https://kms.eu-west-1.amazonaws.com"


def test_an_endpoint_that_botocore_does_not_take_is_a_matter_of_configuration() -> None:
    use_dummy_credentials()
    fails(unwrapping(f"aws-kms:alias/a?region={REGION}&endpoint=https://-x-.example"), "configuration")


# --- master keys


def test_a_master_key_is_a_tagged_key_behind_an_alias(service: AwsKmsService, raw: Any) -> None:
    service.generate(NAME, CONTEXT)
    key = raw.describe_key(KeyId=alias(service))["KeyMetadata"]
    assert (key["KeyUsage"], key["KeySpec"], key["Origin"]) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "AWS_KMS")
    assert NAME in key["Description"]
    assert raw.list_resource_tags(KeyId=key["KeyId"])["Tags"] == [{"TagKey": "cloakhouse:key", "TagValue": NAME}]


def test_the_wrapped_form_is_kms_own_under_the_documented_context(service: AwsKmsService, raw: Any) -> None:
    key, wrapped = service.generate(NAME, CONTEXT)
    opened = raw.decrypt(CiphertextBlob=wrapped, KeyId=alias(service), EncryptionContext=BOUND)
    assert opened["Plaintext"] == key.reveal()


@pytest.mark.parametrize("context", [{}, {"more": ""}, {"": "x"}, {"straße": "€"}, {"a": '","b":"'}])
def test_no_entry_of_the_context_is_empty_or_beyond_ascii(context: dict[str, str]) -> None:
    with scripted(WRAPPED) as script:
        AwsKmsService.from_uri(script.uri).wrap(NAME, new_data_key(), context)
    sent = script.asked[0][1]["EncryptionContext"]
    assert sent["cloakhouse:key"] == NAME
    assert json.loads(sent["cloakhouse:context"]) == context
    assert set(sent) == {"cloakhouse:key", "cloakhouse:context"}
    assert all(text and text.isascii() for text in sent.values())


def test_who_loses_the_race_to_make_a_key_drops_its_own_and_uses_the_other() -> None:
    ours, theirs = metadata(arn=OTHER_ARN), metadata()
    answers = [refused("NotFoundException"), ours, refused("AlreadyExistsException"), gave(), theirs, WRAPPED]
    with scripted(*answers) as script:
        assert AwsKmsService.from_uri(script.uri).wrap(NAME, new_data_key(), CONTEXT) == b"wrapped"
    operations = ["Encrypt", "CreateKey", "CreateAlias", "ScheduleKeyDeletion", "DescribeKey", "Encrypt"]
    assert script.operations == operations
    assert script.asked[3][1] == {"KeyId": OTHER_ARN.rpartition("/")[2], "PendingWindowInDays": 7}
    assert script.asked[5][1]["KeyId"] == ARN.rpartition("/")[2]


def test_a_key_without_an_alias_is_not_left_behind() -> None:
    answers = [refused("NotFoundException"), metadata(), refused("AccessDeniedException", "not authorized"), gave()]
    with scripted(*answers) as script:
        service = AwsKmsService.from_uri(script.uri)
        fails(lambda: service.wrap(NAME, new_data_key(), CONTEXT), "access.key")
    assert script.operations == ["Encrypt", "CreateKey", "CreateAlias", "ScheduleKeyDeletion"]


def test_a_key_made_a_moment_ago_may_take_a_moment_to_be_known() -> None:
    missing = refused("NotFoundException")
    with scripted(missing, metadata(), gave(), missing, WRAPPED) as script:
        assert AwsKmsService.from_uri(script.uri).wrap(NAME, new_data_key(), CONTEXT) == b"wrapped"
    assert script.operations == ["Encrypt", "CreateKey", "CreateAlias", "Encrypt", "Encrypt"]


def test_names_are_those_of_the_prefix_on_all_pages(service: AwsKmsService) -> None:
    neighbour = AwsKmsService.from_uri(new_uri())
    for name in ("synthetic/footer", "landing/file"):
        service.generate(KeyName(name), CONTEXT)
    neighbour.generate(NAME, CONTEXT)
    assert service.names() == ("landing/file", "synthetic/footer")

    def page(*names: str, **more: Any) -> Answer:
        return gave(Aliases=[{"AliasName": name, "TargetKeyId": "x"} for name in names], **more)

    first = page("alias/scripted/z/z", "alias/scripted-too/a/a", "alias/aws/s3", Truncated=True, NextMarker="m")
    with scripted(first, page("alias/scripted/b/b", Truncated=False)) as script:
        assert AwsKmsService.from_uri(script.uri).names() == ("b/b", "z/z")
    assert [parameters.get("Marker") for _, parameters in script.asked] == [None, "m"]


def test_versions_are_the_making_and_the_rotations(service: AwsKmsService) -> None:
    service.generate(NAME, CONTEXT)
    service.rotate(NAME)
    service.rotate(NAME)
    versions = service.describe(NAME).versions
    assert [v.version for v in versions] == [1, 2, 3]
    moments = [v.created for v in versions]
    assert moments == sorted(moments)
    assert {moment.tzinfo for moment in moments} == {dt.UTC}


def test_a_rotation_in_the_background_is_waited_for() -> None:
    none, one = gave(Rotations=[], Truncated=False), gave(Rotations=[{"RotationDate": 1.8e9}], Truncated=False)
    with scripted(metadata(), none, gave(KeyId=ARN), none, one) as script:
        assert [v.version for v in AwsKmsService.from_uri(script.uri).rotate(NAME).versions] == [1, 2]


def test_a_disabled_key_is_refused_by_kms(service: AwsKmsService) -> None:
    _, wrapped = service.generate(NAME, CONTEXT)
    service.disable(NAME)
    assert service.describe(NAME).state is KeyState.DISABLED
    fails(lambda: service.unwrap(NAME, wrapped, CONTEXT), "key.disabled")
    fails(lambda: service.generate(NAME, CONTEXT), "key.disabled")
    fails(lambda: service.rotate(NAME), "key.disabled")
    service.enable(NAME)
    assert service.unwrap(NAME, wrapped, CONTEXT)


def test_destroying_schedules_the_deletion_for_the_earliest_day(service: AwsKmsService, raw: Any) -> None:
    service.generate(NAME, CONTEXT)
    service.destroy(NAME)
    key = raw.describe_key(KeyId=alias(service))["KeyMetadata"]
    assert key["KeyState"] == "PendingDeletion"
    days = (key["DeletionDate"] - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1)
    assert 6.9 < days < 7.1
    service.destroy(NAME)
    for change in (service.enable, service.disable, service.rotate):
        fails(lambda change=change: change(NAME), "key.destroyed")
    fails(lambda: service.grant(Grant(ROLE, NAME, "training")), "key.destroyed")


def test_the_key_that_kms_used_must_be_the_one_behind_the_alias() -> None:
    with scripted(gave(KeyId=OTHER_ARN, Plaintext=encoded(KEY)), metadata()) as script:
        fails(unwrapping(script.uri), "key.context")
    assert script.operations == ["Decrypt", "DescribeKey"]
    assert script.asked[0][1]["KeyId"] == "alias/scripted/protected/direct"


def test_an_alias_that_was_pointed_elsewhere_opens_nothing_of_before(service: AwsKmsService, raw: Any) -> None:
    _, wrapped = service.generate(NAME, CONTEXT)
    assert service.unwrap(NAME, wrapped, CONTEXT)
    raw.update_alias(AliasName=alias(service), TargetKeyId=raw.create_key()["KeyMetadata"]["KeyId"])
    fails(lambda: service.unwrap(NAME, wrapped, CONTEXT), "key.context")
    key, wrapped = service.generate(NAME, CONTEXT)
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "/a", "ü/x", "a" * 256])
def test_a_name_that_can_be_no_alias_is_refused(service: AwsKmsService, name: str) -> None:
    fails(lambda: service.wrap(KeyName(name), new_data_key(), CONTEXT), "key.unsupported")


@pytest.mark.parametrize("wrapped", [b"", b"x" * 6145])
def test_what_kms_can_not_have_wrapped_is_not_sent(wrapped: bytes) -> None:
    with scripted(OPENED) as script:
        service = AwsKmsService.from_uri(script.uri)
        fails(lambda: service.unwrap(NAME, wrapped, CONTEXT), "key.format")
    assert script.asked == []


# --- grants


def test_grants_are_kept_by_kms_with_their_purpose(service: AwsKmsService, raw: Any) -> None:
    given = [
        Grant(ROLE, NAME, "model training: rückläufer"),
        Grant(ROLE, NAME, "audit"),
        Grant(ROLE, KeyName("a/b"), "x"),
    ]
    for grant in (*given, given[0]):
        service.grant(grant)
    assert service.grants() == tuple(sorted(given))
    entries = raw.list_grants(KeyId=raw.describe_key(KeyId=alias(service))["KeyMetadata"]["KeyId"])["Grants"]
    assert len(entries) == 2
    assert {tuple(e["Operations"]) for e in entries} == {("Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey")}
    assert {e["Name"] for e in entries} == {"cloakhouse:model:20training:3a:20r:c3:bcckl:c3:a4ufer", "cloakhouse:audit"}


def test_a_revoked_grant_is_gone_and_the_others_stay(service: AwsKmsService) -> None:
    first, second = Grant(ROLE, NAME, "a"), Grant(ROLE, NAME, "b")
    service.grant(first)
    service.grant(second)
    service.revoke(first)
    assert service.grants() == (second,)
    failure = fails(lambda: service.revoke(first), "key.missing")
    assert ROLE in failure.where
    fails(lambda: service.revoke(Grant(ROLE, KeyName("never/made"), "a")), "key.missing")


def test_a_grant_with_fewer_operations_is_no_grant_yet(service: AwsKmsService, raw: Any) -> None:
    service.generate(NAME, CONTEXT)
    key_id = raw.describe_key(KeyId=alias(service))["KeyMetadata"]["KeyId"]
    raw.create_grant(KeyId=key_id, GranteePrincipal=ROLE, Operations=["DescribeKey"], Name="cloakhouse:a")
    service.grant(Grant(ROLE, NAME, "a"))
    assert len(raw.list_grants(KeyId=key_id)["Grants"]) == 2
    service.revoke(Grant(ROLE, NAME, "a"))
    assert raw.list_grants(KeyId=key_id)["Grants"] == []


def test_grants_that_others_made_are_shown_as_theirs(service: AwsKmsService, raw: Any) -> None:
    service.generate(NAME, CONTEXT)
    key_id = raw.describe_key(KeyId=alias(service))["KeyMetadata"]["KeyId"]
    raw.create_grant(KeyId=key_id, GranteePrincipal=ROLE, Operations=["Decrypt"], Name="backup")
    raw.create_grant(KeyId=key_id, GranteePrincipal=ROLE, Operations=["Decrypt"])
    assert [g.purpose for g in service.grants()] == ["not ours: backup", "not ours: unnamed"]
    service.destroy(NAME)
    assert service.grants() == ()


@pytest.mark.parametrize(
    "grant",
    [
        Grant("modelling", NAME, "a"),
        Grant("arn:aws:s3:::bucket", NAME, "a"),
        Grant("arn:aws:iam::12:role/x", NAME, "a"),
        Grant(ROLE, NAME, ""),
        Grant(ROLE, NAME, "ü" * 50),
    ],
)
def test_a_grant_that_kms_can_not_hold_is_refused(service: AwsKmsService, grant: Grant) -> None:
    fails(lambda: service.grant(grant), "configuration.principal")
    assert service.names() == ()


# --- what KMS refuses, in the form it gives it

DENIED = f"User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {ARN} because no identity-based policy"
UNKNOWN = "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you"
MISMATCH = "The request signature we calculated does not match the signature you provided."
INVALID = "The security token included in the request is invalid."
EXPIRED = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused("NotFoundException", f"Alias {ARN} is not found."), "key.missing"),
        (refused("DisabledException", f"{ARN} is disabled."), "key.disabled"),
        (refused("KMSInvalidStateException", f"{ARN} is pending deletion."), "key.destroyed"),
        (refused("KMSInvalidStateException", "key state is PendingDeletion"), "key.destroyed"),
        (refused("KMSInvalidStateException", f"{ARN} is disabled."), "key.disabled"),
        (refused("KMSInvalidStateException", f"{ARN} is pending import."), "key.disabled"),
        (refused("InvalidCiphertextException", None), "key.context"),
        (refused("IncorrectKeyException", "The key ID in the request does not identify"), "key.context"),
        (refused("AccessDeniedException", UNKNOWN), "key.context"),
        (refused("AccessDeniedException", DENIED), "access.key"),
        (refused("ThrottlingException", "Rate exceeded"), "key.throttled"),
        (refused("LimitExceededException", "You have reached the maximum"), "key.throttled"),
        (refused("SomethingNew", "slow down, please", 429), "key.throttled"),
        (refused("UnrecognizedClientException", INVALID), "key.identity"),
        (refused("ExpiredTokenException", INVALID.replace("invalid", "expired")), "key.identity"),
        (refused("InvalidSignatureException", MISMATCH), "key.identity"),
        (refused("InvalidSignatureException", MISMATCH, behind_s=60), "key.identity"),
        (refused("InvalidSignatureException", MISMATCH, Date="whenever"), "key.identity"),
        (refused("InvalidSignatureException", MISMATCH, behind_s=360), "key.clock"),
        (refused("InvalidSignatureException", EXPIRED), "key.clock"),
        (refused("InvalidSignatureException", "Signature not yet current: 2026"), "key.clock"),
        (refused("SignatureDoesNotMatch", MISMATCH, 403, behind_s=360), "key.clock"),
        (refused("UnrecognizedClientException", "invalid", behind_s=360), "key.clock"),
        (refused("RequestExpired", "Request has expired."), "key.clock"),
        (refused("KMSInternalException", "", 500), "key.unreachable"),
        (refused("DependencyTimeoutException", "", 503), "key.unreachable"),
        (refused("KeyUnavailableException", "", 500), "key.unreachable"),
        (Answer(502, b"<html>Bad Gateway</html>"), "key.unreachable"),
        (refused("InvalidKeyUsageException", ""), "key.unsupported"),
        (refused("SomethingNew", ""), "key.unsupported"),
        (refused("ValidationException", ""), "key.format"),
        (Answer(200, b"<html>Log in to the hotel's network</html>"), "key.damaged"),
        (gave(Plaintext=encoded(KEY)), "key.damaged"),
        (gave(KeyId=ARN, Plaintext=encoded(b"short")), "key.format"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_each_refusal_has_its_code(answer: Answer, code: str) -> None:
    after = [metadata()] if isinstance(answer.body, dict) and "KeyId" in answer.body else []
    with scripted(answer, *after) as script:
        failure = fails(unwrapping(script.uri), code)
    assert isinstance(failure, AccessRefused if code == "access.key" else KeyServiceError)
    assert NAME in failure.where
    assert "nothing was decrypted" in failure.not_done
    assert failure.remedy
    text = str(answer.body.get("message") or "") if isinstance(answer.body, dict) else "html"
    assert not text or text not in str(failure)


def test_a_denial_of_another_operation_is_a_denial() -> None:
    with scripted(refused("AccessDeniedException", None)) as script:
        service = AwsKmsService.from_uri(script.uri, QUICK)
        fails(lambda: service.wrap(NAME, new_data_key(), CONTEXT), "access.key")
        fails(service.names, "access.key")


def test_a_busy_service_is_asked_again() -> None:
    with scripted(refused("ThrottlingException", "Rate exceeded"), OPENED, metadata()) as script:
        assert unwrapping(script.uri, Patience())().reveal() == KEY
    assert script.operations == ["Decrypt", "Decrypt", "DescribeKey"]


def test_a_fault_of_the_service_is_passed_over() -> None:
    with scripted(refused("KMSInternalException", "", 500), OPENED, metadata()) as script:
        assert unwrapping(script.uri, Patience())().reveal() == KEY


@pytest.mark.parametrize("answer", [refused("ThrottlingException", "Rate exceeded"), refused("Oops", "", 503)])
def test_asking_again_comes_to_an_end(answer: Answer) -> None:
    with scripted(answer) as script:
        with pytest.raises(KeyServiceError):
            unwrapping(script.uri, Patience(attempts=3))()
        assert script.operations == ["Decrypt"] * 3


def test_the_defaults_keep_every_operation_under_half_a_minute() -> None:
    patience = Patience()
    assert patience.attempts == 4
    assert patience.begin_s + patience.connect_s + patience.read_s < 30


@pytest.fixture
def silent() -> Iterator[tuple[str, list[float]]]:
    """Yield the URI of a server that accepts and says nothing, and the moments of its connections."""
    use_dummy_credentials()
    moments: list[float] = []
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            while True:
                try:
                    kept.append(listening.accept()[0])
                except OSError:
                    return
                moments.append(time.monotonic())

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"aws-kms:alias/a?region={REGION}&endpoint=http://127.0.0.1:{listening.getsockname()[1]}", moments
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    for connection in kept:
        connection.close()


def test_a_service_that_never_answers_is_given_up(silent: tuple[str, list[float]]) -> None:
    uri, moments = silent
    failure = fails(unwrapping(uri, Patience(connect_s=1, read_s=0.2, attempts=2)), "key.unreachable")
    assert "no answer in time" in failure.found
    assert len(moments) == 2


def test_no_attempt_begins_after_the_limit(silent: tuple[str, list[float]]) -> None:
    uri, moments = silent
    began = time.monotonic()
    fails(unwrapping(uri, Patience(connect_s=5, read_s=2, attempts=5, begin_s=1.5)), "key.unreachable")
    assert len(moments) == 1
    assert time.monotonic() - began < 9


def test_a_port_where_nobody_listens_is_told() -> None:
    use_dummy_credentials()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    uri = f"aws-kms:alias/a?region={REGION}&endpoint=http://127.0.0.1:{port}"
    failure = fails(unwrapping(uri), "key.unreachable")
    assert "refused" in failure.found
    fails(AwsKmsService.from_uri(uri).connection, "key.unreachable")


def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(OPENED) as script:
        for name in CREDENTIALS:
            monkeypatch.delenv(name)
        fails(unwrapping(script.uri), "key.identity")
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        fails(unwrapping(script.uri), "key.identity")
    assert script.asked == []


# --- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


def listening_with(pair: Pair, highest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = highest
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def test_tls_1_3_is_spoken(authority: Authority) -> None:
    context = listening_with(authority.server(), ssl.TLSVersion.TLSv1_3)
    with scripted(OPENED, metadata(), tls=context) as script:
        uri = f"{script.uri}&ca={authority.ca}"
        assert unwrapping(uri)().reveal() == KEY
        connection = AwsKmsService.from_uri(uri).connection()
    assert (connection.protocol, connection.endpoint) == ("TLSv1.3", script.endpoint)
    assert connection.cipher.startswith("TLS_")
    assert connection.leaves_process


def test_tls_1_2_is_refused_before_anything_is_sent(authority: Authority) -> None:
    context = listening_with(authority.server(), ssl.TLSVersion.TLSv1_2)
    with scripted(OPENED, metadata(), tls=context) as script:
        uri = f"{script.uri}&ca={authority.ca}"
        failure = fails(unwrapping(uri), "key.tls")
        fails(AwsKmsService.from_uri(uri).connection, "key.tls")
        # The server is sound: a client with a lower floor gets its answer.
        client = boto3.client("kms", region_name=REGION, endpoint_url=script.endpoint, verify=str(authority.ca))
        assert client.decrypt(CiphertextBlob=b"x")["Plaintext"] == KEY
    assert "TLS 1.3" in failure.expected
    assert script.operations == ["Decrypt"]


def test_a_certificate_of_another_authority_or_host_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    sound = listening_with(authority.server(), ssl.TLSVersion.TLSv1_3)
    elsewhere = listening_with(authority.server("kms.example", stem="elsewhere"), ssl.TLSVersion.TLSv1_3)
    for context, ca in ((sound, f"&ca={stranger.ca}"), (sound, ""), (elsewhere, f"&ca={authority.ca}")):
        with scripted(OPENED, metadata(), tls=context) as script:
            fails(unwrapping(f"{script.uri}{ca}"), "key.tls")
        assert script.asked == []


def test_an_authority_file_that_is_not_there_is_a_matter_of_configuration(tmp_path: Path) -> None:
    use_dummy_credentials()
    uri = f"aws-kms:alias/a?region={REGION}&ca={tmp_path}/none.pem"
    fails(unwrapping(uri), "configuration.ca")


def test_the_environment_adds_no_authority(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca))
    with scripted(OPENED, tls=listening_with(authority.server(), ssl.TLSVersion.TLSv1_3)) as script:
        fails(unwrapping(script.uri), "key.tls")


def test_a_connection_over_loopback_is_told_as_such(service: AwsKmsService) -> None:
    connection = service.connection()
    assert (connection.protocol, connection.cipher, connection.endpoint) == ("HTTP (loopback)", "none", moto())


# --- processes, threads, secrets


def test_a_service_that_was_used_works_after_a_fork(service: AwsKmsService) -> None:
    key, wrapped = service.generate(NAME, CONTEXT)

    def child() -> None:
        for _ in range(5):
            assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()

    assert in_fork(child) == 0
    child()


def test_a_fork_does_not_speak_on_the_connection_of_its_parent() -> None:
    with scripted(WRAPPED) as script:
        service = AwsKmsService.from_uri(script.uri)

        def call() -> None:
            assert service.wrap(NAME, new_data_key(), CONTEXT) == b"wrapped"

        call()
        call()
        assert in_fork(call) == 0
        call()
    first, second, forked, last = script.ports
    assert first == second == last != forked


def test_threads_may_make_the_first_call_at_once(service: AwsKmsService) -> None:
    key, wrapped = AwsKmsService.from_uri(service.uri).generate(NAME, CONTEXT)
    together = threading.Barrier(6)

    def work(_: int) -> bytes:
        together.wait()
        return service.unwrap(NAME, wrapped, CONTEXT).reveal()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(work, range(6))) == {key.reveal()}


def test_no_secret_is_printed_or_told(service: AwsKmsService) -> None:
    key, wrapped = service.generate(NAME, CONTEXT)
    failure = fails(lambda: service.unwrap(NAME, wrapped, {}), "key.context")
    with scripted(refused("UnrecognizedClientException", "invalid")) as script:
        other = fails(unwrapping(script.uri), "key.identity")
    for text in (repr(service), service.uri, str(failure), repr(failure), str(other), repr(vars(failure))):
        for secret in (key.reveal(), wrapped):
            assert encoded(secret) not in text
            assert repr(secret)[2:-1] not in text
        assert not any(value in text for value in CREDENTIALS.values())


def test_no_key_reaches_the_log_even_when_everything_is_logged(
    service: AwsKmsService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore").setLevel(logging.DEBUG)
    try:
        key = new_data_key()
        wrapped = service.wrap(NAME, key, CONTEXT)
        assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()
        made, _ = service.generate(NAME, CONTEXT)
    finally:
        logging.getLogger("botocore").setLevel(logging.NOTSET)
    assert "urllib3" in caplog.text  # something was logged
    for secret in (key, made):
        assert encoded(secret.reveal()) not in caplog.text
        assert repr(secret.reveal())[2:-1] not in caplog.text
    assert not any(CREDENTIALS[n] in caplog.text for n in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"))


def test_a_used_service_can_not_be_pickled(service: AwsKmsService) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="URI"):
            attempt(service)
