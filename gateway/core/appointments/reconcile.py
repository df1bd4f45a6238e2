"""What becomes of an appointment that was changed here, in iCloud, or on both sides (R16, R17).

:func:`decide` is given both sides and what is known to have been there before, and says what to do;
push and pull load, decide and apply. Its time is iCloud's, its texts are the platform's, a deletion
there cancels it, and what either side loses by that is kept.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.core.appointments.adoption import Times, judge_times
from gateway.core.appointments.meaning import adopt_times, same_meaning, same_times
from gateway.core.appointments.upstream_body import has_guests
from gateway.core.errors import InvalidCalendarData
from gateway.core.ical.objects import parse_calendar_object
from gateway.core.intervals import Interval
from gateway.core.recurrence.expand import BusyRules
from gateway.core.recurrence.model import Expansion

GUESTS = "guests-added-upstream"
"""Somebody invited guests in iCloud: another PUT or DELETE would have iCloud mail them."""


@dataclass(frozen=True, slots=True)
class Lost:
    """What one side loses by a decision: whose ``body`` it was, and what it changed."""

    kind: Literal["time", "text", "deleted-upstream", "deleted-here"]
    side: Literal["local", "upstream"]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about an appointment.

    ``body`` replaces the one here, ``expansion`` being what it blocks; ``send``: what is here has
    to go up again, and nothing waits that would take it there; ``park``: why nothing may be written
    to iCloud; ``cancel``: it is deleted there, so it is cancelled here and nothing goes up.
    """

    body: bytes | None = field(default=None, repr=False)
    expansion: Expansion | None = field(default=None, repr=False)
    send: bool = False
    conflicts: tuple[Lost, ...] = ()
    park: str | None = None
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How the times of an appointment are read: its owner's rules, and what is expanded.

    ``contested``: times found in iCloud were refused again and again. Should iCloud itself write
    them, each of our writes brings the next.
    """

    rules: BusyRules
    window: Interval
    contested: bool = False


def decide(
    base: bytes | None,
    sent: bytes | None,
    local: bytes | None,
    theirs: bytes | None,
    waiting: bool,
    reading: Reading,
) -> Decision:
    """Decide about one appointment; pure.

    ``base`` is what iCloud held when it was last seen, ``sent`` what was sent since without an
    answer, ``local`` the appointment here (None: withdrawn), ``theirs`` what iCloud holds now
    (None: proved to be gone, also from other calendars), ``waiting`` whether a change here has yet
    to go up.
    """
    if theirs is None:
        return _deleted_there(local, waiting)
    park = parks(theirs)
    known = [body for body in (base, sent) if body is not None]
    if local is None:
        is_news = bool(known) and not any(same_meaning(body, theirs) for body in known)
        lost = (Lost("deleted-here", "upstream", theirs),) if is_news else ()
        return Decision(conflicts=lost, park=park)
    times, taken = _times(known, local, theirs, reading)
    if times is Times.EMPTIED:
        return replace(_deleted_there(local, waiting), park=park)
    may_send = park is None and not waiting
    if times is Times.UNUSABLE:
        return _keep_time(theirs, park, reading, may_send=may_send)
    conflicts: list[Lost] = []
    if taken.body is not None and waiting and known and not same_times(known[0], local):
        conflicts.append(Lost("time", "local", local))
    put_back = _is_reworded(known, local, theirs)
    if put_back:
        conflicts.append(Lost("text", "upstream", theirs))
    return replace(taken, send=put_back and may_send, conflicts=tuple(conflicts), park=park)


def parks(theirs: bytes | None) -> str | None:
    """Return why nothing may be written over a body in iCloud; None when it may."""
    return GUESTS if theirs is not None and has_guests(theirs) else None


def _deleted_there(local: bytes | None, waiting: bool) -> Decision:
    lost = (Lost("deleted-upstream", "local", local),) if local is not None and waiting else ()
    return Decision(conflicts=lost, cancel=True)


def _times(
    known: list[bytes], local: bytes, theirs: bytes, reading: Reading
) -> tuple[Times, Decision]:
    """Judge their times if they are new; the appointment with them when they can be its own."""
    if any(same_times(body, theirs) for body in (local, *known)):
        return Times.USABLE, Decision()
    try:
        body = adopt_times(local, theirs)
        parse_calendar_object(body)
    except InvalidCalendarData:
        return Times.UNUSABLE, Decision()
    times, expansion = judge_times(body, reading.window, reading.rules)
    return times, Decision(body=body, expansion=expansion)


def _keep_time(theirs: bytes, park: str | None, reading: Reading, *, may_send: bool) -> Decision:
    """Keep the appointment's own time where theirs blocks nothing; it goes back up.

    Only a few times in an hour (:class:`Reading`).
    """
    if reading.contested:
        return Decision(park=park)
    return Decision(send=may_send, conflicts=(Lost("time", "upstream", theirs),), park=park)


def _is_reworded(known: list[bytes], local: bytes, theirs: bytes) -> bool:
    """Whether texts were written in iCloud that are neither those of before nor those here."""
    is_edited = bool(known) and not any(_same_words(theirs, body) for body in known)
    return is_edited and not _same_words(local, theirs)


def _same_words(a: bytes, b: bytes) -> bool:
    """Whether two bodies have the same texts, STATUS and TRANSP: equal once the times are."""
    try:
        return a == b or same_meaning(adopt_times(a, b), b)
    except InvalidCalendarData:
        return False
