"""What iCloud does with the body of a PUT: which it refuses, how it rewrites, whom it mails.

None of the refusals says why; the statuses are those clients have reported.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from gateway.lookalike.dav.call import Call
from gateway.lookalike.world.accounts import Account
from gateway.lookalike.world.ical import (
    Component,
    is_date,
    name_of,
    param_of,
    serialise,
    split_line,
    value_of,
)

_HTML = re.compile(r"<\s*/?\s*(html|body|p|br|div|span|table|a|b|i|font|head|style)\b[^>]*>", re.I)
_STATUSES = {
    "VEVENT": {"TENTATIVE", "CONFIRMED", "CANCELLED"},
    "VTODO": {"NEEDS-ACTION", "COMPLETED", "IN-PROCESS", "CANCELLED"},
}
_MAX_BYTES = 20 * 1024 * 1024
_TIMES = ("DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE")


def refusal_status(call: Call, body: Component) -> int | None:
    """Return the status a body is refused with, or None when it is acceptable."""
    parts = body.parts("VEVENT", "VTODO", "VJOURNAL")
    if any(part.name == "VJOURNAL" for part in parts):
        return 500
    if not parts or len({part.name for part in parts}) > 1 or len(call.body) > _MAX_BYTES:
        return 403
    uids = {part.find_value("UID") or "" for part in parts}
    if len(uids) != 1 or uids == {""}:
        return 403
    if not call.on("bad-body"):
        return None
    if len(uids.pop()) >= 64:
        return 404
    if body.find_line("METHOD") is not None:
        return 403
    statuses = (_part_refusal(part) for part in parts)
    return next((status for status in statuses if status), None) or _zone_refusal(body)


def _part_refusal(part: Component) -> int | None:
    start, end = part.find_line("DTSTART"), part.find_line("DTEND")
    if part.name == "VEVENT":
        if start is None or (end is None and part.find_line("DURATION") is None):
            return 404
        if end is not None and is_date(start) != is_date(end):
            return 400
    elif any(line and not is_date(line) for line in (start, part.find_line("DUE"))):
        return 403
    if _HTML.search(part.find_value("DESCRIPTION") or ""):
        return 404
    status = part.find_value("STATUS")
    if status is not None and status not in _STATUSES.get(part.name, set()):
        return 403
    return _stamp_refusal(part)


def _stamp_refusal(part: Component) -> int | None:
    if part.find_line("DTSTAMP") is None:
        return 403
    for name in ("DTSTAMP", "CREATED", "LAST-MODIFIED"):
        value = part.find_value(name)
        if value is not None and not value.endswith("Z"):
            return 403
    return None


def _zone_refusal(body: Component) -> int | None:
    defined = {part.find_value("TZID") for part in body.parts("VTIMEZONE")}
    for part in body.parts("VEVENT", "VTODO"):
        for line in part.lines:
            if name_of(line) in _TIMES:
                zone = param_of(line, "TZID")
                if zone is not None and zone not in defined:
                    return 400
    return None


# -- rewriting ---------------------------------------------------------------------------------


def rewrite(call: Call, body: Component, guests: frozenset[str]) -> bytes:
    """Return the bytes that are stored: sorted, completed and folded by the server.

    A WEEKLY rule without BYDAY is dropped; guests that were mailed are marked so. With
    `reserialise` off and nothing dropped or marked, the bytes stay as they were sent.
    """
    changed = _drop_weekly_rules(call, body)
    changed = _mark_guests(body, guests) or changed
    if not call.on("reserialise"):
        return serialise(body) if changed else call.body
    stamp = datetime.fromtimestamp(call.world.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    for part in body.parts("VEVENT", "VTODO"):
        if part.find_line("CREATED") is None:
            part.lines.append(f"CREATED:{stamp}")
        if part.find_line("SEQUENCE") is None:
            part.lines.append("SEQUENCE:0")
        part.set_line(f"LAST-MODIFIED:{stamp}")
        part.drop("COLOR")
        part.lines.sort(key=name_of)
    return serialise(body)


def _drop_weekly_rules(call: Call, body: Component) -> bool:
    if not call.on("weekly-needs-byday"):
        return False
    changed = False
    for part in body.parts("VEVENT"):
        for line in part.all_lines("RRULE"):
            rule = value_of(line).upper()
            if "FREQ=WEEKLY" in rule and "BYDAY=" not in rule:
                part.lines.remove(line)
                changed = True
    return changed


def _mark_guests(body: Component, guests: frozenset[str]) -> bool:
    changed = False
    for part in body.parts("VEVENT"):
        for index, line in enumerate(part.lines):
            if name_of(line) != "ATTENDEE" or address_of(line) not in guests:
                continue
            if param_of(line, "SCHEDULE-STATUS") is None:
                head, value = split_line(line)
                part.lines[index] = f"{head};SCHEDULE-STATUS=1.1:{value}"
                changed = True
    return changed


# -- guests ------------------------------------------------------------------------------------


def address_of(line: str) -> str:
    """Return the calendar user address of an ATTENDEE or ORGANIZER, folded, without mailto."""
    return value_of(line).strip().casefold().removeprefix("mailto:")


def own_addresses(account: Account) -> set[str]:
    """Every address that means the account itself."""
    own = {account.email, *account.aliases, f"urn:uuid:{account.uuid}", account.principal_path}
    return {address.casefold() for address in own}


def guests_of(account: Account, body: Component) -> frozenset[str]:
    """Return whom the server mails about an object of this account: all guests but itself."""
    own = own_addresses(account)
    return frozenset(
        address_of(line)
        for line in _attendees(body)
        if address_of(line) not in own
        and (param_of(line, "SCHEDULE-AGENT") or "SERVER").upper() == "SERVER"
    )


def _attendees(body: Component) -> Iterator[str]:
    for part in body.parts("VEVENT"):
        yield from part.all_lines("ATTENDEE")


def organizer_of(account: Account, body: Component) -> str | None:
    """Return the organizer's address when it is somebody else, else None."""
    for part in body.parts("VEVENT"):
        line = part.find_line("ORGANIZER")
        if line is not None and address_of(line) not in own_addresses(account):
            return address_of(line)
    return None
