"""Odd but real events: each shape has been seen in calendars that iCloud serves.

All of them lie in the week after the world's present day, each on a day of its own counted from
the next Monday, between 09:00 and 18:00 unless said otherwise. Put them with `put_fixtures`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from gateway.lookalike.world.accounts import Account
from gateway.lookalike.world.drafts import (
    calendar,
    fixed_zone,
    guest,
    organizer,
    stable_uid,
    timezone,
    travel,
    vevent,
    when,
)
from gateway.lookalike.world.ical import Component

_BERLIN = "Europe/Berlin"
_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Fixture:
    """One odd event: what is odd, and how it counts by the rules for busy time."""

    name: str
    text: str
    counts: str
    make: Callable[["_Slot"], list[bytes]]


@dataclass(frozen=True)
class _Slot:
    """Where and for whom a fixture is made."""

    name: str
    day: date
    account: Account

    def uid(self, part: str = "") -> str:
        return stable_uid("fixture", self.account.email, self.name, part)

    def at(self, hour: int, minute: int = 0, *, days: int = 0) -> datetime:
        return datetime.combine(self.day + timedelta(days=days), time(hour, minute))

    def one(self, *lines: str, zone: str | None = _BERLIN) -> Component:
        """Return an hour from 10:00."""
        return vevent(self.uid(), self.at(10), _HOUR, self.name, *lines, zone=zone)


def _all_day_transparent(slot: _Slot) -> list[bytes]:
    return [calendar(vevent(slot.uid(), slot.day, timedelta(1), slot.name, "TRANSP:TRANSPARENT"))]


def _all_day_plain(slot: _Slot) -> list[bytes]:
    return [calendar(vevent(slot.uid(), slot.day, timedelta(1), slot.name))]


def _all_day_opaque(slot: _Slot) -> list[bytes]:
    return [calendar(vevent(slot.uid(), slot.day, timedelta(1), slot.name, "TRANSP:OPAQUE"))]


def _needs_action(slot: _Slot) -> list[bytes]:
    lines = [
        organizer("host@example.net", "Host"),
        guest("host@example.net", "Host", "ACCEPTED"),
        guest(slot.account.email, slot.account.name, "NEEDS-ACTION"),
    ]
    return [calendar(slot.one("TRANSP:OPAQUE", *lines), zones=[_BERLIN])]


def _travel_time(slot: _Slot) -> list[bytes]:
    back = "X-APPLE-TRAVEL-RETURN-DURATION;VALUE=DURATION:PT20M"
    return [calendar(slot.one(*travel(30), back), zones=[_BERLIN])]


def _split_series(slot: _Slot) -> list[bytes]:
    related = f"RELATED-TO;RELTYPE=X-CALENDARSERVER-RECURRENCE-SET:{slot.uid('set')}"
    until = datetime.combine(slot.day - timedelta(days=1), time(20), UTC)
    bodies = []
    for part, start, rule in (
        ("old", slot.at(10, days=-28), f";UNTIL={until:%Y%m%dT%H%M%SZ}"),
        ("new", slot.at(14), ";COUNT=4"),
    ):
        text = f"RRULE:FREQ=WEEKLY;BYDAY={_weekday(slot.day)}{rule}"
        body = vevent(slot.uid(part), start, _HOUR, slot.name, text, related, zone=_BERLIN)
        bodies.append(calendar(body, zones=[_BERLIN]))
    return bodies


def _weekday(day: date) -> str:
    return ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[day.weekday()]


def _far_override(slot: _Slot) -> list[bytes]:
    rule = f"RRULE:FREQ=WEEKLY;BYDAY={_weekday(slot.day)};COUNT=2"
    uid = slot.uid()
    series = vevent(uid, slot.at(10), _HOUR, slot.name, rule, zone=_BERLIN)
    line = when("RECURRENCE-ID", slot.at(10), _BERLIN)
    moved = vevent(uid, slot.at(10, days=90), _HOUR, slot.name, line, zone=_BERLIN)
    return [calendar(series, moved, zones=[_BERLIN])]


def _floating(slot: _Slot) -> list[bytes]:
    return [calendar(slot.one(zone=None))]


def _offset_zone(slot: _Slot) -> list[bytes]:
    body = slot.one(zone='"GMT+05:00"')
    return [calendar(fixed_zone("GMT+05:00", "+0500"), body)]


def _windows_zone(slot: _Slot) -> list[bytes]:
    name = "W. Europe Standard Time"
    return [calendar(timezone(_BERLIN, tzid=name), slot.one(zone=name))]


def _customized_zone(slot: _Slot) -> list[bytes]:
    name = "Customized Time Zone"
    return [calendar(timezone("America/Chicago", tzid=name), slot.one(zone=name))]


def _double_stamp(slot: _Slot) -> list[bytes]:
    return [calendar(slot.one("DTSTAMP:20260202T080000Z"), zones=[_BERLIN])]


def _iana_without_definition(slot: _Slot) -> list[bytes]:
    return [calendar(slot.one(zone="Europe/Paris"))]


def _undefined_zone(slot: _Slot) -> list[bytes]:
    return [calendar(slot.one(zone="Nowhere/Special"))]


def _date_exdate(slot: _Slot) -> list[bytes]:
    rule = "RRULE:FREQ=DAILY;COUNT=2"
    excluded = when("EXDATE", slot.day + timedelta(days=1))
    return [calendar(slot.one(rule, excluded), zones=[_BERLIN])]


def _organizer_path(slot: _Slot) -> list[bytes]:
    account = slot.account
    lines = [
        f"ORGANIZER;CN={account.name};EMAIL={account.email}:{account.principal_path}",
        guest(account.email, account.name, "ACCEPTED"),
        guest("guest@example.net", "Guest", "NEEDS-ACTION"),
    ]
    return [calendar(slot.one(*lines), zones=[_BERLIN])]


def _declined(slot: _Slot) -> list[bytes]:
    lines = [
        organizer("host@example.net", "Host"),
        guest(slot.account.email.upper(), slot.account.name, "DECLINED"),
    ]
    return [calendar(slot.one(*lines), zones=[_BERLIN])]


def _private(slot: _Slot) -> list[bytes]:
    body = calendar(slot.one("LOCATION:Secret place"), zones=[_BERLIN])
    return [
        body.replace(b"VERSION:2.0\r\n", b"VERSION:2.0\r\nX-CALENDARSERVER-ACCESS:CONFIDENTIAL\r\n")
    ]


def _zero_length(slot: _Slot) -> list[bytes]:
    return [
        calendar(
            vevent(slot.uid(), slot.at(10), timedelta(0), slot.name, zone=_BERLIN), zones=[_BERLIN]
        )
    ]


def _no_end(slot: _Slot) -> list[bytes]:
    body = slot.one()
    body.drop("DTEND")
    return [calendar(body, zones=[_BERLIN])]


def _long_zone_prefix(slot: _Slot) -> list[bytes]:
    name = "/freeassociation.sourceforge.net/Europe/Berlin"
    return [calendar(timezone(_BERLIN, tzid=name), slot.one(zone=name))]


def _trailing_blanks(slot: _Slot) -> list[bytes]:
    body = calendar(
        slot.one(f'X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-TITLE="{"Long " * 60}":geo:0,0'),
        zones=[_BERLIN],
    )
    return [body + b"\r\n  \r\n"]


def _broken(slot: _Slot) -> list[bytes]:
    return [calendar(slot.one(), zones=[_BERLIN]).replace(b"END:VEVENT\r\n", b"")]


FIXTURES: tuple[Fixture, ...] = (
    Fixture(
        "all-day-transparent",
        "All-day, TRANSP:TRANSPARENT (how devices write it)",
        "free",
        _all_day_transparent,
    ),
    Fixture("all-day-plain", "All-day without TRANSP", "busy all day", _all_day_plain),
    Fixture("all-day-opaque", "All-day, TRANSP:OPAQUE", "busy all day", _all_day_opaque),
    Fixture("needs-action", "Unanswered invitation, OPAQUE", "tentative", _needs_action),
    Fixture(
        "travel-time",
        "Travel time of 30 minutes, return of 20",
        "busy 09:30 to 11:20",
        _travel_time,
    ),
    Fixture(
        "split-series",
        "Series split at this day: two objects linked by RELATED-TO",
        "busy 14:00 to 15:00",
        _split_series,
    ),
    Fixture(
        "far-override",
        "The instance of this day was moved 90 days away",
        "free on this day",
        _far_override,
    ),
    Fixture("floating", "Floating time", "busy at that wall time in the owner's zone", _floating),
    Fixture("offset-zone", 'Quoted `TZID="GMT+05:00"`', "busy from 05:00 UTC", _offset_zone),
    Fixture("windows-zone", "Windows zone name with its VTIMEZONE", "busy", _windows_zone),
    Fixture(
        "customized-zone",
        "`Customized Time Zone` with its VTIMEZONE (Chicago)",
        "busy by that VTIMEZONE",
        _customized_zone,
    ),
    Fixture("prefixed-zone", "Zone name with a prefix", "busy", _long_zone_prefix),
    Fixture("double-stamp", "DTSTAMP twice", "busy", _double_stamp),
    Fixture("iana-undefined", "IANA zone without VTIMEZONE", "busy", _iana_without_definition),
    Fixture("undefined-zone", "Zone that nothing defines", "unknown", _undefined_zone),
    Fixture(
        "date-exdate",
        "DATE-only EXDATE on a timed daily series of two",
        "busy on the first day, free on the second",
        _date_exdate,
    ),
    Fixture("organizer-path", "ORGANIZER is an absolute principal path", "busy", _organizer_path),
    Fixture("declined", "Declined, the own address in other letter case", "free", _declined),
    Fixture(
        "confidential", "X-CALENDARSERVER-ACCESS:CONFIDENTIAL", "busy, no text may leave", _private
    ),
    Fixture("zero-length", "DTEND equals DTSTART", "free", _zero_length),
    Fixture("no-end", "Neither DTEND nor DURATION", "free (no length)", _no_end),
    Fixture(
        "trailing-blanks",
        "A very long folded property and blank lines at the end",
        "busy",
        _trailing_blanks,
    ),
    Fixture("broken", "END:VEVENT is missing", "busy, and unknown from its end on", _broken),
)
BY_NAME = {fixture.name: fixture for fixture in FIXTURES}


def fixture_bodies(account: Account, name: str) -> list[bytes]:
    """Return the objects of one fixture for an account; raises KeyError for an unknown name."""
    return BY_NAME[name].make(_Slot(name, fixture_day(account, name), account))


def fixture_day(account: Account, name: str) -> date:
    """Return the day a fixture lies on: two days apart, from the next Monday on."""
    today = datetime.fromtimestamp(account.world.now(), UTC).date()
    monday = today + timedelta(days=7 - today.weekday())
    return monday + timedelta(days=2 * list(BY_NAME).index(name))


def put_fixtures(
    account: Account, calendar_id: str, names: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Put fixtures (all without names) into a calendar; return the object names of each."""
    return {
        name: [account.put(calendar_id, body) for body in fixture_bodies(account, name)]
        for name in (names if names is not None else BY_NAME)
    }
