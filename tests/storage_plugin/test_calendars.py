"""Local calendars, properties and privileges (R18), and discovery."""

import plistlib

import pytest

from gateway.services import local_calendars
from gateway.store import tables
from tests.storage_plugin.conftest import at, make_world
from tests.storage_plugin.dav import TEXT, C, D, event, wrap

TODO = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VTODO\r\nUID:todo\r\n"
    "DTSTAMP:20260101T000000Z\r\nSUMMARY:Buy milk\r\nEND:VTODO\r\nEND:VCALENDAR\r\n"
)
COLOR = "<a:calendar-color>#FF0000FF</a:calendar-color>"


def busy(world) -> list[str]:
    answer = world.device.freebusy(world.home, at(0), at(24))
    return [line.partition(":")[2] for line in answer.text.splitlines() if "FBTYPE" in line]


@pytest.mark.rule("R18")
@pytest.mark.parametrize("verb", ["mkcalendar", "mkcol"])
def test_a_device_makes_a_calendar_that_works(world, verb):
    path = f"{world.home}holidays/"
    kind = "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>"
    inner = f"<d:displayname>Holidays</d:displayname>{COLOR}" + (kind if verb == "mkcol" else "")
    assert getattr(world.device, verb)(path, inner).status == 201
    assert getattr(world.device, verb)(path, inner).conditions == [f"{D}resource-must-be-null"]
    props = world.device.propfind(path, "d:displayname", "a:calendar-color", "d:resourcetype")
    found = props.props(path)
    assert found[f"{D}displayname"].text == "Holidays"
    assert found["{http://apple.com/ns/ical/}calendar-color"].text == "#FF0000FF"
    assert [node.tag for node in found[f"{D}resourcetype"]] == [f"{D}collection", f"{C}calendar"]
    assert world.device.put(f"{path}h.ics", event("h", at(9), at(10))).status == 201
    assert world.object("h.ics", "holidays").kind == "blocked-slot"
    assert busy(world) == [f"{at(9)}/{at(10)}"]
    assert world.device.delete(path).status == 204
    assert world.device.propfind(path, "d:displayname").status == 404
    assert busy(world) == []


@pytest.mark.rule("R18")
def test_transparency_decides_whether_a_local_calendar_blocks(world):
    path = f"{world.home}quiet/"
    clear = "<c:schedule-calendar-transp><c:transparent/></c:schedule-calendar-transp>"
    opaque = "<c:schedule-calendar-transp><c:opaque/></c:schedule-calendar-transp>"
    world.device.mkcalendar(path, clear)
    world.device.put(f"{path}q.ics", event("q", at(9), at(10)))
    assert busy(world) == []
    answer = world.device.proppatch(path, f"<d:set><d:prop>{opaque}</d:prop></d:set>")
    assert answer.statuses(path) == {f"{C}schedule-calendar-transp": 200}
    assert busy(world) == [f"{at(9)}/{at(10)}"]
    shown = world.device.propfind(path, "c:schedule-calendar-transp").props(path)
    assert [n.tag for n in shown[f"{C}schedule-calendar-transp"]] == [f"{C}opaque"]
    for fixed in (world.platform_path, world.mirror_path):
        refused = world.device.proppatch(fixed, f"<d:set><d:prop>{clear}</d:prop></d:set>")
        assert refused.statuses(fixed) == {f"{C}schedule-calendar-transp": 403}


@pytest.mark.rule("R18")
def test_reminders_live_where_they_were_asked_for(world):
    path = f"{world.home}tasks/"
    comps = (
        "<c:supported-calendar-component-set><c:comp name='VTODO'/>"
        "</c:supported-calendar-component-set>"
    )
    assert world.device.mkcalendar(path, comps).status == 201
    shown = world.device.propfind(path, "c:supported-calendar-component-set").props(path)
    names = [n.get("name") for n in shown[f"{C}supported-calendar-component-set"]]
    assert names == ["VTODO"]
    assert world.device.put(f"{path}t.ics", TODO).status == 201
    assert world.device.query(path, "", component="VTODO").hrefs == [f"{path}t.ics"]
    span = f'<c:time-range start="{at(0)}" end="{at(24)}"/>'
    assert world.device.query(path, span, component="VTODO").hrefs == [f"{path}t.ics"]
    refused = f"{C}supported-calendar-component"
    into = world.device.put(f"{world.platform_path}t.ics", TODO)
    assert (into.status, into.conditions) == (403, [refused])
    assert world.device.put(f"{path}e.ics", event("e", at(9), at(10))).conditions == [refused]
    world.device.put(f"{world.platform_path}e.ics", event("e", at(9), at(10)))
    moved = world.device.move(f"{world.platform_path}e.ics", f"{path}e.ics")
    assert moved.conditions == [refused]


@pytest.mark.rule("R18")
def test_calendars_can_be_renamed_and_coloured_property_by_property(world):
    path = f"{world.home}mine/"
    world.device.mkcalendar(path)
    step = f"<d:set><d:prop><d:displayname>Ö &amp; co</d:displayname>{COLOR}</d:prop></d:set>"
    assert set(world.device.proppatch(path, step).statuses(path).values()) == {200}
    gone = "<d:remove><d:prop><a:calendar-color/></d:prop></d:remove>"
    assert world.device.proppatch(path, gone).status == 207
    found = world.device.propfind(path, "d:displayname", "a:calendar-color")
    assert found.props(path)[f"{D}displayname"].text == "Ö & co"
    assert found.statuses(path)["{http://apple.com/ns/ical/}calendar-color"] == 404


@pytest.mark.rule("R18")
def test_the_own_calendar_has_a_colour_until_somebody_paints_it(world):
    def color() -> str:
        found = world.device.propfind(world.platform_path, "a:calendar-color")
        return found.props(world.platform_path)["{http://apple.com/ns/ical/}calendar-color"].text

    assert color() == "#0E61B9FF"
    step = f"<d:set><d:prop>{COLOR}</d:prop></d:set>"
    painted = world.device.proppatch(world.platform_path, step)
    tag = "{http://apple.com/ns/ical/}calendar-color"
    assert painted.statuses(world.platform_path) == {tag: 200}
    assert color() == "#FF0000FF"
    gone = "<d:remove><d:prop><a:calendar-color/></d:prop></d:remove>"
    assert world.device.proppatch(world.platform_path, gone).status == 207
    assert color() == "#0E61B9FF"


@pytest.mark.rule("R18", "R20")
def test_mirrors_and_protected_properties_are_refused_one_by_one(world):
    step = f"<d:set><d:prop><d:displayname>X</d:displayname>{COLOR}</d:prop></d:set>"
    answer = world.device.proppatch(world.mirror_path, step)
    assert (answer.status, set(answer.statuses(world.mirror_path).values())) == (207, {403})
    mixed = (
        "<d:set><d:prop><d:displayname>X</d:displayname><d:getetag>y</d:getetag>"
        "<d:sync-token>z</d:sync-token><cs:getctag>c</cs:getctag></d:prop></d:set>"
    )
    statuses = world.device.proppatch(world.platform_path, mixed).statuses(world.platform_path)
    assert statuses[f"{D}displayname"] == 424
    assert {code for tag, code in statuses.items() if tag != f"{D}displayname"} == {403}
    assert "Appointments" in world.device.propfind(world.platform_path, "d:displayname").text
    home = world.device.proppatch(world.home, step)
    assert (home.status, set(home.statuses(world.home).values())) == (207, {403})


@pytest.mark.rule("R18")
def test_platform_and_mirrors_cannot_be_made_deleted_or_replaced(world):
    assert world.device.mkcalendar(world.platform_path).status == 409
    assert world.device.mkcol(world.platform_path).status == 403
    assert world.device.mkcalendar(world.mirror_path).status == 403
    for path in (world.platform_path, world.mirror_path):
        assert world.device.delete(path).conditions == [f"{D}need-privileges"]
        assert world.device.put(path, event("a", at(9), at(10))).status == 405
        assert world.device.move(path, f"{world.home}other/").status == 403
    assert world.device.put(f"{world.home}a.ics", event("a", at(9), at(10))).status == 405
    for path in (f"{world.home}mirror-mine/", f"{world.home}.hidden/"):
        assert world.device.mkcalendar(path).conditions == [f"{D}need-privileges"]
    assert world.device.mkcol(f"{world.home}plain/").conditions == [f"{D}valid-resourcetype"]
    nested = world.device.mkcalendar(f"{world.platform_path}inner/")
    assert nested.conditions == [f"{C}calendar-collection-location-ok"]
    assert world.device.mkcalendar("/somebody/new/").status == 404


@pytest.mark.rule("R18")
def test_what_cannot_be_made_or_deleted_is_told_with_element_and_sentence(local_world, monkeypatch):
    """A full calendar home is the client's matter: nothing of it is logged under an id."""
    world, path = local_world, f"{local_world.home}mine/"
    monkeypatch.setattr(local_calendars, "MAX_LOCAL_CALENDARS", 3)
    assert world.device.mkcalendar(path).status == 201
    taken = world.device.mkcalendar(path)
    full = world.device.mkcalendar(f"{world.home}more/")
    stays = world.device.delete(world.platform_path)
    assert [(one.status, one.xml.findtext(TEXT)) for one in (taken, full, stays)] == [
        (409, "There is something at this address."),
        (507, "There are too many calendars."),
        (403, "This calendar belongs to the gateway and cannot be deleted; hide it in the app."),
    ]
    assert (taken.conditions, full.conditions) == (
        [f"{D}resource-must-be-null"],
        [f"{D}quota-not-exceeded"],
    )
    assert "X-Request-Id" not in full.headers
    (needed,) = stays.xml.iter(f"{D}resource")
    assert needed.findtext(f"{D}href") == world.home
    assert [node.tag for node in needed.find(f"{D}privilege")] == [f"{D}unbind"]


@pytest.mark.rule("R18")
@pytest.mark.parametrize("verb", ["mkcalendar", "mkcol"])
def test_a_calendar_with_a_property_it_cannot_have_is_not_made(world, verb):
    path = f"{world.home}mine/"
    kind = "<d:resourcetype><d:collection/><c:calendar/></d:resourcetype>"
    inner = f"{kind}<d:displayname>Mine</d:displayname><d:getetag>x</d:getetag>"
    answer = getattr(world.device, verb)(path, inner)
    assert answer.status == 403
    assert answer.xml.tag == (
        f"{C}mkcalendar-response" if verb == "mkcalendar" else f"{D}mkcol-response"
    )
    stats = {
        prop.tag: stat.findtext(f"{D}status")
        for stat in answer.xml.iter(f"{D}propstat")
        for prop in stat.find(f"{D}prop")
    }
    assert stats.pop(f"{D}getetag") == "HTTP/1.1 403 Forbidden"
    assert set(stats.values()) == {"HTTP/1.1 424 Failed Dependency"}
    assert world.device.propfind(path, "d:displayname").status == 404


@pytest.mark.rule("R18")
def test_apples_own_properties_are_kept(world):
    """Calendar on macOS and iOS stores alarms in CalDAV's namespace and order in its own."""
    path = f"{world.home}mine/"
    name = "c:default-alarm-vevent-datetime"
    alarm = f"<{name}>BEGIN:VALARM\nEND:VALARM</{name}>"
    order = "<a:calendar-order>2</a:calendar-order>"
    world.device.mkcalendar(path, order)
    for where in (path, world.platform_path):
        answer = world.device.proppatch(where, f"<d:set><d:prop>{alarm}{order}</d:prop></d:set>")
        assert set(answer.statuses(where).values()) == {200}
        found = world.device.propfind(where, name, "a:calendar-order")
        texts = [node.text for node in found.props(where).values()]
        assert texts == ["BEGIN:VALARM\nEND:VALARM", "2"]
    components = "c:supported-calendar-component-set"
    fixed = f"<{components}><c:comp name='VTODO'/></{components}>"
    answer = world.device.proppatch(path, f"<d:set><d:prop>{fixed}</d:prop></d:set>")
    assert set(answer.statuses(path).values()) == {403}


@pytest.mark.rule("R18")
def test_a_minimal_proppatch_says_nothing_but_ok(world):
    xml = wrap("d:propertyupdate", f"<d:set><d:prop>{COLOR}</d:prop></d:set>")
    minimal = {"Prefer": "return=minimal"}
    answer = world.device.request("PROPPATCH", world.platform_path, xml, **minimal)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Preference-Applied"] == "return=minimal"
    refused = world.device.request("PROPPATCH", world.mirror_path, xml, **minimal)
    assert (refused.status, set(refused.statuses(world.mirror_path).values())) == (207, {403})


@pytest.mark.rule("R18")
def test_the_switch_forbids_local_calendars(sqlite_database, settings):
    closed = make_world(sqlite_database, settings.model_copy(update={"local_calendars": False}))
    path = f"{closed.home}mine/"
    assert closed.device.mkcalendar(path).conditions == [f"{D}need-privileges"]
    props = closed.device.propfind(closed.home, "d:current-user-privilege-set").props(closed.home)
    assert f"{D}bind" not in [node[0].tag for node in props[f"{D}current-user-privilege-set"]]


@pytest.mark.rule("R18")
def test_each_login_chooses_whether_mirrors_show(world):
    quiet = world.new_login("device", show_mirrors=False)
    shown = world.device.propfind(world.home, "d:displayname", depth="1").hrefs
    hidden = quiet.propfind(world.home, "d:displayname", depth="1").hrefs
    assert shown == [world.home, world.platform_path, world.mirror_path]
    assert hidden == [world.home, world.platform_path]
    assert quiet.propfind(world.mirror_path, "d:displayname").status == 404


def test_nobody_sees_anybody_else(world):
    assert world.device.propfind("/", "d:displayname", depth="1").hrefs == ["/", world.home]
    assert world.device.propfind("/p_somebody/", "d:displayname").status == 404
    assert world.device.get("/p_somebody/platform/a.ics").status == 404


@pytest.mark.parametrize("slash", ["", "/"])
def test_discovery_leads_from_the_root_to_the_calendars(world, slash):
    redirect = world.device.request("PROPFIND", f"/.well-known/caldav{slash}")
    assert (redirect.status, redirect.headers["Location"]) == (301, "/")
    root = world.device.propfind("/", "d:current-user-principal").props("/")
    principal = root[f"{D}current-user-principal"].findtext(f"{D}href")
    assert principal == world.home
    found = world.device.propfind(
        principal.rstrip("/") + slash,
        "c:calendar-home-set",
        "c:calendar-user-address-set",
        "d:principal-URL",
        "d:displayname",
    ).props(world.home)
    assert found[f"{C}calendar-home-set"].findtext(f"{D}href") == world.home
    assert found[f"{D}principal-URL"].findtext(f"{D}href") == world.home
    assert found[f"{D}displayname"].text == "Anna Example"
    addresses = [n.text for n in found[f"{C}calendar-user-address-set"]]
    assert addresses == ["mailto:anna@example.org", world.home]
    listed = world.device.propfind(world.home.rstrip("/") + slash, "d:resourcetype", depth="1")
    assert listed.hrefs == [world.home, world.platform_path, world.mirror_path]
    calendar = world.device.propfind(world.platform_path.rstrip("/") + slash, "d:displayname")
    assert calendar.hrefs == [world.platform_path]


def test_what_is_announced_is_true(world):
    answer = world.device.options(world.home)
    assert answer.headers["DAV"] == "1, 3, calendar-access, extended-mkcol"
    allowed = set(answer.headers["Allow"].split(", "))
    assert {"PROPFIND", "REPORT", "MKCALENDAR", "COPY", "MOVE"} <= allowed
    assert "LOCK" not in allowed
    for client in (world.device, world.anonymous):
        refused = client.request("LOCK", world.platform_path)
        assert (refused.status, set(refused.headers["Allow"].split(", "))) == (405, allowed)


def test_names_and_colours_come_from_icloud(world):
    world.change(
        tables.collections,
        properties='{"ICAL:calendar-color": "#1BADF8FF", "ICAL:calendar-order": "3"}',
    )
    props = world.device.propfind(world.mirror_path, "a:calendar-color", "a:calendar-order")
    found = props.props(world.mirror_path)
    assert [node.text for node in found.values()] == ["#1BADF8FF", "3"]


@pytest.mark.rule("R18")
def test_the_order_of_icloud_is_that_of_the_mirrors(world):
    def order(path: str) -> str | None:
        found = world.device.propfind(path, "a:calendar-order").props(path)
        node = found.get("{http://apple.com/ns/ical/}calendar-order")
        return node.text if node is not None else None

    assert order(world.mirror_path) is None
    world.change(tables.upstream_calendars, display_order=7)
    assert (order(world.mirror_path), order(world.platform_path)) == ("7", None)
    listed = world.device.propfind(world.home, "a:calendar-order", depth="1")
    assert listed.text.count(">7<") == 1
    world.change(tables.upstream_calendars, display_order=3)
    assert order(world.mirror_path) == "3"


def test_apple_devices_get_a_profile(world):
    answer = world.device.get("/.mobileconfig")
    assert answer.headers["Content-Type"].startswith("application/x-apple-aspen-config")
    whole = plistlib.loads(answer.body)
    (payload,) = whole["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.caldav.account"
    assert payload["CalDAVUsername"] == world.device.login
    assert payload["CalDAVPrincipalURL"] == world.home
    assert (payload["CalDAVHostName"], payload["CalDAVUseSSL"]) == ("localhost", False)
    assert world.device.secret.encode() not in answer.body
    anonymous = world.anonymous
    assert anonymous.get("/.mobileconfig").status == 401


@pytest.mark.rule("R18")
def test_the_properties_of_a_calendar_have_a_common_limit(world):
    path = f"{world.home}full/"
    world.device.mkcalendar(path)

    def keep(number: int, length: int) -> int:
        prop = f'<x:p{number} xmlns:x="urn:x">{"y" * length}</x:p{number}>'
        step = f"<d:set><d:prop>{prop}</d:prop></d:set>"
        return world.device.proppatch(path, step).status

    assert [keep(number, 60_000) for number in range(5)] == [207, 207, 207, 207, 507]
    assert (keep(0, 10), keep(4, 60_000)) == (207, 207)
    too_much = "".join(f'<x:p{n} xmlns:x="urn:x">{"y" * 60_000}</x:p{n}>' for n in range(5))
    assert world.device.mkcalendar(f"{world.home}born-full/", too_much).status == 507
