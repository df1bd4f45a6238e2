"""What a run leaves behind on its connection: state, back-off, when it is due again (R4)."""

from collections.abc import Callable
from functools import partial
from typing import Any

from gateway.core.errors import (
    CredentialRejected,
    GatewayError,
    RunCrashed,
    SecretUnreadable,
    UpstreamThrottled,
)
from gateway.store.accounts import accounts, leases, runs
from gateway.store.accounts.accounts import Connection
from gateway.store.engine import Session
from gateway.sync.context import SyncContext
from gateway.sync.refusals import Refusals
from gateway.upstream.icloud import THROTTLE_CEILING_S, THROTTLE_FLOOR_S

PROBE_DELAYS_S = (900, 7200, 86_400)
"""After a 401: three single requests this far apart, then nothing until a person acts."""

OUTAGE_SPAN_S = 300
OUTAGE_LEAST_ACCOUNTS = 10
OUTAGE_SHARE = 0.2
REVOKED = "credential-revoked"
UNREADABLE = "secret-unreadable"
_UNREADABLE_DETAIL = (
    "The stored password of this account cannot be decrypted: the row is damaged, or its key is "
    "not in the keyring. Enter e-mail and app-specific password anew, or bring the key file back."
)
_FAR = 10 * 365 * 86_400.0


def poll_delay(context: SyncContext, connection: Connection) -> float:
    """Seconds until the next poll of a healthy account: 30-40 while active, 3-5 minutes idle."""
    settings = context.settings
    if connection.active_until > context.clock():
        return settings.poll_active_s * context.random.uniform(0.86, 1.14)
    return settings.poll_idle_s * context.random.uniform(0.75, 1.25)


def backoff_delay(context: SyncContext, failures: int, error: GatewayError | None = None) -> float:
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


async def note_failure(context: SyncContext, connection: Connection, error: GatewayError) -> str:
    """Back off where the account could not be read; a rejected credential stops polling (R4).

    Returns the state of the connection afterwards; the lease is given back.
    """
    if isinstance(error, CredentialRejected):
        return await context.store.write_repeatable(
            _note_rejected,
            context.refusals,
            connection,
            error,
            owner=context.owner,
            now=context.clock(),
            outage_delay=backoff_delay(context, connection.failures + 1),
            spent=context.budget(connection.id).dump(),
        )
    failures = connection.failures + 1
    context.refusals.note(connection, now=context.clock(), is_refused=False, is_dead=False)
    await context.store.write_repeatable(
        runs.note_run,
        connection,
        owner=context.owner,
        polled_at=context.now(),
        recent_requests=context.budget(connection.id).dump(),
        failures=failures,
        problem=error.code,
        problem_detail=error.detail,
        next_sync_at=context.clock() + backoff_delay(context, failures, error),
    )
    return connection.state


def foreseen(error: Exception) -> GatewayError:
    """Return what is told of an error that ended a run: a code and a sentence, never its text.

    The texts of foreign errors may hold titles, addresses and paths.
    """
    if isinstance(error, SecretUnreadable):
        return SecretUnreadable(_UNREADABLE_DETAIL)
    if isinstance(error, GatewayError):
        return error
    return RunCrashed(
        f"The gateway could not finish its run over this account ({type(error).__name__}); its "
        "log says where. What is known of the account stands, and it is tried again."
    )


async def note_crash(context: SyncContext, connection_id: str, error: Exception) -> str | None:
    """Fail a run that did not end: say so on the account and back off (sync.md).

    Returns the state of the connection afterwards; None when there is no such connection.
    """
    return await context.store.write_repeatable(
        _note_crash,
        connection_id,
        foreseen(error),
        now=context.clock(),
        delay=partial(backoff_delay, context),
    )


def _note_crash(
    session: Session,
    connection_id: str,
    error: GatewayError,
    *,
    now: float,
    delay: Callable[[int], float],
) -> str | None:
    """Write by statements that read no more of the row than they must: it may be the culprit."""
    found = leases.find_standing(session, connection_id)
    if found is None:
        return None
    if found.state not in leases.POLLED_STATES:
        return found.state
    state = found.state
    if isinstance(error, SecretUnreadable):
        state = UNREADABLE
    elif state == UNREADABLE:
        state = "ok"
    failures = found.failures + 1
    runs.note_crash(
        session,
        found,
        state=state,
        problem=error.code,
        problem_detail=error.detail,
        polled_at=int(now),
        failures=failures,
        next_sync_at=now + delay(failures),
    )
    return state


def _is_outage(session: Session, counts: Refusals, refused: Connection, *, now: float) -> bool:
    """Whether a 401 is one of too many to be believed; a probe that failed says nothing new.

    An account that was refused for a day while most others answer is in no outage.
    """
    others, turned = counts.others(session, refused, now=now, span=OUTAGE_SPAN_S)
    enough = others + 1 >= OUTAGE_LEAST_ACCOUNTS
    is_outage = enough and turned + 1 > (others + 1) * OUTAGE_SHARE
    return is_outage and not _is_long_refused(session, counts, refused, now=now)


def _is_long_refused(
    session: Session, counts: Refusals, refused: Connection, *, now: float
) -> bool:
    """Whether an account taken for a part of an outage has failed all that probes would be.

    For a day, that is, while most others answered: over that day, for who fails is asked rarely.
    """
    day = PROBE_DELAYS_S[-1]
    good_at = refused.synced_at or refused.created_at
    tried = refused.problem == leases.OUTAGE and refused.failures >= len(PROBE_DELAYS_S)
    if not tried or good_at > int(now) - day:
        return False
    others, turned = counts.others(session, refused, now=now, span=day)
    return turned * 2 < others


def _note_rejected(
    session: Session,
    counts: Refusals,
    connection: Connection,
    error: GatewayError,
    *,
    owner: str,
    now: float,
    outage_delay: float,
    spent: str,
) -> str:
    current = accounts.get_connection(session, connection.id)
    failed: dict[str, Any] = {"polled_at": int(now), "failures": current.failures + 1}
    failed["recent_requests"] = spent
    first = current.state != REVOKED
    if first and _is_outage(session, counts, current, now=now):
        if counts.has_dead(OUTAGE_SPAN_S):
            leases.revive_refused(
                session, since=int(now) - OUTAGE_SPAN_S, next_sync_at=now + outage_delay
            )
            counts.revived()
        runs.note_run(
            session,
            current,
            owner=owner,
            **failed,
            state="ok",
            problem=leases.OUTAGE,
            problem_detail="iCloud refuses many accounts at once; this is taken for an outage.",
            next_sync_at=now + outage_delay,
        )
        counts.note(current, now=now, is_refused=True, is_dead=False)
        return "ok"
    left = len(PROBE_DELAYS_S) if first else max(current.probes_left - 1, 0)
    if first and _is_long_refused(session, counts, current, now=now):
        left = 0  # what probes would tell is known
    delay = PROBE_DELAYS_S[len(PROBE_DELAYS_S) - left] if left else _FAR
    done = runs.note_run(
        session,
        current,
        owner=owner,
        **failed,
        state=REVOKED,
        problem=error.code,
        problem_detail=error.detail,
        probes_left=left,
        next_sync_at=now + delay,
    )
    is_dead = done and left == len(PROBE_DELAYS_S)
    counts.note(current, now=now, is_refused=is_dead, is_dead=is_dead)
    return REVOKED if done else current.state
