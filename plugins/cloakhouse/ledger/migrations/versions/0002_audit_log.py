"""The audit log as a Merkle tree, with its checkpoints; approvals, alerts, and the positions of forwarding.

The events that stood in `audit_event` are the log's first entries, in their order.

Triggers refuse to change or remove an entry or a checkpoint, to put another in its place (REPLACE, ON CONFLICT DO
UPDATE), and on SQLite to leave a number out: an accident, or a statement typed in a hurry, does no harm. Whoever owns
the file or the tables can drop the triggers; that is what checkpoints kept elsewhere are for.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from cloakhouse.ledger.audit_event import LONGEST_TEXT, Event, encode
from cloakhouse.ledger.merkle import Frontier, leaf_hash

revision = "0002"
down_revision = "0001"

PAGE = 1_000  # rows
APPEND_ONLY = ("audit_entry", "audit_checkpoint")
_NEXT = {
    "audit_entry": "NEW.number IS NOT (SELECT coalesce(max(number) + 1, 0) FROM audit_entry)",
    "audit_checkpoint": "EXISTS (SELECT 1 FROM audit_checkpoint WHERE size = NEW.size)",
}
_REFUSE = """
CREATE FUNCTION cloakhouse_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only added to', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$
"""


def name(longest: int | None = None) -> sa.types.TypeEngine[str]:
    """Return the type of names: ordered by code point everywhere."""
    kind = sa.Text if longest is None else sa.String
    return kind(longest).with_variant(kind(longest, collation="C"), "postgresql")


def number() -> sa.types.TypeEngine[int]:
    """Return the type of whole numbers that are keys."""
    return sa.BigInteger().with_variant(sa.Integer, "sqlite")


def moment(label: str) -> sa.Column[dt.datetime]:
    """Return a column of times."""
    return sa.Column(label, sa.DateTime(timezone=True), nullable=False)


def upgrade() -> None:
    """Make the tables, and move the events."""
    entries = op.create_table(
        "audit_entry",
        sa.Column("number", number(), autoincrement=False, nullable=False),
        moment("at"),
        sa.Column("action", name(32), nullable=False),
        sa.Column("actor", name(), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("decision", name(16), nullable=False),
        sa.Column("run", name(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_entry")),
    )
    op.create_index(op.f("ix_audit_entry_at_decision"), "audit_entry", ["at", "decision"])
    for column in ("actor", "action", "dataset", "decision", "run"):
        op.create_index(op.f(f"ix_audit_entry_{column}_number"), "audit_entry", [column, "number"])
    op.create_table(
        "audit_checkpoint",
        sa.Column("size", number(), autoincrement=False, nullable=False),
        moment("at"),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("evidence_sha256", name(64), nullable=False),
        sa.Column("decision", name(16), nullable=False),
        sa.Column("approver", name(), nullable=False),
        sa.Column("requester", name(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        moment("at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(op.f("ix_approval_evidence_sha256"), "approval", ["evidence_sha256"])
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule", name(63), nullable=False),
        sa.Column("subject", name(200), nullable=False),
        moment("since"),
        moment("at"),
        sa.Column("severity", name(16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.UniqueConstraint("rule", "subject", "since", name=op.f("uq_alert_rule_subject_since")),
    )
    op.create_table(
        "alert_acknowledgement",
        sa.Column("alert", sa.Integer(), autoincrement=False, nullable=False),
        moment("at"),
        sa.Column("actor", name(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("alert", name=op.f("pk_alert_acknowledgement")),
    )
    op.create_table(
        "forwarding",
        sa.Column("receiver", name(200), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        moment("at"),
        sa.Column("trouble", name(200), nullable=False),
        sa.PrimaryKeyConstraint("receiver", name=op.f("pk_forwarding")),
    )
    _move(entries)
    op.drop_index(op.f("ix_audit_event_actor"), table_name="audit_event")
    op.drop_table("audit_event")
    _refuse_changes()


def _refuse_changes() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(_REFUSE)
    for table in APPEND_ONLY:
        if not sqlite:
            for when, each in (("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")):
                name = f"{table}_no_{when.split()[0].lower()}"
                does = f"FOR EACH {each} EXECUTE FUNCTION cloakhouse_append_only()"
                op.execute(f"CREATE TRIGGER {name} BEFORE {when} ON {table} {does}")
            continue
        no = f"BEGIN SELECT RAISE(ABORT, '{table} is only added to'); END"
        for act in ("update", "delete"):
            op.execute(f"CREATE TRIGGER {table}_no_{act} BEFORE {act.upper()} ON {table} {no}")
        op.execute(f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {_NEXT[table]} {no}")


def _move(entries: sa.Table) -> None:
    """Make the events of the former table the first entries of the log, page by page: memory doesn't grow with them."""
    frontier, connection = Frontier(), op.get_bind()
    columns = ("at", "actor", "action", "object", "purpose", "reason", "decision", "code", "count")
    former = sa.table("audit_event", sa.column("id"), *(sa.column(one) for one in columns))
    typed = former.c.at.cast(sa.DateTime(timezone=True)) if connection.dialect.name == "postgresql" else former.c.at
    wanted = sa.select(former.c.id, typed.label("at"), *(former.c[one] for one in columns[1:])).order_by(former.c.id)
    after = -(2**63)
    while page := connection.execute(wanted.where(former.c.id > after).limit(PAGE)).mappings().all():
        after = page[-1]["id"]
        connection.execute(sa.insert(entries), [_entry(dict(row), frontier) for row in page])


def _entry(former: Mapping[str, Any], frontier: Frontier) -> dict[str, Any]:
    """Return the row of the next entry; a text that an event can't hold as it was is escaped, and cut."""
    row: dict[str, Any] = {name: value for name, value in former.items() if name != "id"}
    row |= {name: _held(value) for name, value in row.items() if isinstance(value, str)}
    at = former["at"] if isinstance(former["at"], dt.datetime) else dt.datetime.fromisoformat(former["at"])
    event = Event(**{**row, "at": at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at.astimezone(dt.UTC)})
    content = encode(event)
    kept = {"content": content, "hashes": frontier.add(leaf_hash(content)), "number": frontier.size - 1}
    same = {one: getattr(event, one) for one in ("at", "action", "actor", "dataset", "decision", "run", "count")}
    return {**same, **kept}


def _held(text: str) -> str:
    whole = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
    return whole[:LONGEST_TEXT]
