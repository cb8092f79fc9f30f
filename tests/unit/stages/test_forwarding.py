"""Forwarding: every receiver gets every entry, in order, whatever it or the network does meanwhile."""

from __future__ import annotations

import datetime as dt
import errno
import gc
import json
import os
import re
import shutil
import signal
import socket
import ssl
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.certificates import Authority, Pair
from tests.support.processes import in_fork
from tests.support.receivers import Collector, answer, client_pair, https_collector, syslog_collector

from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog, Entry
from cloakhouse.ledger.audit_event import Event, encode
from cloakhouse.ledger.forwarding import Positions
from cloakhouse.settings import Settings
from cloakhouse.stages import forwarding, forwarding_http, forwarding_tls
from cloakhouse.stages.forwarding import BUSY, Forwarded, forward, waiting
from cloakhouse.stages.forwarding_file import FileSender
from cloakhouse.stages.forwarding_receivers import Receiver
from cloakhouse.stages.forwarding_syslog import element, message

AT = dt.datetime(2026, 11, 22, 15, 0, tzinfo=dt.UTC)
ORIGIN = "cloakhouse/unsigned"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.server()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Settings.from_environment({}).with_home(tmp_path_factory.mktemp("filled"))
    add(made, 5)
    gc.collect()  # an engine that is let go while files are copied takes its -shm file along
    return made.home


@pytest.fixture
def settings(tmp_path: Path, filled: Path) -> Settings:
    shutil.copytree(filled, tmp_path / "home")
    return Settings.from_environment({}).with_home(tmp_path / "home")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr(forwarding_http.HttpSender.__init__, "__defaults__", (pauses.append,))
    for module in (forwarding_tls, forwarding_http, forwarding.SyslogSender.__module__):
        if isinstance(module, str):
            monkeypatch.setattr(f"{module}.ANSWER_TIMEOUT_S", 0.3)
        else:
            monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.3)
    return pauses


def add(settings: Settings, count: int) -> None:
    events = [Event("ann", "read", f"baskets@{n}", count=n, at=AT) for n in range(count)]
    AuditLog(settings.database).record(*events)


def to_file(settings: Settings, **fields: object) -> Receiver:
    return Receiver("archive", "file", path=settings.home / "audit.jsonl", **fields)  # type: ignore[arg-type]


def to_syslog(collector: Collector, authority: Authority, **fields: object) -> Receiver:
    return Receiver("siem", "syslog", host="127.0.0.1", port=collector.port, ca=authority.ca, **fields)  # type: ignore[arg-type]


def to_http(collector: Collector, authority: Authority, **fields: object) -> Receiver:
    url = f"https://127.0.0.1:{collector.port}/audit?a=1"
    return Receiver("collector", "http", url=url, ca=authority.ca, **fields)  # type: ignore[arg-type]


def numbers(lines: Sequence[bytes]) -> list[int]:
    return [json.loads(line)["metadata"]["sequence"] for line in lines]


def test_a_file_gets_every_entry_once_and_goes_on_where_it_stopped(settings: Settings) -> None:
    receiver = to_file(settings, batch=2)
    assert forward(settings, [receiver]) == (Forwarded("archive", 5, 0),)
    add(settings, 2)
    assert forward(settings, [receiver]) == (Forwarded("archive", 2, 0),)
    assert forward(settings, [receiver]) == (Forwarded("archive", 0, 0),)
    assert receiver.path is not None
    assert numbers(receiver.path.read_bytes().splitlines()) == list(range(7))
    assert receiver.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_at_most_so_many_and_the_backlog_is_told(settings: Settings) -> None:
    receiver = to_file(settings, batch=2)
    assert forward(settings, [receiver], most=3) == (Forwarded("archive", 3, 2),)
    assert waiting(settings, [receiver, replace(receiver, name="other")]) == (
        Forwarded("archive", 0, 2),
        Forwarded("other", 0, 5),
    )
    assert forward(settings, [receiver], seconds=-1) == (Forwarded("archive", 0, 2),)
    assert forward(settings, []) == waiting(settings, []) == ()


@pytest.mark.parametrize("torn", [b"", b'{"half', b"x" * 70_000])
def test_a_torn_line_is_taken_away_and_nothing_before_it(settings: Settings, torn: bytes) -> None:
    receiver = to_file(settings)
    assert receiver.path is not None
    receiver.path.write_bytes(b"earlier\n" + torn)
    forward(settings, [receiver])
    lines = receiver.path.read_bytes().splitlines()
    assert lines[0] == b"earlier"
    assert numbers(lines[1:]) == list(range(5))
    receiver.path.write_bytes(torn)
    add(settings, 1)
    forward(settings, [receiver])
    assert numbers(receiver.path.read_bytes().splitlines()) == [5]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "nowhere"])
def test_what_is_no_file_is_trouble_and_the_position_stays(settings: Settings, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path = path / "audit.jsonl"
    receiver = Receiver("archive", "file", path=path)
    (done,) = forward(settings, [receiver, to_file(settings)][:1])
    assert (done.sent, done.backlog, done.trouble) == (0, 5, "forwarding.storage")
    (position,) = Positions(settings.database).all()
    assert (position.next, position.trouble) == (0, "forwarding.storage")


def test_a_full_disk_leaves_whole_lines_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = to_file(settings)
    assert receiver.path is not None
    forward(settings, [receiver], most=2)
    before = receiver.path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        (done,) = forward(settings, [receiver])
    assert (done.sent, done.trouble, done.found) == (0, "forwarding.storage", "no space left")
    assert receiver.path.read_bytes() == before


def test_a_connection_is_cut_when_its_time_is_over() -> None:
    mine, other = socket.socketpair()
    with mine, other, forwarding_tls.bounded(mine, 0.02):
        assert mine.recv(1) == b""


def test_without_an_authority_file_the_systems_authorities_are_trusted() -> None:
    context = forwarding_tls.context_of(Receiver("siem", "syslog"))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_position_that_somebody_else_moved_is_read_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Positions.advance, []

    def moved(self: Positions, receiver: str, begun: int, reached: int, at: dt.datetime | None = None) -> bool:
        calls.append(begun)
        if len(calls) == 1:
            real(self, receiver, begun, 2)
        return real(self, receiver, begun, reached, at)

    monkeypatch.setattr(Positions, "advance", moved)
    assert forward(settings, [to_file(settings, batch=3)])[0].sent == 3
    assert calls == [0, 2]


def test_a_receiver_in_trouble_keeps_no_other_waiting_and_trouble_ends(settings: Settings, tmp_path: Path) -> None:
    broken = Receiver("broken", "file", path=tmp_path / "later" / "audit.jsonl")
    done = forward(settings, [broken, to_file(settings)])
    assert [(one.sent, one.trouble) for one in done] == [(0, "forwarding.storage"), (5, "")]
    begun = next(p for p in Positions(settings.database).all() if p.receiver == "broken")
    forward(settings, [broken])
    assert begun in Positions(settings.database).all()  # the time is when it began
    (tmp_path / "later").mkdir()
    assert forward(settings, [broken]) == (Forwarded("broken", 5, 0),)
    assert all(not position.trouble for position in Positions(settings.database).all())


def test_killed_before_the_position_is_noted_entries_come_twice_and_none_is_missing(settings: Settings) -> None:
    receiver = to_file(settings, batch=2)

    def child() -> None:
        def killed(*_: object) -> bool:
            os.kill(os.getpid(), signal.SIGKILL)
            return False

        Positions.advance = killed  # type: ignore[method-assign, assignment]
        forward(settings, [receiver])

    assert in_fork(child) == -signal.SIGKILL
    forward(settings, [receiver])
    assert receiver.path is not None
    assert numbers(receiver.path.read_bytes().splitlines()) == [0, 1, 0, 1, 2, 3, 4]


def test_killed_in_the_middle_of_a_line_the_line_comes_whole(settings: Settings) -> None:
    receiver = to_file(settings)

    def child() -> None:
        def half(handle: int, content: bytes) -> int:
            real(handle, bytes(content)[: len(content) // 2 + 7])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

        real, os.write = os.write, half  # type: ignore[assignment]
        FileSender(receiver, ORIGIN).send(AuditLog(settings.database).entries())

    assert in_fork(child) == -signal.SIGKILL
    forward(settings, [receiver])
    assert receiver.path is not None
    found = numbers(receiver.path.read_bytes().splitlines())
    assert found[-5:] == list(range(5))
    assert found[:-5] == list(range(len(found) - 5))


def test_somebody_who_sends_already_is_left_to_it(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloakhouse.keys.files import locked

    monkeypatch.setattr(forwarding, "WAIT_S", 0.01)
    with locked(settings.locks / "forward-archive.lock", 1, "a test"):
        (done,) = forward(settings, [to_file(settings)])
    assert (done.sent, done.backlog, done.trouble) == (0, 5, BUSY)
    assert Positions(settings.database).all() == []


@pytest.mark.parametrize("gone", [0, 2])
def test_a_gap_in_the_log_is_never_passed_over(settings: Settings, gone: int) -> None:
    with AuditLog(settings.database).engine.begin() as connection:
        for trigger in connection.execute(sa.text("select name from sqlite_master where type = 'trigger'")).scalars():
            connection.exec_driver_sql(f'drop trigger "{trigger}"')
        connection.execute(sa.delete(db.audit_entry).where(db.audit_entry.c.number == gone))
    (done,) = forward(settings, [to_file(settings)])
    assert (done.sent, done.trouble) == (0, "integrity.audit-log")


def test_syslog_is_framed_over_tls_and_its_message_parses(settings: Settings, authority: Authority, pair: Pair) -> None:
    with syslog_collector(pair) as collector:
        assert forward(settings, [to_syslog(collector, authority)]) == (Forwarded("siem", 5, 0),)
    parts = re.fullmatch(
        rb"<(\d+)>1 (\S+) (\S+) cloakhouse - (\S+) (\[.*?\]\[meta sequenceId=\"\d+\"\]) \xef\xbb\xbf(.*)",
        collector.messages[0],
        re.DOTALL,
    )
    assert parts is not None
    assert parts[1] == b"110"  # 13 * 8 + 6
    assert parts[2] == b"2026-11-22T15:00:00.000000Z"
    assert parts[4] == b"read"
    assert b'cloakhouse@32473 origin="cloakhouse/unsigned" number="0"' in parts[5]
    assert json.loads(parts[6].decode())["metadata"]["uid"] == f"{ORIGIN}:0"
    assert len(collector.messages) == 5


@pytest.mark.parametrize("fault", ["reset", "hang", "silent", "cut"])
def test_syslog_without_a_farewell_is_sent_again(
    settings: Settings, authority: Authority, pair: Pair, fault: str
) -> None:
    with syslog_collector(pair) as collector:
        collector.faults = [fault]
        (done,) = forward(settings, [to_syslog(collector, authority)])
        assert (done.sent, done.backlog, done.trouble) == (0, 5, "forwarding.unconfirmed")
        collector.messages.clear()
        assert forward(settings, [to_syslog(collector, authority)])[0].sent == 5
    assert len(collector.messages) == 5


def test_a_receiver_whose_farewell_is_optional_may_just_end_the_connection(
    settings: Settings, authority: Authority, pair: Pair
) -> None:
    with syslog_collector(pair) as collector:
        collector.faults = ["cut"]
        assert forward(settings, [to_syslog(collector, authority, farewell="optional")])[0].sent == 5


@pytest.mark.parametrize("kind", ["syslog", "http"])
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_certificate_is_shown_and_without_it_nothing_is_confirmed(
    settings: Settings, authority: Authority, pair: Pair, tmp_path: Path, kind: str, newest: ssl.TLSVersion
) -> None:
    mine = client_pair(tmp_path)
    run, made = (syslog_collector, to_syslog) if kind == "syslog" else (https_collector, to_http)
    with run(pair, clients=mine, newest=newest) as collector:
        bare = made(collector, authority)
        refused = forward(settings, [bare])[0]  # under TLS 1.3 the refusal may come after what was sent
        assert refused.trouble in ("forwarding.tls", "forwarding.unreachable", "forwarding.unconfirmed")
        assert refused.sent == 0
        known = replace(bare, certificate=mine.certificate, key=mine.key)
        assert forward(settings, [known]) == (Forwarded(bare.name, 5, 0),)
        assert "Throwaway client" in collector.clients[0]
        wrong = replace(bare, certificate=mine.certificate, key=mine.certificate)
        add(settings, 1)
        assert forward(settings, [wrong])[0].trouble == "forwarding.settings"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_farewell_is_optional_for_who_refused_or_broke_off_before_the_end(
    settings: Settings, authority: Authority, pair: Pair, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    with syslog_collector(pair, clients=client_pair(tmp_path), newest=newest) as collector:
        assert forward(settings, [to_syslog(collector, authority, farewell="optional")])[0].sent == 0
    with syslog_collector(pair, newest=newest) as collector:
        collector.faults = ["reset"]
        assert forward(settings, [to_syslog(collector, authority, farewell="optional")])[0].sent == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_a_receiver_without_tls_1_2_gets_nothing(settings: Settings, authority: Authority, pair: Pair) -> None:
    with syslog_collector(pair, newest=ssl.TLSVersion.TLSv1_1) as collector:
        (done,) = forward(settings, [to_syslog(collector, authority)])
    assert (done.sent, done.trouble) == (0, "forwarding.tls")


@pytest.mark.parametrize("kind", ["syslog", "http"])
@pytest.mark.parametrize(
    ("fault", "code"),
    [("other", "tls"), ("expired", "tls"), ("name", "tls"), ("plain", "tls"), ("nobody", "unreachable")],
)
def test_no_entry_leaves_without_a_verified_receiver(
    settings: Settings, authority: Authority, tmp_path: Path, kind: str, fault: str, code: str
) -> None:
    signer = Authority(tmp_path / "other") if fault == "other" else authority
    names = ("elsewhere.example",) if fault == "name" else ()
    shown = signer.server(*names, stem=f"{kind}-{fault}", expired=fault == "expired")
    run = syslog_collector if kind == "syslog" else https_collector
    with run(shown, plain=fault == "plain") as collector:
        made = (to_syslog if kind == "syslog" else to_http)(collector, authority)
        if fault == "nobody":
            made = replace(made, port=1, url="https://127.0.0.1:1/")
        (done,) = forward(settings, [made])
    assert (done.sent, done.trouble) == (0, f"forwarding.{code}")
    assert collector.messages == []
    assert collector.requests == []


@pytest.mark.parametrize("body", ["lines", "array"])
def test_http_posts_lines_or_an_array_with_the_token(
    settings: Settings, authority: Authority, pair: Pair, tmp_path: Path, body: str
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    token.chmod(0o600)
    with https_collector(pair) as collector:
        receiver = to_http(collector, authority, body=body, batch=3, token_file=token)
        assert forward(settings, [receiver]) == (Forwarded("collector", 5, 0),)
    head, first = collector.requests[0]
    assert head.startswith("POST /audit?a=1 HTTP/1.1")
    assert "Authorization: Bearer s3cret" in head
    found = json.loads(first) if body == "array" else [json.loads(line) for line in first.splitlines()]
    assert [one["metadata"]["sequence"] for one in found] == [0, 1, 2]
    assert len(collector.requests) == 2


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_a_token_that_others_can_read_or_that_is_none_is_not_sent(
    settings: Settings, authority: Authority, pair: Pair, tmp_path: Path, mode: int
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret" if mode == 0o644 else "two\nlines")
    token.chmod(mode)
    with https_collector(pair) as collector:
        (done,) = forward(settings, [to_http(collector, authority, token_file=token)])
        assert done.trouble == "forwarding.settings"
        gone = to_http(collector, authority, token_file=tmp_path / "gone")
        assert forward(settings, [gone])[0].trouble == "forwarding.settings"
    assert collector.requests == []


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_http_that_is_busy_is_tried_again_with_pauses(
    settings: Settings, authority: Authority, pair: Pair, hurried: list[float], status: int
) -> None:
    with https_collector(pair) as collector:
        collector.answers = [answer(status, headers="Retry-After: 7\r\n"), answer(status), answer(204, b"")]
        assert forward(settings, [to_http(collector, authority)]) == (Forwarded("collector", 5, 0),)
    assert hurried[0] == 7
    assert 1 <= hurried[1] <= 1.25
    assert len(collector.requests) == 3


def test_http_that_stays_busy_is_left_for_the_next_call(
    settings: Settings, authority: Authority, pair: Pair, hurried: list[float]
) -> None:
    with https_collector(pair) as collector:
        collector.answers = [answer(503, headers="Retry-After: 9999\r\n")] * 4
        (done,) = forward(settings, [to_http(collector, authority)])
        assert (done.sent, done.backlog, done.trouble) == (0, 5, "forwarding.unavailable")
        assert hurried == [20.0] * 3
        assert forward(settings, [to_http(collector, authority)])[0].sent == 5


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_http_that_refuses_stops_the_receiver_at_once(
    settings: Settings, authority: Authority, pair: Pair, status: int
) -> None:
    with https_collector(pair) as collector:
        collector.answers = [answer(status, headers="Location: https://127.0.0.1/\r\n")]
        (done,) = forward(settings, [to_http(collector, authority)])
    assert (done.sent, done.backlog, done.trouble, done.found) == (0, 5, f"forwarding.refused-{status}", str(status))
    assert len(collector.requests) == 1


def test_http_that_finds_a_batch_too_large_gets_halves_and_one_entry_stops_it(
    settings: Settings, authority: Authority, pair: Pair
) -> None:
    with https_collector(pair) as collector:
        collector.answers = [answer(413), answer(200), answer(200)]
        assert forward(settings, [to_http(collector, authority)])[0].sent == 5
        assert [len(body.splitlines()) for _, body in collector.requests] == [5, 2, 3]
        add(settings, 1)
        collector.answers = [answer(413)]
        assert forward(settings, [to_http(collector, authority)])[0].trouble == "forwarding.refused-413"


@pytest.mark.parametrize("fault", ["reset", "empty", "truncated", "noise"])
def test_http_whose_answer_does_not_come_whole_is_asked_again(
    settings: Settings, authority: Authority, pair: Pair, fault: str
) -> None:
    with https_collector(pair) as collector:
        if fault in ("reset", "empty"):
            collector.faults = [fault]
        else:
            collector.answers = [answer(200, b"{}", length=50) if fault == "truncated" else b"noise\r\n\r\n"]
        assert forward(settings, [to_http(collector, authority)]) == (Forwarded("collector", 5, 0),)


def test_http_that_hangs_is_cut_off(
    settings: Settings, authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding_http, "ATTEMPTS", 1)
    with https_collector(pair) as collector:
        collector.faults = ["hang"]
        assert forward(settings, [to_http(collector, authority)])[0].trouble == "forwarding.unreachable"


def test_severities_of_syslog_follow_decision_and_alert() -> None:
    receiver = Receiver("siem", "syslog", enterprise=99)
    events = [
        Event("ann", "read", "x", decision="refused", at=AT),
        Event("ann", "read", "x", decision="failed", at=AT),
        Event("ann", "alert", "x", facts={"severity": "critical"}, at=AT),
        Event("ann", "lift hold", "x", at=AT),
    ]
    found = [message(Entry(2**31, e, encode(e)), receiver, "o", "-") for e in events]
    assert [int(re.match(rb"<(\d+)>", one)[1]) % 8 for one in found] == [4, 3, 1, 6]  # type: ignore[index]
    assert b" lift_hold [cloakhouse@99 " in found[3]
    assert b"sequenceId" not in found[0]  # at most 2^31 - 1 (RFC 5424, section 7.3.1)


def test_values_of_structured_data_are_escaped() -> None:
    assert element("a", {"b": 'c"]\\'}) == '[a b="c\\"\\]\\\\"]'


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
