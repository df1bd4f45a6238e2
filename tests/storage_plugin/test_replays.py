"""Request sequences of real clients, each step with the public source it follows.

That is a capture of its traffic, or the client's own source, which says what it sends. A step
without one is marked ``RECONSTRUCTED``: it is what such a client has to do next, and proves nothing
about that client. Bodies are written anew from method, address, headers and property names.
``docs/caldav.md`` lists the sources; each replay compares at its end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.storage_plugin.conftest import World, at
from tests.storage_plugin.dav import Answer, C, D, Dav, event, wrap

RECONSTRUCTED = "reconstructed"
GITHUB = "https://github.com/"
PAGE = Path(__file__).parents[2] / "docs" / "caldav.md"

APPLE = f"{GITHUB}apple/ccs-calendarserver"
"""Apple's calendar server imitates macOS 10.11 and iOS 5 request by request for its load tests."""

IOS = "iOS/18.1.1 (22B91) dataaccessd/1.0"
MACOS = "macOS/12.2.1 (21D62) CalendarAgent/961"
THUNDERBIRD = "Mozilla/5.0 Gecko/20100101 Thunderbird/128.3.1"
DAVX5 = "DAVx5 (Android; okhttp)"

CALENDAR_PROPERTIES = (
    "d:add-member d:current-user-privilege-set d:displayname d:owner d:quota-available-bytes "
    "d:quota-used-bytes d:resource-id d:resourcetype d:supported-report-set d:sync-token "
    "c:calendar-alarm c:calendar-description c:calendar-free-busy-set c:calendar-timezone "
    "c:default-alarm-vevent-date c:default-alarm-vevent-datetime c:max-attendees-per-instance "
    "c:schedule-calendar-transp c:schedule-default-calendar-URL "
    "c:supported-calendar-component-set c:supported-calendar-component-sets "
    "cs:allowed-sharing-modes cs:getctag cs:invite cs:pre-publish-url cs:publish-url "
    "cs:push-transports cs:pushkey cs:source cs:subscribed-strip-alarms "
    "cs:subscribed-strip-attachments cs:subscribed-strip-todos "
    "a:autoprovisioned a:calendar-color a:calendar-order a:language-code a:location-code "
    "a:refreshrate me:bulk-requests"
)
PRINCIPAL_PROPERTIES = (
    "c:calendar-home-set c:calendar-user-address-set c:max-attendees-per-instance "
    "c:schedule-inbox-URL c:schedule-outbox-URL cs:dropbox-home-URL cs:email-address-set "
    "cs:notification-URL d:current-user-principal d:displayname d:principal-URL "
    "d:principal-collection-set d:resource-id d:supported-report-set"
)


class Replay:
    """One client: its headers, and every step it took with its source."""

    def __init__(self, world: World, name: str, agent: str, **headers: str) -> None:
        login = world.device
        headers = {"User-Agent": agent, "Accept": "*/*", **headers}
        self._dav = Dav(login.application, login.login, login.secret, headers, login.address)
        self._name = name
        self._sources: set[str] = set()

    def send(
        self, source: str, method: str, path: str, body: bytes | str = b"", **headers: str
    ) -> Answer:
        """Send a step; it must not be a server error."""
        self._sources.add(source)
        answer = self._dav.request(method, path, body, **headers)
        assert answer.status < 500, answer.text
        return answer

    def propfind(self, source: str, path: str, names: str, depth: str = "0") -> Answer:
        """Ask for properties by prefixed names."""
        inner = "".join(f"<{name}/>" for name in names.split())
        xml = wrap("d:propfind", f"<d:prop>{inner}</d:prop>").replace(
            'xmlns:d="DAV:"', 'xmlns:d="DAV:" xmlns:me="http://me.com/_namespace/"'
        )
        return self.send(source, "PROPFIND", path, xml, Depth=depth)

    def proppatch(self, source: str, path: str, inner: str) -> Answer:
        """Set properties."""
        xml = wrap("d:propertyupdate", f"<d:set><d:prop>{inner}</d:prop></d:set>")
        return self.send(source, "PROPPATCH", path, xml)

    def compare_with_page(self) -> None:
        """The page names exactly the captures that were followed."""
        page = PAGE.read_text(encoding="utf-8")
        row = re.search(rf"^\| {self._name} \|.*$", page, re.MULTILINE)
        told = set(re.findall(r"https://github\.com/[\w./-]+\w", row[0]))
        assert told == self._sources - {RECONSTRUCTED}

    def report(self, source: str, path: str, xml: str, depth: str = "1") -> Answer:
        """Send a report."""
        return self.send(source, "REPORT", path, xml, Depth=depth)


@contextmanager
def calendars(world: World) -> Iterator[str]:
    """Fill the mirror and the own calendar, so that there is something to synchronise."""
    world.mirror_put("busy.ics", event("busy", at(9), at(10)))
    path = f"{world.platform_path}own.ics"
    assert world.device.put(path, event("own", at(11), at(12))).status == 201
    yield path


def privileges(answer: Answer, path: str) -> set[str]:
    node = answer.props(path)[f"{D}current-user-privilege-set"]
    return {privilege[0].tag.removeprefix(D) for privilege in node}


def sync_xml(token: str, inner: str = "<d:getetag/>") -> str:
    step = f"<d:sync-token>{token}</d:sync-token><d:sync-level>1</d:sync-level>"
    return wrap("d:sync-collection", f"{step}<d:prop>{inner}</d:prop>")


def since_xml(start: str) -> str:
    return wrap(
        "c:calendar-query",
        "<d:prop><d:getetag/><d:getcontenttype/></d:prop><c:filter><c:comp-filter "
        "name='VCALENDAR'><c:comp-filter name='VEVENT'>"
        f"<c:time-range start='{start}'/></c:comp-filter></c:comp-filter></c:filter>",
    )


def multiget_xml(*hrefs: str) -> str:
    asked = "".join(f"<d:href>{href}</d:href>" for href in hrefs)
    return wrap("c:calendar-multiget", f"<d:prop><d:getetag/><c:calendar-data/></d:prop>{asked}")


def follow(
    replay: Replay, source: str, path: str, world: World, names: str = "<d:getetag/>"
) -> str:
    """Synchronise a calendar from nothing, then after a change; return the last token."""
    first = replay.report(source, path, sync_xml("", names))
    assert f"{path}own.ics" in first.hrefs
    data = replay.report(source, path, multiget_xml(f"{path}own.ics"))
    assert "UID:own" in data.props(f"{path}own.ics")[f"{C}calendar-data"].text
    token = first.xml.findtext(f"{D}sync-token")
    world.platform.put(f"{path}new.ics", event("new", at(14), at(15)))
    second = replay.report(source, path, sync_xml(token, names))
    assert second.hrefs == [f"{path}new.ics"]
    return second.xml.findtext(f"{D}sync-token")


@pytest.mark.rule("R18", "R20", "R21")
def test_ios_sets_up_an_account_and_refreshes(world):
    capture = f"{GITHUB}emersion/go-webdav/pull/150"
    replay = Replay(world, "iOS", IOS, Prefer="return=minimal", Brief="t")
    asked = "d:current-user-principal d:principal-URL d:resourcetype"
    redirect = replay.propfind(capture, "/.well-known/caldav", asked)
    assert (redirect.status, redirect.headers["Location"]) == (301, "/")
    root = replay.propfind(capture, "/", asked)
    principal = root.props("/")[f"{D}current-user-principal"].findtext(f"{D}href")
    assert principal == world.home
    options = replay.send(capture, "OPTIONS", principal)
    assert "calendar-access" in options.headers["DAV"].split(", ")
    with calendars(world):
        principal_step = f"{GITHUB}stalwartlabs/stalwart/issues/1796"
        found = replay.propfind(principal_step, principal, PRINCIPAL_PROPERTIES)
        assert found.props(principal)[f"{C}calendar-home-set"].findtext(f"{D}href") == world.home
        searchable = replay.report(APPLE, "/", wrap("d:principal-search-property-set", ""), "0")
        assert (searchable.status, len(searchable.xml)) == (200, 2)
        listed = replay.propfind(RECONSTRUCTED, world.home, CALENDAR_PROPERTIES, "1")
        assert "404" not in listed.text  # minimal: nothing that is missing is listed
        assert "write-content" in privileges(listed, world.platform_path)
        assert "write-content" not in privileges(listed, world.mirror_path)
        state = replay.propfind(APPLE, world.platform_path, "cs:getctag d:sync-token")
        assert len(state.props(world.platform_path)) == 2
        since = replay.report(APPLE, world.platform_path, since_xml(at(0, day=-37)))
        assert since.hrefs == [f"{world.platform_path}own.ics"]
        data = replay.report(APPLE, world.platform_path, multiget_xml(*since.hrefs))
        assert "UID:own" in data.text
        follow(replay, RECONSTRUCTED, world.platform_path, world)
        refused = replay.send(
            RECONSTRUCTED, "PUT", f"{world.mirror_path}x.ics", event("x", at(9), at(10))
        )
        assert refused.status == 403
    replay.compare_with_page()


@pytest.mark.rule("R18", "R20", "R21")
def test_macos_sets_up_an_account_and_refreshes(world):
    xandikos = f"{GITHUB}jelmer/xandikos/issues/166"
    owncloud = f"{GITHUB}owncloud/core/issues/21550"
    radicale = f"{GITHUB}Kozea/Radicale/issues/330"
    replay = Replay(world, "macOS", MACOS, Prefer="return=minimal", Brief="t")
    with calendars(world):
        root = replay.propfind(owncloud, "/", PRINCIPAL_PROPERTIES)
        principal = root.props("/")[f"{D}current-user-principal"].findtext(f"{D}href")
        options = replay.send(f"{GITHUB}etesync/etesync-dav/issues/70", "OPTIONS", principal)
        assert "addressbook" not in options.headers["DAV"]
        home = replay.propfind(xandikos, principal, PRINCIPAL_PROPERTIES)
        assert home.props(principal)[f"{C}calendar-home-set"].findtext(f"{D}href") == world.home
        listed = replay.propfind(xandikos, world.home, CALENDAR_PROPERTIES, "1")
        for path in (world.platform_path, world.mirror_path):
            found = listed.props(path)
            assert [n.tag for n in found[f"{D}resourcetype"]] == [f"{D}collection", f"{C}calendar"]
            components = found[f"{C}supported-calendar-component-set"]
            assert [n.get("name") for n in components] == ["VEVENT"]
            assert found[f"{D}sync-token"].text
            assert "{http://calendarserver.org/ns/}source" not in found
        order = "<a:calendar-order>2</a:calendar-order>"
        mine = replay.proppatch(xandikos, world.platform_path, order)
        assert mine.status == 200  # minimal: all was done
        theirs = replay.proppatch(xandikos, world.mirror_path, order)
        # A bare 403 here makes macOS stop synchronising the whole account.
        assert (theirs.status, set(theirs.statuses(world.mirror_path).values())) == (207, {403})
        zone = (
            "BEGIN:VCALENDAR&#13;\nBEGIN:VTIMEZONE&#13;\nEND:VTIMEZONE&#13;\nEND:VCALENDAR&#13;\n"
        )
        timezone = f"<c:calendar-timezone>{zone}</c:calendar-timezone>"
        assert replay.proppatch(radicale, world.platform_path, timezone).status == 200
        me = "c:calendar-user-address-set d:displayname cs:email-address-set"
        assert replay.propfind(xandikos, "/", me).status == 207
        state = "cs:getctag d:sync-token"
        before = replay.propfind(xandikos, world.platform_path, state).body
        tasks = wrap(
            "c:calendar-query",
            "<d:prop><d:getetag/><d:getcontenttype/></d:prop><c:filter><c:comp-filter"
            " name='VCALENDAR'><c:comp-filter name='VTODO'/></c:comp-filter></c:filter>",
        )
        assert replay.report(radicale, world.platform_path, tasks).hrefs == []
        assert world.platform.put(f"{world.platform_path}new.ics", event("new", at(14), at(15)))
        assert replay.propfind(xandikos, world.platform_path, state).body != before
        refresh_as_macos(replay, world)
        make_a_calendar_as_macos(replay, world)
    replay.compare_with_page()


def refresh_as_macos(replay: Replay, world: World) -> None:
    """What macOS 10.12 was recorded to do: compare ETags, fetch what differs, no sync report."""
    calconnect = f"{GITHUB}CalConnect/DEVGUIDE"
    path = world.platform_path
    assert replay.propfind(calconnect, world.home, "cs:checksum-versions").status == 207
    state = replay.propfind(calconnect, path, "cs:getctag d:sync-token")
    assert len(state.props(path)) == 2
    listed = replay.propfind(calconnect, path, "d:getcontenttype d:getetag", "1")
    assert sorted(listed.hrefs) == [path, f"{path}new.ics", f"{path}own.ics"]
    for href in listed.hrefs[1:]:
        kind = listed.props(href)[f"{D}getcontenttype"].text
        assert kind == "text/calendar;charset=utf-8;component=VEVENT"
    names = "<c:schedule-tag/><cs:created-by/><cs:updated-by/>"
    wanted = multiget_xml(*listed.hrefs[1:]).replace("</d:prop>", f"{names}</d:prop>", 1)
    data = replay.send(calconnect, "REPORT", path, wanted, Prefer="", Brief="")
    for href in listed.hrefs[1:]:
        etag = listed.props(href)[f"{D}getetag"].text
        assert data.props(href)[f"{D}getetag"].text == etag
        assert data.statuses(href)[f"{C}schedule-tag"] == 404


def make_a_calendar_as_macos(replay: Replay, world: World) -> None:
    """Ask for delegates, then make a calendar in the app."""
    inner = "".join(
        f"<d:property name='calendar-proxy-{kind}-for' namespace='http://calendarserver.org/ns/'>"
        "<d:property name='displayname'/></d:property>"
        for kind in ("read", "write")
    )
    delegates = replay.report(APPLE, world.home, wrap("d:expand-property", inner), "0")
    assert (delegates.status, delegates.hrefs) == (207, [world.home])
    path = f"{world.home}9E2B6C54-0D8B-4B1B-8A51-0A1B2C3D4E5F/"
    inner = (
        "<a:calendar-order>5</a:calendar-order><c:supported-calendar-component-set>"
        "<c:comp name='VEVENT'/></c:supported-calendar-component-set>"
        "<a:calendar-color symbolic-color='custom'>#882F00FF</a:calendar-color>"
        "<c:calendar-timezone>BEGIN:VCALENDAR&#13;\nEND:VCALENDAR&#13;\n</c:calendar-timezone>"
        "<d:displayname>Garden</d:displayname>"
        "<c:schedule-calendar-transp><c:opaque/></c:schedule-calendar-transp>"
    )
    body = wrap("c:mkcalendar", f"<d:set><d:prop>{inner}</d:prop></d:set>")
    assert replay.send(APPLE, "MKCALENDAR", path, body).status == 201
    asked = "a:calendar-order a:calendar-color c:calendar-timezone d:displayname"
    made = replay.propfind(APPLE, path, asked).props(path)
    assert [node.text.partition("\r")[0] for node in made.values()] == [
        "5",
        "#882F00FF",
        "BEGIN:VCALENDAR",
        "Garden",
    ]


@pytest.mark.rule("R18", "R20", "R21")
def test_thunderbird_finds_the_calendars_and_keeps_them(world):
    discovery = f"{GITHUB}stalwartlabs/stalwart/issues/1796"
    replay = Replay(world, "Thunderbird", THUNDERBIRD)
    names = (
        "d:resourcetype d:owner d:displayname d:current-user-principal "
        "d:current-user-privilege-set a:calendar-color c:calendar-home-set"
    )
    assert replay.propfind(discovery, "/.well-known/caldav", names).headers["Location"] == "/"
    root = replay.propfind(f"{GITHUB}stalwartlabs/stalwart/issues/1691", "/", names)
    principal = root.props("/")[f"{D}current-user-principal"].findtext(f"{D}href")
    with calendars(world):
        home = replay.propfind(RECONSTRUCTED, principal, names)
        assert home.props(principal)[f"{C}calendar-home-set"].findtext(f"{D}href") == world.home
        listed = replay.propfind(RECONSTRUCTED, world.home, names, "1")
        found = [href for href in listed.hrefs if "calendar" in kinds(listed, href)]
        assert found == [world.platform_path, world.mirror_path]
        assert "write" not in privileges(listed, world.mirror_path)
        # Thunderbird sends Depth: 1 with sync-collection, where RFC 6578 wants 0.
        depth = f"{GITHUB}Purelymail/purelymail-issues/issues/250"
        first = replay.report(depth, world.mirror_path, sync_xml(""), "1")
        assert first.hrefs == [f"{world.mirror_path}busy.ics"]
        multiget = f"{GITHUB}Kozea/Radicale/issues/2097"
        data = replay.report(multiget, world.mirror_path, multiget_xml(*first.hrefs))
        assert "UID:busy" in data.props(first.hrefs[0])[f"{C}calendar-data"].text
        mozilla = f"{GITHUB}mozilla/releases-comm-central"
        names = "<d:getcontenttype/><d:getetag/>"
        follow(replay, mozilla, world.platform_path, world, names)
        # Any 4xx for a token makes it begin anew.
        lost = replay.report(mozilla, world.platform_path, sync_xml("data:,none", names), "1")
        assert (lost.status, lost.conditions) == (403, [f"{D}valid-sync-token"])
    replay.compare_with_page()


def kinds(answer: Answer, path: str) -> list[str]:
    """The types of a resource, without namespace."""
    return [node.tag.rpartition("}")[2] for node in answer.props(path)[f"{D}resourcetype"]]


@pytest.mark.rule("R18", "R20", "R21")
def test_davx5_finds_the_calendars_and_keeps_them(world):
    state = f"{GITHUB}Kozea/Radicale/issues/2097"
    listing = f"{GITHUB}stalwartlabs/stalwart/issues/1591"
    replay = Replay(world, "DAVx5", DAVX5)
    asked = "d:current-user-principal c:calendar-home-set"
    assert replay.propfind(RECONSTRUCTED, "/.well-known/caldav", asked).status == 301
    root = replay.propfind(RECONSTRUCTED, "/", asked)
    principal = root.props("/")[f"{D}current-user-principal"].findtext(f"{D}href")
    bitfire = f"{GITHUB}bitfireAT/davx5-ose"
    asked = (
        "d:displayname d:group-membership d:resourcetype c:calendar-home-set "
        "cs:calendar-proxy-read-for cs:calendar-proxy-write-for"
    )
    me = replay.propfind(bitfire, principal, asked).props(principal)
    assert me[f"{C}calendar-home-set"].findtext(f"{D}href") == world.home
    assert len(me[f"{D}group-membership"]) == 0
    with calendars(world):
        names = """d:resourcetype d:displayname d:owner d:current-user-privilege-set
            a:calendar-color c:calendar-description c:calendar-timezone c:calendar-timezone-id
            c:supported-calendar-component-set cs:source"""
        listed = replay.propfind(listing, principal, names, "1")
        assert kinds(listed, world.mirror_path) == ["collection", "calendar"]
        assert not {"write", "write-content", "bind"} & privileges(listed, world.mirror_path)
        asked = "c:max-resource-size d:supported-report-set cs:getctag d:sync-token"
        found = replay.propfind(state, world.platform_path, asked).props(world.platform_path)
        reports = {node[0][0].tag for node in found[f"{D}supported-report-set"]}
        assert f"{D}sync-collection" in reports
        tasks = wrap(
            "c:calendar-query",
            "<c:filter><c:comp-filter name='VCALENDAR'><c:comp-filter name='VTODO'/>"
            "</c:comp-filter></c:filter><d:prop><d:getetag/></d:prop>",
        )
        query = f"{GITHUB}bitfireAT/davdroid/issues/581"
        assert replay.report(query, world.platform_path, tasks).hrefs == []
        follow(replay, bitfire, world.platform_path, world)
        new = f"{world.platform_path}made-by-phone.ics"
        made = replay.send(
            bitfire, "PUT", new, event("phone", at(18), at(19)), **{"If-None-Match": "*"}
        )
        assert (made.status, made.etag != "") == (201, True)
        # It treats this condition of a 403, and no other, like a lost race.
        mirrored = f"{world.mirror_path}busy.ics"
        refused = replay.send(bitfire, "PUT", mirrored, event("busy", at(9), at(11)))
        assert (refused.status, refused.conditions) == (403, [f"{D}need-privileges"])
        etag = world.device.get(f"{world.platform_path}own.ics").etag
        changed = replay.send(
            bitfire,
            "PUT",
            f"{world.platform_path}own.ics",
            event("own", at(16), at(17)),
            **{"If-Match": etag, "Content-Type": "text/calendar; charset=utf-8"},
        )
        assert changed.status == 204
        gone = replay.send(
            bitfire,
            "DELETE",
            f"{world.platform_path}own.ics",
            **{"If-Match": changed.etag},
        )
        assert gone.status == 204
    replay.compare_with_page()
