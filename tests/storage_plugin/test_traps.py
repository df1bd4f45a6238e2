"""What goes wrong on a stock Radicale, one test for each: the plugin must not inherit it."""

import threading
import time
from xml.sax.saxutils import escape

import pytest
from sqlalchemy import select

from gateway.core.recurrence.expand import default_window
from gateway.core.recurrence.model import Expansion
from gateway.store import tables
from tests.storage_plugin.conftest import at, now
from tests.storage_plugin.dav import C, D, Dav, G, event, wrap
from tests.subscriptions import SCHEMES

BERLIN = (
    "BEGIN:VTIMEZONE\r\nTZID:Office\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
    "TZOFFSETFROM:{0}\r\nTZOFFSETTO:{0}\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def zoned(uid: str, offset: str, wall: str) -> bytes:
    """An event in a zone called Office whose offset the object itself defines."""
    body = event(uid, "X", "Y").decode()
    body = body.replace("BEGIN:VEVENT", BERLIN.format(offset) + "BEGIN:VEVENT")
    body = body.replace("DTSTART:X", f"DTSTART;TZID=Office:{wall}")
    return body.replace("DTEND:Y", "DURATION:PT1H").encode()


def counts(world) -> tuple[int, ...]:
    """How many rows there are of everything a write touches."""
    watched = (tables.objects, tables.instances, tables.revisions, tables.push_ledger)
    with world.database.read() as session:
        return tuple(len(session.execute(select(table)).all()) for table in watched)


def test_1_an_error_answer_keeps_nothing(world):
    world.mirror_put("busy.ics", event("busy", at(9), at(11)))
    before, ctag = counts(world), world.platform.propfind(world.platform_path, "cs:getctag").body
    refused = world.platform.put(f"{world.platform_path}a.ics", event("a", at(10), at(12)))
    assert (refused.status, refused.conditions) == (409, [f"{G}slot-taken"])
    patched = world.device.proppatch(
        world.platform_path,
        "<d:set><d:prop><d:displayname>New</d:displayname><d:getetag>x</d:getetag></d:prop></d:set>",
    )
    assert patched.statuses(world.platform_path) == {f"{D}displayname": 424, f"{D}getetag": 403}
    assert counts(world) == before
    assert world.platform.propfind(world.platform_path, "cs:getctag").body == ctag


@pytest.mark.rule("R21")
def test_3_a_body_is_kept_byte_for_byte(world):
    odd = event("odd", at(9), at(10), "X-THING;B=2;A=1:geo:37.33,-122.03,x", "x-lower:a;b").replace(
        b"SUMMARY:Meeting", b"SUMMARY:M\xc3\xbcnchen\\, and a\r\n  fold"
    )
    put = world.device.put(f"{world.platform_path}odd.ics", odd)
    got = world.device.get(f"{world.platform_path}odd.ics")
    multi = world.device.multiget(world.platform_path, f"{world.platform_path}odd.ics")
    data = multi.props(f"{world.platform_path}odd.ics")
    assert (got.body, got.etag) == (odd, put.etag)
    assert data[f"{C}calendar-data"].text.encode() == odd
    assert data[f"{D}getetag"].text == put.etag


def test_4_a_zone_of_one_user_does_not_leak_into_another(world):
    """The second VTIMEZONE of a name counts for its own object, whatever was seen before."""
    day = at(0)[:8]
    for name, offset in (("west", "-0600"), ("east", "+0600")):
        body = zoned(name, offset, f"{day}T120000")
        assert world.device.put(f"{world.platform_path}{name}.ics", body).status == 201
    answer = world.device.freebusy(world.home, f"{day}T000000Z", f"{day}T235959Z")
    assert [line for line in answer.text.splitlines() if line.startswith("FREEBUSY")] == [
        f"FREEBUSY;FBTYPE=BUSY:{day}T060000Z/{day}T070000Z",
        f"FREEBUSY;FBTYPE=BUSY:{day}T180000Z/{day}T190000Z",
    ]


def test_5_expand_reads_only_what_lies_in_the_window(world):
    world.device.put(
        f"{world.platform_path}s.ics", event("s", at(9), at(10), "RRULE:FREQ=DAILY;COUNT=20")
    )
    world.device.put(f"{world.platform_path}far.ics", event("far", at(9, day=90), at(10, day=90)))
    window = f'start="{at(0, day=2)}" end="{at(0, day=4)}"'
    answer = world.device.query(
        world.platform_path,
        f"<c:time-range {window}/>",
        data=f"<c:calendar-data><c:expand {window}/></c:calendar-data>",
    )
    assert answer.hrefs == [f"{world.platform_path}s.ics"]
    text = answer.props(f"{world.platform_path}s.ics")[f"{C}calendar-data"].text
    assert [line for line in text.splitlines() if line.startswith(("DTSTART", "RECURRENCE", "RR"))]
    assert [line for line in text.splitlines() if line.startswith("RECURRENCE-ID")] == [
        f"RECURRENCE-ID:{at(9, day=2)}",
        f"RECURRENCE-ID:{at(9, day=3)}",
    ]
    assert "RRULE" not in text


def test_6_a_poisonous_object_fails_no_report(world):
    """Two overrides without their master (somebody was invited to single instances)."""
    one = event("p", at(9), at(10), f"RECURRENCE-ID:{at(8)}").decode()
    other = one.split("BEGIN:VEVENT")[1].split("END:VEVENT")[0].replace(at(8), at(8, day=1))
    body = one.replace("END:VCALENDAR", f"BEGIN:VEVENT{other}END:VEVENT\r\nEND:VCALENDAR")
    world.mirror_put("p.ics", body.encode())
    world.mirror_put("good.ics", event("good", at(9), at(10)))
    both = [f"{world.mirror_path}good.ics", f"{world.mirror_path}p.ics"]
    span = f'start="{at(0)}" end="{at(24)}"'
    assert world.device.query(world.mirror_path, f"<c:time-range {span}/>").hrefs == both
    assert world.device.query(world.mirror_path, "").hrefs == both
    assert (
        world.device.query(
            world.mirror_path,
            "<c:prop-filter name='SUMMARY'><c:text-match>meet</c:text-match></c:prop-filter>",
        ).hrefs
        == both
    )
    expanded = world.device.query(
        world.mirror_path, "", data=f"<c:calendar-data><c:expand {span}/></c:calendar-data>"
    )
    assert expanded.hrefs == both
    assert world.device.freebusy(world.mirror_path, at(0), at(24)).status == 200


def test_7_refusals_do_not_sleep(world):
    world.mirror_put("a.ics", event("a", at(9), at(10)))
    nobody = Dav(world.application, "nobody", "wrong", address=world.address)
    begin = time.monotonic()
    assert [world.device.delete(f"{world.mirror_path}a.ics").status for _ in range(5)] == [403] * 5
    assert [nobody.get(world.home).status for _ in range(5)] == [401] * 5
    assert time.monotonic() - begin < 1.5


@pytest.mark.rule("R18")
def test_8_the_type_of_a_calendar_cannot_be_changed(world):
    for kind in ("<d:collection/>", "<d:collection/><c:calendar/>", ""):
        answer = world.device.proppatch(
            world.platform_path,
            f"<d:set><d:prop><d:resourcetype>{kind}</d:resourcetype></d:prop></d:set>",
        )
        assert answer.statuses(world.platform_path) == {f"{D}resourcetype": 403}
    props = world.device.propfind(world.platform_path, "d:resourcetype").props(world.platform_path)
    assert [node.tag for node in props[f"{D}resourcetype"]] == [f"{D}collection", f"{C}calendar"]


SOURCES = {
    "href": "<cs:source><d:href>webcal://example.org/a.ics</d:href></cs:source>",
    "text": "<cs:source>webcal://example.org/a.ics</cs:source>",
    "type": "<d:resourcetype><d:collection/><cs:subscribed/></d:resourcetype>",
    "other case": "<s:Source xmlns:s='http://CalendarServer.org/ns/'>x</s:Source>",
    "other namespace": "<s:subscribed xmlns:s='http://calendarserver.org/ns'/>",
    "apple": "<a:source>x</a:source>",
    "address": "<own xmlns='urn:x'> WEBCAL://example.org/a.ics</own>",
    "nested address": "<own xmlns='urn:x'><d:href>webcals://example.org/a</d:href></own>",
    "both": "<d:resourcetype><d:collection/><c:calendar/><cs:subscribed/></d:resourcetype>",
}


@pytest.mark.rule("R8")
@pytest.mark.parametrize("spelling", SOURCES)
def test_9_subscriptions_are_refused_in_every_spelling(world, spelling):
    inner = SOURCES[spelling]
    path = f"{world.home}subscribed/"
    wrapped = f"<d:set><d:prop>{inner}</d:prop></d:set>"
    answers = (
        world.device.mkcalendar(path, inner),
        world.device.mkcol(path, inner),
        world.device.proppatch(world.platform_path, wrapped),
        world.device.request("MKCOL", path, wrap("c:mkcalendar", wrapped)),
    )
    for answer in answers:
        assert (answer.status, answer.conditions) == (403, [f"{G}calendar-subscribed"])
        assert "Subscribed calendars are not accepted" in answer.text
    assert world.device.propfind(path, "d:displayname").status == 404


def test_10_a_refused_delete_is_no_server_error(world):
    assert world.device.delete(world.platform_path).status == 403
    assert world.device.delete(world.mirror_path).status == 403
    assert world.device.delete(world.home).status == 403
    assert world.device.delete(f"{world.platform_path}none.ics").status == 404
    assert world.device.delete(f"{world.home}none/").status == 404


@pytest.mark.rule("R8")
def test_9_the_address_of_a_subscription_is_refused_in_every_spelling(world):
    for address in SCHEMES:
        inner = f"<own xmlns='urn:x'>{escape(address)}</own>"
        for answer in (
            world.device.mkcalendar(f"{world.home}subscribed/", inner),
            world.device.proppatch(world.platform_path, f"<d:set><d:prop>{inner}</d:prop></d:set>"),
        ):
            assert (answer.status, answer.conditions) == (403, [f"{G}calendar-subscribed"]), address


@pytest.mark.parametrize(
    "name", ["für.ics", "Ünder.ics", "日本.ics", "🎉.ics", "a b.ics", "a,b'c.ics"]
)
def test_11_any_name_works_as_utf_8(world, name):
    from urllib.parse import quote

    path = quote(f"{world.platform_path}{name}")
    body = event(name, at(9), at(10))
    assert world.device.put(path, body).status == 201
    assert world.device.get(path).body == body
    listed = world.device.propfind(world.platform_path, "d:getetag", depth="1").hrefs
    assert listed == [world.platform_path, path]
    assert world.device.multiget(world.platform_path, path).props(path)[f"{D}getetag"] is not None
    assert world.device.delete(path).status == 204


def test_11_chunked_bodies_arrive(local_world):
    """A chunked request has no length; the server hands a stream that ends."""
    world = local_world
    body = event("chunked", at(9), at(10))
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    path = f"{world.platform_path}chunked.ics"
    assert world.device.put(path, body, **headers).status == 201
    assert world.device.get(path).body == body


def test_12_more_events_than_radicales_limit_come_in_one_answer(world):
    """Radicale counts the VEVENTs of an answer and refuses above 10,000; ours has no limit."""
    lines = event("many", at(9), at(10)).decode().split("\r\n")
    override = [*lines[3:5], f"RECURRENCE-ID:{at(9)}", *lines[5:-2]]
    body = "\r\n".join([*lines[:-2], *override * 1200, *lines[-2:]]).encode()
    nothing = Expansion((), (), default_window(now()), recurring=True)
    for n in range(9):
        world.mirror_put(f"m{n}.ics", body, nothing)
    answer = world.device.query(world.mirror_path, "")
    assert (answer.status, len(answer.hrefs)) == (207, 9)
    assert answer.text.count("BEGIN:VEVENT") == 9 * 1201


def test_threads_do_not_see_each_other(world):
    """Two logins at once: each thread keeps its own unit and its own login."""
    other = world.new_login("device", show_mirrors=False)
    seen: dict[str, set[int]] = {"all": set(), "own": set()}

    def ask(name: str, client: Dav) -> None:
        for _ in range(15):
            answer = client.propfind(world.home, "d:displayname", depth="1")
            seen[name].add(len(answer.hrefs))

    threads = [
        threading.Thread(target=ask, args=args)
        for args in (("all", world.device), ("own", other), ("all", world.device))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"all": {3}, "own": {2}}
