"""The CalDAV requests that clients send all day, as bytes, and one calendar they are sent to."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

from benchmarks.load import Answer, Connection, Refused, basic, request_bytes
from benchmarks.servers import Server

_OPEN = (
    '<?xml version="1.0" encoding="utf-8"?><{tag} xmlns:d="DAV:" '
    'xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/">{inner}</{tag}>'
)
_TOKEN = re.compile(rb"<[^>]*sync-token>([^<]+)<")
_RESPONSE = re.compile(rb"<(?:\w+:)?response[ >]")


@dataclass
class Calendar:
    """A calendar on a server, with a connection and what was learned of it."""

    server: Server
    path: str
    connection: Connection
    headers: dict[str, str]
    names: list[str]
    month: tuple[datetime, datetime]
    token: str = ""
    puts: int = 0
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, server: Server, url: str, login: tuple[str, str], names: list[str]) -> "Calendar":
        """Open a connection to the calendar at ``url``; the month begins today."""
        parts = urlsplit(url)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(
            server,
            parts.path,
            Connection((parts.hostname or "", parts.port or 80)),
            basic(login),
            names,
            (today, today + timedelta(days=30)),
        )

    def request(self, method: str, xml: str, depth: str = "0") -> bytes:
        """Return a request with an XML body on the calendar."""
        headers = {**self.headers, "Depth": depth, "Content-Type": "application/xml"}
        return request_bytes(method, self.path, xml.encode(), headers)

    def send(self, name: str, request: bytes, status: int) -> Answer:
        """Send a request and remember how many responses it brought."""
        answer = self.connection.send(request)
        if answer.status != status:
            raise Refused(f"{name} at {self.server.name}: {answer.head!r}{answer.body[:500]!r}")
        self.sizes[name] = len(_RESPONSE.findall(answer.body))
        return answer


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request; ``targets`` bound our CPU as a share of Radicale's."""

    name: str
    make: Callable[[Calendar], bytes]
    target: float
    status: int = 207
    times: int = 20
    grows: bool = False


def _xml(tag: str, inner: str) -> str:
    return _OPEN.format(tag=tag, inner=inner)


def _propfind(calendar: Calendar, *names: str, depth: str) -> bytes:
    props = "".join(f"<{name}/>" for name in names)
    return calendar.request("PROPFIND", _xml("d:propfind", f"<d:prop>{props}</d:prop>"), depth)


def ctag(calendar: Calendar) -> bytes:
    """PROPFIND of ctag and sync token: has anything changed?"""
    return _propfind(calendar, "cs:getctag", "d:sync-token", depth="0")


def listing(calendar: Calendar) -> bytes:
    """PROPFIND of all etags."""
    return _propfind(calendar, "d:getetag", depth="1")


def _range(calendar: Calendar) -> str:
    start, end = calendar.month
    return f'start="{start:%Y%m%dT%H%M%SZ}" end="{end:%Y%m%dT%H%M%SZ}"'


def _query(calendar: Calendar, data: str) -> bytes:
    inner = (
        f"<d:prop><d:getetag/>{data}</d:prop><c:filter><c:comp-filter name='VCALENDAR'>"
        f"<c:comp-filter name='VEVENT'><c:time-range {_range(calendar)}/>"
        "</c:comp-filter></c:comp-filter></c:filter>"
    )
    return calendar.request("REPORT", _xml("c:calendar-query", inner), "1")


def month(calendar: Calendar) -> bytes:
    """calendar-query of a month, with data."""
    return _query(calendar, "<c:calendar-data/>")


def expanded(calendar: Calendar) -> bytes:
    """Return the same with ``C:expand``."""
    return _query(calendar, f"<c:calendar-data><c:expand {_range(calendar)}/></c:calendar-data>")


def multiget(calendar: Calendar) -> bytes:
    """calendar-multiget of 100 objects spread over the calendar."""
    step = max(1, len(calendar.names) // 100)
    hrefs = "".join(f"<d:href>{calendar.path}{n}</d:href>" for n in calendar.names[::step][:100])
    inner = f"<d:prop><d:getetag/><c:calendar-data/></d:prop>{hrefs}"
    return calendar.request("REPORT", _xml("c:calendar-multiget", inner))


def _sync(calendar: Calendar, token: str) -> bytes:
    inner = (
        f"<d:sync-token>{token}</d:sync-token><d:sync-level>1</d:sync-level>"
        "<d:prop><d:getetag/></d:prop>"
    )
    return calendar.request("REPORT", _xml("d:sync-collection", inner))


def first_sync(calendar: Calendar) -> bytes:
    """sync-collection without a token."""
    return _sync(calendar, "")


def next_sync(calendar: Calendar) -> bytes:
    """sync-collection with the newest token: nothing changed."""
    if not calendar.token:
        answer = calendar.send("token", _sync(calendar, ""), 207)
        found = _TOKEN.findall(answer.body)
        calendar.token = found[-1].decode()
    return _sync(calendar, calendar.token)


def free_busy(calendar: Calendar) -> bytes:
    """free-busy-query of a month."""
    xml = _xml("c:free-busy-query", f"<c:time-range {_range(calendar)}/>")
    return calendar.request("REPORT", xml, "1")


def new_put(calendar: Calendar) -> bytes:
    """PUT of a new event of 20 minutes, early in the morning, when nothing else is."""
    calendar.puts += 1
    day, slot = calendar.puts % 250 + 1, calendar.puts // 250
    start = datetime.combine(date.today(), datetime.min.time(), UTC) + timedelta(  # noqa: DTZ011
        days=day, hours=5, minutes=slot
    )
    uid = str(UUID(int=calendar.puts, version=4)).upper()
    text = "Talk about the offer\\n" * 40
    body = _EVENT.format(uid=uid, start=start, end=start + timedelta(minutes=1), text=text)
    headers = {**calendar.headers, "If-None-Match": "*", "Content-Type": "text/calendar"}
    return request_bytes("PUT", f"{calendar.path}{uid}.ics", body.encode(), headers)


_EVENT = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//bench//EN\r\nBEGIN:VEVENT\r\nUID:{uid}\r\n"
    "DTSTAMP:20260101T000000Z\r\nDTSTART:{start:%Y%m%dT%H%M%SZ}\r\nDTEND:{end:%Y%m%dT%H%M%SZ}\r\n"
    "SUMMARY:Appointment\r\nDESCRIPTION:{text}\r\nLOCATION:Room 1\r\n"
    "END:VEVENT\r\nEND:VCALENDAR\r\n"
)

CASES = (
    Case("PROPFIND ctag + sync-token", ctag, 0.01, times=40),
    Case("PROPFIND depth 1, getetag", listing, 0.30, times=3, grows=True),
    Case("month query with data", month, 0.03, times=5),
    Case("month query with expand", expanded, 0.15, times=3),
    Case("multiget 100", multiget, 0.60, times=10),
    Case("sync-collection, initial", first_sync, 0.30, times=3, grows=True),
    Case("sync-collection, no change", next_sync, 0.01, times=40),
    Case("free-busy-query, one month", free_busy, 0.01, status=200, times=20),
    Case("PUT, new", new_put, 0.25, status=201, times=20),
)
