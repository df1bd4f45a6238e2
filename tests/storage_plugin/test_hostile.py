"""Requests no sane client sends: each is refused in words, none is a server error."""

import random

import pytest

from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import C, D, event, wrap

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def long_word(length: int) -> str:
    """Letters that no compression makes short enough for a database index."""
    return "".join(random.Random(length).choice(LETTERS) for _ in range(length))


# --- addresses ---


BAD_NAMES = ("a%00b", "a%01b", "a%7fb", "a%ff", "a%ef%bf%be", long_word(1001))


def test_names_that_cannot_be_kept_are_400(world):
    for name in BAD_NAMES:
        path = f"{world.platform_path}{name}.ics"
        answers = [
            world.device.put(path, event("n", at(9), at(10))),
            world.device.get(path),
            world.device.mkcalendar(f"{world.home}{name}/"),
            world.device.propfind(f"{world.home}{name}/", "d:getetag"),
        ]
        assert (name[:9], [answer.status for answer in answers]) == (name[:9], [400] * 4)
    assert world.device.sync(world.platform_path).hrefs == []


def test_long_names_and_uids_work_as_far_as_they_can(world):
    """Nothing that fits in a request may fail in the database (PostgreSQL's index entries)."""
    name, uid = f"{long_word(900)}.ics", long_word(6000)
    path, body = f"{world.platform_path}{name}", event(uid, at(9), at(10))
    assert world.platform.put(path, body).status == 201
    assert world.device.get(path).body == body
    assert world.platform.put(path, event(uid, at(10), at(11))).status == 204
    same = world.device.put(f"{world.platform_path}b.ics", event(uid, at(9), at(10)))
    assert (same.status, same.conditions) == (409, [f"{C}no-uid-conflict"])
    other = world.device.put(path, event(f"{uid}x", at(9), at(10)))
    assert (other.status, other.conditions) == (409, [f"{C}no-uid-conflict"])
    moved = world.device.move(path, f"{world.platform_path}c.ics")
    assert moved.status == 201


@pytest.mark.parametrize(
    ("destination", "status"),
    [
        ("http://[::1", 400),
        ("http://localhost/%ff", 400),
        ("", 400),
        ("{platform}a%00.ics", 400),
        ("{platform}" + long_word(1001), 400),
        ("//", 403),
        ("{home}", 403),
        ("{platform}", 403),
        ("{platform}../../p_other/a.ics", 403),
        ("http://elsewhere.example:99999999{platform}b.ics", 201),
    ],
)
def test_odd_destinations(world, destination, status):
    path = f"{world.platform_path}a.ics"
    world.device.put(path, event("a", at(9), at(10)))
    to = destination.format(platform=world.platform_path, home=world.home)
    answer = world.device.request("MOVE", path, Destination=to)
    assert answer.status == status
    assert world.device.get(path).status == (404 if status == 201 else 200)


def test_odd_hrefs_in_a_multiget(world):
    here = world.platform_path
    world.device.put(f"{here}a.ics", event("a", at(9), at(10)))
    for bad in ("http://[::1", "%ff"):
        assert world.device.multiget(here, f"{here}a.ics", bad).status == 400
    answer = world.device.multiget(here, f"{here}a%00.ics", "", "x", "/../..", here, f"{here}a.ics")
    assert answer.hrefs == [f"{here}a%00.ics", "/", "/x", here, f"{here}a.ics"]
    assert answer.text.count("200 OK") == 1


def test_addresses_outside_the_home(world):
    for path in ("/favicon.ico", "/robots.txt", "/p_other/", "/.mobileconfig/"):
        answer = world.device.get(path)
        assert (answer.status, "There is nothing at this address" in answer.text) == (404, True)
    asked = world.anonymous.get("/favicon.ico")
    assert (asked.status, asked.text) == (
        401,
        "Log in with a device or platform login and its password.\n",
    )
    assert asked.headers["WWW-Authenticate"] == 'Basic realm="iCloud CalDAV gateway"'
    assert world.device.get(world.home).text.startswith("This is a CalDAV server.")
    deep = f"{world.platform_path}a/b.ics"
    assert world.device.put(deep, event("a", at(9), at(10))).status == 403


def test_there_are_no_address_books(world):
    anonymous = world.anonymous
    for path in ("/.well-known/carddav", "/.well-known/carddav/", "/.well-known/other"):
        assert anonymous.request("PROPFIND", path).status == 404
    assert anonymous.request("PROPFIND", "/.well-known/caldav").status == 301
    props = world.device.propfind(world.home, body=wrap("d:propfind", "<d:propname/>"))
    assert "addressbook" not in props.text


# --- headers ---


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_scheme_is_read_in_any_case(world, scheme):
    client = world.anonymous
    pair = world.device.credentials
    answer = client.request("GET", world.platform_path, Authorization=f"{scheme} {pair}")
    assert answer.status == 200


ODD_HEADERS = (
    {"If-Match": '"'},
    {"If-Match": "," * 500},
    {"If-None-Match": '\xff"'},
    {"Content-Type": ";;;"},
    {"Accept-Encoding": "gzip;q=x"},
    {"Host": "[bad"},
    {"Overwrite": "maybe"},
    {"Depth": "1,noroot"},
    {"User-Agent": "\xff\x00" * 200},
    {"Range": "bytes=0-3"},
    {"If": "(<x>)"},
    {"Prefer": "return="},
)


def test_odd_headers_are_no_server_error(world):
    path = f"{world.platform_path}a.ics"
    body = event("a", at(9), at(10))
    report = wrap("c:calendar-multiget", f"<d:prop><d:getetag/></d:prop><d:href>{path}</d:href>")
    requests = (("GET", b""), ("PROPFIND", b""), ("REPORT", report), ("PUT", body), ("MOVE", b""))
    for headers in ODD_HEADERS:
        world.device.put(path, body)
        for method, sent in (*requests, ("DELETE", b"")):
            answer = world.device.request(method, path, sent, **headers)
            assert (headers, method, answer.status < 500) == (headers, method, True)


def test_methods_that_are_not_here_are_405(world):
    for method in ("PATCH", "LOCK", "UNLOCK", "TRACE", "ACL", "SEARCH"):
        assert (method, world.device.request(method, world.platform_path).status) == (method, 405)


# --- bodies ---


@pytest.mark.parametrize("method", ["PROPFIND", "PROPPATCH", "MKCALENDAR", "MKCOL", "REPORT"])
def test_another_document_than_the_method_wants_is_refused(world, method):
    path = f"{world.home}new/" if method.startswith("MK") else world.platform_path
    for body in ("<x/>", wrap("d:unknown", "<d:prop><d:displayname/></d:prop>")):
        answer = world.device.request(method, path, body)
        assert answer.status == (403 if method == "REPORT" else 400)
    assert world.device.propfind(f"{world.home}new/", "d:displayname").status == 404


@pytest.mark.parametrize("number", ["²", "٣", "0", "-1", "1e3", " ", ""])
def test_odd_limits_are_400(world, number):
    inner = f"<d:sync-token/><d:limit><d:nresults>{number}</d:nresults></d:limit>"
    answer = world.device.report(world.platform_path, wrap("d:sync-collection", inner))
    assert answer.status == 400


def test_a_limit_of_five_thousand_digits_limits_nothing(world):
    inner = f"<d:sync-token/><d:limit><d:nresults>{'9' * 5000}</d:nresults></d:limit>"
    answer = world.device.report(world.platform_path, wrap("d:sync-collection", inner))
    assert (answer.status, answer.hrefs) == (207, [])


def test_a_property_without_a_namespace_is_a_property(world):
    path = f"{world.home}odd/"
    assert world.device.mkcalendar(path, '<mine xmlns="">1 &lt; 2</mine>').status == 201
    for body in (wrap("d:propfind", "<d:allprop/>"), wrap("d:propfind", "<d:propname/>")):
        assert "mine" in world.device.propfind(path, body=body).props(path)
    asked = wrap("d:propfind", '<d:prop><mine xmlns=""/></d:prop>')
    assert world.device.propfind(path, body=asked).props(path)["mine"].text == "1 < 2"


def test_many_properties_cost_no_more_than_they_say(world):
    names = "".join(f'<x{n} xmlns="urn:x"/>' for n in range(5000))
    body = wrap("d:propfind", f"<d:prop>{names}</d:prop>")
    answer = world.device.propfind(world.platform_path, body=body)
    assert len(answer.statuses(world.platform_path)) == 5000


def test_proppatch_needs_a_property(world):
    assert world.device.proppatch(world.platform_path, "<d:set/>").status == 400
    big = f"<d:set><d:prop><x>{'y' * 70_000}</x></d:prop></d:set>"
    assert world.device.proppatch(world.platform_path, big).status == 507
    assert world.device.propfind(world.platform_path, "x").status == 207


def test_a_prefix_never_declared_is_400(world):
    answer = world.device.request("PROPFIND", world.platform_path, f"<{D[1:-1]}propfind/>")
    assert answer.status == 400
