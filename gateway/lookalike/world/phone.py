"""Edits as a person makes them on a phone: in time, in a series, with guests.

Times of instances are named by the value of their RECURRENCE-ID in the series' own zone, as
``20261125T091500`` or ``2026-11-25T09:15:00``. Lengths and shifts are seconds of wall time.
"""

import copy
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from gateway.lookalike.world.contents import Resource
from gateway.lookalike.world.drafts import guest, stable_uid
from gateway.lookalike.world.ical import (
    Component,
    format_moment,
    name_of,
    param_of,
    parse_body,
    parse_moment,
    serialise,
    shift_line,
    split_line,
    value_of,
)

_SHIFTED = ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE")
_SERIES_ONLY = ("RRULE", "RDATE", "EXDATE", "EXRULE")
_KINDS = ("VEVENT", "VTODO")


class Shown(Protocol):
    """A calendar as a device shows it."""

    @property
    def resources(self) -> dict[str, Resource]:
        """The stored objects by name."""


class Clock(Protocol):
    """Whoever knows the time."""

    def now(self) -> float:
        """Present time, UTC seconds."""


class Owner(Protocol):
    """The account whose devices these are."""

    name: str
    email: str
    aliases: set[str]

    @property
    def world(self) -> Clock:
        """Where the account lives."""

    @property
    def principal_path(self) -> str:
        """Path of the principal resource."""

    def calendar(self, calendar_id: str) -> Shown:
        """Return a calendar by id or name; raises KeyError."""

    def put(self, calendar: str, data: bytes, name: str | None = None) -> str:
        """Create or replace an object; return its name."""


class Phone:
    """The devices of one account. Every method raises KeyError for an unknown object and
    ValueError when the object cannot be edited so; each edit is one change of one resource.
    """

    def __init__(self, account: Owner) -> None:
        self._account = account

    def edit(self, calendar: str, name: str, **properties: str | None) -> None:
        """Set (or with None remove) properties of the event: ``edit(…, SUMMARY="Tea")``.

        In a series the properties of the master are set. Underscores stand for hyphens.
        """

        def change(body: Component) -> None:
            part = master_of(body)
            for key, value in properties.items():
                key = key.upper().replace("_", "-")
                if value is None:
                    part.drop(key)
                else:
                    part.set_line(f"{key}:{value}")

        self._change(calendar, name, change)

    def reschedule(
        self, calendar: str, name: str, seconds: float, *, length: float | None = None
    ) -> None:
        """Move an event (a whole series) in time, and give it another length."""
        delta = timedelta(seconds=seconds)

        def change(body: Component) -> None:
            for part in body.parts(*_KINDS):
                part.lines = [
                    shift_line(line, delta) if name_of(line) in _SHIFTED else line
                    for line in part.lines
                ]
                if length is not None:
                    _set_length(part, length)

        self._change(calendar, name, change)

    def move_occurrence(
        self,
        calendar: str,
        name: str,
        recurrence: str,
        seconds: float,
        **properties: str,
    ) -> None:
        """Move one instance of a series: an override beside the master in the same object."""
        delta = timedelta(seconds=seconds)

        def change(body: Component) -> None:
            override = self._override(body, recurrence)
            override.lines = [
                shift_line(line, delta) if name_of(line) in ("DTSTART", "DTEND") else line
                for line in override.lines
            ]
            for key, value in properties.items():
                override.set_line(f"{key.upper().replace('_', '-')}:{value}")

        self._change(calendar, name, change)

    def delete_occurrence(self, calendar: str, name: str, recurrence: str) -> None:
        """Delete one instance of a series: an EXDATE, and its override is dropped."""

        def change(body: Component) -> None:
            master = master_of(body)
            line = like_start(master, "EXDATE", recurrence)
            body.children = [
                part for part in body.children if not _is_override_of(part, value_of(line))
            ]
            master.lines.append(line)

        self._change(calendar, name, change)

    def split_series(self, calendar: str, name: str, recurrence: str, *, seconds: float = 0) -> str:
        """Change "this and all future" instances: cut the series at an instance, shift the rest.

        Apple makes two objects linked by RELATED-TO; the rest gets a UID of its own. Returns the
        name of the new object.
        """
        body = parse_body(self._resource(calendar, name).data)
        rest = copy.deepcopy(body)
        master = master_of(body)
        at = value_of(like_start(master, "X", recurrence))
        new_uid = stable_uid(master.find_value("UID"), at, self._account.world.now())
        link = f"RELATED-TO;RELTYPE=X-CALENDARSERVER-RECURRENCE-SET:{stable_uid(new_uid, 'set')}"
        before, after = _split_rule(master, at)
        _keep(body, lambda value: parse_moment(value) < parse_moment(at))
        _keep(rest, lambda value: parse_moment(value) >= parse_moment(at))
        master.set_line(before)
        master.lines.append(link)
        new_master = master_of(rest)
        new_master.set_line(after)
        new_master.lines.append(link)
        _start_at(new_master, at)
        for part in rest.parts(*_KINDS):
            part.set_line(f"UID:{new_uid}")
            part.lines = [
                shift_line(line, timedelta(seconds=seconds)) if name_of(line) in _SHIFTED else line
                for line in part.lines
            ]
        self._store(calendar, name, body)
        return self._account.put(calendar, serialise(rest), f"{new_uid}.ics")

    def add_guests(self, calendar: str, name: str, *addresses: str) -> None:
        """Invite people: ORGANIZER is the own principal path, as native events have it."""
        account = self._account

        def change(body: Component) -> None:
            for part in body.parts("VEVENT"):
                if part.find_line("ORGANIZER") is None:
                    path = account.principal_path
                    head = f"ORGANIZER;CN={account.name};EMAIL={account.email}"
                    part.lines.append(f"{head}:{path}")
                    part.lines.append(guest(account.email, account.name, "ACCEPTED"))
                for address in addresses:
                    line = guest(address, address.partition("@")[0], "NEEDS-ACTION")
                    head, value = split_line(line)
                    part.lines.append(f"{head};SCHEDULE-STATUS=1.1:{value}")

        resource = self._change(calendar, name, change)
        invited = {address.casefold() for address in addresses}
        resource.mailed = resource.mailed | invited

    def respond(self, calendar: str, name: str, partstat: str) -> None:
        """Answer an invitation: ``ACCEPTED``, ``DECLINED``, ``TENTATIVE``."""
        own = {self._account.email.casefold(), *self._account.aliases}

        def change(body: Component) -> None:
            for part in body.parts("VEVENT"):
                for index, line in enumerate(part.lines):
                    head, value = split_line(line)
                    address = value.casefold().removeprefix("mailto:")
                    if name_of(line) == "ATTENDEE" and address in own:
                        part.lines[index] = f"{_with_partstat(head, partstat)}:{value}"

        self._change(calendar, name, change)

    # -- inside --------------------------------------------------------------------------------

    def _resource(self, calendar: str, name: str) -> Resource:
        return self._account.calendar(calendar).resources[name]

    def _change(self, calendar: str, name: str, change: Callable[[Component], None]) -> Resource:
        body = parse_body(self._resource(calendar, name).data)
        change(body)
        return self._store(calendar, name, body)

    def _store(self, calendar: str, name: str, body: Component) -> Resource:
        now = datetime.fromtimestamp(self._account.world.now(), UTC)
        for part in body.parts(*_KINDS):
            part.set_line(f"LAST-MODIFIED:{now:%Y%m%dT%H%M%SZ}")
            number = part.find_value("SEQUENCE") or "0"
            part.set_line(f"SEQUENCE:{int(number) + 1 if number.isdigit() else 1}")
        mailed = self._resource(calendar, name).mailed
        self._account.put(calendar, serialise(body), name)
        resource = self._resource(calendar, name)
        resource.mailed = mailed
        return resource

    def _override(self, body: Component, recurrence: str) -> Component:
        master = master_of(body)
        line = like_start(master, "RECURRENCE-ID", recurrence)
        for part in body.parts(*_KINDS):
            if _is_override_of(part, value_of(line)):
                return part
        override = copy.deepcopy(master)
        override.drop(*_SERIES_ONLY)
        _start_at(override, value_of(line))
        override.lines.append(line)
        body.children.append(override)
        return override


def master_of(body: Component) -> Component:
    """Return the component without RECURRENCE-ID; raises ValueError when there is none."""
    for part in body.parts(*_KINDS):
        if part.find_line("RECURRENCE-ID") is None:
            return part
    raise ValueError("the object has no master")


def like_start(master: Component, name: str, value: str) -> str:
    """Return a time property with the zone and type of DTSTART; ``value`` is a wall time."""
    line = master.find_line("DTSTART")
    if line is None:
        raise ValueError("the event has no DTSTART")
    head, old = split_line(line)
    wanted = value.replace("-", "").replace(":", "")
    params = head[len("DTSTART") :]
    return f"{name}{params}:{format_moment(parse_moment(wanted), old)}"


def _is_override_of(part: Component, value: str) -> bool:
    return part.find_value("RECURRENCE-ID") == value


def _start_at(part: Component, value: str) -> None:
    """Move a component so that it starts at a wall time, keeping its length."""
    start = part.find_value("DTSTART") or value
    delta = parse_moment(value) - parse_moment(start)
    part.lines = [
        shift_line(line, delta) if name_of(line) in ("DTSTART", "DTEND") else line
        for line in part.lines
    ]


def _set_length(part: Component, seconds: float) -> None:
    start = part.find_line("DTSTART")
    if start is None:
        raise ValueError("the event has no DTSTART")
    head, value = split_line(start)
    end = format_moment(parse_moment(value) + timedelta(seconds=seconds), value)
    part.drop("DURATION")
    part.set_line(f"DTEND{head[len('DTSTART') :]}:{end}")


def _keep(body: Component, wanted: Callable[[str], bool]) -> None:
    """Keep the overrides and EXDATEs whose instance is wanted."""
    body.children = [
        part
        for part in body.children
        if (value := part.find_value("RECURRENCE-ID")) is None or wanted(value)
    ]
    for part in body.parts(*_KINDS):
        part.lines = list(_kept_lines(part.lines, wanted))


def _kept_lines(lines: Iterable[str], wanted: Callable[[str], bool]) -> Iterable[str]:
    for line in lines:
        if name_of(line) not in ("EXDATE", "RDATE"):
            yield line
            continue
        head, value = split_line(line)
        values = [one for one in value.split(",") if wanted(one)]
        if values:
            yield f"{head}:{','.join(values)}"


def _split_rule(master: Component, at: str) -> tuple[str, str]:
    """Return the RRULE lines of both halves; the instance ``at`` begins the second one."""
    rule, start = master.find_value("RRULE"), master.find_value("DTSTART") or ""
    if rule is None:
        raise ValueError("the event does not recur")
    cut = parse_moment(at)
    parts = [item for item in rule.split(";") if not item.upper().startswith(("COUNT", "UNTIL"))]
    before = ";".join([*parts, f"UNTIL={_until_before(master, at)}"])
    after = rule
    if "COUNT=" in rule.upper():
        plain = rrulestr(rule, dtstart=parse_moment(start))
        left = sum(1 for moment in plain if moment >= cut)
        after = ";".join([*parts, f"COUNT={left}"])
    return f"RRULE:{before}", f"RRULE:{after}"


def _until_before(master: Component, at: str) -> str:
    """Return an UNTIL just before a wall time: UTC for zoned series (RFC 5545 section 3.3.10)."""
    line = master.find_line("DTSTART") or ""
    just_before = parse_moment(at) - timedelta(seconds=1)
    if len(at) == 8 or at.endswith("Z"):
        return format_moment(just_before, at)
    zone = param_of(line, "TZID")
    if zone is None:
        return format_moment(just_before, at)
    try:
        moment = just_before.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except (KeyError, ValueError, OSError):
        moment = just_before - timedelta(hours=12)
    return format_moment(moment, f"{at}Z")


def _with_partstat(head: str, partstat: str) -> str:
    parts = [item for item in head.split(";") if not item.upper().startswith("PARTSTAT=")]
    return ";".join([*parts, f"PARTSTAT={partstat}"])
