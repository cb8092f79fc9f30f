"""The file of receivers: what can be said in it, and that nothing else is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.settings import Settings
from cloakhouse.stages.forwarding_receivers import MAX_BYTES, VARIABLE, Receiver, parse_receivers, receivers_of

HEAD = "apiVersion: cloakhouse.receivers/v1\nreceivers:\n"


def test_each_kind_with_its_keys_in_order_of_the_names() -> None:
    found = parse_receivers(
        HEAD
        + "  siem: {kind: syslog, host: siem.example.org, port: 6515, ca: /ca.pem, certificate: /c.pem, key: /k.pem,\n"
        + "         enterprise: 1, farewell: optional, batch: 9, format: jsonl}\n"
        + "  archive: {kind: file, path: /var/log/audit.jsonl}\n"
        + "  web: {kind: http, url: 'https://h:8443/a?b', tokenFile: /run/token, body: array}\n",
        "receivers.yaml",
    )
    assert found == (
        Receiver("archive", "file", path=Path("/var/log/audit.jsonl")),
        Receiver(
            name="siem",
            kind="syslog",
            format="jsonl",
            batch=9,
            host="siem.example.org",
            port=6515,
            farewell="optional",
            enterprise=1,
            ca=Path("/ca.pem"),
            certificate=Path("/c.pem"),
            key=Path("/k.pem"),
        ),
        Receiver("web", "http", url="https://h:8443/a?b", body="array", token_file=Path("/run/token")),
    )


@pytest.mark.parametrize(
    "line",
    [
        "  Siem: {kind: file, path: /a}",
        "  siem: {kind: pigeon, path: /a}",
        "  siem: nothing",
        "  siem: {kind: file}",
        "  siem: {kind: file, path: relative}",
        "  siem: {kind: file, path: /a, token: s3cret}",
        "  siem: {kind: file, path: /a, format: xml}",
        "  siem: {kind: file, path: 7}",
        "  siem: {kind: file, path: ''}",
        "  siem: {kind: file, path: /a, batch: 0}",
        "  siem: {kind: file, path: /a, batch: true}",
        "  siem: {kind: syslog, host: 'a b'}",
        "  siem: {kind: syslog, host: a, port: 70000}",
        "  siem: {kind: syslog, host: a, farewell: never}",
        "  siem: {kind: syslog, host: a, certificate: /a}",
        "  siem: {kind: http, url: 'http://plain/'}",
        "  siem: {kind: http, url: 'https://'}",
        "  siem: {kind: http, url: 'https://user:pass@h/'}",
        "  siem: {kind: http, url: 'https://h:99999/'}",
        "  siem: {kind: http, url: 'https://h/#x'}",
        "  siem: {kind: http, url: 'https://h/', body: xml}",
        "  siem: {kind: http, url: 'https://h/', tokenFile: relative}",
        "  siem: [",
        "  - siem",
    ],
)
def test_anything_else_is_refused_without_repeating_it(line: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_receivers(HEAD + line, "receivers.yaml")
    assert refused.value.code == "configuration.receivers"
    assert refused.value.where.startswith("receivers.yaml:")
    assert "s3cret" not in refused.value.explain()
    assert "pass" not in refused.value.found


@pytest.mark.parametrize("text", ["", "receivers: {}", "apiVersion: v2\nreceivers: {}", HEAD + "\nmore: 1", "[1]"])
def test_another_document_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_receivers(text, "receivers.yaml")


def test_no_file_is_no_receiver_and_a_named_one_must_be_there(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_PROJECT": str(tmp_path)})
    assert receivers_of(settings, {}) == ()
    with pytest.raises(ConfigurationError):
        receivers_of(settings, {VARIABLE: str(tmp_path / "gone.yaml")})
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "receivers.yaml").write_text(HEAD)
    assert receivers_of(settings, {}) == ()
    (tmp_path / "dags" / "receivers.yaml").write_text(HEAD + "  a: {kind: file, path: /a}")
    assert [one.name for one in receivers_of(settings, {})] == ["a"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (MAX_BYTES + 1), None])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "receivers.yaml"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        receivers_of(Settings.from_environment({}), {VARIABLE: str(path)})
