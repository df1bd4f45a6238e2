"""The tables of the store, as SQLAlchemy Core tables. ``docs/schema.md`` says why each exists.

Conventions: ids are opaque text (:func:`gateway.store.engine.new_id`), times are UTC epoch
seconds (integers; real numbers where a worker compares sub-second due times), booleans are
booleans, JSON is text. Rows never leave ``gateway.store``: other layers see frozen dataclasses.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A 64-bit key that counts by itself on both databases (SQLite wants plain INTEGER for that).
_Serial = BigInteger().with_variant(Integer, "sqlite")


def owned_by(target: str) -> ForeignKey:
    """Return a foreign key to ``target`` whose row takes this one with it."""
    return ForeignKey(target, ondelete="CASCADE")


def _where(condition: str) -> dict[str, Any]:
    """Return the arguments of an index over the few rows for which ``condition`` holds.

    A statement must say the condition in the same words (literally, not as a parameter) or
    SQLite does not use the index.
    """
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# --- who is here -------------------------------------------------------------------------------

subaccounts = Table(
    "subaccounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("external_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger),  # hidden; its rows go in pieces
    Index(None, "created_at", "id"),
    Index("ix_subaccounts_erased", "id", **_where("erased_at IS NOT NULL")),
)

principals = Table(
    "principals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subaccount_id", Text, owned_by("subaccounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("external_id", Text),
    Column("time_zone", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("erased_at", BigInteger),  # hidden; the rows go in pieces
    Index(None, "created_at", "id"),
    Index(None, "subaccount_id", "created_at", "id"),
    Index("ix_principals_erased", "id", **_where("erased_at IS NOT NULL")),
)

logins = Table(
    "logins",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),  # device | platform
    Column("login", Text, nullable=False, unique=True),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("label", Text, nullable=False),
    Column("show_mirrors", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger),
    Column("user_agent", Text),
)

login_failures = Table(
    "login_failures",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("address_key", LargeBinary, nullable=False),
    Column("name_key", LargeBinary, nullable=False),
    Index("ix_login_failures_address_key_at", "address_key", "at"),
    Index("ix_login_failures_name_key_at", "name_key", "at"),
)

# One row per running process and part of it: see gateway.store.operations.heartbeats.
heartbeats = Table(
    "heartbeats",
    metadata,
    Column("id", Text, primary_key=True),  # host/pid/part
    Column("part", Text, nullable=False),  # api | caldav | worker
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subaccount_id", Text, owned_by("subaccounts.id"), index=True),  # NULL: all of them
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),  # blank-separated
    Column("created_at", BigInteger, nullable=False),
    Column("last_used_at", BigInteger),
)

# --- the iCloud side ---------------------------------------------------------------------------

connections = Table(
    "connections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False, unique=True),
    # ok | credential-revoked | secret-unreadable | paused | disconnected
    Column("state", Text, nullable=False),
    Column("problem", Text),
    Column("problem_detail", Text),
    # Keyed blind indexes (R2): the same account can never be connected twice.
    Column("index_key_id", Text),
    Column("email_index", LargeBinary, unique=True),
    Column("account_index", LargeBinary, unique=True),
    Column("principal_path", Text),
    Column("home_path", Text),
    # Lower-case addresses that mean the owner, JSON list (own PARTSTAT; RFC 6638 2.4.1).
    Column("addresses", Text, nullable=False, default="[]"),
    Column("trust_for_s", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Scheduling: due time, lease and back-off survive restarts.
    Column("next_sync_at", Float, nullable=False, index=True),
    Column("active_until", BigInteger, nullable=False, default=0),
    Column("lease_owner", Text),
    Column("lease_until", Float, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("polled_at", BigInteger),
    # Digest of the home listing after which nothing was left to do: the same again is an idle poll.
    Column("listing_digest", Text),
    Column("synced_at", BigInteger),
    # When every calendar in use was last found current. One row of a poll that found nothing new:
    # calendars are as fresh as this without being written (gateway.store.objects.freshness).
    Column("verified_at", BigInteger),
    Column("reconciled_at", BigInteger),
    Column("probes_left", Integer, nullable=False, default=0),
    # What was asked in the last minute, handed on with the lease (see gateway.upstream.budget).
    Column("recent_requests", Text),
    # Until then somebody waits to read this account: its holder pushes nothing meanwhile.
    Column("wanted_until", Float, nullable=False, server_default="0"),
)

# Ciphertexts only. On PostgreSQL the role of the CalDAV process has no right on this table.
secrets = Table(
    "secrets",
    metadata,
    Column("owner_id", Text, primary_key=True),  # connection id or object id
    Column("field", Text, primary_key=True),  # app_password | email | account_number | raw
    Column("key_id", Text, nullable=False, index=True),
    Column("ciphertext", LargeBinary, nullable=False),
)

# What proves that a key is the one this database's secrets and indexes were made with (R45).
key_checks = Table(
    "key_checks",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("check_value", LargeBinary, nullable=False),
    Column("makes_indexes", Boolean, nullable=False),  # blind indexes are made with this key
    Column("created_at", BigInteger, nullable=False),
)

upstream_calendars = Table(
    "upstream_calendars",
    metadata,
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, owned_by("connections.id"), nullable=False),
    Column("path", Text, nullable=False),  # decoded path below the host, never the host itself
    Column("name", Text, nullable=False),
    Column("color", Text),
    Column("display_order", Integer),
    Column("kind", Text, nullable=False),  # calendar | subscribed | reminders | scheduling
    Column("writable", Boolean, nullable=False),
    Column("refusal", Text),  # calendar-subscribed | calendar-read-only | …
    Column("transparent", Boolean, nullable=False, default=False),
    # What the listing says now, and what was read completely (sync_token of the last good pull).
    Column("listed_ctag", Text),
    Column("listed_token", Text),
    Column("ctag", Text),
    Column("sync_token", Text),
    # none | linked | conflict | tracked
    Column("role", Text, nullable=False),
    Column("blocks", Boolean, nullable=False, default=False),
    # as-marked | block | ignore: what its all-day events count as
    Column("all_day", Text, nullable=False, server_default="as-marked"),
    Column("detail", Text, nullable=False, default="full"),  # full | busy (R10)
    # never | syncing | ok | failed | gone
    Column("state", Text, nullable=False),
    Column("problem", Text),
    Column("problem_detail", Text),
    Column("synced_at", BigInteger),
    Column("missing_since", BigInteger),
    Column("progress_done", Integer, nullable=False, default=0),
    Column("progress_total", Integer),
    # A first sync reads the near future first: all of this span is mirrored already (R25).
    Column("reached_from", BigInteger),
    Column("reached_until", BigInteger),
    # Counts of unread_members by state, and when the next of them is due.
    Column("catching_up", Integer, nullable=False, server_default="0"),
    Column("set_aside", Integer, nullable=False, server_default="0"),
    Column("retry_at", Float),
    UniqueConstraint("connection_id", "path"),
)

# Members that iCloud lists and does not hand over (R9).
unread_members = Table(
    "unread_members",
    metadata,
    Column("upstream_calendar_id", Text, owned_by("upstream_calendars.id"), primary_key=True),
    Column("name_key", LargeBinary, primary_key=True),  # SHA-256: names have any length
    Column("name", Text, nullable=False),  # last segment upstream, decoded
    Column("etag", Text),
    # Whether iCloud says that it is there: only then a 404 proves nothing.
    Column("listed", Boolean, nullable=False),
    Column("state", Text, nullable=False),  # catching-up | set-aside
    Column("reason", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_seen_at", BigInteger, nullable=False),
    Column("due_at", Float, nullable=False),
)

# --- what is served here -----------------------------------------------------------------------

collections = Table(
    "collections",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("name", Text, nullable=False),  # last path segment
    Column("kind", Text, nullable=False),  # platform | mirror | local | erased
    Column("upstream_calendar_id", Text, owned_by("upstream_calendars.id"), unique=True),
    Column("display_name", Text, nullable=False),
    Column("properties", Text, nullable=False, default="{}"),  # JSON, WebDAV dead properties
    Column("components", Text, nullable=False, default="VEVENT"),  # comma-separated
    Column("transparent", Boolean, nullable=False, default=False),
    Column("incarnation", Text, nullable=False),
    Column("revision", BigInteger, nullable=False, default=0),
    Column("valid_from_revision", BigInteger, nullable=False, default=0),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("principal_id", "name"),
    Index("ix_collections_erased", "id", **_where("kind = 'erased'")),
)

objects = Table(
    "objects",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("collection_id", Text, owned_by("collections.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("kind", Text, nullable=False),  # appointment | blocked-slot | mirrored
    Column("component", Text, nullable=False),
    Column("etag", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # exactly what is served
    Column("size", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("served", Boolean, nullable=False, default=True),  # false: kept, not servable
    Column("upstream_name", Text),  # last segment upstream, decoded; of a long one a digest
    Column("upstream_long_name", Text),  # what the digest stands for: no index ends at its length
    Column("upstream_etag", Text),
    Column("problem", Text),
    Column("problem_detail", Text),
    Column("recurring", Boolean, nullable=False, default=False),
    Column("open_ended", Boolean, nullable=False, default=False),
    Column("zone_dependent", Boolean, nullable=False, default=False),
    Column("expanded_from", BigInteger, nullable=False, default=0),
    Column("expanded_until", BigInteger, nullable=False, default=0),
    Column("expanded_by", Integer, nullable=False, server_default="1"),  # version of the engine
    Column("first_start", BigInteger),
    Column("last_end", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("collection_id", "name"),
    Index(None, "collection_id", "uid"),
    Index(None, "collection_id", "upstream_name"),
    Index(None, "collection_id", "first_start"),
    Index(None, "collection_id", "created_at"),
    Index(None, "principal_id", "id"),
    Index("ix_objects_problems", "principal_id", "name", **_where("problem IS NOT NULL")),
    Index("ix_objects_slots", "first_start", "id", **_where("kind = 'blocked-slot'")),
    Index(
        "ix_objects_slots_of",
        "principal_id",
        "first_start",
        "id",
        **_where("kind = 'blocked-slot'"),
    ),
)

# One row per member that ever changed, living or deleted: changes-since is one indexed query.
revisions = Table(
    "revisions",
    metadata,
    Column("collection_id", Text, owned_by("collections.id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),  # a tombstone
    Column("changed_at", BigInteger, nullable=False),
    Index(None, "collection_id", "revision"),
)

# Long spans are cut into pieces of at most seven days, so a range read is bounded below.
instances = Table(
    "instances",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("collection_id", Text, owned_by("collections.id"), nullable=False),
    Column("object_id", Text, owned_by("objects.id"), nullable=False, index=True),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("fbtype", Text, nullable=False),
    Column("busy_start", BigInteger, nullable=False),
    Column("busy_end", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_instances_busy", "principal_id", "busy_start", "busy_end", "collection_id", "fbtype"),
    Index("ix_instances_range", "collection_id", "start", "end", "object_id"),
)

generations = Table(
    "generations",
    metadata,
    Column("principal_id", Text, owned_by("principals.id"), primary_key=True),
    Column("generation", BigInteger, nullable=False),
    # Raised by triggers (SQLite) when sources, their states or holds change.
    Column("source_generation", BigInteger, nullable=False, server_default="0"),
    # All objects are expanded at least over this span; NULL while there is none.
    Column("covered_from", BigInteger),
    Column("covered_until", BigInteger),
    # All objects were expanded by this version of the engine or a later one.
    Column("expanded_by", Integer, nullable=False, server_default="1", index=True),
    Index(None, "covered_until", "principal_id"),
)

# --- writing upstream --------------------------------------------------------------------------

# One row per object that was ever allowed upstream; it outlives the object (R3, R13).
push_ledger = Table(
    "push_ledger",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False, index=True),
    Column("object_id", Text, index=True),  # NULL once the appointment is gone
    Column("account_index", LargeBinary),  # which account it lives in, also after disconnecting
    Column("upstream_calendar_id", Text),
    Column("upstream_path", Text, nullable=False),  # collection path at the time of writing
    Column("upstream_name", Text, nullable=False),
    Column("upstream_uid", Text, nullable=False),
    Column("upstream_etag", Text),
    # The body last sent, until it was seen upstream: an answer may get lost (R16).
    Column("sent_body", LargeBinary),
    # The object as last read upstream: the common ancestor when both sides change it (R17).
    Column("base_body", LargeBinary),
    Column("sequence", Integer, nullable=False, default=0),
    # pending | pushed | parked | deleted
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("upstream_calendar_id", "upstream_name"),
    Index(None, "upstream_uid"),
    Index(None, "upstream_calendar_id", "updated_at"),
    Index(None, "account_index", "upstream_path"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("ledger_id", Text, owned_by("push_ledger.id"), nullable=False, index=True),
    Column("connection_id", Text, index=True),
    Column("action", Text, nullable=False),  # put | delete
    # pending | parked
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("due_at", Float, nullable=False),
    Column("in_doubt", Boolean, nullable=False, default=False),  # sent, answer never seen
    Column("created_at", BigInteger, nullable=False),
    Index(None, "state", "due_at"),
    # Messages are named by their number: it must never come again.
    sqlite_autoincrement=True,
)

# Both sides changed one appointment: what was dropped, for a person to look at (R17).
conflicts = Table(
    "conflicts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("ledger_id", Text, owned_by("push_ledger.id"), nullable=False, index=True),
    Column("object_id", Text),  # the appointment's object, NULL when the conflict deleted it
    Column("kind", Text, nullable=False),  # time | text | deleted-upstream | deleted-here
    Column("dropped", Text, nullable=False),  # local | upstream: whose change was not kept
    Column("dropped_body", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
    Column("resolution", Text),
    Index(None, "created_at", "id"),
    Index(None, "principal_id", "created_at", "id"),
)

# --- triggers ----------------------------------------------------------------------------------

_SIGNALS = frozenset(
    f"signal_{table}_{event}"
    for table in ("collections", "connections", "holds", "principals", "upstream_calendars")
    for event in ("insert", "delete", "update")
)


def triggers_of(dialect: str) -> frozenset[str]:
    """Name the triggers that migrations make on this kind of database: what they do is there."""
    return _SIGNALS if dialect == "sqlite" else _SIGNALS | {"signal_api_keys_any"}
