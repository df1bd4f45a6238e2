"""A WSGI client with one helper per DAV verb, and small builders of iCalendar bodies."""

import base64
import io
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

D, C = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
G = "{urn:icloud-caldav-gateway:dav}"
TEXT = "{http://twistedmatrix.com/xml_namespace/dav/}error-description"
"""The sentence for people in a DAV:error, where Apple's test suite allows one."""


class Headers(dict[str, str]):
    """Headers by name in any case: a server may write them as it likes."""

    def __init__(self, pairs) -> None:
        super().__init__((name.lower(), value) for name, value in pairs)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def get(self, name: str, default=None):
        return super().get(name.lower(), default)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def xml(self):
        return ElementTree.fromstring(self.body)

    @property
    def conditions(self) -> list[str]:
        """The precondition elements of a DAV:error."""
        return [child.tag for child in self.xml if child.tag != TEXT]

    @property
    def hrefs(self) -> list[str]:
        return [str(node.findtext(f"{D}href")) for node in self.xml.iter(f"{D}response")]

    def props(self, href: str) -> dict[str, ElementTree.Element]:
        """The properties answered 200 for an href, by tag."""
        for response in self.xml.iter(f"{D}response"):
            if response.findtext(f"{D}href") == href:
                return {
                    prop.tag: prop
                    for stat in response.iter(f"{D}propstat")
                    if "200" in (stat.findtext(f"{D}status") or "")
                    for prop in stat.find(f"{D}prop") or ()
                }
        raise AssertionError(f"no response for {href} in {self.hrefs}")

    def statuses(self, href: str) -> dict[str, int]:
        """The status of each property of an href."""
        found = {}
        for response in self.xml.iter(f"{D}response"):
            if response.findtext(f"{D}href") == href:
                for stat in response.iter(f"{D}propstat"):
                    code = int((stat.findtext(f"{D}status") or "").split()[1])
                    found.update({prop.tag: code for prop in stat.find(f"{D}prop") or ()})
        return found


@dataclass
class Dav:
    """Sends requests to a WSGI callable as one login."""

    application: object
    login: str = ""
    secret: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    address: str = "192.0.2.1"

    @property
    def credentials(self) -> str:
        """Login and secret as a Basic header has them."""
        return base64.b64encode(f"{self.login}:{self.secret}".encode()).decode()

    def request(self, method: str, path: str, body: bytes | str = b"", **headers: str) -> Answer:
        data = body.encode() if isinstance(body, str) else body
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "localhost",
            "REMOTE_ADDR": self.address,
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(data),
            "wsgi.errors": io.StringIO(),
            "CONTENT_LENGTH": str(len(data)) if data else "",
        }
        if self.login:
            environ["HTTP_AUTHORIZATION"] = f"Basic {self.credentials}"
        for name, value in {**self.headers, **headers}.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
        begun: list = []
        parts = self.application(environ, lambda *args: begun.extend(args))
        return Answer(int(begun[0].split()[0]), Headers(begun[1]), b"".join(parts))

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def put(self, path, body, **headers):
        return self.request("PUT", path, body, **{"Content-Type": "text/calendar", **headers})

    def delete(self, path, **headers):
        return self.request("DELETE", path, **headers)

    def options(self, path):
        return self.request("OPTIONS", path)

    def propfind(self, path, *props, depth="0", body=None):
        names = "".join(f"<{prop}/>" for prop in props)
        xml = body if body is not None else wrap("d:propfind", f"<d:prop>{names}</d:prop>")
        return self.request("PROPFIND", path, xml, Depth=depth)

    def proppatch(self, path, inner):
        return self.request("PROPPATCH", path, wrap("d:propertyupdate", inner))

    def report(self, path, xml, depth="1"):
        return self.request("REPORT", path, xml, Depth=depth)

    def sync(self, path, token=""):
        inner = f"<d:sync-token>{token}</d:sync-token><d:sync-level>1</d:sync-level>"
        return self.report(path, wrap("d:sync-collection", f"{inner}<d:prop><d:getetag/></d:prop>"))

    def multiget(self, path, *hrefs):
        inner = "<d:prop><d:getetag/><c:calendar-data/></d:prop>"
        inner += "".join(f"<d:href>{href}</d:href>" for href in hrefs)
        return self.report(path, wrap("c:calendar-multiget", inner))

    def query(self, path, inner, *, data="<c:calendar-data/>", component="VEVENT"):
        xml = (
            f"<d:prop><d:getetag/>{data}</d:prop><c:filter><c:comp-filter name='VCALENDAR'>"
            f"<c:comp-filter name='{component}'>{inner}</c:comp-filter></c:comp-filter></c:filter>"
        )
        return self.report(path, wrap("c:calendar-query", xml))

    def freebusy(self, path, start, end):
        inner = f'<c:time-range start="{start}" end="{end}"/>'
        return self.report(path, wrap("c:free-busy-query", inner))

    def post(self, path, body, **headers):
        return self.request("POST", path, body, **{"Content-Type": "text/calendar", **headers})

    def mkcalendar(self, path, inner=""):
        body = wrap("c:mkcalendar", f"<d:set><d:prop>{inner}</d:prop></d:set>") if inner else b""
        return self.request("MKCALENDAR", path, body)

    def mkcol(self, path, inner=""):
        body = wrap("d:mkcol", f"<d:set><d:prop>{inner}</d:prop></d:set>") if inner else b""
        return self.request("MKCOL", path, body)

    def move(self, path, to, method="MOVE", **headers):
        return self.request(method, path, Destination=f"http://localhost{to}", **headers)


def wrap(tag: str, inner: str) -> str:
    """An XML document with the usual prefixes."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><{tag} xmlns:d="DAV:" '
        'xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:cs="http://calendarserver.org/ns/" '
        f'xmlns:a="http://apple.com/ns/ical/">{inner}</{tag}>'
    )


def event(uid: str, start: str, end: str = "", *lines: str, summary: str = "Meeting") -> bytes:
    """A calendar object with one event; times as in DTSTART and DTEND."""
    parts = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//test//EN",
        "BEGIN:VEVENT",
        f"UID:{uid}",
        "DTSTAMP:20260101T000000Z",
        f"DTSTART:{start}",
        *([f"DTEND:{end}"] if end else []),
        f"SUMMARY:{summary}",
        *lines,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return "\r\n".join(parts).encode()
