"""Objects that are expanded anew or further: by which rules, and writing what came out (R25).

Expanding is done elsewhere, between a unit that reads and one that writes. What was expanded under
rules that changed meanwhile is not written. Each function that writes locks the person.
"""

from collections.abc import Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from gateway.core.errors import NotFound, SecretUnreadable
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import ENGINE_VERSION, BusyRules, Expansion, default_window
from gateway.store.access.principals import get_principal
from gateway.store.accounts import accounts, calendars
from gateway.store.accounts.accounts import Keyring
from gateway.store.booking.bookings import owner_addresses
from gateway.store.engine import Session, lock_principal
from gateway.store.objects import expansions
from gateway.store.objects.expansions import Outdated
from gateway.store.objects.objects import get_coverage

Rules = tuple[ZoneInfo, frozenset[str]]
"""A person's zone and own addresses."""

Expanded = Sequence[tuple[Outdated, Expansion]]


def load_rules(session: Session, principal_id: str) -> Rules:
    """Return the zone of a person and the addresses that mean this person.

    Raises :class:`NotFound`.
    """
    zone = ZoneInfo(get_principal(session, principal_id).time_zone)
    return zone, owner_addresses(session, principal_id)


def rules_of(item: Outdated, zone: ZoneInfo, addresses: frozenset[str]) -> BusyRules:
    """Return the rules by which an object of such a person counts."""
    return BusyRules(
        zone=zone,
        owner_addresses=addresses,
        all_day=item.all_day,
        always_busy=item.kind == "appointment",
    )


def load_outdated(
    session: Session,
    keyring: Keyring,
    principal_id: str,
    window: Interval,
    *,
    after: str,
    limit: int,
) -> list[Outdated]:
    """Return a batch of a person's objects that reach beyond what was expanded, with bodies."""
    found = expansions.outdated_objects(session, principal_id, window, after=after, limit=limit)
    return [_with_body(session, keyring, item) for item in found]


def load_readable(session: Session, keyring: Keyring, ids: Sequence[str]) -> list[Outdated]:
    """Return objects with their bodies, without those whose secret cannot be decrypted (R45)."""
    found = [_with_body(session, keyring, item) for item in expansions.load_outdated(session, ids)]
    return [item for item in found if not item.is_lost]


def _with_body(session: Session, keyring: Keyring, item: Outdated) -> Outdated:
    """Fill in the body of an object that is kept encrypted because it cannot be served.

    One that cannot be decrypted any more is *lost*: it is fetched again by the next run over its
    account, and until then its time is unknown.
    """
    if item.body or item.served:
        return item
    try:
        raw = accounts.load_secret(session, keyring, f"{item.collection_id}/{item.name}", "raw")
    except (NotFound, SecretUnreadable):
        return replace(item, is_lost=True)
    return replace(item, body=raw)


# --- further ---


def write_extended(session: Session, principal_id: str, rules: Rules, done: Expanded) -> Rules:
    """Write what was expanded further, if its rules still hold; returns those that do.

    Lost objects are fetched again. Raises :class:`NotFound` when the person was deleted.
    """
    lock_principal(session, principal_id)
    current = load_rules(session, principal_id)
    if current == rules:
        expansions.replace_expansions(session, principal_id, done)
        for item, _ in done:
            if item.is_lost:
                calendars.refetch_object(session, item.id)
    return current


def finish_extension(session: Session, principal_id: str, window: Interval) -> bool:
    """Say that all of a person's objects are expanded over a window; False when some are not."""
    lock_principal(session, principal_id)
    return expansions.finish_extension(session, principal_id, window)


# --- anew, by the rules of a later engine ---


def load_terms(session: Session, principal_id: str, *, now: int) -> tuple[Rules, Interval]:
    """Return a person's rules, and as far as anything of the person is expanded already.

    Nothing known may become unknown. Raises :class:`NotFound`.
    """
    low, high = default_window(now)
    known = get_coverage(session, principal_id)
    if known is not None and known != expansions.NEVER:
        low, high = min(low, known[0]), max(high, known[1])
    return load_rules(session, principal_id), (low, high)


def write_renewed(
    session: Session, principal_id: str, rules: Rules, window: Interval, done: Expanded
) -> int | None:
    """Write what was expanded anew under terms that still hold; None where they do not.

    Returns how many were written. Raises :class:`NotFound` when the person was deleted.
    """
    lock_principal(session, principal_id)
    known = get_coverage(session, principal_id) or window
    covers = known == expansions.NEVER or (window[0] <= known[0] and known[1] <= window[1])
    if not covers or load_rules(session, principal_id) != rules:
        return None
    if done:
        expansions.replace_expansions(session, principal_id, done)
    return len(done)


def finish_renewal(session: Session, principal_id: str) -> None:
    """Say that all of a person's objects are expanded by the engine of this version."""
    lock_principal(session, principal_id)
    expansions.note_engine(session, principal_id, ENGINE_VERSION)
