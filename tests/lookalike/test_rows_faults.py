"""Rows 3, 7, 12, 15 and 28 to 31: faults, over raw HTTP; and how switches are aimed."""

import asyncio
import re
import time
from pathlib import Path

import aiohttp
import icalendar
import pytest

from gateway.lookalike.server import Lookalike
from gateway.lookalike.world.fixtures import FIXTURES, fixture_bodies, fixture_day, put_fixtures
from gateway.lookalike.world.world import World

from .conftest import EMAIL, NOW, C, D, Phone, event, query_body

TYPES = f"{D}resourcetype"


def switch(phone, name, **more):
    return phone.server.world.faults.set(name, EMAIL, **more)


# -- the account -------------------------------------------------------------------------------


@pytest.mark.parametrize(("refuse", "status"), [("401", 401), ("404", 404), ("connect", None)])
async def test_row_03_the_account_moves_to_another_partition(phone, server, refuse, status):
    old = server.partition_url
    phone.account.move_partition(refuse=refuse)
    name, path = f"{C}calendar-home-set", phone.account.principal_path
    found = (await phone.propfind(path, name)).rows()[path][name].findtext(f"{D}href")
    new = server.world.partitions["p02"]
    assert found == f"{new}{phone.home[1:]}"
    assert new != old
    for base in (server.url, new):
        assert (await phone.propfind(phone.home, TYPES, depth="1", base=base)).status == 207
    if status is None:
        with pytest.raises(aiohttp.ClientConnectionError):
            await phone.propfind(phone.home, TYPES, depth="1", base=old)
    else:
        refused = await phone.propfind(phone.home, TYPES, depth="1", base=old)
        assert (refused.status, refused.body) == (status, b"")
        assert refused.headers["x-apple-user-partition"] == "02"
    phone.account.move_partition(refuse="401")
    assert (await phone.propfind(phone.home, TYPES, depth="1", base=old)).status == 207


async def test_row_03_a_foreign_partition_refuses(phone, server):
    reply = await phone.propfind(phone.home, TYPES, base=server.world.partitions["p02"])
    assert reply.status == 401


async def test_row_07_revoked_switched_off_and_issued_again(phone):
    account = phone.account
    other = account.issue_app_password()
    account.revoke(phone.password)
    assert (await phone.sync("work")).status == 401
    phone.password = other
    assert (await phone.sync("work")).status == 207
    account.revoke()
    assert (await phone.sync("work")).status == 401
    phone.password = account.issue_app_password()
    assert re.fullmatch("[a-z]{4}(-[a-z]{4}){3}", phone.password)
    switch(phone, "calendar-switched-off", times=1)
    assert [(await phone.sync("work")).status for _ in range(2)] == [401, 207]
    with pytest.raises(ValueError, match="25"):
        [account.issue_app_password() for _ in range(25)]


@pytest.mark.parametrize("status", [403, 500])
async def test_row_12_one_collection_fails_while_others_work(phone, status):
    switch(phone, "calendar-error", calendar="work", status=status)
    assert (await phone.sync("work")).status == status
    assert (await phone.put("work", "a.ics", event("a"))).status == status
    assert (await phone.sync("home")).status == 207
    listing = await phone.propfind(phone.home, TYPES, depth="1")
    assert f"{phone.home}work/" in listing.rows()


async def test_row_15_listed_but_not_yet_readable(phone, clock):
    switch(phone, "lag", after=5)
    href = f"{phone.home}work/a.ics"
    etag = (await phone.put("work", "a.ics", event("a"))).headers["ETag"]
    assert (await phone.sync("work")).rows()[href][f"{D}getetag"].text == etag
    assert (await phone.multiget("work", "a.ics")).rows() == {href: "HTTP/1.1 404 Not Found"}
    assert (await phone.ask("GET", href)).status == 404
    assert (await phone.report("work", query_body())).rows() == {}
    clock.time += 5
    first = await phone.ask("GET", href)
    assert first.headers["ETag"] == etag
    newer = (await phone.put("work", "a.ics", event("a", summary="Newer"))).headers["ETag"]
    stale = await phone.ask("GET", href)
    assert (stale.headers["ETag"], stale.body) == (etag, first.body)
    assert (await phone.sync("work")).rows()[href][f"{D}getetag"].text == newer
    clock.time += 5
    fresh = await phone.ask("GET", href)
    assert fresh.headers["ETag"] == newer
    assert b"SUMMARY:Newer" in fresh.body


async def test_row_13_a_report_may_lack_the_rows_that_moved_the_token(phone):
    await phone.put("work", "a.ics", event("a"))
    switch(phone, "sync-empty", times=1)
    href = f"{phone.home}work/a.ics"
    assert href not in (await phone.sync("work")).rows()
    assert href in (await phone.sync("work")).rows()


@pytest.mark.parametrize("status", [0, 403, 404, 500])
async def test_row_15_a_ghost_is_listed_and_never_handed_over(phone, status):
    switch(phone, "ghost", member="a.ics", status=status)
    ghost, good = (f"{phone.home}work/{name}" for name in ("a.ics", "b.ics"))
    etags = {ghost: (await phone.put("work", "a.ics", event("a"))).headers["ETag"]}
    await phone.put("work", "b.ics", event("b"))
    assert (await phone.sync("work")).rows()[ghost][f"{D}getetag"].text == etags[ghost]
    rows = (await phone.multiget("work", "a.ics", "b.ics")).rows()
    assert rows.keys() == ({ghost, good} if status else {good})
    assert rows.get(ghost) == (f"HTTP/1.1 {status} Error" if status else None)
    assert (await phone.ask("GET", ghost)).status == (status or 404)
    assert (await phone.ask("GET", good)).status == 200
    switch(phone, "ghost", member="a.ics", status=500, listed="error")
    assert (await phone.sync("work")).rows()[ghost] == "HTTP/1.1 500 Error"
    listing = await phone.propfind(f"{phone.home}work/", TYPES, depth="1")
    assert listing.rows()[ghost] == "HTTP/1.1 500 Error"


# -- throttling --------------------------------------------------------------------------------


async def test_row_28_obeying_retry_after_exactly_trips_again(phone, server, session, clock):
    other = Phone(server, session, server.world.add_account("sam@example.com"))
    switch(phone, "throttle", block=30, retry_after=5)
    for _ in range(3):
        reply = await phone.sync("work")
        assert (reply.status, reply.headers["Retry-After"], reply.body) == (503, "5", b"")
        clock.time += 25
    assert (await other.sync("work")).status == 207
    clock.time += 30
    assert (await phone.sync("work")).status == 207


async def test_row_28_a_burst_sets_it_off(phone, clock):
    switch(phone, "throttle", burst=3, window=60, block=30)
    assert [(await phone.sync("work")).status for _ in range(5)] == [207, 207, 207, 503, 503]
    clock.time += 31
    assert (await phone.sync("work")).status == 503
    clock.time += 61
    assert (await phone.sync("work")).status == 207


@pytest.mark.parametrize(
    ("form", "status", "retry", "body"),
    [
        ("503-bare", 503, None, b""),
        ("429", 429, "5", b""),
        ("html-502", 502, None, b"<html>"),
        ("403", 403, None, b""),
    ],
)
async def test_row_28_other_forms(phone, form, status, retry, body):
    switch(phone, "throttle", form=form)
    reply = await phone.sync("work")
    assert (reply.status, reply.headers.get("Retry-After")) == (status, retry)
    assert reply.body.startswith(body)
    assert bool(reply.body) is bool(body)


# -- connections -------------------------------------------------------------------------------


async def test_row_29_idle_connections_are_closed():
    async with Lookalike(keepalive=0.1) as server:
        port = int(server.url.rsplit(":", 1)[1].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        began = time.monotonic()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert time.monotonic() - began < 3
        writer.close()


@pytest.mark.parametrize(("when", "stored"), [("before", []), ("after", ["a.ics"])])
async def test_row_29_reset_before_and_after_a_write_took_effect(phone, server, when, stored):
    switch(phone, "reset", when=when, method="PUT")
    with pytest.raises(aiohttp.ClientConnectionError):
        await phone.put("work", "a.ics", event("a"))
    assert list(phone.account.calendars["work"].resources) == stored
    # the client library of this test repeats a PUT by itself
    assert {(one.short, one.status) for one in server.world.journal.entries} == {("PUT", 0)}
    server.world.faults.clear()
    assert (await phone.put("work", "b.ics", event("b"))).status == 201


async def test_row_29_slow_answers_take_effect_at_once(phone, clock):
    switch(phone, "slow", by=30, times=1)
    assert (await phone.put("work", "a.ics", event("a"))).status == 201
    assert clock.slept == [30]
    assert (await phone.sync("work")).status == 207
    assert clock.slept == [30]


async def test_row_29_bodies_cut_in_half(phone):
    whole = await phone.propfind(phone.home, TYPES, depth="1")
    switch(phone, "cut-body", times=1)
    half = await phone.propfind(phone.home, TYPES, depth="1")
    assert half.status == 207
    assert half.body == whole.body[: len(whole.body) // 2]
    switch(phone, "cut-body", times=1, how="broken")
    with pytest.raises(aiohttp.ClientPayloadError):
        await phone.propfind(phone.home, TYPES, depth="1")


async def test_row_29_any_status_from_the_edge(phone):
    switch(phone, "status", code=502, times=2, path="/calendars/")
    for _ in range(2):
        reply = await phone.sync("work")
        assert (reply.status, reply.body[:6]) == (502, b"<html>")
    assert (await phone.sync("work")).status == 207


async def test_row_29_the_whole_server_goes_down_and_comes_back(phone, server):
    url = server.url
    server.world.faults.set("down")
    for base in (server.url, server.partition_url):
        with pytest.raises(aiohttp.ClientConnectionError):
            await phone.propfind("/", TYPES, base=base)
    server.world.faults.clear("down")
    assert (await phone.propfind("/", TYPES)).status == 207
    await server.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await phone.propfind("/", TYPES)
    await server.start()
    assert server.url == url
    assert (await phone.propfind("/", TYPES)).status == 207


async def test_row_30_an_empty_207_where_something_was(phone):
    phone.account.put("work", event("a"))
    switch(phone, "empty-multistatus", times=3, calendar="work")
    for reply in (
        await phone.sync("work"),
        await phone.multiget("work", "a.ics"),
        await phone.report("work", query_body()),
    ):
        assert (reply.status, reply.rows()) == (207, {})
    assert f"{phone.home}work/a.ics" in (await phone.sync("work")).rows()


# -- fixtures ----------------------------------------------------------------------------------


async def test_row_31_fixtures_are_served_byte_for_byte(phone):
    names = put_fixtures(phone.account, "work")
    assert list(names) == [fixture.name for fixture in FIXTURES]
    for fixture in FIXTURES:
        for name, body in zip(
            names[fixture.name], fixture_bodies(phone.account, fixture.name), strict=True
        ):
            assert (await phone.ask("GET", f"{phone.home}work/{name}")).body == body
    listed = (await phone.sync("work")).rows()
    assert len([href for href in listed if href.endswith(".ics")]) == sum(map(len, names.values()))


def test_row_31_fixtures_show_what_they_say(phone_free_account):
    texts = {
        one.name: b"".join(fixture_bodies(phone_free_account, one.name)).replace(b"\r\n ", b"")
        for one in FIXTURES
    }
    for name, needle in {
        "all-day-transparent": b"TRANSP:TRANSPARENT",
        "needs-action": b"PARTSTAT=NEEDS-ACTION",
        "travel-time": b"X-APPLE-TRAVEL-DURATION;VALUE=DURATION:PT30M",
        "split-series": b"RELTYPE=X-CALENDARSERVER-RECURRENCE-SET",
        "far-override": b"RECURRENCE-ID;TZID=Europe/Berlin",
        "offset-zone": b'DTSTART;TZID="GMT+05:00":',
        "windows-zone": b"TZID:W. Europe Standard Time",
        "undefined-zone": b"TZID=Nowhere/Special",
        "date-exdate": b"EXDATE;VALUE=DATE:",
        "organizer-path": b":" + phone_free_account.principal_path.encode(),
        "confidential": b"X-CALENDARSERVER-ACCESS:CONFIDENTIAL",
    }.items():
        assert needle in texts[name], name
    assert texts["double-stamp"].count(b"\r\nDTSTAMP:") == 2
    assert b"TZID:" not in texts["iana-undefined"]
    assert b"DTSTART;VALUE=DATE" in texts["all-day-plain"]
    assert b"TRANSP" not in texts["all-day-plain"]
    assert re.search(rb"DTSTART:\d{8}T100000\r", texts["floating"])
    days = [fixture_day(phone_free_account, one.name) for one in FIXTURES]
    assert len(set(days)) == len(days)
    for name in texts.keys() - {"broken"}:
        for body in fixture_bodies(phone_free_account, name):
            assert icalendar.Calendar.from_ical(body.strip() + b"\r\n").events


@pytest.fixture
def phone_free_account():
    return World(lambda: NOW).add_account(EMAIL)


# -- aiming ------------------------------------------------------------------------------------


async def test_switches_are_aimed_counted_skipped_and_timed(phone, server, session, clock):
    other = Phone(server, session, server.world.add_account("sam@example.com"))
    switch(phone, "status", code=500, times=2, skip=1, method="REPORT", calendar="work")
    got = [(await phone.sync("work")).status for _ in range(4)]
    assert got == [207, 500, 500, 207]
    assert (await other.sync("work")).status == 207
    server.world.faults.set("status", code=503, seconds=10)
    assert [(await one.sync("home")).status for one in (phone, other)] == [503, 503]
    assert [one.name for one in server.world.faults.active()] == ["status"]
    clock.time += 10
    assert (await phone.sync("home")).status == 207
    assert server.world.faults.active() == []
    with pytest.raises(KeyError):
        server.world.faults.set("status", EMAIL, colour="red")


async def test_the_log_tells_which_switch_acted(phone, server):
    switch(phone, "status", times=1)
    await phone.sync("work")
    await phone.sync("work")
    assert [entry.quirks for entry in server.world.journal.entries] == [["status"], []]


def test_every_row_has_a_test():
    here = Path(__file__).parent
    text = "".join(path.read_text() for path in here.glob("test_rows_*.py"))
    rows = {int(number) for number in re.findall(r"def test_row_(\d\d)_", text)}
    assert sorted(rows) == list(range(1, 35))
