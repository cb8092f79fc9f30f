"""The control database on a real PostgreSQL: outages, refusals, bounded waits, TLS, roles."""

from __future__ import annotations

import contextlib
import secrets
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.support import databases
from tests.support.acting import by
from tests.support.certificates import Authority
from tests.support.crash import small_disk
from tests.support.databases import Postgres
from tests.support.processes import in_fork
from tests.support.tls_in_front import tls_in_front

from cloakhouse.errors import CloakhouseError, NotFound, StorageError
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.budget import Account, Allowance, PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.database_engine import engine_of, let_go
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import HEAD
from cloakhouse.ledger.standing import ONLY_ADDED_TO, bring_up, standing
from cloakhouse.ledger.writing import ATTEMPTS, alone, retried, writing

pytestmark = pytest.mark.stores
CHARGES = {Account("a", "household", "x"): Allowance(1.0, 0.0, "never")}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with databases.fresh("postgresql", tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of this module's own, to stop and to start."""
    folder = databases.folder_of_server()
    server = Postgres(folder)
    yield server
    server.stop()
    databases.remove(folder)


def refused(call: Callable[[], Any], found: str, code: str = "storage.database") -> StorageError:
    with pytest.raises(StorageError) as refusal:
        call()
    assert refusal.value.code == code
    assert refusal.value.found.startswith(found), refusal.value.found
    assert refusal.value.where == "the control database"
    return refusal.value


def test_a_server_that_stops_is_told_at_once_and_found_again_when_it_is_back(mortal: Postgres) -> None:
    catalogue = Catalogue(mortal.url(mortal.create(template=mortal.template)))
    catalogue.record_key_fingerprint("root", "f" * 16)
    for how in (signal.SIGQUIT, signal.SIGINT):
        mortal.stop(how)
        started = time.monotonic()
        refused(lambda: catalogue.key_fingerprint("root"), "no answer")
        refused(lambda: catalogue.record_key_fingerprint("other", "e" * 16), "no answer")
        assert time.monotonic() - started < 5
        mortal.start()
        assert catalogue.key_fingerprint("root") == "f" * 16
        assert catalogue.key_fingerprint("other") is None


def test_a_restart_between_two_uses_goes_unnoticed(mortal: Postgres) -> None:
    ledger = PrivacyLedger(mortal.url(mortal.create(template=mortal.template)))
    ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by())
    mortal.stop(signal.SIGINT)
    mortal.start()
    assert ledger.commit("a", by()).state == "committed"


def test_a_server_that_dies_inside_a_transaction_keeps_nothing_of_it(mortal: Postgres) -> None:
    url = mortal.url(mortal.create(template=mortal.template))
    ledger = PrivacyLedger(url)

    def dying(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO privacy_entry" in statement:
            mortal.stop()

    sa.event.listen(ledger._engine, "after_cursor_execute", dying)
    refused(lambda: ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by()), "no answer")
    sa.event.remove(ledger._engine, "after_cursor_execute", dying)
    mortal.start()
    assert ledger.spends() == [] == ledger.replay()
    assert ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by()).state == "reserved"


def test_nobody_at_the_port(mortal: Postgres) -> None:
    mortal.stop(signal.SIGINT)
    try:
        for url in (mortal.url(), mortal.url(tcp=True)):
            error = refused(lambda url=url: db.open_database(url), "no answer")  # type: ignore[misc]
            assert mortal.password not in error.explain()
    finally:
        mortal.start()


def test_refusals_to_connect_have_a_reason_and_no_password(mortal: Postgres) -> None:
    name = mortal.create(template=mortal.template)
    assert Catalogue(mortal.url(name, tcp=True)).deliveries("x") == {}
    for url, found in (
        (mortal.url(name, tcp=True, password="geheim"), "it refused the user or the password"),
        (mortal.url(name, tcp=True, user="nobody_known"), "it refused the user or the password"),
        (mortal.url(name, user="nobody_known"), "it refused the user or the password"),
        (mortal.url("nosuch", tcp=True), "no database of that name"),
        (mortal.url(name, tcp=True) + "?sslmode=require", "no TLS connection"),
        (mortal.url(name, tcp=True) + "?sslmode=verify-full&sslrootcert=/nosuch.pem", "no TLS connection"),
    ):
        error = refused(lambda url=url: db.open_database(url), found)  # type: ignore[misc]
        assert not {"geheim", mortal.password} & set(error.explain().replace("'", " ").split())


def test_a_full_disk_is_told_and_what_was_recorded_stands(mortal: Postgres) -> None:
    name = mortal.create(template=mortal.template)
    log = AuditLog(mortal.url(name))
    log.record(Event("ann", "link", "x", "p", "kept", 1))
    place = mortal.folder / "small"
    with small_disk(place, 4 << 20) as mounted:
        if not mounted:
            pytest.skip("no file system may be mounted here")
        databases.give(place)
        let_go()
        mortal.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        mortal.execute("ALTER TABLE audit_entry SET TABLESPACE small", name)

        def fill() -> None:
            for _ in range(2_000):
                facts = {f"f{number}": f"Zwetsch{secrets.token_hex(490)}" for number in range(32)}
                log.record(Event("ann", "link", "x", "p", "filling", 1, facts=facts))

        error = refused(fill, "no space left on its disk (53100)")
        assert "Zwetsch" not in error.explain()
        assert "free space" in error.remedy
        assert log.events()[0].reason == "kept"
        mortal.drop(name)
        mortal.execute("DROP TABLESPACE small")


def test_waits_for_others_end(url: str) -> None:
    quick = url + "&options=-c%20lock_timeout%3D200ms"
    ledger, log = PrivacyLedger(quick), AuditLog(quick)
    held = PrivacyLedger(url)._engine
    with writing(held, db.privacy_spend):
        refused(
            lambda: ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by()), "another process held it for too long (55P03)"
        )
        assert ledger.spends() == []  # readers don't wait
    with alone(held, "audit log"):
        refused(lambda: log.record(Event("ann", "link", "x", "p", "r", 1)), "another process held it")
        assert log.events() == []
    ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by())


def test_sessions_are_bounded_and_in_utc(url: str) -> None:
    with db.open_database(url).connect() as connection:
        settings = dict(connection.exec_driver_sql("SELECT name, setting FROM pg_settings").all())  # type: ignore[arg-type]
        assert {
            name: settings[name]
            for name in (
                *("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"),
                *("TimeZone", "application_name", "transaction_isolation", "synchronous_commit"),
            )
        } == {
            "statement_timeout": "60000",
            "lock_timeout": "30000",
            "idle_in_transaction_session_timeout": "120000",
            "TimeZone": "UTC",
            "synchronous_commit": "on",
            "application_name": "cloakhouse",
            "transaction_isolation": "read committed",
        }
    with psycopg.connect(url) as session:
        assert session.execute("SHOW timezone").fetchone() == ("Asia/Tokyo",)  # what the server would have given


def test_names_are_ordered_by_code_point_whatever_the_servers_locale(url: str) -> None:
    with db.open_database(url).connect() as connection:
        columns = sa.inspect(connection)
        for table in db.METADATA.sorted_tables:
            found = {c["name"]: c["type"] for c in columns.get_columns(table.name)}
            for column in table.columns:
                if isinstance(column.type, sa.String) and "postgresql" in column.type._variant_mapping:
                    assert found[column.name].collation == "C", column
                else:
                    assert not column.primary_key or isinstance(column.type, sa.Integer | sa.LargeBinary), column


def test_a_statement_that_takes_too_long_is_ended(url: str) -> None:
    engine = db.open_database(url + "&options=-c%20statement_timeout%3D100ms")

    def slow() -> None:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_sleep(20)"))

    refused(slow, "a statement that took too long (57014)")


def test_opening_again_takes_no_new_connection(url: str) -> None:
    first = db.open_database(url)
    assert all(db.open_database(url) is first for _ in range(5))
    name = sa.make_url(url).database
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'"
    assert databases.shared().execute(query) == [(1,)]
    for number in range(6):
        engine_of(database_url(f"{url}&application_name=other{number}"))
    assert db.open_database(url) is not first  # four are kept
    with first.connect() as connection:  # and one that was let go still works
        assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_transaction_that_the_server_undoes_is_tried_again(url: str) -> None:
    engine, tries = db.open_database(url), []

    @retried
    def work(until: int) -> int:
        with engine.begin() as connection:
            tries.append(1)
            connection.execute(sa.insert(db.key_fingerprint).values(name=f"n{until}", **FINGERPRINT))
            if len(tries) < until:
                connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'Zwetsch' USING ERRCODE = '40001'; END $$")
        return len(tries)

    assert work(3) == 3
    tries.clear()
    error = refused(lambda: work(100), "other writers that changed the same rows", "storage.conflict")
    assert len(tries) == ATTEMPTS
    assert error.retryable
    assert Catalogue(url).key_fingerprint("n3") == "f" * 16
    assert Catalogue(url).key_fingerprint("n100") is None


FINGERPRINT = {"fingerprint": "f" * 16, "recorded_at": sa.func.now()}


def test_two_that_wait_for_each_other_both_come_through(url: str) -> None:
    engine, meet = db.open_database(url), threading.Barrier(2)
    both = (db.delivery, db.contract_version)
    done: list[int] = []

    @retried
    def work(number: int) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL deadlock_timeout = '50ms'")
            for table in both if number else both[::-1]:
                connection.exec_driver_sql(f"LOCK TABLE {table.name}")
                with contextlib.suppress(threading.BrokenBarrierError):
                    meet.wait(1)
                meet.abort()
        done.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1]


def test_a_broken_constraint_tells_no_value(url: str) -> None:
    engine = db.open_database(url)

    def twice() -> None:
        with engine.begin() as connection:
            for _ in range(2):
                connection.execute(sa.insert(db.key_fingerprint).values(name="Zwetsch", **FINGERPRINT))

    with pytest.raises(sa.exc.IntegrityError) as fault:
        twice()
    assert "Zwetsch" not in str(fault.value)
    assert "23505" in str(fault.value)
    refused(lambda: Catalogue(url).record_key_fingerprint("Zwetsch" * 100, "x"), "it refused (22001)")


def test_a_forked_child_has_connections_of_its_own(url: str) -> None:
    catalogue, numbers = Catalogue(url), "SELECT pg_backend_pid()"
    with catalogue._engine.connect() as connection:
        parents = connection.exec_driver_sql(numbers).scalar_one()

    def child() -> None:
        with catalogue._engine.connect() as connection:
            assert connection.exec_driver_sql(numbers).scalar_one() != parents
        Catalogue(url).record_key_fingerprint("child", "f" * 16)
        let_go()

    assert [in_fork(child) for _ in range(3)] == [0, 0, 0]
    with catalogue._engine.connect() as connection:
        assert connection.exec_driver_sql(numbers).scalar_one() == parents
    assert catalogue.key_fingerprint("child") == "f" * 16


def test_over_tls_only_the_right_certificate_will_do(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`db.example.test` is another machine as far as its name goes; hostaddr brings it here."""
    right, wrong = Authority(tmp_path / "right"), Authority(tmp_path / "wrong")
    name, server = sa.make_url(url).database, databases.shared()
    behind = server.folder / f".s.PGSQL.{server.port}"
    theirs = f"postgresql://postgres@db.example.test/{name}?hostaddr=127.0.0.1"

    def opened(port: int, ca: Path) -> str:
        found = standing(f"{theirs}&port={port}&sslrootcert={ca}")
        assert (found.kind, found.place, found.state) == ("PostgreSQL", "db.example.test", "current")
        return found.protocol

    with tls_in_front(behind, right.server("db.example.test")) as port:
        assert opened(port, right.ca) == "TLSv1.3"
        refused(lambda: opened(port, wrong.ca), "no TLS connection")
        refused(lambda: opened(port, tmp_path / "none.pem"), "no TLS connection")
    with tls_in_front(behind, right.server("other.example.test")) as port:
        refused(lambda: opened(port, right.ca), "no TLS connection")
    with tls_in_front(behind, right.server("db.example.test", expired=True)) as port:
        refused(lambda: opened(port, right.ca), "no TLS connection")
    with tls_in_front(behind, right.server("db.example.test"), ssl.TLSVersion.TLSv1_2) as port:
        refused(lambda: opened(port, right.ca), "no TLS connection")
    refused(lambda: opened(server.port, right.ca), "no TLS connection")  # plain


def test_the_platforms_role_may_do_its_work_and_no_more(mortal: Postgres) -> None:
    owner = mortal.url(mortal.create())
    for unknown in ("platform", 'x"; DROP TABLE delivery'):
        with pytest.raises(NotFound):
            bring_up(owner, unknown)
    assert standing(owner).state == "empty"
    mortal.execute("CREATE ROLE platform LOGIN")
    assert bring_up(owner, "platform") is None
    with sa.create_engine(owner.replace("postgresql:", "postgresql+psycopg:", 1)).begin() as connection:
        connection.exec_driver_sql("GRANT UPDATE ON key_fingerprint TO platform")
    assert bring_up(owner, "platform") == HEAD
    url = owner.replace("postgres@", "platform@")
    catalogue, ledger, log = Catalogue(url), PrivacyLedger(url), AuditLog(url)
    catalogue.record_key_fingerprint("root", "f" * 16)
    ledger.reserve("a", CHARGES, 0.5, 0.0, "x", by())
    ledger.commit("a", by())
    log.record(Event("ann", "link", "x", "p", "r", 1))
    assert (len(ledger.replay()), len(log.events())) == (1, 3)
    names = {table.name for table in ONLY_ADDED_TO}
    assert {"key_fingerprint", "version_event", "audit_entry", "audit_checkpoint"} < names
    forbidden = [f"{do} {table.name}" for table in ONLY_ADDED_TO for do in ("DELETE FROM", "TRUNCATE", "DROP TABLE")]
    forbidden.append("UPDATE key_fingerprint SET fingerprint = 'another key'")
    for statement in (*forbidden, "CREATE TABLE public.mine (id int)", "UPDATE alembic_version SET version_num = '9'"):

        def run(statement: str = statement) -> None:
            with catalogue._engine.begin() as connection:
                connection.exec_driver_sql(statement)

        refused(run, "the role of the URL may not do this (42501)")


def test_reading_without_permission_is_told_as_such(mortal: Postgres) -> None:
    owner = mortal.url(mortal.create(template=mortal.template))
    with contextlib.suppress(psycopg.errors.DuplicateObject):
        mortal.execute("CREATE ROLE stranger LOGIN")
    error = refused(lambda: Catalogue(owner.replace("postgres@", "stranger@")), "the role of the URL may not do this")
    assert "--grant-to" in error.remedy
    assert isinstance(error, CloakhouseError)
