"""Objects and questions made to hold a processor: each is bounded, nobody else waits."""

import time
from datetime import timedelta

import pytest

from gateway.services.local_calendars import MAX_PROPERTIES
from gateway.store.objects.collections import find_collection, update_collection
from storage_plugin.http.effort import Effort
from storage_plugin.http.middleware import IS_GONE
from storage_plugin.reports.expansion import MAX_EXPANDED
from tests.storage_plugin.conftest import DAY0, at
from tests.storage_plugin.dav import C, D, event

CPU_S = 6.0
"""What one object may cost in all requests of a test; without the bounds it is minutes."""


@pytest.fixture
def world(local_world):
    """CPU time is measured in this thread."""
    return local_world


def stamps(count: int) -> list[str]:
    return [f"{DAY0 + timedelta(minutes=7 * n):%Y%m%dT%H%M%SZ}" for n in range(count)]


def exceptions() -> bytes:
    """A series of every minute with thousands of EXDATE lines, each an own line to copy around."""
    return event("x", at(9), at(10), "RRULE:FREQ=MINUTELY", *[f"EXDATE:{s}" for s in stamps(8000)])


def long_text() -> bytes:
    """A series of every minute whose text is long: expanded, it would be gigabytes."""
    return event("x", at(9), at(10), "RRULE:FREQ=MINUTELY", f"DESCRIPTION:{'x' * 800_000}")


def zones() -> bytes:
    """Thousands of overrides under a time zone that is half of the object."""
    part = (
        "BEGIN:STANDARD\r\nDTSTART:16010101T000000\r\nRRULE:FREQ=SECONDLY\r\n"
        "TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nEND:STANDARD\r\n"
    )
    zone = f"BEGIN:VTIMEZONE\r\nTZID:Bomb\r\n{part * 3000}END:VTIMEZONE\r\n"
    overrides = "".join(
        f"BEGIN:VEVENT\r\nUID:x\r\nRECURRENCE-ID;TZID=Bomb:{s[:-1]}\r\nDTSTART:{s}\r\nEND:VEVENT\r\n"
        for s in stamps(2500)
    )
    text = event("x", at(9), at(10), "RRULE:FREQ=MINUTELY").decode()
    text = text.replace("BEGIN:VEVENT", f"{zone}BEGIN:VEVENT", 1)
    return text.replace("END:VCALENDAR", f"{overrides}END:VCALENDAR").encode()


def rules() -> bytes:
    return event("x", "19700101T000000Z", "", *["RRULE:FREQ=SECONDLY"] * 4000)


def dates() -> bytes:
    return event("x", at(9), at(10), f"RDATE:{','.join(stamps(15000))}")


def nesting() -> bytes:
    return event("x", at(9), at(10), *["BEGIN:VALARM"] * 12000, *["END:VALARM"] * 12000)


@pytest.mark.parametrize("bomb", [exceptions, long_text, zones, rules, dates, nesting])
def test_no_object_holds_a_processor(world, bomb):
    begin, body = time.thread_time(), bomb()
    assert len(body) < world.settings.max_resource_size
    path, span = f"{world.platform_path}x.ics", f'start="{at(0)}" end="{at(48)}"'
    assert world.device.put(path, body).status == 201
    assert world.device.get(path).body == body
    data = f"<c:calendar-data><c:expand {span}/></c:calendar-data>"
    answer = world.device.query(world.platform_path, f"<c:time-range {span}/>", data=data)
    assert (answer.status, answer.hrefs) == (207, [path])
    text = answer.props(path)[f"{C}calendar-data"].text
    assert len(text) <= max(len(body), MAX_EXPANDED)
    far = f'<c:time-range start="{at(0, day=3000)}" end="{at(48, day=3000)}"/>'
    assert world.device.query(world.platform_path, far, data="").status == 207
    assert world.device.freebusy(world.home, at(0), at(24, day=300)).status == 200
    assert world.device.delete(path).status == 204
    assert time.thread_time() - begin < CPU_S


@pytest.mark.parametrize("limits", [(0.0, 10**9), (60.0, 100)])
def test_a_report_that_costs_too_much_says_so(world, monkeypatch, limits):
    for n in range(3):
        body = event(str(n), at(9), at(10), "RRULE:FREQ=DAILY;COUNT=5")
        world.device.put(f"{world.platform_path}{n}.ics", body)
    span = f'start="{at(0)}" end="{at(48)}"'
    data = f"<c:calendar-data><c:expand {span}/></c:calendar-data>"

    def ask():
        return world.device.query(world.platform_path, f"<c:time-range {span}/>", data=data)

    assert len(ask().hrefs) == 3
    monkeypatch.setattr(Effort.__init__, "__defaults__", limits)
    answer = ask()
    assert (answer.status, answer.conditions) == (507, [f"{D}number-of-matches-within-limits"])


# --- names and properties ---

MANY = [f"p{number}" for number in range(20_000)]


def names(wanted: list[str]) -> str:
    return "".join(f'<x:{name} xmlns:x="urn:x"/>' for name in wanted)


def wrapped(tag: str, inner: str) -> str:
    declared = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'
    return f"<{tag} {declared}>{inner}</{tag}>"


SHAPES = {
    "PROPFIND prop": ("PROPFIND", "d:propfind", "<d:prop>{}</d:prop>"),
    "PROPFIND include": ("PROPFIND", "d:propfind", "<d:allprop/><d:include>{}</d:include>"),
    "query": ("REPORT", "c:calendar-query", "<d:prop>{}</d:prop>"),
    "multiget": ("REPORT", "c:calendar-multiget", "<d:prop>{}</d:prop><d:href>/x</d:href>"),
    "sync": (
        "REPORT",
        "d:sync-collection",
        "<d:sync-token/><d:sync-level>1</d:sync-level><d:prop>{}</d:prop>",
    ),
    "search": ("REPORT", "d:principal-property-search", "<d:prop>{}</d:prop>"),
    "PROPPATCH": ("PROPPATCH", "d:propertyupdate", "<d:set><d:prop>{}</d:prop></d:set>"),
    "PROPPATCH remove": (
        "PROPPATCH",
        "d:propertyupdate",
        "<d:remove><d:prop>{}</d:prop></d:remove>",
    ),
}


def ask(world, shape: str, wanted: list[str]):
    method, tag, inner = SHAPES[shape]
    path = world.platform_path if method == "PROPPATCH" else world.mirror_path
    hrefs = "".join(f"<d:href>{world.mirror_path}{n}.ics</d:href>" for n in range(116))
    inner = inner.format(names(wanted)).replace("<d:href>/x</d:href>", hrefs)
    return world.device.request(method, path, wrapped(tag, inner), Depth="1")


@pytest.fixture
def members(world):
    for n in range(116):
        world.mirror_put(f"{n}.ics", event(f"m{n}", at(9), at(10)))


def test_too_many_names_are_refused_before_anything_is_read(world, members):
    """20,000 names of 116 members were 12 s and 420 MB."""
    began = time.process_time()
    expected = dict.fromkeys(SHAPES, 413) | {"multiget": 507}  # whose bodies may be long
    assert {shape: ask(world, shape, MANY).status for shape in SHAPES} == expected
    assert time.process_time() - began < 4


@pytest.mark.parametrize("wanted", [MANY[:9_000], ["p" * 100_000]], ids=["many", "long"])
def test_names_that_nobody_has_are_not_told_of_each_member(world, members, wanted):
    """As many as a body may hold: refused, or told for one resource alone."""
    began = time.process_time()
    told = ("search", "PROPPATCH remove", "PROPFIND include")
    for shape in SHAPES:
        answer = ask(world, shape, wanted)
        is_kept = shape == "PROPPATCH" and len(wanted) == 1
        assert (shape, answer.status) == (shape, 207 if shape in told or is_kept else 507)
        assert len(answer.body) < 2 * 1024 * 1024
    assert time.process_time() - began < 10


def test_names_of_an_expansion_are_bounded(world):
    inner = "".join(f'<d:property name="{name}" namespace="urn:x"/>' for name in MANY)
    answer = world.device.request("REPORT", world.home, wrapped("d:expand-property", inner))
    assert answer.status == 413


def test_properties_of_a_new_calendar_are_bounded(world):
    path = f"{world.home}many/"
    for count, status in ((20_000, 413), (MAX_PROPERTIES + 1, 507)):
        inner = f"<d:set><d:prop>{names(MANY[:count])}</d:prop></d:set>"
        answer = world.device.request("MKCALENDAR", path, wrapped("c:mkcalendar", inner))
        assert answer.status == status
        assert world.device.propfind(path, "d:displayname").status == 404


def test_what_many_members_have_not_is_bounded_together(world, monkeypatch):
    """Names that are allowed, told for each of many members."""
    for n in range(60):
        world.mirror_put(f"{n}.ics", event(f"m{n}", at(9), at(10)))
    body = wrapped("d:propfind", f"<d:prop>{names([f'p{n}' for n in range(200)])}</d:prop>")
    assert world.device.propfind(world.mirror_path, depth="1", body=body).status == 207
    monkeypatch.setattr(Effort.__init__, "__defaults__", (60.0, 200_000))
    answer = world.device.propfind(world.mirror_path, depth="1", body=body)
    assert (answer.status, answer.conditions) == (507, [f"{D}number-of-matches-within-limits"])


def test_a_calendar_keeps_so_many_properties_and_always_loses_some(world):
    def patch(step: str, *wanted: str):
        inner = f"<d:{step}><d:prop>{names(list(wanted))}</d:prop></d:{step}>"
        body = wrapped("d:propertyupdate", inner)
        return world.device.request("PROPPATCH", world.platform_path, body).status

    assert patch("set", *MANY[:MAX_PROPERTIES]) == 207
    assert patch("set", "one-more") == 507
    assert patch("set", MANY[0]) == 207
    assert patch("remove", MANY[0]) == 207
    assert patch("set", "one-more") == 207
    _store_properties(world, 2 * MAX_PROPERTIES)
    assert patch("set", "another") == 507
    assert patch("remove", MANY[0]) == 207


def _store_properties(world, count: int) -> None:
    """As an earlier version kept them."""
    with world.database.write() as session:
        row = find_collection(session, world.principal_id, "platform")
        update_collection(
            session,
            row.id,
            display_name=row.display_name,
            properties={f"{{urn:x}}{name}": "x" for name in MANY[:count]},
            transparent=False,
            now=1,
        )


@pytest.mark.parametrize("body", ["<d:allprop/>", "<d:propname/>"])
def test_kept_properties_are_read_once_not_once_for_each(world, body):
    """6,000 of them took 55 s."""
    _store_properties(world, 6_000)
    began = time.process_time()
    answer = world.device.propfind(world.home, depth="1", body=wrapped("d:propfind", body))
    assert answer.status == 207
    assert answer.text.count("urn:x") >= 6_000
    assert time.process_time() - began < 3


def test_parts_of_a_filter_are_bounded(world):
    part = '<c:prop-filter name="X"><c:text-match>a</c:text-match></c:prop-filter>'
    inner = (
        "<d:prop><d:getetag/></d:prop><c:filter><c:comp-filter name='VCALENDAR'>"
        f"<c:comp-filter name='VEVENT'>{part * 300}</c:comp-filter></c:comp-filter></c:filter>"
    )
    body = wrapped("c:calendar-query", inner)
    answer = world.device.request("REPORT", world.mirror_path, body, Depth="1")
    assert (answer.status, answer.conditions) == (403, [f"{C}valid-filter"])


# --- bodies ---

NAMES = "<d:propfind xmlns:d='DAV:' xmlns:x='urn:x'><d:prop>{names}</d:prop></d:propfind>"


def named(count: int) -> str:
    return NAMES.format(names="".join(f"<x:p{n}/>" for n in range(count)))


def test_a_body_of_too_many_elements_is_refused_before_it_is_parsed(world):
    """What comes last is no XML, and nobody gets so far."""
    refused = world.device.request("PROPFIND", world.home, named(10_000) + "<", Depth="0")
    assert refused.status == 413
    assert world.device.request("PROPFIND", world.home, named(9_000) + "<", Depth="0").status == 400


def test_a_multiget_may_name_many_objects(world):
    hrefs = f"<d:href>{world.mirror_path}x.ics</d:href>" * 12_000
    body = f"<c:calendar-multiget xmlns:c='{C[1:-1]}' xmlns:d='DAV:'>{hrefs}</c:calendar-multiget>"
    assert world.device.request("REPORT", world.mirror_path, body).status == 207


def test_a_large_body_is_parsed_in_pieces(world):
    """Others compute in between: there it shows that the client of this one has hung up."""

    def application(environ, start_response):
        environ[IS_GONE] = lambda: True
        return world.application(environ, start_response)

    world.device.application = application
    body = named(9_000) + "<"
    assert world.device.request("PROPFIND", world.home, body, Depth="0").status == 503
