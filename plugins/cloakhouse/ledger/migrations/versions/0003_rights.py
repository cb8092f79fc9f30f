"""What the rights of persons take: consents, erasures, tombstones and holds by rights token; what expired, and when."""

import datetime as dt

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def name(longest: int | None = None) -> sa.types.TypeEngine[str]:
    """Return the type of names: ordered by code point everywhere."""
    kind = sa.Text if longest is None else sa.String
    return kind(longest).with_variant(kind(longest, collation="C"), "postgresql")


def moment(label: str, *, known: bool = True) -> sa.Column[dt.datetime]:
    """Return a column of times; not `known`: there may be none."""
    return sa.Column(label, sa.DateTime(timezone=True), nullable=not known)


def person() -> sa.Column[bytes]:
    """Return the column of rights tokens."""
    return sa.Column("subject", sa.LargeBinary(16), nullable=False)


def upgrade() -> None:
    """Make the tables, and the columns of deliveries and partitions."""
    op.add_column("delivery", moment("expired_at", known=False))
    op.add_column("protected_partition", sa.Column("withheld", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("protected_partition", sa.Column("rights", name(64), nullable=False, server_default=sa.text("''")))
    op.add_column("protected_partition", moment("expired_at", known=False))
    _consents()
    _erasures()


def _consents() -> None:
    op.create_table(
        "consent_record",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        person(),
        sa.Column("purpose", name(32), nullable=False),
        sa.Column("choice", name(16), nullable=False),
        sa.Column("jurisdiction", name(16), nullable=False),
        sa.Column("policy", name(63), nullable=False),
        sa.Column("source", name(63), nullable=False),
        moment("chosen_at"),
        moment("recorded_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_record")),
        sa.UniqueConstraint(
            "subject", "purpose", "source", "chosen_at", name=op.f("uq_consent_record_subject_purpose_source_chosen_at")
        ),
    )
    op.create_index(op.f("ix_consent_record_purpose_recorded_at"), "consent_record", ["purpose", "recorded_at"])
    op.create_table(
        "consent_snapshot",
        sa.Column("sha256", name(64), nullable=False),
        sa.Column("purpose", name(32), nullable=False),
        moment("as_of"),
        sa.Column("subjects", sa.BigInteger(), nullable=False),
        sa.Column("allowed", sa.BigInteger(), nullable=False),
        sa.Column("manifest_path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", name(64), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_consent_snapshot")),
    )
    op.create_index(op.f("ix_consent_snapshot_purpose_as_of"), "consent_snapshot", ["purpose", "as_of"])


def _erasures() -> None:
    op.create_table(
        "tombstone",
        person(),
        sa.Column("batch", name(64), nullable=False),
        moment("at"),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_tombstone")),
    )
    op.create_index(op.f("ix_tombstone_batch"), "tombstone", ["batch"])
    op.create_table(
        "subject_hold",
        sa.Column("id", sa.Integer(), nullable=False),
        person(),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", name(), nullable=False),
        moment("placed_at"),
        moment("lifted_at", known=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subject_hold")),
    )
    op.create_index(op.f("ix_subject_hold_subject"), "subject_hold", ["subject"])
    op.create_table(
        "erasure",
        sa.Column("batch", name(64), nullable=False),
        sa.Column("state", name(16), nullable=False),
        sa.Column("actor", name(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("subjects", sa.BigInteger(), nullable=False),
        sa.Column("request_path", sa.Text(), nullable=False),
        sa.Column("request_sha256", name(64), nullable=False),
        moment("requested_at"),
        moment("ended_at", known=False),
        sa.Column("certificate_path", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("certificate_sha256", name(64), nullable=False, server_default=sa.text("''")),
        sa.PrimaryKeyConstraint("batch", name=op.f("pk_erasure")),
    )
    op.create_table(
        "erasure_step",
        sa.Column("batch", name(64), nullable=False),
        sa.Column("step", name(200), nullable=False),
        moment("at"),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("batch", "step", name=op.f("pk_erasure_step")),
    )
