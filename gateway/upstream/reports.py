"""WebDAV bodies and answers: what is asked, and what an answer proves. Pure, no network.

Requests use a prefix for every namespace (a prefixed root with default-namespace children was
answered 400). Answers are read by namespace, never by prefix, and only 2xx propstats count:
properties that do not exist come as empty elements in a 404 propstat.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import quote, unquote_to_bytes
from xml.sax.saxutils import escape

from lxml import etree

from gateway.core.errors import UpstreamUnreachable
from gateway.core.ical.lines import join_characters

DAV = "{DAV:}"
CALDAV = "{urn:ietf:params:xml:ns:caldav}"
CALENDARSERVER = "{http://calendarserver.org/ns/}"
APPLE = "{http://apple.com/ns/ical/}"

_RESPONSE, _HREF, _STATUS, _PROPSTAT, _PROP = (
    f"{DAV}{name}" for name in ("response", "href", "status", "propstat", "prop")
)
_NAMESPACES = (
    'xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav" '
    'xmlns:CS="http://calendarserver.org/ns/" xmlns:A="http://apple.com/ns/ical/"'
)
_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'
_AUTHORITY = re.compile(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_NEEDS_CARE = re.compile(r"[%?#\\]|//")
# RFC 3986 3.3: what may stand in a path segment as it is, the rest is percent-encoded.
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"
_ESCAPE = re.compile("(%[0-9A-Fa-f]{2})")
# What of a decoded segment stays encoded: surrogates stand for bytes that are not UTF-8.
_UNSAFE = re.compile("%(?=[0-9A-Fa-f]{2})|[\x00-\x1f/\x7f\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One response of a multistatus: decoded path, its own status if any, 2xx properties."""

    path: str
    status: int | None
    properties: Mapping[str, etree._Element]

    @property
    def name(self) -> str:
        """Last path segment, decoded; empty for a collection."""
        return self.path.rpartition("/")[2]

    def text(self, tag: str) -> str | None:
        """Return the text of a property; None when it is missing or empty."""
        found = self.properties.get(tag)
        text = (found.text or "").strip() if found is not None else ""
        return text or None


@dataclass(frozen=True, slots=True)
class Multistatus:
    """A parsed 207: its entries in order and the sync token, where one came (RFC 6578)."""

    entries: tuple[Entry, ...]
    sync_token: str | None = None


@dataclass(frozen=True, slots=True)
class SyncChanges:
    """What a sync-collection answer says: {name: etag}, removed names, the next token.

    A member with an error row (403, 5xx) is there and has no ETag. ``truncated`` means there is
    more behind ``token`` (RFC 6578 3.6).
    """

    changed: Mapping[str, str | None]
    removed: frozenset[str]
    token: str | None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object as upstream holds it; ``status`` 404 proves that it is gone."""

    name: str
    status: int
    etag: str | None = None
    body: bytes | None = field(default=None, repr=False)


# --- paths ---


def decode_path(path: str) -> str:
    """Return a path with each segment decoded as far as it can be told from others and stored.

    An encoded slash, control characters and bytes that are not UTF-8 stay encoded, and so does a
    percent sign that would otherwise look like the beginning of one of these: two names are
    equal exactly when their hrefs mean the same resource (RFC 3986 6.2.2.2).
    """
    return "/".join(_decode_segment(part) if "%" in part else part for part in path.split("/"))


def _decode_segment(segment: str) -> str:
    text = unquote_to_bytes(segment).decode("utf-8", "surrogateescape")
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def encode_path(path: str) -> str:
    """Undo :func:`decode_path` for use in a request."""
    return "/".join(_encode_segment(part) for part in path.split("/"))


def _encode_segment(segment: str) -> str:
    if "%" not in segment:
        return quote(segment, safe=_SEGMENT_SAFE)
    parts = _ESCAPE.split(segment)  # every other one is an escape, which stays
    return "".join(
        part if index % 2 else quote(part, safe=_SEGMENT_SAFE) for index, part in enumerate(parts)
    )


def path_of(href: str) -> str:
    """Return the decoded path of an href, which may be a whole URL.

    Cut by hand, for ``urlsplit`` raises where an authority cannot be one: one bad href among
    thousands must not stop a listing. The host an href names is never used without being checked.
    """
    href = href.strip()
    if href.startswith("/") and not _NEEDS_CARE.search(href):
        return href  # a full listing has ten thousand of these
    return decode_path(_AUTHORITY.sub("", href, count=1).partition("#")[0].partition("?")[0])


# --- bodies ---


def propfind_body(properties: Iterable[str]) -> str:
    """Build a PROPFIND that names each property (allprop is refused by iCloud)."""
    wanted = "".join(f"<{name}/>" for name in properties)
    return f"{_HEAD}<D:propfind {_NAMESPACES}><D:prop>{wanted}</D:prop></D:propfind>"


def sync_body(token: str | None) -> str:
    """Build a sync-collection REPORT for ETags; None asks for a full list (RFC 6578 3.2)."""
    return (
        f"{_HEAD}<D:sync-collection {_NAMESPACES}>"
        f"<D:sync-token>{escape(token or '')}</D:sync-token><D:sync-level>1</D:sync-level>"
        "<D:prop><D:getetag/></D:prop></D:sync-collection>"
    )


def multiget_body(collection_path: str, names: Iterable[str]) -> str:
    """Build a calendar-multiget for the members named, with bare calendar-data."""
    hrefs = "".join(
        f"<D:href>{escape(encode_path(collection_path + name))}</D:href>" for name in names
    )
    return (
        f"{_HEAD}<C:calendar-multiget {_NAMESPACES}>"
        f"<D:prop><D:getetag/><C:calendar-data/></D:prop>{hrefs}</C:calendar-multiget>"
    )


def time_range_body(start: str, end: str) -> str:
    """Build a calendar-query for the ETags of events between two UTC times (``…Z``)."""
    return (
        f"{_HEAD}<C:calendar-query {_NAMESPACES}><D:prop><D:getetag/></D:prop><C:filter>"
        '<C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT">'
        f'<C:time-range start="{start}" end="{end}"/>'
        "</C:comp-filter></C:comp-filter></C:filter></C:calendar-query>"
    )


# --- answers ---


def parse_xml(body: bytes) -> etree._Element:
    """Parse an XML answer; no DTD, no entities, no network, libxml2's depth and size limits.

    Raises :class:`UpstreamUnreachable` for anything else: a cut or foreign body is no answer.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(join_characters(body), parser)
    except (etree.XMLSyntaxError, ValueError):
        raise UpstreamUnreachable("iCloud's answer could not be read.", status=207) from None
    _check_doctype(root)
    return root


def _check_doctype(root: etree._Element) -> None:
    if root.getroottree().docinfo.doctype:
        raise UpstreamUnreachable(
            "iCloud's answer carries a document type; it was not used.", status=207
        )


def parse_multistatus(root: etree._Element) -> Multistatus:
    """Read a multistatus; raises :class:`UpstreamUnreachable` when it is something else."""
    _check_root(root)
    entries: list[Entry] = []
    for response in root.iterchildren(_RESPONSE):
        entries.extend(_entries(response))
    return Multistatus(tuple(entries), _token(root))


def _check_root(root: etree._Element) -> None:
    if root.tag != f"{DAV}multistatus":
        raise UpstreamUnreachable("iCloud's answer is not a multistatus.", status=207)


def _token(root: etree._Element) -> str | None:
    return (root.findtext(f"{DAV}sync-token") or "").strip() or None


class LongMultistatus:
    """A multistatus that is read once, row by row, and forgotten behind: 50,000 rows as a tree
    take a hundred times the memory of one.

    ``entries`` raises what :func:`parse_xml` and :func:`parse_multistatus` raise, at its end at
    the latest: nothing may be believed before. ``sync_token`` is known from then on.
    """

    def __init__(self, body: bytes) -> None:
        self.sync_token: str | None = None
        self.entries = self._read(body)

    def _read(self, body: bytes) -> Iterator[Entry]:
        rows = etree.iterparse(
            BytesIO(join_characters(body)),
            tag=_RESPONSE,
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
        )
        try:
            for _, response in rows:
                parent = response.getparent()
                if parent is not None and parent.getparent() is None:
                    yield from _entries(response)
                    response.clear()
                    before = response.getprevious()
                    if before is not None and before.tag == _RESPONSE:  # else the token, say
                        parent.remove(before)
        except (etree.XMLSyntaxError, ValueError):
            raise UpstreamUnreachable("iCloud's answer could not be read.", status=207) from None
        _check_doctype(rows.root)
        _check_root(rows.root)
        self.sync_token = _token(rows.root)


def _entries(response: etree._Element) -> Iterable[Entry]:
    """One entry per href: RFC 4918 14.24 allows several beside one status."""
    properties: dict[str, etree._Element] = {}
    hrefs: list[str] = []
    status: int | None = None
    refused: int | None = None
    for child in response:
        if child.tag == _HREF:
            hrefs.append(child.text or "")
        elif child.tag == _STATUS:
            status = _status(child.text)
        elif child.tag == _PROPSTAT:
            answered = _status(child.findtext(_STATUS))
            if answered is not None and 200 <= answered < 300:
                for prop in child.iterchildren(_PROP):
                    properties.update((found.tag, found) for found in prop.iterchildren("{*}*"))
            elif answered is not None:
                refused = answered
    if status is None and not properties and refused is not None and refused != 404:
        status = refused  # every property failed: the resource could not be read
    for href in hrefs:
        yield Entry(path_of(href), status, properties)


def _status(line: str | None) -> int | None:
    """Read a status line; an empty one was seen, and says nothing."""
    parts = (line or "").split()
    return int(parts[1]) if len(parts) >= 2 and parts[1].isdigit() else None


def sync_changes(answer: Multistatus | LongMultistatus, collection_path: str) -> SyncChanges:
    """Read a sync-collection answer (RFC 6578 3.4-3.6).

    The collection lists itself, with and without the final slash, and the same href may come
    twice. Members are told by their last segment: in shared calendars the rest was seen to differ.
    """
    changed: dict[str, str | None] = {}
    removed: set[str] = set()
    truncated = False
    own = collection_path.rstrip("/")
    for entry in answer.entries:
        if entry.path.rstrip("/") == own or not entry.name:
            truncated = truncated or entry.status == 507
            _check_collection(entry)
        elif entry.status in (404, 410):
            removed.add(entry.name)
        else:
            changed[entry.name] = entry.text(f"{DAV}getetag")
    gone = frozenset(removed - changed.keys())
    return SyncChanges(changed, gone, answer.sync_token, truncated)


def _check_collection(entry: Entry) -> None:
    """Raise :class:`UpstreamUnreachable` when the collection itself could not be read."""
    if entry.status is not None and entry.status >= 400 and entry.status not in (404, 507):
        raise UpstreamUnreachable("iCloud could not read this calendar.", status=207)


def listed_members(
    answer: Multistatus | LongMultistatus, collection_path: str
) -> dict[str, str | None]:
    """Return {name: etag} of a Depth 1 PROPFIND or a calendar-query; sub-collections left out.

    A member with an error row (403, 5xx) is there and has no ETag.
    """
    own = collection_path.rstrip("/")
    listed: dict[str, str | None] = {}
    for entry in answer.entries:
        if entry.path.rstrip("/") == own or not entry.name:
            _check_collection(entry)
        elif entry.status not in (404, 410):
            listed[entry.name] = entry.text(f"{DAV}getetag")
    return listed


def crlf(body: bytes) -> bytes:
    """Return a body with CRLF line ends (RFC 5545 3.1); XML parsers turn them into LF."""
    return body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fetched_objects(answer: Multistatus) -> dict[str, Fetched]:
    """Read a multiget answer: {name: object}; a name without data and status is left out."""
    found: dict[str, Fetched] = {}
    for entry in answer.entries:
        data = entry.properties.get(f"{CALDAV}calendar-data")
        if data is not None and data.text:
            body = crlf(data.text.encode("utf-8"))
            found[entry.name] = Fetched(entry.name, 200, entry.text(f"{DAV}getetag"), body)
        elif entry.status is not None and entry.name not in found:
            found[entry.name] = Fetched(entry.name, entry.status)
    return found
