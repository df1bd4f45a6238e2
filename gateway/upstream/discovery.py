"""From the entry address to the calendars of an account: principal, home, listing.

iCloud answers discovery in place with somebody else's href, or redirects; both lead here. Paths
are kept, hosts are not: accounts move between partitions (RFC 6764, RFC 4791 6.2.1).
"""

from dataclasses import dataclass, field

from gateway.core.errors import (
    CredentialRejected,
    NotICloud,
    UpstreamError,
    UpstreamForbidden,
    UpstreamNotFound,
)
from gateway.upstream import icloud
from gateway.upstream.client import UpstreamClient, href_origin, read_multistatus
from gateway.upstream.dav_xml import APPLE, CALDAV, CALENDARSERVER, DAV, Entry, Multistatus
from gateway.upstream.fences import check_url
from gateway.upstream.paths import path_of
from gateway.upstream.wire import Response

_WELL_KNOWN = "/.well-known/caldav"
_PRINCIPAL = ("D:current-user-principal",)
_HOME = ("C:calendar-home-set", "C:calendar-user-address-set")
_LISTING = (
    "D:resourcetype",
    "D:displayname",
    "D:current-user-privilege-set",
    "D:sync-token",
    "CS:getctag",
    "CS:source",
    "C:supported-calendar-component-set",
    "C:schedule-calendar-transp",
    "A:calendar-color",
    "A:calendar-order",
)
_WRITES = frozenset(f"{DAV}{name}" for name in ("all", "write", "write-content", "bind"))


@dataclass(frozen=True, slots=True)
class ListedCalendar:
    """One collection of a home as iCloud lists it; ``path`` is decoded and ends with a slash.

    ``kind`` is ``calendar``, ``subscribed``, ``reminders`` or ``scheduling``; ``refusal`` says why
    it cannot be linked (R5), None when it can. ``color`` is ``#RRGGBB``.
    """

    path: str
    name: str
    kind: str
    writable: bool
    refusal: str | None
    color: str | None = None
    display_order: int | None = None
    transparent: bool = False
    ctag: str | None = None
    sync_token: str | None = None


@dataclass(frozen=True, slots=True)
class Discovered:
    """An account: paths, its number (the DSID on iCloud), the owner's addresses, its calendars.

    Addresses are lower-case, without ``mailto:``; ``home_origin`` is never stored.
    """

    principal_path: str
    home_path: str
    account_number: str = field(repr=False)
    addresses: tuple[str, ...] = field(repr=False)
    calendars: tuple[ListedCalendar, ...]


async def discover(client: UpstreamClient, *, email: str) -> Discovered:
    """Walk from the entry address to the listing; three requests on iCloud.

    Raises :class:`CredentialRejected` (403 included: a wrong user name was seen to give it),
    :class:`NotICloud` and whatever the client raises.
    """
    try:
        principal_path = await find_principal(client)
        home_path, addresses = await find_home(client, principal_path)
    except UpstreamForbidden as error:
        raise CredentialRejected(
            "iCloud refused this account. The e-mail may be an alias: use the address the Apple "
            "Account signs in with.",
            status=error.status,
        ) from error
    own = {email.strip().casefold(), *addresses} - {""}
    return Discovered(
        principal_path=principal_path,
        home_path=home_path,
        account_number=_account_number(client, principal_path),
        addresses=tuple(sorted(own)),
        calendars=await list_home(client, home_path),
    )


async def find_principal(client: UpstreamClient) -> str:
    """Return the path of the account's principal (RFC 5397), from ``/`` or the well-known path."""
    entry_path = path_of(client.settings.upstream_url) or "/"
    broken: UpstreamError | None = None
    for path in (entry_path, _WELL_KNOWN):
        try:
            answer = await client.propfind(path, _PRINCIPAL, depth=0, entry=True)
        except (UpstreamForbidden, CredentialRejected):
            raise
        except UpstreamError as error:
            if error.retryable and error.status != 207 and not _is_foreign_answer(error):
                raise
            broken = error if error.status == 207 else broken  # a DAV server, a cut answer
            continue
        for entry in answer.entries:
            found = entry.properties.get(f"{DAV}current-user-principal")
            href = found.findtext(f"{DAV}href") if found is not None else None
            if href and href.strip():
                return _with_slash(path_of(href))
    raise broken or NotICloud(
        "The server that answered is not iCloud's calendar server; check the setting upstream_url."
    )


def _is_foreign_answer(error: UpstreamError) -> bool:
    """Refuse a plain 2xx page instead of a multistatus: some other web server."""
    return error.status is not None and 200 <= error.status < 300


async def find_home(client: UpstreamClient, principal_path: str) -> tuple[str, tuple[str, ...]]:
    """Return the home's path and the owner's addresses; remembers the home's host if foreign."""
    answer = await client.propfind(principal_path, _HOME, depth=0, entry=True)
    home: str | None = None
    addresses: set[str] = set()
    for entry in answer.entries:
        found = entry.properties.get(f"{CALDAV}calendar-home-set")
        home = home or (found.findtext(f"{DAV}href") if found is not None else None)
        addresses |= _addresses(entry)
    if not home or not home.strip():
        raise NotICloud(
            "This Apple Account has no calendars. Sign in at icloud.com with it, open Calendar "
            "once, then connect again."
        )
    origin = href_origin(home)
    if origin and origin != client.origin:
        check_url(client.settings, home.strip())
    return _with_slash(path_of(home)), tuple(sorted(addresses))


async def find_home_origin(client: UpstreamClient, principal_path: str) -> str | None:
    """Return the host the home-set names when it is not the entry host, for a second attempt."""
    answer = await client.propfind(principal_path, _HOME, depth=0, entry=True)
    for entry in answer.entries:
        found = entry.properties.get(f"{CALDAV}calendar-home-set")
        href = (found.findtext(f"{DAV}href") or "").strip() if found is not None else ""
        origin = href_origin(href) if href else None
        if origin and origin != client.origin:
            check_url(client.settings, href)
            return origin
    return None


async def ask_home(
    client: UpstreamClient, home_path: str, *, principal_path: str | None = None
) -> Response:
    """Ask for every collection of the home in one request: this is the idle poll.

    When the entry host does not serve the home and ``principal_path`` is known, the partition
    host the account names is asked instead. Read the answer with :func:`read_listing`.
    """
    try:
        return await client.ask_properties(home_path, _LISTING, 1)
    except UpstreamNotFound:
        origin = await find_home_origin(client, principal_path) if principal_path else None
        if origin is None:
            raise
        client.home_origin = origin
        return await client.ask_properties(home_path, _LISTING, 1)


def read_listing(answer: Response, home_path: str) -> tuple[ListedCalendar, ...]:
    """Read the answer of :func:`ask_home`."""
    return parse_listing(read_multistatus(answer), home_path)


async def list_home(client: UpstreamClient, home_path: str) -> tuple[ListedCalendar, ...]:
    """List every collection of the home."""
    return read_listing(await ask_home(client, home_path), home_path)


def parse_listing(answer: Multistatus, home_path: str) -> tuple[ListedCalendar, ...]:
    """Read a home listing; the home itself and plain folders are left out (R5)."""
    found: dict[str, ListedCalendar] = {}
    for entry in answer.entries:
        path = _with_slash(entry.path)
        if path != _with_slash(home_path):
            listed = _listed(entry, path)
            if listed is not None:
                found[path] = listed
    return tuple(found.values())


def _listed(entry: Entry, path: str) -> ListedCalendar | None:
    kind = _kind(entry, path)
    if kind is None:
        return None
    writable = kind == "calendar" and _is_writable(entry)
    return ListedCalendar(
        path=path,
        name=entry.text(f"{DAV}displayname") or path.rstrip("/").rpartition("/")[2],
        kind=kind,
        writable=writable,
        refusal=_refusal(kind, writable),
        color=_color(entry.text(f"{APPLE}calendar-color")),
        display_order=_number(entry.text(f"{APPLE}calendar-order")),
        transparent=_is_transparent(entry),
        ctag=entry.text(f"{CALENDARSERVER}getctag"),
        sync_token=entry.text(f"{DAV}sync-token"),
    )


def _kind(entry: Entry, path: str) -> str | None:
    """Tell what a collection is; a subscription is one whatever else it claims to be (R8)."""
    types = entry.properties.get(f"{DAV}resourcetype")
    tags = {child.tag for child in types.iterchildren()} if types is not None else set()
    if f"{CALENDARSERVER}subscribed" in tags or _has_source(entry):
        return "subscribed"
    scheduling = {f"{CALDAV}schedule-inbox", f"{CALDAV}schedule-outbox"}
    if tags & scheduling or f"{CALENDARSERVER}notification" in tags:
        return "scheduling"
    if path.rstrip("/").rpartition("/")[2].casefold() in icloud.SCHEDULING_IDS:
        return "scheduling"
    if f"{CALDAV}calendar" not in tags:
        return None
    components = entry.properties.get(f"{CALDAV}supported-calendar-component-set")
    names = {c.get("name", "").upper() for c in components} if components is not None else set()
    return "calendar" if not names or "VEVENT" in names else "reminders"


def _has_source(entry: Entry) -> bool:
    """Whether CS:source names something; Radicale 3.9 lists it empty on every calendar."""
    source = entry.properties.get(f"{CALENDARSERVER}source")
    return source is not None and bool("".join(map(str, source.itertext())).strip())


def _is_writable(entry: Entry) -> bool:
    """Read the privilege set of the collection; a missing one is not a denial (RFC 3744 5.4)."""
    privileges = entry.properties.get(f"{DAV}current-user-privilege-set")
    if privileges is None or not len(privileges):
        return True
    return any(privileges.find(f"{DAV}privilege/{name}") is not None for name in _WRITES)


def _refusal(kind: str, writable: bool) -> str | None:
    by_kind = {
        "subscribed": "calendar-subscribed",
        "scheduling": "calendar-scheduling",
        "reminders": "calendar-no-events",
    }
    return by_kind.get(kind) or (None if writable else "calendar-read-only")


def _is_transparent(entry: Entry) -> bool:
    transparency = entry.properties.get(f"{CALDAV}schedule-calendar-transp")
    return transparency is not None and transparency.find(f"{CALDAV}transparent") is not None


def _color(value: str | None) -> str | None:
    """Cut ``#RRGGBBAA`` to ``#RRGGBB``; anything else is no colour."""
    digits = (value or "").removeprefix("#")
    is_hex = all(c in "0123456789abcdefABCDEF" for c in digits)
    return f"#{digits[:6].upper()}" if len(digits) in (6, 8) and is_hex else None


def _number(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() else None


def _addresses(entry: Entry) -> set[str]:
    """Read calendar-user-address-set (RFC 6638 2.4.1): mail addresses, URNs and paths."""
    found = entry.properties.get(f"{CALDAV}calendar-user-address-set")
    hrefs = found.iterchildren(f"{DAV}href") if found is not None else ()
    texts = {(href.text or "").strip().casefold() for href in hrefs}
    return {text.removeprefix("mailto:") for text in texts} - {""}


def _with_slash(path: str) -> str:
    return path if path.endswith("/") else f"{path}/"


def _account_number(client: UpstreamClient, principal_path: str) -> str:
    """Return the DSID, the first segment of the principal's path; elsewhere host and path."""
    first = principal_path.strip("/").partition("/")[0]
    return first if first.isdigit() else f"{client.origin}{principal_path}"
