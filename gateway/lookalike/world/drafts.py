"""Calendar objects as Apple's devices write them: building blocks for demo data and fixtures."""

import uuid
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from gateway.lookalike.world.ical import Component, serialise

PRODID = "-//Apple Inc.//macOS 26.1//EN"
_NAMESPACE = uuid.UUID("6f0f2a1e-7f6b-4f0e-9b0c-5a4f0a3f9d11")

# name -> (standard offset, daylight offset, daylight rule, standard rule, abbreviations)
_EU = ("19810329T020000", "FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU")
_EU_END = ("19961027T030000", "FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU")
_US = ("20070311T020000", "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU")
_US_END = ("20071104T020000", "FREQ=YEARLY;BYMONTH=11;BYDAY=1SU")
_ZONES: dict[str, tuple[str, str, tuple[str, str], tuple[str, str], str, str]] = {
    "Europe/Berlin": ("+0100", "+0200", _EU, _EU_END, "CET", "CEST"),
    "Europe/London": (
        "+0000",
        "+0100",
        ("19810329T010000", _EU[1]),
        ("19961027T020000", _EU_END[1]),
        "GMT",
        "BST",
    ),
    "America/New_York": ("-0500", "-0400", _US, _US_END, "EST", "EDT"),
    "America/Chicago": ("-0600", "-0500", _US, _US_END, "CST", "CDT"),
}


def stable_uid(*parts: object) -> str:
    """Return an upper-case UUID that is always the same for the same parts."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, parts)))).upper()


def timezone(name: str, *, tzid: str | None = None) -> Component:
    """Return the VTIMEZONE of a zone known here, under another TZID if one is given."""
    standard, daylight, begins, ends, short, long = _ZONES[name]
    zone = Component("VTIMEZONE", [f"TZID:{tzid or name}"])
    for kind, offsets, (start, rule), label in (
        ("DAYLIGHT", (standard, daylight), begins, long),
        ("STANDARD", (daylight, standard), ends, short),
    ):
        lines = [f"TZOFFSETFROM:{offsets[0]}", f"RRULE:{rule}", f"DTSTART:{start}"]
        lines += [f"TZNAME:{label}", f"TZOFFSETTO:{offsets[1]}"]
        zone.children.append(Component(kind, lines))
    return zone


def fixed_zone(tzid: str, offset: str) -> Component:
    """Return a VTIMEZONE with one offset, as devices write for ``GMT+05:00``."""
    lines = [f"TZOFFSETFROM:{offset}", "DTSTART:19700101T000000", f"TZOFFSETTO:{offset}"]
    return Component("VTIMEZONE", [f"TZID:{tzid}"], [Component("STANDARD", lines)])


def when(name: str, moment: datetime | date, zone: str | None = None) -> str:
    """Return a time property: DATE for dates, UTC for zone ``Z``, floating without zone."""
    if not isinstance(moment, datetime):
        return f"{name};VALUE=DATE:{moment:%Y%m%d}"
    if zone == "Z":
        return f"{name}:{moment:%Y%m%dT%H%M%SZ}"
    return (
        f"{name};TZID={zone}:{moment:%Y%m%dT%H%M%S}" if zone else f"{name}:{moment:%Y%m%dT%H%M%S}"
    )


def vevent(
    uid: str,
    start: datetime | date,
    end: datetime | date | timedelta,
    summary: str,
    *lines: str,
    zone: str | None = None,
    stamp: datetime | None = None,
) -> Component:
    """Return a VEVENT; ``end`` may be a length; times are wall times in ``zone``."""
    finish = start + end if isinstance(end, timedelta) else end
    made = (stamp or datetime(2026, 1, 5, 8, 0)).strftime("%Y%m%dT%H%M%SZ")  # noqa: DTZ001
    return Component(
        "VEVENT",
        [
            f"CREATED:{made}",
            f"UID:{uid}",
            when("DTEND", finish, zone),
            f"SUMMARY:{summary}",
            f"LAST-MODIFIED:{made}",
            f"DTSTAMP:{made}",
            when("DTSTART", start, zone),
            "SEQUENCE:0",
            *lines,
        ],
    )


def alarm(uid: str, minutes: int = 15) -> Component:
    """Return a display alarm some minutes before the start."""
    lines = [f"X-WR-ALARMUID:{uid}-A", f"UID:{uid}-A", f"TRIGGER:-PT{minutes}M"]
    return Component("VALARM", [*lines, "DESCRIPTION:Reminder", "ACTION:DISPLAY"])


def calendar(*parts: Component, zones: Iterable[str] = (), method: str | None = None) -> bytes:
    """Return the body of one calendar object, with the VTIMEZONEs it needs."""
    head = ["CALSCALE:GREGORIAN", f"PRODID:{PRODID}", "VERSION:2.0"]
    if method:
        head.append(f"METHOD:{method}")
    return serialise(Component("VCALENDAR", head, [*map(timezone, zones), *parts]))


def guest(address: str, name: str, partstat: str, *, agent: str | None = None) -> str:
    """Return an ATTENDEE line as stored invitations have it."""
    extra = f";SCHEDULE-AGENT={agent}" if agent else ""
    return (
        f"ATTENDEE;CN={name};CUTYPE=INDIVIDUAL;EMAIL={address};PARTSTAT={partstat};"
        f"ROLE=REQ-PARTICIPANT{extra}:mailto:{address}"
    )


def organizer(address: str, name: str) -> str:
    """Return an ORGANIZER line with an e-mail address."""
    return f"ORGANIZER;CN={name};EMAIL={address}:mailto:{address}"


def place(title: str, latitude: float, longitude: float) -> list[str]:
    """Return LOCATION and the long structured location that Apple adds."""
    return [
        f"LOCATION:{title}",
        f"X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-APPLE-MAPKIT-HANDLE=CAESvQEaEgkAAAAAAAAA;"
        f'X-APPLE-RADIUS=141.2;X-APPLE-REFERENCEFRAME=1;X-TITLE="{title}":geo:{latitude},{longitude}',
    ]


def travel(minutes: int, origin: str = "Home") -> list[str]:
    """Return the travel time lines of Apple Calendar."""
    return [
        f"X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT{minutes}M",
        f'X-APPLE-TRAVEL-START;ROUTING=CAR;VALUE=URI;X-ADDRESS="{origin}";X-TITLE={origin}:',
        "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC",
    ]
