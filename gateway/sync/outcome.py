"""What a run leaves behind on its connection: state, back-off, when it is due again (R4)."""

from typing import Any

from gateway.core.errors import CredentialRejected, GatewayError, UpstreamThrottled
from gateway.store import accounts, leases, runs
from gateway.store.accounts import Connection
from gateway.store.engine import Session
from gateway.store.freshness import tell_verified
from gateway.store.objects import bump_generation
from gateway.sync.context import SyncContext
from gateway.upstream.quirks import THROTTLE_CEILING_S, THROTTLE_FLOOR_S

PROBE_DELAYS_S = (900, 7200, 86_400)
"""After a 401: three single requests this far apart, then nothing until a person acts."""

OUTAGE_SPAN_S = 300
OUTAGE_LEAST_ACCOUNTS = 10
OUTAGE_SHARE = 0.2
REVOKED = "credential-revoked"
_FAR = 10 * 365 * 86_400.0


def poll_delay(context: SyncContext, connection: Connection) -> float:
    """Seconds until the next poll of a healthy account: 30-40 while active, 3-5 minutes idle."""
    settings = context.settings
    if connection.active_until > context.clock():
        return settings.poll_active_s * context.random.uniform(0.86, 1.14)
    return settings.poll_idle_s * context.random.uniform(0.75, 1.25)


def backoff_delay(context: SyncContext, failures: int, error: GatewayError | None) -> float:
    """Seconds to wait after the ``failures``-th failure in a row.

    Retry-After was seen to be shorter than the real block, so it is doubled, and our own floor
    grows with each failure.
    """
    delay = THROTTLE_FLOOR_S * 2.0 ** min(failures - 1, 10)
    if isinstance(error, UpstreamThrottled) and error.retry_after_s:
        delay = max(delay, 2 * error.retry_after_s)
    return min(delay, THROTTLE_CEILING_S) * context.random.uniform(0.9, 1.1)


def success(context: SyncContext, connection: Connection) -> dict[str, object]:
    """Return what a good run writes on its connection: no problem, when it is due again."""
    now = context.now()
    return {
        "state": "ok",
        "problem": None,
        "problem_detail": None,
        "polled_at": now,
        "synced_at": now,
        "failures": 0,
        "probes_left": 0,
        "next_sync_at": context.clock() + poll_delay(context, connection),
    }


def note_success(
    session: Session, connection: Connection, owner: str, changes: dict[str, object]
) -> bool:
    """Write the good end of a run and give the lease back (the principal is locked).

    False when the lease was lost or a person paused the account: nothing is written then.
    """
    done = runs.note_run(session, connection.id, owner=owner, **changes)
    if done and connection.state != "ok":
        bump_generation(session, connection.principal_id)
    verified_at = changes.get("verified_at")
    if done and isinstance(verified_at, int):
        tell_verified(session, [connection.principal_id], at=verified_at)
    return done


async def note_failure(context: SyncContext, connection: Connection, error: GatewayError) -> str:
    """The account could not be read: back off; a rejected credential stops polling (R4).

    Returns the state of the connection afterwards; the lease is given back.
    """
    if isinstance(error, CredentialRejected):
        return await context.store.write(
            _note_rejected,
            connection,
            error,
            owner=context.owner,
            now=context.clock(),
            outage_delay=backoff_delay(context, connection.failures + 1, None),
        )
    failures = connection.failures + 1
    await context.store.write(
        runs.note_run,
        connection.id,
        owner=context.owner,
        polled_at=context.now(),
        failures=failures,
        problem=error.code,
        problem_detail=error.detail,
        next_sync_at=context.clock() + backoff_delay(context, failures, error),
    )
    return connection.state


def _is_outage(session: Session, refused: Connection, *, now: int) -> bool:
    """Whether a 401 is one of too many to be believed; a probe that failed says nothing new."""
    others, turned = leases.count_refusals(session, refused.id, since=now - OUTAGE_SPAN_S)
    enough = others + 1 >= OUTAGE_LEAST_ACCOUNTS
    return enough and turned + 1 > (others + 1) * OUTAGE_SHARE


def _note_rejected(
    session: Session,
    connection: Connection,
    error: GatewayError,
    *,
    owner: str,
    now: float,
    outage_delay: float,
) -> str:
    current = accounts.get_connection(session, connection.id)
    failed: dict[str, Any] = {"polled_at": int(now), "failures": current.failures + 1}
    first = current.state != REVOKED
    if first and _is_outage(session, current, now=int(now)):
        leases.revive_refused(
            session, since=int(now) - OUTAGE_SPAN_S, next_sync_at=now + outage_delay
        )
        runs.note_run(
            session,
            connection.id,
            owner=owner,
            **failed,
            state="ok",
            problem=leases.OUTAGE,
            problem_detail="iCloud refuses many accounts at once; this is taken for an outage.",
            next_sync_at=now + outage_delay,
        )
        return "ok"
    left = len(PROBE_DELAYS_S) if first else max(current.probes_left - 1, 0)
    delay = PROBE_DELAYS_S[len(PROBE_DELAYS_S) - left] if left else _FAR
    done = runs.note_run(
        session,
        connection.id,
        owner=owner,
        **failed,
        state=REVOKED,
        problem=error.code,
        problem_detail=error.detail,
        probes_left=left,
        next_sync_at=now + delay,
    )
    if done and first:
        bump_generation(session, connection.principal_id)
    return REVOKED if done else current.state
