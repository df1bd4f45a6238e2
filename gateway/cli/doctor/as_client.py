"""``gateway doctor --as-client``: a running CalDAV server, tried from outside as an app would.

The client is python-caldav, which shares no code with this project, so a mistake made on both sides
cannot hide. What is written is one event marked as a Blocked Slot, which no login can turn into an
appointment and which is therefore never sent to iCloud; it is deleted again whatever happens.
"""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from caldav.davclient import DAVClient
from caldav.elements import dav
from caldav.lib.error import AuthorizationError, DAVError, NotFoundError
from icalendar import Calendar
from niquests.exceptions import RequestException

from gateway.cli.steps import Step
from gateway.core.errors import Refused
from gateway.isolation import EVERYBODYS
from gateway.settings import Settings

TIMEOUT_S = 30
AHEAD = timedelta(days=300)
"""The test event lies so far ahead, where hardly anybody asks, and inside of what is expanded."""

LENGTH = timedelta(minutes=10)
_HOURS_TRIED = 24
_WRITES = frozenset(f"{{DAV:}}{name}" for name in ("all", "write", "write-content", "bind"))


class StepFailed(Exception):
    """A step did not hold; the text says what was seen instead."""


@dataclass
class Visit:
    """One login's visit to a server, and what it left there so far.

    Things of python-caldav are Any: its types say of every call that it may be a coroutine.
    """

    client: Any
    principal: Any = None
    writable: list[Any] = field(default_factory=list)
    read_only: list[Any] = field(default_factory=list)
    start: datetime = field(default_factory=lambda: _whole_hour(datetime.now(UTC) + AHEAD))
    uid: str = field(default_factory=lambda: f"gateway-doctor-{uuid4()}")
    made: list[str] = field(default_factory=list)
    """URLs to be deleted at the end, the last one first."""

    @property
    def target(self) -> Any:
        """Where the test event goes."""
        return self.writable[0]

    @property
    def end(self) -> datetime:
        """When the test event ends."""
        return self.start + LENGTH

    def address_in(self, calendar: Any) -> str:
        """Return the URL of the test event in a calendar."""
        return str(calendar.url.join(f"{self.uid}.ics"))

    def put(self, calendar: Any) -> int:
        """PUT the test event and return the status; it counts as left behind from now on."""
        address = self.address_in(calendar)
        self.made.append(address)
        headers = {"Content-Type": "text/calendar; charset=utf-8", "If-None-Match": "*"}
        try:
            status = int(self.client.put(address, self._event(), headers).status)
        except AuthorizationError as error:
            status = int(error.status or 401)
        if status in (401, 403):
            self.made.remove(address)
        return status

    def _event(self) -> str:
        lines = [
            "BEGIN:VCALENDAR",
            "VERSION:2.0",
            "PRODID:-//gateway doctor//EN",
            "BEGIN:VEVENT",
            f"UID:{self.uid}",
            f"DTSTAMP:{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
            f"DTSTART:{self.start:%Y%m%dT%H%M%SZ}",
            f"DTEND:{self.end:%Y%m%dT%H%M%SZ}",
            "SUMMARY:A test by gateway doctor; it may be deleted",
            "X-GATEWAY-KIND:BLOCKED-SLOT",
            "END:VEVENT",
            "END:VCALENDAR",
        ]
        return "\r\n".join(lines) + "\r\n"


def try_server(url: str, login: str, password: str) -> list[Step]:
    """Try a CalDAV server with one login; one :class:`Step` per promise, the cleaning up last.

    Raises :class:`Refused` for an address that is none, or is iCloud's own.
    """
    _check_address(url)
    logging.getLogger("caldav").setLevel(logging.CRITICAL)  # what it has to say is in the steps
    with (
        _stopped_in_order(),
        DAVClient(
            url,
            username=login,
            password=password,
            auth_type="basic",
            timeout=TIMEOUT_S,
            enable_rfc6764=False,
            rate_limit_handle=False,
            features={"http.multiplexing": {"support": "unsupported"}},
        ) as client,
    ):
        visit = Visit(client)
        steps: list[Step] = []
        try:
            for what, act in _STEPS.items():
                if steps and not all(step.ok for step in steps[:_NEEDED]):
                    steps.append(Step(what, False, "not tried"))
                else:
                    steps.append(_tried(what, act, visit))
        finally:
            steps.append(_tried("Everything is as it was", _clean_up, visit))
        return steps


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").casefold()
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.password:
        raise Refused(
            "Name the server as http(s)://host[:port]/[path]; the login is an argument of its own.",
            code="not-an-address",
        )
    domains = Settings.model_fields["upstream_domains"].default
    if any(host == domain or host.endswith(f".{domain}") for domain in domains):
        raise Refused(
            "This is iCloud itself. The test writes an event, and nothing but appointments is ever "
            "written there.",
            code="icloud-is-not-tested",
        )


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """Let SIGTERM end the visit as Ctrl-C does, so that it is cleaned up after."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tried(what: str, act: Callable[[Visit], str], visit: Visit) -> Step:
    try:
        return Step(what, True, act(visit))
    except EVERYBODYS:
        raise
    except Exception as error:  # whatever a foreign server brings a foreign library to
        return Step(what, False, _reason(error))


def _reason(error: Exception) -> str:
    if isinstance(error, AuthorizationError) and error.status == 401:
        return "the server refuses this login and password (401)"
    if isinstance(error, RequestException):
        return f"nobody answers there as an HTTP server does ({type(error).__name__})"
    if isinstance(error, StepFailed):
        return str(error)
    status = getattr(error, "status", None)
    text = " ".join(str(error).split())[:200]
    if isinstance(error, DAVError) and status:
        return f"status {status}: {text}"
    return f"{type(error).__name__}: {text}"


# --- the steps ---


def _discover(visit: Visit) -> str:
    """Current-user-principal, then calendar-home-set (RFC 5397, RFC 4791 6.2.1)."""
    visit.principal = visit.client.get_principal()
    home = visit.principal.calendar_home_set
    return f"calendar home {urlsplit(str(home.url)).path}"


def _list(visit: Visit) -> str:
    """Every calendar, and what this login may do in it (RFC 3744 5.4)."""
    calendars = list(visit.principal.get_calendars())
    for calendar in calendars:
        found = calendar.get_properties([dav.CurrentUserPrivilegeSet()])
        granted = found.get(dav.CurrentUserPrivilegeSet.tag)
        may_write = granted is None or bool(_WRITES & set(granted))
        (visit.writable if may_write else visit.read_only).append(calendar)
    writable, read_only = len(visit.writable), len(visit.read_only)
    if not visit.writable:
        name = f"gateway-doctor-{uuid4()}"
        visit.writable.append(visit.principal.make_calendar(name="Test", cal_id=name))
        visit.made.append(str(visit.target.url))
    return f"{writable} calendars to write in, {read_only} to read only"


def _write(visit: Visit) -> str:
    """PUT an event at a free time, read it again."""
    _find_free_time(visit)
    status = visit.put(visit.target)
    if status not in (200, 201, 204):
        raise StepFailed(f"PUT was answered {status}")
    there = visit.target.event_by_url(visit.address_in(visit.target))
    if str(there.icalendar_component.get("UID")) != visit.uid:
        raise StepFailed("what was read is not what was written")
    return f"PUT {status}, read again, in {_path(visit.target)}"


def _find_free_time(visit: Visit) -> None:
    for _ in range(_HOURS_TRIED):
        if not _is_busy(visit):
            return
        visit.start += timedelta(hours=1)
    raise StepFailed(f"no hour is free around {visit.start:%Y-%m-%d}, so nothing was written")


def _sync(visit: Visit) -> str:
    """Ask what changed since a token (RFC 6578): a second event and nothing else."""
    address = visit.address_in(visit.target)
    first = visit.target.get_objects_by_sync_token(disable_fallback=True)
    if address not in {str(one.url) for one in first}:
        raise StepFailed("the full list lacks the event")
    visit.client.delete(address)
    later = visit.target.get_objects_by_sync_token(first.sync_token, disable_fallback=True)
    if later.sync_token == first.sync_token:
        raise StepFailed("the token stands still after a change")
    if visit.put(visit.target) not in (200, 201, 204):
        raise StepFailed("the event could not be written a second time")
    last = visit.target.get_objects_by_sync_token(later.sync_token, disable_fallback=True)
    changed = {str(one.url) for one in last}
    if changed != {address}:
        raise StepFailed(f"one event changed, {len(changed)} were told")
    return "a deletion moves the token, and a change is told alone"


def _free_busy(visit: Visit) -> str:
    """Ask free-busy-query for the time of the event (RFC 4791 7.10)."""
    if not _is_busy(visit):
        raise StepFailed("the time of the event is told as free")
    return "the time of the event is busy, and was not before"


def _is_busy(visit: Visit) -> bool:
    found = visit.target.freebusy_request(visit.start, visit.end)
    for part in Calendar.from_ical(found.data).walk("VFREEBUSY"):
        told = part.get("FREEBUSY", [])
        for periods in told if isinstance(told, list) else [told]:
            if str(periods.params.get("FBTYPE", "BUSY")).upper() != "FREE":
                return True
    return False


def _refuse(visit: Visit) -> str:
    """Every calendar said to be read-only refuses a PUT."""
    if not visit.read_only:
        return "there is no read-only calendar here, so there was nothing to try"
    for calendar in visit.read_only:
        status = visit.put(calendar)
        if status != 403:
            raise StepFailed(f"PUT into {_path(calendar)} was answered {status}")
    return f"PUT answered 403 in each of {len(visit.read_only)}"


def _clean_up(visit: Visit) -> str:
    """Delete what was made, and look whether it is gone."""
    left = []
    for address in reversed(dict.fromkeys(visit.made)):
        with suppress(NotFoundError):
            visit.client.delete(address)
        if not _is_gone(visit, address):
            left.append(address)
    if left:
        raise StepFailed(f"delete by hand what is left: {', '.join(left)}")
    return "the test event is gone" if visit.made else "nothing was written"


def _is_gone(visit: Visit, address: str) -> bool:
    try:
        return visit.client.request(address).status in (404, 410)
    except NotFoundError:
        return True


def _path(calendar: Any) -> str:
    return urlsplit(str(calendar.url)).path


def _whole_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


_STEPS: dict[str, Callable[[Visit], str]] = {
    "The login finds its calendar home": _discover,
    "Its calendars are listed with its rights": _list,
    "An event can be written and read": _write,
    "Changes are told by sync-collection": _sync,
    "Busy time is told by free-busy-query": _free_busy,
    "Read-only calendars refuse a write": _refuse,
}
_NEEDED = 3
"""Without one of the first steps the others cannot be tried."""
