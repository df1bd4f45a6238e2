"""WebDAV bodies and answers: what is asked, and what an answer proves. Pure, no network.

Requests use a prefix for every namespace (a prefixed root with default-namespace children was
answered 400). Answers are read by namespace, never by prefix, and only 2xx propstats count:
properties that do not exist come as empty elements in a 404 propstat.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO

from lxml import etree

from gateway.core.errors import UpstreamUnreachable
from gateway.core.ical.lines import join_characters
from gateway.upstream.paths import encode_path, path_of

DAV = "{DAV:}"
CALDAV = "{urn:ietf:params:xml:ns:caldav}"
CALENDARSERVER = "{http://calendarserver.org/ns/}"
APPLE = "{http://apple.com/ns/ical/}"

_RESPONSE, _HREF, _STATUS, _PROPSTAT, _PROP = (
    f"{DAV}{name}" for name in ("response", "href", "status", "propstat", "prop")
)
_NAMESPACES = {
    "D": "DAV:",
    "C": "urn:ietf:params:xml:ns:caldav",
    "CS": "http://calendarserver.org/ns/",
    "A": "http://apple.com/ns/ical/",
}
_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'


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


# --- requests ---


def propfind_body(properties: Iterable[str]) -> bytes:
    """Build a PROPFIND that names each property, ``D:getetag`` (allprop is refused by iCloud)."""
    root = _root("D:propfind")
    _add_properties(root, properties)
    return _written(root)


def sync_body(token: str | None) -> bytes:
    """Build a sync-collection REPORT for ETags; None asks for a full list (RFC 6578 3.2)."""
    root = _root("D:sync-collection")
    _add(root, "D:sync-token").text = token or ""
    _add(root, "D:sync-level").text = "1"
    _add_properties(root, ("D:getetag",))
    return _written(root)


def multiget_body(collection_path: str, names: Iterable[str]) -> bytes:
    """Build a calendar-multiget for the members named, with bare calendar-data."""
    root = _root("C:calendar-multiget")
    _add_properties(root, ("D:getetag", "C:calendar-data"))
    for name in names:
        _add(root, "D:href").text = encode_path(collection_path + name)
    return _written(root)


def time_range_body(start: str, end: str) -> bytes:
    """Build a calendar-query for the ETags of events between two UTC times (``…Z``)."""
    root = _root("C:calendar-query")
    _add_properties(root, ("D:getetag",))
    calendar = _add(_add(root, "C:filter"), "C:comp-filter", name="VCALENDAR")
    events = _add(calendar, "C:comp-filter", name="VEVENT")
    _add(events, "C:time-range", start=start, end=end)
    return _written(root)


def _tag(name: str) -> str:
    prefix, _, local = name.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{local}"


def _root(name: str) -> etree._Element:
    return etree.Element(_tag(name), nsmap=_NAMESPACES)


def _add(parent: etree._Element, tag: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, _tag(tag), attributes)


def _add_properties(parent: etree._Element, names: Iterable[str]) -> None:
    prop = _add(parent, "D:prop")
    for name in names:
        _add(prop, name)


def _written(root: etree._Element) -> bytes:
    return _HEAD + bytes(etree.tostring(root, encoding="utf-8"))


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
