"""Rows 13 to 18 and 32 to 34: reports and looks, over raw HTTP. A row's number is in the name."""

import re

import pytest

from gateway.lookalike.world.fixtures import fixture_bodies, put_fixtures

from .conftest import (
    CS,
    EMAIL,
    A,
    C,
    D,
    event,
    multiget_body,
    query_body,
)


def switch(phone, name, **more):
    return phone.server.world.faults.set(name, EMAIL, **more)


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


async def test_row_13_what_came_and_went_since_the_token_need_not_be_told(phone):
    for uid in "abc":
        phone.account.put("work", event(uid))
    phone.account.delete("work", "c.ics")
    token = (await phone.sync("work")).xml.findtext(f"{D}sync-token")
    for _ in range(2):
        phone.account.put("work", event("d"))
        phone.account.delete("work", "d.ics")
        phone.account.put("work", event("c"))
        phone.account.delete("work", "a.ics")
        phone.account.put("work", event("a"))
    phone.account.delete("work", "b.ics")
    switch(phone, "passed-untold")
    rows = (await phone.sync("work", token)).rows()
    told = {href.rpartition("/")[2]: status for href, status in rows.items() if "ics" in href}
    assert {name: "404" in (status or "") for name, status in told.items()} == {
        "a.ics": False,
        "b.ics": True,
        "c.ics": False,
    }


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
