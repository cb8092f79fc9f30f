"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def name(longest: int | None = None) -> sa.types.TypeEngine[str]:
    """Return the type of names: ordered by code point everywhere."""
    kind = sa.Text if longest is None else sa.String
    return kind(longest).with_variant(kind(longest, collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "access_use",
        sa.Column("principal", name(), nullable=False),
        sa.Column("key", name(200), nullable=False),
        sa.Column("purpose", name(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", "purpose", name=op.f("pk_access_use")),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", name(), nullable=False),
        sa.Column("action", name(32), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("purpose", name(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decision", name(16), nullable=False),
        sa.Column("code", name(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_actor"), "audit_event", ["actor"], unique=False)
    op.create_table(
        "contract_version",
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("version", name(32), nullable=False),
        sa.Column("digest", name(64), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "version", name=op.f("pk_contract_version")),
    )
    op.create_table(
        "dataset_head",
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("reserved", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_dataset_head")),
    )
    op.create_table(
        "dataset_version",
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("fingerprint", name(64), nullable=False),
        sa.Column("zone", name(32), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("manifest_path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", name(64), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", name(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("dataset", "version", name=op.f("pk_dataset_version")),
        sa.UniqueConstraint("dataset", "fingerprint", name=op.f("uq_dataset_version_dataset_fingerprint")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("partition", name(10), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sha256", name(64), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("manifest_path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", name(64), nullable=False),
        sa.Column("landed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("dataset", "partition", "revision", name=op.f("uq_delivery_dataset_partition_revision")),
    )
    op.create_table(
        "key_fingerprint",
        sa.Column("name", name(200), nullable=False),
        sa.Column("fingerprint", name(64), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_key_fingerprint")),
    )
    op.create_table(
        "privacy_entry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("spend_id", name(200), nullable=False),
        sa.Column("kind", name(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_entry")),
        sa.UniqueConstraint("spend_id", "kind", name=op.f("uq_privacy_entry_spend_id_kind")),
    )
    op.create_table(
        "privacy_spend",
        sa.Column("spend_id", name(200), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("unit", name(), nullable=False),
        sa.Column("consumer", name(), nullable=False),
        sa.Column("rho", sa.BigInteger(), nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", name(16), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("spend_id", "dataset", "unit", "consumer", name=op.f("pk_privacy_spend")),
    )
    op.create_index(
        op.f("ix_privacy_spend_dataset_unit_consumer"), "privacy_spend", ["dataset", "unit", "consumer"], unique=False
    )
    op.create_table(
        "protected_partition",
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("partition", name(10), nullable=False),
        sa.Column("delivery_sha256", name(64), nullable=False),
        sa.Column("contract_version", name(32), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("validated", sa.Boolean(), nullable=False),
        sa.Column("manifest_path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", name(64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "partition", name=op.f("pk_protected_partition")),
    )
    op.create_table(
        "version_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("action", name(16), nullable=False),
        sa.Column("actor", name(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", name(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_event")),
    )
    op.create_index(op.f("ix_version_event_dataset"), "version_event", ["dataset"], unique=False)
    op.create_table(
        "version_hold",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_hold")),
    )
    op.create_index(op.f("ix_version_hold_dataset"), "version_hold", ["dataset"], unique=False)
    op.create_table(
        "version_tag",
        sa.Column("dataset", name(63), nullable=False),
        sa.Column("tag", name(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tagged_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("dataset", "tag", "version", name=op.f("pk_version_tag")),
    )
