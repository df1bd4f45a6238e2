"""Scheduling outbox: questions when people are busy (RFC 6638 5), and nothing else.

A client POSTs a VFREEBUSY request that names people; each gets an answer of its own. Only people
of the same subaccount are known here. Invitations are refused: guests are never mailed (R19).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from gateway.core.availability.merge import combine
from gateway.core.availability.vfreebusy import render_vfreebusy
from gateway.core.ical.document import Component
from gateway.core.ical.lines import Property, unfold
from gateway.core.ical.reader import read_calendar
from gateway.core.intervals import Interval
from gateway.store.access.principals import (
    Principal,
    find_principals,
    find_principals_by_email,
    get_principal,
)
from gateway.store.booking.bookings import find_by_account_address, owner_addresses
from gateway.store.engine import Session
from storage_plugin.http.errors import DECLARATIONS, Answer, DavError
from storage_plugin.http.handlers import is_usable_name, path_of
from storage_plugin.http.multistatus import text
from storage_plugin.reports.filters import read_utc
from storage_plugin.reports.freebusy import MAX_WINDOW_S, ask
from storage_plugin.requests import Request

MAX_ASKED = 100
_MAILTO = "mailto:"


@dataclass(frozen=True, slots=True)
class Question:
    """A VFREEBUSY request: who asks, about whom, for which window (UTC epoch seconds)."""

    uid: str
    organizer: str
    attendees: tuple[str, ...]
    window: Interval


def read_question(body: bytes) -> Question:
    """Read a request (RFC 5546 3.3.2); raises :class:`DavError` 403 for anything else."""
    calendar = read_calendar(unfold(body), full=True)
    if not calendar.has_calendar:
        raise DavError(HTTPStatus.FORBIDDEN, "<C:valid-calendar-data/>", "This is no iCalendar.")
    method = calendar.header.get("METHOD")
    if method is None or method.value.strip().upper() != "REQUEST":
        raise _not_a_question("Only free/busy requests are answered here (METHOD:REQUEST).")
    if [part.name for part in calendar.components] != ["VFREEBUSY"]:
        raise _not_a_question("Only free/busy is answered here: invitations are never sent.")
    asked = calendar.components[0]
    window = _window(asked)
    attendees = tuple(dict.fromkeys(_address(prop) for prop in asked.all("ATTENDEE")))
    if not 0 < len(attendees) <= MAX_ASKED:
        raise _not_a_question(f"Name one to {MAX_ASKED} people as ATTENDEE.")
    organizer = asked.first("ORGANIZER")
    return Question(
        uid=asked.text("UID") or "freebusy",
        organizer=_address(organizer) if organizer is not None else "",
        attendees=attendees,
        window=window,
    )


def answer_question(request: Request, question: Question) -> Answer:
    """Answer for each person (RFC 6638 5.1)."""
    session = request.session()
    asker = get_principal(session, request.user)
    own = {f"{_MAILTO}{address}" for address in owner_addresses(session, asker.id)}
    own |= {f"{_MAILTO}{asker.email}".casefold(), _home(request.base_prefix, asker)}
    if _path_or_mail(question.organizer) not in own:
        raise DavError(
            HTTPStatus.FORBIDDEN, "<C:valid-organizer/>", "The ORGANIZER must be you yourself."
        )
    known = _find_people(session, request.base_prefix, asker, question.attendees)
    lines = [
        _response(request, address, known.get(_path_or_mail(address), []), question)
        for address in question.attendees
    ]
    body = (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<C:schedule-response{DECLARATIONS}>{''.join(lines)}</C:schedule-response>\n"
    )
    return HTTPStatus.OK, {"Content-Type": "application/xml"}, body, None


def people_of(request: Request, question: Question) -> list[str]:
    """Return the ids of everybody a question is about."""
    session = request.session()
    asker = get_principal(session, request.user)
    known = _find_people(session, request.base_prefix, asker, question.attendees)
    return sorted({person.id for people in known.values() for person in people})


def _find_people(
    session: Session, base_prefix: str, asker: Principal, addresses: Iterable[str]
) -> dict[str, list[Principal]]:
    """Return the people of the asker's subaccount by address; several may share one."""
    wanted = {_path_or_mail(address) for address in addresses}
    mails = [a.removeprefix(_MAILTO) for a in wanted if a.startswith(_MAILTO)]
    ids = [a.strip("/").rpartition("/")[2] for a in wanted if not a.startswith(_MAILTO)]
    ids = [name for name in ids if is_usable_name(name)]
    mine = asker.subaccount_id
    by_account = find_by_account_address(session, mails, subaccount_id=mine) if mails else {}
    ids += [principal_id for found in by_account.values() for principal_id in found]
    by_id = find_principals(session, ids, subaccount_id=mine)
    known: dict[str, dict[str, Principal]] = {}
    for person in by_id.values():
        known.setdefault(_home(base_prefix, person), {})[person.id] = person
    for person in find_principals_by_email(session, mails, subaccount_id=mine):
        known.setdefault(f"{_MAILTO}{person.email}".casefold(), {})[person.id] = person
    for address, found in by_account.items():
        people = {principal_id: by_id[principal_id] for principal_id in found}
        known.setdefault(f"{_MAILTO}{address}", {}).update(people)
    return {address: list(people.values()) for address, people in known.items()}


def _response(request: Request, address: str, people: list[Principal], question: Question) -> str:
    recipient = f"<C:recipient><href>{text(address)}</href></C:recipient>"
    if not people:
        status = "<C:request-status>3.7;Invalid calendar user</C:request-status>"
        return f"<C:response>{recipient}{status}</C:response>"
    request.state.effort.check()
    window = question.window
    rows = combine(ask(request, person, window).busy for person in people)
    body = render_vfreebusy(
        rows,
        window,
        uid=question.uid,
        stamp=request.now(),
        organizer=question.organizer,
        attendee=address,
    )
    status = "<C:request-status>2.0;Success</C:request-status>"
    data = f"<C:calendar-data>{text(body.decode())}</C:calendar-data>"
    return f"<C:response>{recipient}{status}{data}</C:response>"


def _address(prop: Property) -> str:
    return prop.value.strip()


def _window(asked: Component) -> Interval:
    try:
        start, end = read_utc(asked.text("DTSTART")), read_utc(asked.text("DTEND"))
    except DavError:
        start = end = None
    if start is None or end is None or not 0 < end - start <= MAX_WINDOW_S:
        raise _not_a_question("DTSTART and DTEND are UTC and at most a year apart.")
    return start, end


def _path_or_mail(address: str) -> str:
    """Return an address in the form that is compared: mail in one case, a URL without host."""
    if address[: len(_MAILTO)].casefold() == _MAILTO:
        return address.casefold()
    try:
        return path_of(address)
    except ValueError:
        return address


def _home(base_prefix: str, person: Principal) -> str:
    return f"{base_prefix}/{person.id}/"


def _not_a_question(reason: str) -> DavError:
    return DavError(HTTPStatus.FORBIDDEN, "<C:valid-scheduling-message/>", reason)
