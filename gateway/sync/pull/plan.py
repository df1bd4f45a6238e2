"""What changed upstream since the last complete pull, and what of it has to be fetched.

A sync-collection answer is believed, a listing only half: what it lacks is a suspect until a 404
for that very href proves it gone (R11).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gateway.core.errors import SyncTokenExpired, UpstreamUnreachable
from gateway.store.accounts import members
from gateway.store.accounts.calendars import UpstreamCalendar
from gateway.store.accounts.members import UnreadMember
from gateway.store.engine import Session
from gateway.store.objects import collections, objects
from gateway.store.objects.collections import Collection
from gateway.store.outbox import pushed
from gateway.store.outbox.pushed import Pushed
from gateway.upstream.client import UpstreamClient

_MAX_PAGES = 1000
MOST_AT_ONCE = 100
"""Unread members asked for again in one run over one calendar."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is here of one calendar, as far as it was asked for (:func:`meet`).

    ``etags`` is {upstream name: (name, etag)} of the mirror, ``own`` our own pushes by name.
    ``unsure`` came to be here after the token we hold was given; ``unread`` could not be read.
    ``pushes``: something was pushed for this person, so what comes may be ours under another name.
    """

    mirror: Collection | None
    etags: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    own: dict[str, Pushed] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    unread: dict[str, UnreadMember] = field(default_factory=dict)
    pushes: bool = False

    def is_current(self, name: str, etag: str | None) -> bool:
        """Whether this very version is here already."""
        if etag is None:
            return False
        if name in self.own:
            return self.own[name].upstream_etag == etag
        return name in self.etags and self.etags[name][1] == etag

    def present(self) -> frozenset[str]:
        """Names that should be upstream: mirrored ones, and our own that arrived there."""
        own = {name for name, row in self.own.items() if row.upstream_etag}
        return frozenset(self.etags.keys() | own | self.unread.keys())


@dataclass(frozen=True, slots=True)
class Plan:
    """What upstream says: versions there, names proved gone, names that may be gone.

    ``token`` is what the mirror has reached once all of it is written. ``whole``: all members were
    listed.
    """

    versions: dict[str, str | None]
    removed: frozenset[str] = frozenset()
    suspects: frozenset[str] = frozenset()
    token: str | None = None
    whole: bool = False


def load_held(session: Session, principal_id: str, calendar: UpstreamCalendar) -> Held:
    """Read what a pull must know before it asks: what came lately, and what could not be read."""
    mirror = collections.find_mirror(session, calendar.id)
    read_at = calendar.synced_at or 0
    unsure = pushed.pushed_since(session, calendar.id, read_at)
    if mirror is not None and calendar.sync_token:
        unsure |= objects.mirrored_since(session, mirror.id, read_at)
    held = Held(
        mirror,
        unsure=frozenset(unsure),
        unread=members.list_unread(session, calendar.id) if calendar.has_unread_members else {},
        pushes=pushed.has_pushed(session, principal_id),
    )
    return _with_names(session, calendar, held, held.unread.keys())


def meet(session: Session, calendar: UpstreamCalendar, held: Held, plan: Plan) -> tuple[Held, Plan]:
    """Read what is here of the names the plan speaks of: of all when all members were listed.

    What is here and was not listed is a suspect then.
    """
    if not plan.whole:
        names = plan.versions.keys() | plan.removed | plan.suspects
        return _with_names(session, calendar, held, names), plan
    held = _with_names(session, calendar, held, None)
    missing = held.present() - plan.versions.keys() - plan.removed
    return held, replace(plan, suspects=plan.suspects | missing)


def _with_names(
    session: Session, calendar: UpstreamCalendar, held: Held, names: Iterable[str] | None
) -> Held:
    own = pushed.pushed_names(session, calendar.id, names)
    etags = objects.upstream_etags(session, held.mirror.id, names) if held.mirror else {}
    return replace(
        held,
        etags=held.etags | etags,
        own=held.own | {name: row for name, row in own.items() if row.stands_for_its_object},
    )


def _has_moved(calendar: UpstreamCalendar) -> bool:
    """Whether the home's listing says that something happened since the last complete pull."""
    if calendar.listed_ctag is not None:
        return calendar.listed_ctag != calendar.ctag
    return calendar.listed_token not in (None, calendar.sync_token)


def catch_up(held: Held, *, now: float, everything: bool = False) -> Plan:
    """Return the plan that asks again for unread members that are due, or that are catching up.

    It believes in what was listed: a 404 to a listed name is no proof. An own object that is not
    to be found may have been moved, so that is looked into each time.
    """
    due = [
        row
        for row in held.unread.values()
        if row.due_at <= now or (everything and row.state == members.CATCHING)
    ][:MOST_AT_ONCE]
    listed = {row.name: row.etag for row in due if row.listed and row.name not in held.own}
    return Plan(listed, suspects=frozenset(row.name for row in due) - listed.keys())


def merged(plan: Plan, again: Plan) -> Plan:
    """Return ``plan`` with what else is asked for again; what ``plan`` knows is newer."""
    asked = again.suspects | again.versions.keys()
    versions = dict(plan.versions)
    if not plan.whole:
        versions |= {n: etag for n, etag in again.versions.items() if n not in plan.removed}
        versions |= plan.versions
    suspects = (plan.suspects | asked) - versions.keys() - plan.removed
    return replace(plan, versions=versions, suspects=suspects)


async def make_plan(
    client: UpstreamClient, calendar: UpstreamCalendar, held: Held, *, reconcile: bool
) -> Plan:
    """Ask what changed: by the sync token, by a full list without one or when it is refused.

    ``reconcile`` lists all ETags whatever the token says (R12).
    """
    if calendar.sync_token:
        try:
            if reconcile:
                return await _compared_plan(client, calendar.path, calendar.sync_token)
            plan = await _sync_plan(client, calendar.path, calendar.sync_token)
            if plan.versions or plan.removed or not _has_moved(calendar):
                # What came and went since the token need not be told (RFC 6578 3.5.2). What we
                # pushed or a pull that broke off read meanwhile may be of that kind.
                suspects = held.unsure - plan.versions.keys() - plan.removed
                return replace(plan, suspects=suspects)
            # The calendar moved and nothing in it did: an empty answer proves nothing.
            return await _compared_plan(client, calendar.path, plan.token)
        except SyncTokenExpired:
            pass
    try:
        plan = await _sync_plan(client, calendar.path, None)
    except SyncTokenExpired:
        return await _listing_plan(client, calendar, token=calendar.listed_token)
    if not plan.versions:  # an empty answer proves nothing: it is asked for in another way
        return await _compared_plan(client, calendar.path, plan.token)
    return replace(plan, whole=True)


async def _sync_plan(client: UpstreamClient, path: str, token: str | None) -> Plan:
    """Ask for changes page by page (RFC 6578 3.6); later pages overrule earlier ones."""
    versions: dict[str, str | None] = {}
    removed: set[str] = set()
    for _ in range(_MAX_PAGES):
        page = await client.sync_collection(path, token)
        if page.token is None:  # RFC 6578 3.4: a whole answer has one
            raise UpstreamUnreachable("iCloud's answer was not complete.", status=207)
        for name in page.removed:
            versions.pop(name, None)
        removed = (removed | page.removed) - page.changed.keys()
        versions.update(page.changed)
        stuck = page.token == token
        token = page.token
        if not page.truncated or stuck:
            break
    return Plan(versions, frozenset(removed), token=token)


async def _compared_plan(client: UpstreamClient, path: str, token: str | None) -> Plan:
    """List all members, then ask what changed since the token until now.

    In this order: with a token older than the listing, a member that is listed and goes away
    before the next pull would be here for good, since nobody need tell of it (RFC 6578 3.5.2).
    """
    listed = await client.members(path)
    plan = await _sync_plan(client, path, token)
    versions = {name: etag for name, etag in listed.items() if name not in plan.removed}
    versions |= plan.versions
    return Plan(versions, plan.removed, token=plan.token, whole=True)


async def _listing_plan(
    client: UpstreamClient, calendar: UpstreamCalendar, *, token: str | None
) -> Plan:
    """List all members with ETags; what is missing there is only a suspect."""
    return Plan(await client.members(calendar.path), token=token, whole=True)


def names_to_fetch(plan: Plan, held: Held, calendar: UpstreamCalendar) -> list[str]:
    """Return the names to fetch: new versions and suspects; of a tracked calendar our own."""
    names = [name for name, etag in plan.versions.items() if not held.is_current(name, etag)]
    names += sorted(plan.suspects)
    if calendar.role == "tracked":
        names = [name for name in names if name in held.own]
    return names
