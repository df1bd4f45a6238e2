"""Rows 1 to 18 and 32 to 34: what is read, over raw HTTP. The number of a row is in the name."""

import re

import pytest

from gateway.lookalike.fixtures import fixture_bodies, put_fixtures

from .conftest import (
    CS,
    EMAIL,
    A,
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


# -- sync-collection ---------------------------------------------------------------------------


async def test_row_13_self_entry_with_and_without_slash(phone):
    href = f"{phone.home}work/"
    assert list((await phone.sync("work")).rows()) == [href]
    phone.account.put("work", event("a"))
    assert next(iter((await phone.sync("work")).rows())) == href.rstrip("/")
    switch(phone, "self-entry", form="slash")
    assert next(iter((await phone.sync("work")).rows())) == href
    phone.server.world.faults.clear()
    switch(phone, "self-entry", off=True)
    assert list((await phone.sync("work")).rows()) == [f"{href}a.ics"]


async def test_row_13_duplicates_and_removals(phone):
    for uid in "abc":
        phone.account.put("work", event(uid))
    hrefs = [one.text for one in (await phone.sync("work")).xml.iter(f"{D}href")]
    assert [one[-5:] for one in hrefs[1:]] == ["a.ics", "b.ics", "c.ics", "a.ics"]
    switch(phone, "duplicate-hrefs", off=True)
    first = await phone.sync("work")
    assert len(list(first.xml.iter(f"{D}href"))) == 4
    token = first.xml.findtext(f"{D}sync-token")
    phone.account.put("work", event("d"))
    phone.account.delete("work", "d.ics")
    phone.account.delete("work", "a.ics")
    rows = (await phone.sync("work", token)).rows()
    assert [rows[f"{phone.home}work/{one}.ics"] for one in "da"] == ["HTTP/1.1 404 Not Found"] * 2


async def test_row_13_token_with_the_text_of_the_ctag(phone):
    switch(phone, "token-is-ctag")
    phone.account.put("work", event("a"))
    token = (await phone.sync("work")).xml.findtext(f"{D}sync-token")
    assert token == phone.account.calendars["work"].contents.ctag
    phone.account.put("work", event("b"))
    rows = (await phone.sync("work", token)).rows()
    assert f"{phone.home}work/b.ics" in rows
    assert f"{phone.home}work/a.ics" not in rows
    assert (await phone.sync("work", token.replace("RU=", "RU=0"))).status == 403


async def test_row_13_truncated_listing_goes_on_where_it_stopped(phone):
    for uid in "abcde":
        phone.account.put("work", event(uid))
    switch(phone, "sync-truncated", limit=2)
    seen, token = [], ""
    for _ in range(3):
        reply = await phone.sync("work", token)
        token = reply.xml.findtext(f"{D}sync-token")
        seen.append([href[-5:] for href in reply.rows() if href.endswith(".ics")])
    assert seen == [["a.ics", "b.ics"], ["c.ics", "d.ics"], ["e.ics"]]
    assert token == phone.account.calendars["work"].contents.sync_token


@pytest.mark.parametrize(
    ("form", "status", "body"),
    [
        (None, 403, b""),
        ("element", 403, b"<valid-sync-token"),
        ("412", 412, b""),
        ("410", 410, b""),
    ],
)
async def test_row_14_dropped_token(phone, form, status, body):
    token = (await phone.sync("work")).xml.findtext(f"{D}sync-token")
    phone.account.calendars["work"].contents.drop_tokens()
    if form:
        switch(phone, "token-refusal", form=form)
    reply = await phone.sync("work", token)
    assert reply.status == status
    assert body in reply.body
    assert bool(reply.body) is bool(body)
    assert (await phone.sync("work")).status == 207


async def test_row_14_a_token_ages_with_the_changes_it_does_not_know(phone, clock):
    switch(phone, "token-lifetime", age=3600)
    token = (await phone.sync("work")).xml.findtext(f"{D}sync-token")
    clock.time += 7200
    assert (await phone.sync("work", token)).status == 207
    phone.account.put("work", event("a"))
    clock.time += 3599
    assert (await phone.sync("work", token)).status == 207
    clock.time += 2
    assert (await phone.sync("work", token)).status == 403


# -- multiget and query ------------------------------------------------------------------------


async def test_row_16_fewer_than_asked_and_too_many(phone):
    names = [phone.account.put("work", event(uid)) for uid in "abcd"]
    switch(phone, "multiget-fewer", times=1)
    assert [href[-5:] for href in (await phone.multiget("work", *names)).rows()] == names[:2]
    assert len((await phone.multiget("work", *names)).rows()) == 4
    many = [f"{number}.ics" for number in range(201)]
    assert (await phone.multiget("work", *many)).status == 403
    rows = (await phone.multiget("work", *many[:199], "a.ics")).rows()
    assert len(rows) == 200
    assert list(rows.values()).count("HTTP/1.1 404 Not Found") == 199


async def test_row_16_hrefs_are_matched_decoded_and_may_be_absolute(phone, server):
    phone.account.put("work", event("a"), "a@b c.ics")
    for href in (
        f"{phone.home}work/a@b%20c.ics",
        f"{phone.home}work/a%40b%20c.ics",
        f"{server.partition_url.rstrip('/')}{phone.home}work/a%40b%20c.ics",
    ):
        rows = (await phone.report("work", multiget_body(href))).rows()
        assert list(rows) == [f"{phone.home}work/a@b%20c.ics"]
        assert f"{C}calendar-data" in rows[f"{phone.home}work/a@b%20c.ics"]


async def test_row_17_queries_that_do_not_work(phone):
    phone.account.put("work", event("a"))
    assert (await phone.report("work", query_body(inner=""))).status == 500
    match = '<C:prop-filter name="UID"><C:text-match>a</C:text-match></C:prop-filter>'
    assert (await phone.report("work", query_body(extra=match))).status == 412
    both = query_body().replace(
        b"</C:comp-filter></C:comp", b'</C:comp-filter><C:comp-filter name="VTODO"/></C:comp'
    )
    reply = await phone.report("work", both)
    assert (reply.status, reply.rows()) == (207, {})
    window = b'<C:time-range start="20261001T000000Z" end="20261002T000000Z"/>'
    busy = b'<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav">%s</C:free-busy-query>'
    assert (await phone.report("work", busy % window)).status == 400
    assert list((await phone.report("work", query_body())).rows()) == [f"{phone.home}work/a.ics"]


async def test_row_17_partial_data_is_empty(phone):
    phone.account.put("work", event("a"))
    data = '<C:calendar-data><C:comp name="VCALENDAR"><C:allcomp/></C:comp></C:calendar-data>'
    row = (await phone.report("work", query_body(data=data))).rows()[f"{phone.home}work/a.ics"]
    assert row[f"{C}calendar-data"].text.split() == [
        "BEGIN:VCALENDAR",
        "BEGIN:VEVENT",
        "END:VEVENT",
        "END:VCALENDAR",
    ]


async def test_row_17_old_ranges(phone):
    switch(phone, "old-range-403", days=365)
    # the clock stands in September 2026
    for start, status in (("20250101T000000Z", 403), ("20251001T000000Z", 207)):
        reply = await phone.report("work", query_body(start, "20261101T000000Z"))
        assert (reply.status, reply.body if status == 403 else b"") == (status, b"")


async def test_row_18_expand_is_ignored_or_finds_nothing(phone):
    rule = "RRULE:FREQ=DAILY;COUNT=9"
    phone.account.put("work", event("a", "20261001T090000", "20261001T100000", rule))
    expand = '<C:expand start="20261003T000000Z" end="20261004T000000Z"/>'
    body = query_body(
        "20261003T000000Z", "20261004T000000Z", data=f"<C:calendar-data>{expand}</C:calendar-data>"
    )
    row = (await phone.report("work", body)).rows()[f"{phone.home}work/a.ics"]
    assert rule in row[f"{C}calendar-data"].text
    switch(phone, "expand-empty")
    assert (await phone.report("work", body)).rows() == {}


# -- looks -------------------------------------------------------------------------------------


async def test_row_32_colours_ctags_and_percent_encoding(phone):
    href = f"{phone.home}work/"
    phone.account.put("work", event("a"), "a@example.com.ics")
    row = (await phone.propfind(href, f"{A}calendar-color", f"{CS}getctag")).rows()[href]
    assert re.fullmatch("#[0-9A-F]{8}", row[f"{A}calendar-color"].text)
    assert row[f"{CS}getctag"].text.startswith("FT=-@RU=")
    assert f"{href}a@example.com.ics" in (await phone.sync("work")).rows()
    for name in ("eight-digit-colours", "null-ctag", "escaped-at"):
        switch(phone, name, off=name.startswith("eight"))
    row = (await phone.propfind(href, f"{A}calendar-color", f"{CS}getctag")).rows()[href]
    assert re.fullmatch("#[0-9A-F]{6}", row[f"{A}calendar-color"].text)
    assert row[f"{CS}getctag"].text is None
    assert f"{href}a%40example.com.ics" in (await phone.sync("work")).rows()


async def test_row_33_organizer_path_is_served_unchanged(phone):
    (name,) = put_fixtures(phone.account, "work", ["organizer-path"])["organizer-path"]
    body = (await phone.ask("GET", f"{phone.home}work/{name}")).body
    assert body == fixture_bodies(phone.account, "organizer-path")[0]
    path = phone.account.principal_path.encode()
    assert re.search(rb"ORGANIZER;[^\r]*:" + path, body.replace(b"\r\n ", b""))


async def test_row_34_properties_must_be_named(phone):
    for body in (
        b"",
        b'<D:propfind xmlns:D="DAV:"><D:allprop/></D:propfind>',
        b'<D:propfind xmlns:D="DAV:"><D:propname/></D:propfind>',
    ):
        assert (await phone.ask("PROPFIND", phone.home, body, Depth="1")).status == 400
    switch(phone, "allprop-refused", off=True)
    assert (await phone.ask("PROPFIND", phone.home, b"", Depth="1")).status == 207
