"""The tables of booking and of the HTTP API, beside those of :mod:`gateway.store.tables`."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text

from gateway.store.tables import metadata, owned_by

holds = Table(
    "holds",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "principal_id", "start"),
)

appointments = Table(
    "appointments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False),
    Column("object_id", Text, index=True),
    Column("external_id", Text),
    Column("title", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger, nullable=False),
    Column("status", Text, nullable=False),  # confirmed | cancelled
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "principal_id", "start"),
    Index(None, "start", "id"),
)

horizons = Table(
    "horizons",
    metadata,
    Column("principal_id", Text, owned_by("principals.id"), primary_key=True),
    Column("wanted_from", BigInteger, nullable=False),
    Column("wanted_until", BigInteger, nullable=False),
    Column("asked_at", BigInteger, nullable=False, index=True),
)

# What a phone did to an appointment that may be half of a move; kept for minutes.
appointment_moves = Table(
    "appointment_moves",
    metadata,
    Column("principal_id", Text, owned_by("principals.id"), primary_key=True),
    Column("uid_hash", Text, primary_key=True),
    Column("done", Text, nullable=False),  # copied | deleted
    Column("at", BigInteger, nullable=False, index=True),
    Column("name", Text),  # of the object that was deleted, with its appointment and ledger row
    Column("body", LargeBinary),
    Column("appointment_id", Text),
    Column("ledger_id", Text),
)

appointment_external_ids = Table(
    "appointment_external_ids",
    metadata,
    Column("subaccount_id", Text, owned_by("subaccounts.id"), primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("appointment_id", Text, owned_by("appointments.id"), nullable=False, index=True),
)

# --- what is on offer --------------------------------------------------------------------------

schedules = Table(
    "schedules",
    metadata,
    Column("id", Text, primary_key=True),
    Column("subaccount_id", Text, owned_by("subaccounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("at_least", Integer),  # how many of its people must be free; NULL: all of them
    Column("on_unknown", Text, nullable=False),  # block | tentative | ignore | fail
    Column("on_tentative", Text, nullable=False),  # block | free
    Column("rules", Text, nullable=False),  # JSON, seconds and minutes (core.slots.SlotRules)
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "created_at", "id"),
    Index(None, "subaccount_id", "created_at", "id"),
)

schedule_members = Table(
    "schedule_members",
    metadata,
    Column("schedule_id", Text, owned_by("schedules.id"), primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), primary_key=True, index=True),
    Column("position", Integer, nullable=False),
)

freebusy_tokens = Table(
    "freebusy_tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("principal_id", Text, owned_by("principals.id"), nullable=False, index=True),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    Column("detail", Text, nullable=False),  # exact | coarse
    Column("created_at", BigInteger, nullable=False),
    Column("rotated_at", BigInteger),
)

working_hours = Table(
    "working_hours",
    metadata,
    Column("principal_id", Text, owned_by("principals.id"), primary_key=True),
    Column("time_zone", Text, nullable=False),
    Column("weekdays", Text, nullable=False),  # JSON, minutes after midnight, Monday first
    Column("overrides", Text, nullable=False),  # JSON, by date
    Column("text", Text),  # what a CalDAV client wrote; NULL: written by the API
    Column("updated_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key_id", Text, owned_by("api_keys.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary, nullable=False),
    Column("status", Integer),  # NULL while the first request is still running
    Column("content_type", Text),
    Column("body", LargeBinary),
    Column("replayable", Boolean, nullable=False, default=True),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),  # while it runs
)

rate_counts = Table(
    "rate_counts",
    metadata,
    Column("caller", Text, primary_key=True),  # id of an API key, or a public address's hash
    Column("window", BigInteger, primary_key=True, index=True),  # minutes since 1970
    Column("requests", BigInteger, nullable=False),
)
