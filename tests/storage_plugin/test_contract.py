"""Small promises of RFC 4791, 4918 and 9110 that clients and test suites look at."""

import pytest

from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import TEXT, C, D, Dav, event, wrap

CHARSETS = ["", "unknown-8bit", '"', "utf-16", "rot13", "idna", '"utf-8"']


@pytest.mark.parametrize("charset", CHARSETS)
def test_no_charset_is_a_server_error(world, charset):
    kind = f"text/calendar; charset={charset}"
    path = f"{world.platform_path}a.ics"
    assert world.device.put(path, event("a", at(9), at(10)), **{"Content-Type": kind}).status == 201
    body = wrap("d:propfind", "<d:prop><d:displayname/></d:prop>")
    headers = {"Content-Type": f"application/xml;charset={charset}", "Depth": "0"}
    assert world.device.request("PROPFIND", world.home, body, **headers).status == 207
    stranger = Dav(world.application, "ä", "ö", address=world.address)
    assert stranger.request("PROPFIND", world.home, body, **headers).status == 401


def test_a_fold_inside_a_character_is_read_and_served_whole(world):
    """RFC 5545 3.1: a long line may be folded inside a multi-octet character."""
    body = event("a", at(9), at(10), summary="Grüße").replace(b"\xc3\xbc", b"\xc3\r\n \xbc")
    path = f"{world.platform_path}a.ics"
    assert world.device.put(path, body).status == 201
    world.mirror_put("m.ics", body.replace(b"UID:a", b"UID:m"))
    for calendar in (world.platform_path, world.mirror_path):
        report = world.device.query(calendar, "", data="<c:calendar-data/>")
        data = report.xml.find(f".//{C}calendar-data").text
        assert "Grüße" in data
        assert "�" not in report.text
    assert "Grüße" in world.device.get(path).text
    broken = body.replace(b"\xc3\r\n \xbc", b"\xc3")
    assert world.device.put(f"{world.platform_path}b.ics", broken).status == 403


@pytest.mark.parametrize("line", [b"METHOD:REQUEST", b"method;X=1:PUBLISH"])
def test_a_message_is_no_event(world, line):
    body = event("a", at(9), at(10)).replace(b"VERSION:2.0", b"VERSION:2.0\r\n" + line)
    answer = world.device.put(f"{world.platform_path}a.ics", body)
    assert (answer.status, answer.conditions) == (403, [f"{C}valid-calendar-object-resource"])
    text = event("a", at(9), at(10), "DESCRIPTION:folded\r\n METHOD:is text")
    assert world.device.put(f"{world.platform_path}a.ics", text).status == 201


def query(world, inner: str, data: str = ""):
    body = wrap("c:calendar-query", f"<d:prop><d:getetag/>{data}</d:prop>{inner}")
    return world.device.request("REPORT", world.mirror_path, body, Depth="1")


def comp(name: str, inner: str = "") -> str:
    return f'<c:comp-filter name="{name}">{inner}</c:comp-filter>'


RANGE = f'<c:time-range start="{at(0)}" end="{at(24)}"/>'


@pytest.mark.parametrize(
    "inner",
    [
        comp("VEVENT"),
        comp(""),
        comp("VCALENDAR", comp("VEVENT", "<c:time-range/>")),
        comp("VCALENDAR", comp("VEVENT", f'<c:prop-filter name="SUMMARY">{RANGE}</c:prop-filter>')),
        comp("VCALENDAR", comp("VEVENT", f'<c:prop-filter name="UID">{RANGE}</c:prop-filter>')),
    ],
)
def test_filters_that_ask_for_nothing_there_can_be(world, inner):
    answer = query(world, f"<c:filter>{inner}</c:filter>")
    assert (answer.status, answer.conditions) == (403, [f"{C}valid-filter"])


def test_filters_on_times_are_answered(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    for name in ("DTSTART", "dtend"):
        part = comp("VEVENT", f'<c:prop-filter name="{name}">{RANGE}</c:prop-filter>')
        assert len(query(world, f"<c:filter>{comp('VCALENDAR', part)}</c:filter>").hrefs) == 1


def test_all_siblings_of_a_filter_must_match(world):
    """RFC 4791 9.7.1: an object holds one kind, so none has an event and a task."""
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    both = comp("VCALENDAR", comp("VEVENT") + comp("VTODO"))
    assert query(world, f"<c:filter>{both}</c:filter>").hrefs == []
    one = comp("VCALENDAR", comp("VEVENT") + comp("VTODO", "<c:is-not-defined/>"))
    assert len(query(world, f"<c:filter>{one}</c:filter>").hrefs) == 1


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ('content-type="application/calendar+json"', 403),
        ('content-type="text/calendar" version="1.0"', 403),
        ('content-type="text/calendar" version="2.0"', 207),
        ('content-type="Text/Calendar; charset=utf-8"', 207),
    ],
)
@pytest.mark.parametrize("report", ["calendar-query", "calendar-multiget"])
def test_calendar_data_comes_in_the_form_we_have(world, report, form, status):
    body = wrap(f"c:{report}", f"<d:prop><c:calendar-data {form}/></d:prop>")
    answer = world.device.request("REPORT", world.mirror_path, body, Depth="1")
    assert answer.status == status
    if status == 403:
        assert answer.conditions == [f"{C}supported-calendar-data"]


ZONE = (
    "BEGIN:VCALENDAR&#13;\nVERSION:2.0&#13;\nPRODID:-//x//EN&#13;\nBEGIN:VTIMEZONE&#13;\n"
    "TZID:Nowhere&#13;\nBEGIN:STANDARD&#13;\nDTSTART:19700101T000000&#13;\n"
    "TZOFFSETFROM:+0100&#13;\nTZOFFSETTO:+0100&#13;\nEND:STANDARD&#13;\nEND:VTIMEZONE&#13;\n"
    "END:VCALENDAR&#13;\n"
)
EVENT = ZONE.replace("VTIMEZONE", "VEVENT")
NAMELESS = ZONE.replace("TZID:Nowhere&#13;\n", "")
TIMELESS = ZONE[: ZONE.index("BEGIN:STANDARD")] + ZONE[ZONE.index("END:VTIMEZONE") :]
TIME_ZONE = f"{C}calendar-timezone"


@pytest.mark.parametrize(
    "rubbish",
    [
        "Europe/Berlin",
        "<d:href/>",
        "BEGIN:VCALENDAR",
        ZONE[:140],
        ZONE + ZONE,
        EVENT,
        NAMELESS,
        TIMELESS,
    ],
)
def test_a_calendars_time_zone_is_one_and_comes_back(world, rubbish):
    """RFC 4791 5.2.2."""
    path = world.platform_path

    def patch(value: str):
        return world.device.proppatch(
            path,
            f"<d:set><d:prop><d:displayname>New</d:displayname><c:calendar-timezone>{value}"
            "</c:calendar-timezone></d:prop></d:set>",
        )

    def kept() -> str | None:
        found = world.device.propfind(path, "c:calendar-timezone").props(path).get(TIME_ZONE)
        return None if found is None else found.text

    assert patch(ZONE).statuses(path) == {TIME_ZONE: 200, f"{D}displayname": 200}
    assert kept() == ZONE.replace("&#13;", "\r")
    answer = patch(rubbish)
    assert answer.statuses(path) == {TIME_ZONE: 403, f"{D}displayname": 424}
    assert [node.tag for node in answer.xml.find(f".//{D}error")] == [f"{C}valid-calendar-data"]
    assert kept() == ZONE.replace("&#13;", "\r")
    made = wrap(
        "c:mkcalendar",
        f"<d:set><d:prop><c:calendar-timezone>{rubbish}</c:calendar-timezone></d:prop></d:set>",
    )
    assert world.device.request("MKCALENDAR", f"{world.home}zone/", made).status == 403
    assert world.device.propfind(f"{world.home}zone/", "d:displayname").status == 404


def test_the_sentence_for_people_stands_where_apples_suite_allows_it(world):
    """Its verifier takes every child of DAV:error but this one for a condition."""
    answer = world.device.put(f"{world.mirror_path}a.ics", event("a", at(9), at(10)))
    assert [child.tag for child in answer.xml] == [f"{D}need-privileges", TEXT]
    assert len(answer.xml.findtext(TEXT)) > 10


@pytest.mark.parametrize("host", ["[", "a:b", "a:99999", "[x]"])
def test_a_host_that_is_none_makes_no_profile(local_world, host):
    answer = local_world.device.get("/.mobileconfig", Host=host)
    assert answer.status == 400
