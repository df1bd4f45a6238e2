"""Rows 1 to 11: discovery, credentials, collections, by raw HTTP. Row numbers are in the names."""

import re

import pytest

from .conftest import (
    CS,
    EMAIL,
    C,
    D,
    event,
    multiget_body,
    propfind_body,
    query_body,
    sync_body,
)

PRINCIPAL = f"{D}current-user-principal"
TYPES = f"{D}resourcetype"


def switch(phone, name, **more):
    return phone.server.world.faults.set(name, EMAIL, **more)


async def types_of(phone, calendar):
    href = f"{phone.home}{calendar.id}/"
    row = (await phone.propfind(href, TYPES, f"{CS}source")).rows()[href]
    return [one.tag for one in row[TYPES]], row.get(f"{CS}source")


# -- discovery ---------------------------------------------------------------------------------


async def test_row_01_href_is_the_principal_or_root_or_as_asked(phone):
    asked = "/.well-known/caldav"
    for name, more, href in (
        (None, {}, phone.account.principal_path),
        ("discovery-form", {"form": "root-href"}, "/"),
        ("discovery-in-place", {"off": True}, asked),
    ):
        phone.server.world.faults.clear()
        if name:
            switch(phone, name, **more)
        reply = await phone.propfind(asked, PRINCIPAL)
        assert (reply.status, list(reply.rows())) == (207, [href])


@pytest.mark.parametrize("form", ["301", "302", "307", "308"])
async def test_row_01_redirect_to_the_partition(phone, server, form):
    switch(phone, "discovery-form", form=form)
    reply = await phone.propfind("/.well-known/caldav", PRINCIPAL)
    assert reply.status == int(form)
    assert reply.headers["Location"] == f"{server.partition_url}.well-known/caldav"
    there = await phone.propfind("/.well-known/caldav", PRINCIPAL, base=server.partition_url)
    assert there.status == 207


async def test_row_02_home_set_is_absolute_and_later_hrefs_are_bare(phone, server):
    name, path = f"{C}calendar-home-set", phone.account.principal_path
    found = (await phone.propfind(path, name)).rows()[path][name].findtext(f"{D}href")
    assert re.fullmatch(r"http://localhost:\d+/\d+/calendars/", found)
    assert found == f"{server.partition_url}{phone.home[1:]}"
    for base in (server.url, server.partition_url):
        listing = await phone.propfind(phone.home, TYPES, depth="1", base=base)
        assert all(href.startswith(phone.home) for href in listing.rows())
    switch(phone, "absolute-home-set", off=True)
    found = (await phone.propfind(path, name)).rows()[path][name].findtext(f"{D}href")
    assert found == phone.home


async def test_row_02_principal_with_depth_1_is_refused(phone):
    assert (await phone.propfind(phone.account.principal_path, TYPES, depth="1")).status == 400


async def test_row_04_calendars_do_not_tell_the_principal(phone):
    href = f"{phone.home}work/"
    assert (await phone.propfind(href, PRINCIPAL)).missing(href) == [PRINCIPAL]
    switch(phone, "no-principal-on-calendar", off=True)
    found = (await phone.propfind(href, PRINCIPAL)).rows()[href][PRINCIPAL]
    assert found.findtext(f"{D}href") == phone.account.principal_path


async def test_row_05_default_namespaces_quotes_and_empty_elements(phone):
    props = (f"{C}supported-calendar-component-set", f"{CS}getctag", f"{CS}source")
    href = f"{phone.home}work/"
    reply = await phone.propfind(href, *props)
    assert not re.search(rb"<\w+:", reply.body)
    assert b"<comp name='VEVENT'/>" in reply.body
    assert b'<getctag xmlns="http://calendarserver.org/ns/">' in reply.body
    tail = b"<status>HTTP/1.1 404 Not Found</status></propstat>"
    missing = b'<propstat><prop><source xmlns="http://calendarserver.org/ns/"/></prop>'
    assert missing + tail in reply.body
    switch(phone, "empty-propstat-status")
    reply = await phone.propfind(href, *props)
    assert missing + b"<status></status></propstat>" in reply.body


async def test_row_05_calendar_data_is_cdata(phone):
    phone.account.put("work", event("a"))
    assert b"<![CDATA[BEGIN:VCALENDAR" in (await phone.multiget("work", "a.ics")).body
    switch(phone, "cdata", off=True)
    assert b"<![CDATA[" not in (await phone.multiget("work", "a.ics")).body


async def test_row_05_bytes_that_xml_cannot_carry_do_not_break_the_answer(phone):
    raw = event("a", summary="bell \x07 and \ufffe").replace(b"bell", b"b\xffll")
    phone.account.put("work", raw)
    text = (await phone.multiget("work", "a.ics")).rows()[f"{phone.home}work/a.ics"]
    assert "SUMMARY:b\ufffdll  and " in text[f"{C}calendar-data"].text
    assert (await phone.ask("GET", f"{phone.home}work/a.ics")).body == raw


# -- credentials -------------------------------------------------------------------------------


async def test_row_06_what_is_refused_and_how(phone):
    account, password = phone.account, phone.password
    account.aliases.add("alias@example.com")
    for user, secret, known in (
        (EMAIL, "wrong-wron-gwro-ngwr", True),
        (EMAIL, password.replace("-", ""), True),
        (EMAIL, password.upper(), True),
        ("alias@example.com", password, False),
        ("nobody@example.com", password, False),
    ):
        reply = await phone.propfind("/", PRINCIPAL, auth=(user, secret))
        challenges = [value for name, value in reply.raw_headers if name == "www-authenticate"]
        assert (reply.status, reply.body) == (401, b"")
        assert challenges == ['Basic realm="MMCalDav"', 'X-MobileMe-AuthToken realm="MMCalDav"']
        assert ("x-apple-user-partition" in reply.headers) is known
    assert (await phone.propfind("/", PRINCIPAL, auth=None)).status == 401
    assert (await phone.propfind("/", PRINCIPAL, auth=(EMAIL.upper(), password))).status == 207
    bearer = {"User-Agent": "test", "Authorization": f"Bearer {password}"}
    assert (await phone.propfind("/", PRINCIPAL, auth=None, heads=bearer)).status == 401


async def test_row_06_variants_of_the_refusal(phone):
    switch(phone, "joined-challenges")
    reply = await phone.propfind("/", PRINCIPAL, auth=(EMAIL, "wrong"))
    challenges = [value for name, value in reply.raw_headers if name == "www-authenticate"]
    assert challenges == ['X-MobileMe-AuthToken realm="MMCalDav", Basic realm="MMCalDav"']
    phone.server.world.faults.clear()
    switch(phone, "two-challenges", off=True)
    reply = await phone.propfind("/", PRINCIPAL, auth=(EMAIL, "wrong"))
    challenges = [value for name, value in reply.raw_headers if name == "www-authenticate"]
    assert challenges == ['Basic realm="MMCalDav"']
    phone.server.world.faults.set("unknown-user-403")
    assert (await phone.propfind("/", PRINCIPAL, auth=("nobody@example.com", "x"))).status == 403
    assert (await phone.propfind("/", PRINCIPAL, auth=(EMAIL, "x"))).status == 401


# -- requests that are refused -----------------------------------------------------------------


async def test_row_08_no_user_agent(phone):
    assert (await phone.propfind("/", PRINCIPAL, heads={})).status == 403
    switch(phone, "user-agent-required", off=True)
    assert (await phone.propfind("/", PRINCIPAL, heads={})).status == 207


async def test_row_08_depth_on_delete(phone):
    phone.account.put("work", event("a"))
    path = f"{phone.home}work/a.ics"
    for depth in ("0", "1"):
        reply = await phone.ask("DELETE", path, Depth=depth)
        assert reply.status == 400
        assert b"illegal depth header" in reply.body
    assert (await phone.ask("DELETE", path, Depth="infinity")).status == 204


async def test_row_08_blanks_before_xml(phone):
    body = b'\n<?xml version="1.0"?>' + propfind_body(PRINCIPAL)
    assert (await phone.ask("PROPFIND", "/", body, Depth="0")).status == 400
    assert (await phone.ask("PROPFIND", "/", body[1:], Depth="0")).status == 207
    assert (await phone.ask("PROPFIND", "/", b"<broken", Depth="0")).status == 400
    bomb = b'<!DOCTYPE a [<!ENTITY b "c">]>' + propfind_body(PRINCIPAL)
    assert (await phone.ask("PROPFIND", "/", bomb, Depth="0")).status == 400


async def test_row_08_mixed_prefixes(phone):
    body = multiget_body(f"{phone.home}work/a.ics")
    mixed = body.replace(b"<D:prop>", b'<prop xmlns="DAV:">').replace(b"</D:prop>", b"</prop>")
    assert (await phone.report("work", mixed)).status == 400
    assert (await phone.report("work", body)).status == 207
    switch(phone, "mixed-prefixes", off=True)
    assert (await phone.report("work", mixed)).status == 207


async def test_row_09_get_root(phone):
    for auth in (True, None):
        reply = await phone.ask("GET", "/", auth=auth)
        assert (reply.status, reply.body) == (400, b"")


# -- collections -------------------------------------------------------------------------------


async def test_row_10_ids_and_self_listing(phone):
    hrefs = list((await phone.propfind(phone.home, TYPES, depth="1")).rows())
    ids = [href.removeprefix(phone.home).strip("/") for href in hrefs]
    hexes, upper = r"[0-9a-f]{64}", r"[0-9A-F-]{36}"
    shapes = ["", "home", "work", hexes, hexes, upper, upper, "inbox", "outbox", "notification"]
    assert all(re.fullmatch(shape, one) for shape, one in zip(shapes, ids, strict=True))
    switch(phone, "home-contents", off=True)
    assert list((await phone.propfind(phone.home, TYPES, depth="1")).rows()) == hrefs[1:]


async def test_row_10_rights_of_collections_and_none_on_objects(phone):
    name = f"{D}current-user-privilege-set"
    club, family = (phone.account.calendar(one) for one in ("Club fixtures", "Family"))
    rights = {}
    for calendar_id in ("home", club.id, family.id):
        href = f"{phone.home}{calendar_id}/"
        row = (await phone.propfind(href, name)).rows()[href][name]
        rights[calendar_id] = [privilege[0].tag.removeprefix(D) for privilege in row]
    assert rights[club.id] == ["read"]
    assert "all" in rights["home"]
    assert "all" not in rights[family.id]
    assert "write" in rights[family.id]
    phone.account.put("work", event("a"))
    href = f"{phone.home}work/a.ics"
    asked = (name, f"{D}owner", TYPES, f"{C}schedule-tag", f"{D}getetag")
    reply = await phone.propfind(href, *asked)
    assert reply.missing(href) == list(asked[:-1])
    assert list(reply.rows()[href]) == [f"{D}getetag"]


async def test_row_11_subscription_answers_nothing(phone):
    calendar = phone.account.calendar("Public holidays")
    phone.account.put(calendar.id, event("a"))
    types, source = await types_of(phone, calendar)
    assert types == [f"{D}collection", f"{CS}subscribed"]
    assert source.findtext(f"{D}href") == "webcal://holidays.example/calendar.ics"
    for body in (sync_body(), query_body(), multiget_body(f"{phone.home}{calendar.id}/a.ics")):
        reply = await phone.report(calendar.id, body)
        assert (reply.status, reply.rows()) == (207, {})
    assert (await phone.put(calendar.id, "b.ics", event("b"))).status == 403
    switch(phone, "subscription-with-calendar")
    switch(phone, "subscription-without-source")
    assert await types_of(phone, calendar) == (
        [f"{D}collection", f"{C}calendar", f"{CS}subscribed"],
        None,
    )


# -- besides the rows --------------------------------------------------------------------------


async def test_options_announces_calendar_access(phone):
    reply = await phone.ask("OPTIONS", f"{phone.home}work/")
    assert reply.status == 200
    assert {"calendar-access", "calendar-auto-schedule"} <= set(reply.headers["DAV"].split(", "))


async def test_principal_addresses(phone):
    account = phone.account
    account.aliases.add("alias@example.com")
    name, path = f"{C}calendar-user-address-set", account.principal_path
    found = (await phone.propfind(path, name)).rows()[path][name]
    assert [one.text for one in found] == [
        f"mailto:{EMAIL}",
        "mailto:alias@example.com",
        f"urn:uuid:{account.uuid}",
        account.principal_path,
        f"/principals/__uids__/{account.uuid}/",
    ]
    assert [one.get("preferred") for one in found] == ["1", None, None, None, None]


async def test_unknown_places_and_reports(phone):
    nobody = f"/{int(phone.account.dsid) + 1}/calendars/"
    for path, status in ((nobody, 403), (f"{phone.home}none/", 404), ("/x/", 403)):
        assert (await phone.propfind(path, TYPES)).status == status
    assert (await phone.propfind(f"{phone.home}work/none.ics", TYPES)).status == 404
    assert (await phone.propfind(phone.home, TYPES, depth="infinity")).status == 400
    unknown = b'<D:expand-property xmlns:D="DAV:"/>'
    assert (await phone.report("work", unknown)).status == 403
    assert (await phone.ask("REPORT", phone.home, sync_body(), Depth="1")).status == 403
