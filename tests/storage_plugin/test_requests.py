"""Logins, conditions and hostile or clumsy requests."""

import base64
import time
import traceback

import pytest
from structlog.testing import capture_logs

from gateway.core.errors import StoreBusy, StoreFull
from gateway.store import tables
from gateway.store.access.principals import delete_login, list_logins
from storage_plugin.server import build_application
from tests.storage_plugin.conftest import at
from tests.storage_plugin.dav import TEXT, C, D, Dav, event, wrap

# --- logins ---


def login_of(world, client: Dav):
    """The row of a client's login; two logins made in one second have no order."""
    with world.database.read() as session:
        found = list_logins(session, world.principal_id)
    return next(login for login in found if login.login == client.login)


def test_a_revoked_login_is_out_at_once(world):
    assert world.device.propfind(world.home, "d:displayname").status == 207
    revoked = login_of(world, world.device).id
    with world.database.write() as session:
        delete_login(session, world.principal_id, revoked)
    answer = world.device.propfind(world.home, "d:displayname")
    assert (answer.status, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert world.platform.propfind(world.home, "d:displayname").status == 207


def test_last_seen_and_user_agent_are_noted(world):
    world.device.headers["User-Agent"] = "iOS/18.4 dataaccessd/1.0"
    world.device.get(world.platform_path)
    seen = login_of(world, world.device)
    assert seen.user_agent == "iOS/18.4 dataaccessd/1.0"
    assert abs(seen.last_seen_at - time.time()) < 5


def test_escaped_names_log_in(world):
    world.change(tables.logins, kind="device")
    name = f"{world.principal_id}@example.org"
    with world.database.write() as session:
        session.execute(
            tables.logins.update()
            .where(tables.logins.c.login == world.device.login)
            .values(login=name)
        )
    for sent in (name, name.replace("@", "%40")):
        client = Dav(world.application, sent, world.device.secret, address=world.address)
        assert client.propfind(world.home, "d:displayname").status == 207


def test_guessing_is_throttled_by_address_never_by_name_alone(local_world):
    world = local_world
    guesser = Dav(world.application, world.device.login, "wrong", address="198.51.100.7")
    answers = [guesser.get(world.home).status for _ in range(12)]
    assert answers == [401] * 10 + [429] * 2
    right = Dav(world.application, world.device.login, world.device.secret, address="198.51.100.7")
    limited = right.get(world.platform_path)
    assert limited.status == 429
    assert 290 <= int(limited.headers["Retry-After"]) <= 300
    assert "try again in 5 min" in limited.text
    assert world.device.get(world.platform_path).status == 200
    other_name = Dav(world.application, "somebody", "wrong", address="198.51.100.7")
    assert other_name.get(world.home).status == 401


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !!!", "Basic Zm9v", "Basic \u00fc", "Basic Zm9vOmI=x", "Basic AAA6AA=="],
)
def test_malformed_authorization_is_400(world, header):
    answer = world.anonymous.request("GET", world.home, Authorization=header)
    assert answer.status in (400, 401)
    assert answer.status == 400 or header == "Basic Zm9vOmI=x"


def test_other_schemes_are_asked_for_basic(world):
    answer = world.anonymous.request("PROPFIND", world.home, Authorization="Bearer abc")
    assert answer.status == 401


def test_anonymous_requests_are_asked_to_log_in(world):
    anonymous = world.anonymous
    for method in ("GET", "PROPFIND", "REPORT", "PUT", "DELETE", "MKCALENDAR", "PROPPATCH"):
        answer = anonymous.request(method, f"{world.platform_path}a.ics")
        assert (method, answer.status) == (method, 401)
    assert anonymous.options("/").status == 200


# --- conditions ---


def test_conditional_writes(world):
    path, body = f"{world.platform_path}a.ics", event("a", at(9), at(10))
    assert world.device.put(path, body, **{"If-Match": '"x"'}).status == 412
    assert world.device.put(path, body, **{"If-Match": "*"}).status == 412
    etag = world.device.put(path, body, **{"If-None-Match": "*"}).etag
    other = event("a", at(9), at(11))
    for name, value in (
        ("If-None-Match", "*"),
        ("If-None-Match", f'"y", {etag}'),
        ("If-None-Match", f"W/{etag}"),
        ("If-Match", '"x"'),
        ("If-Match", f"W/{etag}"),
    ):
        assert (value, world.device.put(path, other, **{name: value}).status) == (value, 412)
        assert (value, world.device.delete(path, **{name: value}).status) == (value, 412)
    assert world.device.get(path).body == body
    etag = world.device.put(path, other, **{"If-Match": f'"x", W/"y", {etag}'}).etag
    etag = world.device.put(path, body, **{"If-Match": etag.strip('"')}).etag
    assert world.device.put(path, body, **{"If-Match": "*"}).status == 204
    assert world.device.delete(path, **{"If-Match": etag}).status == 204


def test_the_if_header_is_a_condition_too(world):
    """RFC 4918 10.4: lists of entity tags and lock tokens, of which there are none here."""
    path, body = f"{world.platform_path}a.ics", event("a", at(9), at(10))
    other, somewhere = event("a", at(9), at(11)), f"http://localhost{world.platform_path}b.ics"
    assert world.device.put(path, body, If='(["x"])').status == 412
    etag = world.device.put(path, body, If='(Not ["x"])').etag
    for value in (
        '(["x"])',
        f"([W/{etag}])",
        f"(Not [{etag}])",
        f"([{etag}] <opaquelocktoken:1>)",
        "(<opaquelocktoken:1>)",
        "(<DAV:no-lock>)",
        f"<{somewhere}> ([{etag}])",
    ):
        assert (value, world.device.put(path, other, If=value).status) == (value, 412)
        assert (value, world.device.delete(path, If=value).status) == (value, 412)
    assert world.device.get(path).body == body
    for value in ("x", "()", "[x]", "((", f'(["x"] {etag})', f"([{etag}]"):
        assert (value, world.device.put(path, other, If=value).status) == (value, 400)
    moved = world.device.move(path, f"{world.platform_path}c.ics", If='(["x"])')
    assert moved.status == 412
    etag = world.device.put(path, body, If=f'(["x"]) ([{etag}] Not <DAV:no-lock>)').etag
    about = f"<http://localhost{path}>"
    assert (
        world.device.delete(path, If=f'<{somewhere}> (["y"])  {about}  ( [{etag}] )').status == 204
    )


@pytest.mark.parametrize("value", ["(" + '["a"] ' * 9_000, "(" * 60_000, "([" + " " * 60_000])
def test_a_long_if_header_costs_nothing(world, value):
    """A pattern that backtracks would take years for these."""
    path = f"{world.platform_path}a.ics"
    assert world.device.put(path, event("a", at(9), at(10)), If=value).status == 400


def test_conditional_reads(world):
    path = f"{world.platform_path}a.ics"
    etag = world.device.put(path, event("a", at(9), at(10))).etag
    for value in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = world.device.get(path, **{"If-None-Match": value})
        assert (answer.status, answer.body, answer.etag) == (304, b"", etag)
    assert world.device.get(path, **{"If-None-Match": '"x"'}).status == 200
    head = world.device.request("HEAD", path)
    assert (head.status, head.body, head.etag) == (200, b"", etag)


def test_a_calendar_is_deleted_only_as_it_was_seen(world):
    path = f"{world.home}mine/"
    world.device.mkcalendar(path)
    ctag = world.device.propfind(path, "d:getetag").props(path)[f"{D}getetag"].text
    world.device.put(f"{path}a.ics", event("a", at(9), at(10)))
    assert world.device.delete(path, **{"If-Match": ctag}).status == 412
    assert world.device.delete(path).status == 204


# --- bodies ---

GOOD = event("g", at(9), at(10))


@pytest.mark.parametrize(
    ("body", "condition"),
    [
        (b"", f"{C}valid-calendar-data"),
        (b"hello", f"{C}valid-calendar-data"),
        (b"\xff\xfe\x00", f"{C}valid-calendar-data"),
        (GOOD.replace(b"Meeting", b"M\xfcnchen"), f"{C}valid-calendar-data"),
        (GOOD.replace(b"END:VEVENT\r\n", b""), f"{C}valid-calendar-data"),
        (GOOD.replace(b"UID:g\r\n", b""), f"{C}valid-calendar-data"),
        (GOOD.replace(b"DTSTART:2", b"DTSTART:x"), f"{C}valid-calendar-data"),
        (GOOD.replace(b"VEVENT", b"VTODO"), f"{C}supported-calendar-component"),
        (GOOD + b" " * 1_100_000, f"{C}max-resource-size"),
    ],
)
def test_bad_bodies_have_a_precondition_and_a_sentence(world, body, condition):
    answer = world.device.put(f"{world.platform_path}a.ics", body)
    assert (answer.status, answer.conditions) == (403, [condition])
    assert len(answer.xml.findtext(TEXT)) > 10
    assert world.object("a.ics") is None


def test_other_media_types_are_named(world):
    path = f"{world.platform_path}a.ics"
    answer = world.device.put(path, b"{}", **{"Content-Type": "application/json"})
    assert answer.conditions == [f"{C}supported-calendar-data"]
    assert world.device.put(path, GOOD, **{"Content-Type": "text/calendar; charset=utf-8"}).status


def test_uids_are_unique_and_stay(world):
    path = f"{world.platform_path}a.ics"
    world.device.put(path, event("a", at(9), at(10)))
    for name, uid in (("b.ics", "a"), ("a.ics", "other")):
        answer = world.device.put(f"{world.platform_path}{name}", event(uid, at(9), at(10)))
        assert (answer.status, answer.conditions) == (409, [f"{C}no-uid-conflict"])
        assert answer.xml.findtext(f"{C}no-uid-conflict/{D}href") == path


def test_a_rule_bomb_is_bounded(world):
    begin = time.process_time()
    for n, rule in enumerate(("FREQ=SECONDLY", "FREQ=MINUTELY;BYSECOND=0,1,2,3,4,5,6,7,8,9")):
        body = event(f"bomb{n}", "19700101T000000Z", "", f"RRULE:{rule}")
        answer = world.device.put(f"{world.platform_path}bomb{n}.ics", body)
        assert answer.status in (201, 403)
    assert time.process_time() - begin < 10


XML = '<?xml version="1.0"?>'
DEEP = "<d:a>" * 5000 + "</d:a>" * 5000


@pytest.mark.parametrize(
    "body",
    [
        f"{XML}<!DOCTYPE x [<!ENTITY a 'b'>]><d:propfind xmlns:d='DAV:'>&a;</d:propfind>",
        f"{XML}<!DOCTYPE x SYSTEM 'file:///etc/passwd'><d:propfind xmlns:d='DAV:'/>",
        f"{XML}<!DOCTYPE x><d:propfind xmlns:d='DAV:'/>".encode("utf-16"),
        "<d:propfind xmlns:d='DAV:'>",
        "not xml at all",
        wrap("d:propfind", DEEP),
    ],
)
@pytest.mark.parametrize("method", ["PROPFIND", "REPORT", "PROPPATCH", "MKCALENDAR"])
def test_dangerous_or_broken_xml_is_400(world, method, body):
    assert world.device.request(method, world.platform_path, body).status == 400


def test_requests_without_a_needed_body_are_400(world):
    assert world.device.request("REPORT", world.platform_path).status == 400
    assert world.device.request("PROPPATCH", world.platform_path).status == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": "abc"}, 400),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "99999999999"}, 413),
        ({"Content-Length": "5000"}, 400),
    ],
)
def test_odd_lengths(local_world, headers, status):
    world = local_world
    assert world.device.put(f"{world.platform_path}a.ics", GOOD, **headers).status == status


def test_a_chunked_body_over_the_cap_is_413(local_world):
    world = local_world
    headers = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    answer = world.device.put(f"{world.platform_path}a.ics", b" " * 9_000_000, **headers)
    assert answer.status == 413


def test_depth_infinity_is_refused(world):
    answer = world.device.propfind("/", "d:displayname", depth="infinity")
    assert (answer.status, answer.conditions) == (403, [f"{D}propfind-finite-depth"])


def test_allprop_propname_and_no_body(world):
    plain = world.device.request("PROPFIND", world.platform_path)
    named = world.device.propfind(world.platform_path, body=wrap("d:propfind", "<d:allprop/>"))
    assert plain.body == named.body
    assert f"{D}resourcetype" in named.props(world.platform_path)
    assert f"{C}max-resource-size" not in named.props(world.platform_path)
    more = wrap("d:propfind", "<d:allprop/><d:include><c:max-resource-size/></d:include>")
    found = world.device.propfind(world.platform_path, body=more).props(world.platform_path)
    assert found[f"{C}max-resource-size"].text == "1048576"
    names = world.device.propfind(world.platform_path, body=wrap("d:propfind", "<d:propname/>"))
    assert f"{C}calendar-home-set" not in names.props(world.platform_path)
    assert all(not node.text for node in names.props(world.platform_path).values())


def test_minimal_answers_leave_out_what_is_missing(world):
    xml = wrap("d:propfind", "<d:prop><d:displayname/><d:nonsense/></d:prop>")
    for headers in ({"Prefer": "return=minimal"}, {"Brief": "t"}):
        answer = world.device.request("PROPFIND", world.platform_path, xml, Depth="0", **headers)
        assert answer.statuses(world.platform_path) == {f"{D}displayname": 200}
    full = world.device.request("PROPFIND", world.platform_path, xml, Depth="0")
    assert full.statuses(world.platform_path)[f"{D}nonsense"] == 404


# --- proxies ---


def test_proxy_headers_count_only_from_trusted_addresses(local_world):
    world = local_world
    headers = {"X-Script-Name": "/dav", "X-Forwarded-For": "203.0.113.9"}
    xml = wrap("d:propfind", "<d:prop><d:current-user-principal/></d:prop>")
    answer = world.device.request("PROPFIND", "/", xml, **headers)
    assert answer.hrefs == ["/"]
    settings = world.settings.model_copy(update={"trusted_proxies": (world.address,)})
    trusting = Dav(
        build_application(settings, world.database),
        world.device.login,
        world.device.secret,
        address=world.address,
    )
    answer = trusting.request("PROPFIND", "/dav/", xml, **headers)
    props = answer.props("/dav/")
    assert props[f"{D}current-user-principal"].findtext(f"{D}href") == f"/dav{world.home}"
    body = event("p", at(9), at(10))
    trusting.headers.update(headers)
    path = f"{world.platform_path}p.ics"
    assert trusting.put(f"/dav{path}", body).status == 201
    assert trusting.multiget(f"/dav{world.platform_path}", f"/dav{path}").props(f"/dav{path}")
    assert trusting.sync(f"/dav{world.platform_path}").hrefs == [f"/dav{path}"]
    assert trusting.move(f"/dav{path}", f"/dav{world.platform_path}q.ics").status == 201


# --- the database ---


@pytest.mark.parametrize(
    ("error", "status"),
    [(StoreBusy("The database is busy."), 503), (StoreFull("No space is left."), 507)],
)
def test_a_busy_or_full_database_is_told_and_nothing_changes(
    local_world, monkeypatch, error, status
):
    world = local_world
    path = f"{world.platform_path}a.ics"
    world.device.put(path, GOOD)

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr("gateway.services.objects.write_object", fail)
    answer = world.device.put(path, event("g", at(11), at(12)))
    assert answer.status == status
    assert answer.headers.get("Retry-After") == ("5" if status == 503 else None)
    monkeypatch.undo()
    assert world.device.get(path).body == GOOD
    monkeypatch.setattr("storage_plugin.access.verify_login", fail)
    assert world.device.get(path).status == status


def test_a_secret_never_stands_in_a_log(local_world, caplog, monkeypatch):
    """No login name and no file name either: people type passwords where names belong."""
    world = local_world
    pair = base64.b64encode(f"{world.device.login}:{world.device.secret}".encode()).decode()
    named, typo = f"{world.platform_path}hunter2.ics", Dav(world.application, "s3cret-name", "x")
    with caplog.at_level("DEBUG"), capture_logs() as lines:
        world.device.put(named, event("a", at(9), at(10), summary="Divorce"))
        world.device.put(named, b"BEGIN:VCALENDAR\r\nSUMMARY:Divorce\r\n")
        world.device.put(f"{world.mirror_path}hunter2.ics", event("b", at(9), at(10)))
        world.device.get(f"/{typo.login}/hunter2.ics")
        Dav(world.application, world.device.login, "guess-me").get(world.home)
        typo.get(world.home)
        monkeypatch.setattr("storage_plugin.requests.bodies.read_body", _broken)
        assert world.device.put(named, b"").status == 500
    errors = [traceback.format_exception(line["exc_info"]) for line in lines if "exc_info" in line]
    text = f"{caplog.text}{lines}{errors}"
    assert f"Failed login attempt from {typo.address}" in text  # what fail2ban looks for
    assert "RuntimeError" in text  # what an operator looks for
    names = (world.device.login, "s3cret-name", "hunter2")
    words = (world.device.secret, pair, "Divorce", "guess-me", "anna@example.org", "Settings(")
    for word in (*words, *names):
        assert word not in text


def _broken(_environ) -> bytes:
    raise RuntimeError("a fault nobody foresaw")
