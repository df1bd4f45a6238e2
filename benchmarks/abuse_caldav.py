"""Abuses of the CalDAV face; see :mod:`benchmarks.abuse`.

Whoever abuses is a tenant with a login of its own, or nobody at all.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from benchmarks.abuse import Abuse, World
from benchmarks.load import Connection, Refused, basic, request_bytes

Make = Callable[[World], bytes]
_NAMESPACES = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:x="urn:x"'


def _loop(make: Make, clients: int) -> Callable[[World], None]:
    """Send what ``make`` returns over and over from so many clients, whatever comes back."""

    def act(world: World) -> None:
        request = make(world)

        def client() -> None:
            connection = Connection(world.caldav)
            while True:
                try:
                    connection.send(request)
                except (OSError, Refused, ValueError):
                    connection.close()
                    time.sleep(0.01)

        threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return act


def _request(world: World, method: str, path: str, xml: str) -> bytes:
    headers = {**basic(world.device), "Depth": "1", "Content-Type": "application/xml"}
    return request_bytes(method, f"/{world.principals[0]}/{path}", xml.encode(), headers)


def _many_names(world: World) -> bytes:
    """Return a PROPFIND that names 20,000 properties nobody has."""
    names = "".join(f"<x:p{number}/>" for number in range(20_000))
    return _request(
        world,
        "PROPFIND",
        "",
        f"<d:propfind {_NAMESPACES}><d:prop>{names}</d:prop></d:propfind>",
    )


def _kept_properties(world: World) -> None:
    """Properties by the thousand, kept on a calendar and then listed by four clients."""
    connection = Connection(world.caldav)
    for start in range(0, 6_000, 100):
        names = "".join(f"<x:p{number}>x</x:p{number}>" for number in range(start, start + 100))
        inner = f"<d:set><d:prop>{names}</d:prop></d:set>"
        body = f"<d:propertyupdate {_NAMESPACES}>{inner}</d:propertyupdate>"
        with suppress(OSError, Refused, ValueError):
            connection.send(_request(world, "PROPPATCH", "platform/", body))
    body = f"<d:propfind {_NAMESPACES}><d:allprop/></d:propfind>"
    _loop(lambda world: _request(world, "PROPFIND", "", body), 4)(world)


def _dear_report(world: World) -> bytes:
    """Every event of a mirror over the whole year, expanded."""
    now = datetime.now(UTC)
    span = f'start="{now:%Y%m%dT%H%M%SZ}" end="{now + timedelta(days=365):%Y%m%dT%H%M%SZ}"'
    inner = (
        f"<d:prop><c:calendar-data><c:expand {span}/></c:calendar-data></d:prop><c:filter>"
        f'<c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT"><c:time-range {span}/>'
        "</c:comp-filter></c:comp-filter></c:filter>"
    )
    xml = f"<c:calendar-query {_NAMESPACES}>{inner}</c:calendar-query>"
    return _request(world, "REPORT", f"{world.mirror}/", xml)


def _connect(world: World) -> socket.socket:
    """Connect from an address of one's own, as somebody else would."""
    return socket.create_connection(world.caldav, timeout=2, source_address=("127.0.0.2", 0))


def _hang_up(world: World) -> None:
    """Asks for a dear report and hangs up at once, five times a second."""
    request = _dear_report(world)
    while True:
        with suppress(OSError), _connect(world) as line:
            line.sendall(request)
            time.sleep(0.1)
        time.sleep(0.1)


def _idle_connections(world: World) -> None:
    """Eleven hundred connections that say nothing, opened again when they are closed."""
    lines: list[socket.socket] = []
    while True:
        with suppress(OSError):
            while len(lines) < 1_100:
                lines.append(_connect(world))
        time.sleep(0.5)
        lines = [line for line in lines if not _is_closed(line)]


def _is_closed(line: socket.socket) -> bool:
    line.setblocking(False)
    try:
        if line.recv(1):
            return False
    except BlockingIOError:
        return False
    except OSError:
        pass
    line.close()
    return True


def _slow_heads(world: World) -> None:
    """Send heads byte by byte that never end, from as many."""
    lines: list[socket.socket] = []
    while True:
        with suppress(OSError):
            while len(lines) < 1_100:
                line = _connect(world)
                line.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                lines.append(line)
        for line in list(lines):
            try:
                line.sendall(b"a")
            except OSError:
                lines.remove(line)
                line.close()
        time.sleep(0.2)


def _no_readers(world: World) -> None:
    """Forty clients that ask for a whole calendar and take nothing of it."""
    request = _request(world, "GET", f"{world.mirror}/", "")
    lines: list[socket.socket] = []
    while True:
        with suppress(OSError):
            while len(lines) < 40:
                line = _connect(world)
                line.sendall(request * 2)
                lines.append(line)
        time.sleep(1)


ABUSES: tuple[Abuse, ...] = (
    Abuse("PROPFIND of 20,000 names, 8 clients", _loop(_many_names, 8)),
    Abuse("6,000 kept properties, listed by 4 clients", _kept_properties, settle_s=8.0),
    Abuse("16 dear reports of one login", _loop(_dear_report, 16), settle_s=3.0),
    Abuse("dear reports nobody waits for", _hang_up, settle_s=3.0),
    Abuse("1,100 idle CalDAV connections", _idle_connections, settle_s=3.0),
    Abuse("1,100 CalDAV connections with a head that never ends", _slow_heads, settle_s=3.0),
    Abuse("40 clients that read no answer", _no_readers, settle_s=3.0),
)
