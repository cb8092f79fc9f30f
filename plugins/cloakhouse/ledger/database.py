"""Tables of the control database, and how it is opened.

A change of a table here is a step in `migrations/versions`, too, and the newest one's number in `revisions`.
"""

from __future__ import annotations

import sqlalchemy as sa

from cloakhouse.ledger.database_engine import engine_of
from cloakhouse.ledger.database_url import database_url
from cloakhouse.ledger.revisions import check

_NAMES = {  # of constraints and indexes, the same everywhere, so that a later step can change them
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}
METADATA = sa.MetaData(naming_convention=_NAMES)


def _name(longest: int | None = None) -> sa.types.TypeEngine[str]:
    """Return the type of names: PostgreSQL checks the length, and orders by code point as SQLite does.

    With a server's locale their order would differ, and indexes would break when its C library is upgraded.
    """
    kind = sa.Text if longest is None else sa.String
    return kind(longest).with_variant(kind(longest, collation="C"), "postgresql")


contract_version = sa.Table(
    "contract_version",
    METADATA,
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("version", _name(32), primary_key=True),
    sa.Column("digest", _name(64), nullable=False),
    sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
)

delivery = sa.Table(
    "delivery",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", _name(63), nullable=False),
    sa.Column("partition", _name(10), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("sha256", _name(64), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", _name(64), nullable=False),
    sa.Column("landed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expired_at", sa.DateTime(timezone=True)),  # its file is gone; that it was landed stays known
    sa.UniqueConstraint("dataset", "partition", "revision"),
)

protected_partition = sa.Table(
    "protected_partition",
    METADATA,
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("partition", _name(10), primary_key=True),
    sa.Column("delivery_sha256", _name(64), nullable=False),
    sa.Column("contract_version", _name(32), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("validated", sa.Boolean, nullable=False, default=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", _name(64), nullable=False),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("withheld", sa.BigInteger, nullable=False, server_default="0"),  # rows of persons who don't allow the use
    sa.Column(
        "rights", _name(64), nullable=False, server_default=sa.text("''")
    ),  # what consents and erasures it was made under
    sa.Column("expired_at", sa.DateTime(timezone=True)),  # its files are gone; it is not made again
)

dataset_version = sa.Table(
    "dataset_version",
    METADATA,
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("fingerprint", _name(64), nullable=False),
    sa.Column("zone", _name(32), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", _name(64), nullable=False),
    sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("state", _name(16), nullable=False, default="published"),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("changed_at", sa.DateTime(timezone=True)),
    sa.UniqueConstraint("dataset", "fingerprint"),
)

dataset_head = sa.Table(  # which version a bare name stands for, and the highest number that was ever given
    "dataset_head",
    METADATA,
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("version", sa.Integer),
    sa.Column("reserved", sa.Integer, nullable=False),
)

version_tag = sa.Table(
    "version_tag",
    METADATA,
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("tag", _name(63), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("tagged_at", sa.DateTime(timezone=True), nullable=False),
)

version_hold = sa.Table(
    "version_hold",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", _name(63), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("lifted_at", sa.DateTime(timezone=True)),
)

version_event = sa.Table(  # only ever added to
    "version_event",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("dataset", _name(63), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("action", _name(16), nullable=False),
    sa.Column("actor", _name(), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", _name(200), nullable=False, default=""),
)

access_use = sa.Table(
    "access_use",
    METADATA,
    sa.Column("principal", _name(), primary_key=True),
    sa.Column("key", _name(200), primary_key=True),
    sa.Column("purpose", _name(), primary_key=True),
    sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("uses", sa.BigInteger, nullable=False),
)

key_fingerprint = sa.Table(
    "key_fingerprint",
    METADATA,
    sa.Column("name", _name(200), primary_key=True),
    sa.Column("fingerprint", _name(64), nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
)

audit_entry = sa.Table(  # only ever added to; see cloakhouse.ledger.audit
    "audit_entry",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("action", _name(32), nullable=False),
    sa.Column("actor", _name(), nullable=False),
    sa.Column("dataset", _name(63), nullable=False),
    sa.Column("decision", _name(16), nullable=False),
    sa.Column("run", _name(), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),  # what is hashed
    sa.Column("hashes", sa.LargeBinary, nullable=False),  # the leaf's, and those of the nodes that it completes
    sa.Index(None, "at", "decision"),
    sa.Index(None, "actor", "number"),
    sa.Index(None, "action", "number"),
    sa.Index(None, "dataset", "number"),
    sa.Index(None, "decision", "number"),
    sa.Index(None, "run", "number"),
)

audit_checkpoint = sa.Table(  # only ever added to
    "audit_checkpoint",
    METADATA,
    sa.Column("size", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

approval = sa.Table(  # only ever added to: what a person decided over evidence
    "approval",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("dataset", _name(63), nullable=False),
    sa.Column("evidence_sha256", _name(64), nullable=False, index=True),
    sa.Column("decision", _name(16), nullable=False),
    sa.Column("approver", _name(), nullable=False),
    sa.Column("requester", _name(), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("entry", sa.BigInteger, nullable=False),  # the number of its event in the audit log
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)

alert = sa.Table(  # only ever added to
    "alert",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("rule", _name(63), nullable=False),
    sa.Column("subject", _name(200), nullable=False),  # who or what it is about
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),  # begin of what it is about: one alert for each
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("severity", _name(16), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("rule", "subject", "since"),
)

alert_acknowledgement = sa.Table(  # only ever added to
    "alert_acknowledgement",
    METADATA,
    sa.Column("alert", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("actor", _name(), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
)

forwarding = sa.Table(  # how far each receiver of the audit log has got
    "forwarding",
    METADATA,
    sa.Column("receiver", _name(200), primary_key=True),
    sa.Column("next", sa.BigInteger, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("trouble", _name(200), nullable=False, default=""),
)

privacy_entry = sa.Table(  # only ever added to
    "privacy_entry",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("spend_id", _name(200), nullable=False),
    sa.Column("kind", _name(16), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.UniqueConstraint("spend_id", "kind"),
)

privacy_spend = sa.Table(  # what the entries come to, by spend and account
    "privacy_spend",
    METADATA,
    sa.Column("spend_id", _name(200), primary_key=True),
    sa.Column("dataset", _name(63), primary_key=True),
    sa.Column("unit", _name(), primary_key=True),
    sa.Column("consumer", _name(), primary_key=True),
    sa.Column("rho", sa.BigInteger, nullable=False),  # billionths
    sa.Column("delta", sa.BigInteger, nullable=False),  # 10^-18
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("state", _name(16), nullable=False),
    sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index(None, "dataset", "unit", "consumer"),
)


consent_record = sa.Table(  # a person's choices, by rights token; added to, and removed by an erasure
    "consent_record",
    METADATA,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("subject", sa.LargeBinary(16), nullable=False),
    sa.Column("purpose", _name(32), nullable=False),
    sa.Column("choice", _name(16), nullable=False),  # granted, refused
    sa.Column("jurisdiction", _name(16), nullable=False),
    sa.Column("policy", _name(63), nullable=False),
    sa.Column("source", _name(63), nullable=False),
    sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    sa.UniqueConstraint("subject", "purpose", "source", "chosen_at"),
    sa.Index(None, "purpose", "recorded_at"),
)

consent_snapshot = sa.Table(  # which persons allow a purpose as of a time, pinned for runs
    "consent_snapshot",
    METADATA,
    sa.Column("sha256", _name(64), primary_key=True),  # of its content: purpose, time and the persons
    sa.Column("purpose", _name(32), nullable=False),
    sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
    sa.Column("subjects", sa.BigInteger, nullable=False),
    sa.Column("allowed", sa.BigInteger, nullable=False),
    sa.Column("manifest_path", sa.Text, nullable=False),
    sa.Column("manifest_sha256", _name(64), nullable=False),
    sa.Index(None, "purpose", "as_of"),
)

tombstone = sa.Table(  # an erased person by rights token: all that is kept, so that nothing brings the person back
    "tombstone",
    METADATA,
    sa.Column("subject", sa.LargeBinary(16), primary_key=True),
    sa.Column("batch", _name(64), nullable=False, index=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
)

subject_hold = sa.Table(  # a duty to keep a person's data, which goes before an erasure
    "subject_hold",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("subject", sa.LargeBinary(16), nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("actor", _name(), nullable=False),
    sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("lifted_at", sa.DateTime(timezone=True)),
)

erasure = sa.Table(  # a batch of persons to be erased
    "erasure",
    METADATA,
    sa.Column("batch", _name(64), primary_key=True),
    sa.Column("state", _name(16), nullable=False),
    sa.Column("actor", _name(), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("subjects", sa.BigInteger, nullable=False),
    sa.Column("request_path", sa.Text, nullable=False),
    sa.Column("request_sha256", _name(64), nullable=False),
    sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("certificate_path", sa.Text, nullable=False, server_default=sa.text("''")),
    sa.Column("certificate_sha256", _name(64), nullable=False, server_default=sa.text("''")),
)

erasure_step = sa.Table(  # what of an erasure is done: each step once, with what it found and did
    "erasure_step",
    METADATA,
    sa.Column("batch", _name(64), primary_key=True),
    sa.Column("step", _name(200), primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)


def open_database(url: str) -> sa.Engine:
    """Return an engine for the control database at `url`, at the newest revision.

    A SQLite database is made, or upgraded, if need be. Raises ConfigurationError for a URL that can't be used
    (`configuration.database`) and for another revision (`configuration.schema`), MissingDependency without the driver,
    StorageError.
    """
    engine = engine_of(database_url(url))
    check(engine)
    return engine
