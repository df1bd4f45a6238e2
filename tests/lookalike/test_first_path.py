"""The whole path of a client: discovery, listing, sync, bodies, writes; all over raw HTTP."""

import pytest

from .conftest import CS, A, C, D, event, query_body

PRINCIPAL = f"{D}current-user-principal"


async def test_discovery_answers_in_place_with_the_principal(phone):
    for path in ("/.well-known/caldav", "/"):
        reply = await phone.propfind(path, PRINCIPAL)
        principal = phone.account.principal_path
        assert reply.status == 207
        assert list(reply.rows()) == [principal]
        assert reply.rows()[principal][PRINCIPAL].findtext(f"{D}href") == principal


async def test_home_set_names_another_host_and_port(phone, server):
    principal = phone.account.principal_path
    reply = await phone.propfind(principal, f"{C}calendar-home-set")
    home = reply.rows()[principal][f"{C}calendar-home-set"].findtext(f"{D}href")
    assert home == server.partition_url.rstrip("/") + phone.home
    assert not home.startswith(server.url)
    listing = await phone.propfind(
        phone.home, f"{D}resourcetype", depth="1", base=server.partition_url
    )
    assert listing.status == 207


async def test_wrong_password_gets_both_challenges(phone):
    reply = await phone.propfind("/", PRINCIPAL, auth=(phone.account.email, "wrong"))
    challenges = [value for name, value in reply.raw_headers if name == "www-authenticate"]
    assert (reply.status, reply.body) == (401, b"")
    assert challenges == ['Basic realm="MMCalDav"', 'X-MobileMe-AuthToken realm="MMCalDav"']
    assert reply.headers["x-apple-user-partition"] == "01"


async def test_revoked_password_is_refused(phone):
    assert (await phone.propfind("/", PRINCIPAL)).status == 207
    phone.account.revoke("all")
    assert (await phone.propfind("/", PRINCIPAL)).status == 401


async def test_home_lists_every_kind_of_collection(phone):
    props = (
        f"{D}resourcetype",
        f"{D}displayname",
        f"{C}supported-calendar-component-set",
        f"{D}current-user-privilege-set",
        f"{CS}source",
    )
    rows = (await phone.propfind(phone.home, *props, depth="1")).rows()
    seen = {}
    for href, row in rows.items():
        types = [one.tag.partition("}")[2] for one in row[f"{D}resourcetype"]]
        components = row.get(f"{C}supported-calendar-component-set")
        names = None if components is None else [comp.get("name") for comp in components]
        rights = [one[0].tag for one in row[f"{D}current-user-privilege-set"]]
        seen[row[f"{D}displayname"].text if f"{D}displayname" in row else href] = (
            types,
            names,
            f"{D}write" in rights,
        )
    events = ["VEVENT", "VTODO", "VFREEBUSY"]
    assert seen == {
        phone.home: (["collection"], events, True),
        "Home": (["collection", "calendar", "shared-owner"], events, True),
        "Work": (["collection", "calendar"], events, True),
        "Club fixtures": (["collection", "calendar", "shared"], None, False),
        "Family": (["collection", "calendar", "shared"], None, True),
        "Public holidays": (["collection", "subscribed"], ["VEVENT"], True),
        "Reminders": (["collection", "calendar"], ["VTODO"], True),
        "inbox": (["collection", "schedule-inbox"], None, True),
        "outbox": (["collection", "schedule-outbox"], None, True),
        "notification": (["collection", "notification"], None, True),
    }


async def test_calendar_properties(phone):
    href = f"{phone.home}work/"
    props = (
        f"{CS}getctag",
        f"{D}sync-token",
        f"{A}calendar-color",
        f"{A}calendar-order",
        f"{D}displayname",
        f"{D}owner",
        f"{CS}source",
        PRINCIPAL,
    )
    reply = await phone.propfind(href, *props)
    row = reply.rows()[href]
    work = phone.account.calendars["work"]
    assert row[f"{CS}getctag"].text == work.contents.ctag
    assert row[f"{D}sync-token"].text == work.contents.sync_token
    assert row[f"{A}calendar-color"].text == work.color
    assert len(work.color) == 9
    assert row[f"{A}calendar-color"].get("symbolic-color") == work.symbolic_color
    assert row[f"{D}displayname"].text == "Work"
    assert row[f"{D}owner"].findtext(f"{D}href") == phone.account.principal_path
    assert reply.missing(href) == [f"{CS}source", PRINCIPAL]


async def test_sync_collection_lists_changes_and_removals_without_bodies(phone):
    account = phone.account
    for uid in ("a", "b"):
        account.put("work", event(uid))
    first = await phone.sync("work")
    members = {f"{phone.home}work/a.ics", f"{phone.home}work/b.ics"}
    self_entry = f"{phone.home}work/"
    assert set(first.rows()) == members | {self_entry}
    assert b"BEGIN" not in first.body
    token = first.xml.findtext(f"{D}sync-token")
    account.delete("work", "a.ics")
    account.put("work", event("c"))
    second = await phone.sync("work", token)
    rows = second.rows()
    rows.pop(self_entry, None)
    assert list(rows) == [f"{phone.home}work/a.ics", f"{phone.home}work/c.ics"]
    assert rows[f"{phone.home}work/a.ics"] == "HTTP/1.1 404 Not Found"
    token = second.xml.findtext(f"{D}sync-token")
    idle = await phone.sync("work", token)
    assert list(idle.rows()) == [self_entry]
    assert idle.xml.findtext(f"{D}sync-token") == token


async def test_foreign_token_is_a_bare_403(phone):
    reply = await phone.sync("work", "HwoQEgwAAnonsense")
    assert (reply.status, reply.body) == (403, b"")


async def test_multiget_gives_raw_bytes_in_cdata_and_404_for_unknown(phone):
    data = event("a", summary="Tea & <cake> ]]> more")
    phone.account.put("work", data)
    reply = await phone.multiget("work", "a.ics", "gone.ics")
    rows = reply.rows()
    assert b"<![CDATA[BEGIN:VCALENDAR" in reply.body
    found = rows[f"{phone.home}work/a.ics"]
    text = found[f"{C}calendar-data"].text
    assert text.replace("\n", "\r\n").encode() == data
    assert found[f"{D}getetag"].text == phone.account.calendars["work"].resources["a.ics"].etag
    assert rows[f"{phone.home}work/gone.ics"] == "HTTP/1.1 404 Not Found"


@pytest.mark.parametrize(
    ("start", "end", "names"),
    [
        ("20261001T000000Z", "20261002T000000Z", ["once", "weekly"]),
        ("20261010T000000Z", "20261011T000000Z", ["weekly"]),
        ("20250101T000000Z", "20250201T000000Z", []),
    ],
)
async def test_time_range_finds_masters_that_began_before(phone, start, end, names):
    phone.account.put("work", event("once"))
    rule = "RRULE:FREQ=WEEKLY;BYDAY=TU"
    phone.account.put("work", event("weekly", "20260106T090000", "20260106T100000", rule))
    reply = await phone.report("work", query_body(start, end))
    assert list(reply.rows()) == [f"{phone.home}work/{name}.ics" for name in names]


async def test_free_busy_query_is_refused(phone):
    body = (
        b'<C:free-busy-query xmlns:C="urn:ietf:params:xml:ns:caldav">'
        b'<C:time-range start="20261001T000000Z" end="20261002T000000Z"/></C:free-busy-query>'
    )
    assert (await phone.report("work", body)).status == 400


async def test_put_creates_updates_and_rewrites(phone):
    data = event("a", summary="x" * 100)
    created = await phone.put("work", "a.ics", data, If_None_Match="*")
    assert created.status == 201
    stored = await phone.ask("GET", f"{phone.home}work/a.ics")
    assert stored.headers["ETag"] == created.headers["ETag"]
    assert stored.body != data
    assert b"SEQUENCE:0\r\n" in stored.body
    assert max(map(len, stored.body.split(b"\r\n"))) <= 75
    again = await phone.put("work", "a.ics", data, If_Match=created.headers["ETag"])
    assert again.status == 204
    assert again.headers["ETag"] != created.headers["ETag"]
    stale = await phone.put("work", "a.ics", data, If_Match=created.headers["ETag"])
    assert (stale.status, stale.body) == (412, b"")
    assert (await phone.put("work", "a.ics", data, If_None_Match="*")).status == 412


async def test_uid_is_unique_across_the_account(phone):
    assert (await phone.put("work", "a.ics", event("a"))).status == 201
    assert (await phone.put("home", "a.ics", event("a"))).status == 412
    assert (await phone.put("work", "b.ics", event("a"))).status == 412


async def test_read_only_share_refuses_writes(phone):
    club = phone.account.calendar("Club fixtures")
    assert len(club.id) == 64
    assert (await phone.put(club.id, "a.ics", event("a"))).status == 403
    family = phone.account.calendar("Family")
    assert (await phone.put(family.id, "a.ics", event("a"))).status == 201


async def test_delete_without_depth(phone):
    phone.account.put("work", event("a"))
    path = f"{phone.home}work/a.ics"
    assert (await phone.ask("DELETE", path, Depth="1")).status == 400
    assert (await phone.ask("DELETE", path)).status == 204
    assert (await phone.ask("DELETE", path)).status == 404


async def test_guests_are_mailed(phone, server):
    guests = ("ORGANIZER:mailto:robin@example.com", "ATTENDEE:mailto:guest@example.com")
    await phone.put("work", "a.ics", event("a", "20261001T090000", "20261001T100000", *guests))
    assert [(mail.to, mail.method) for mail in server.world.mails] == [
        ("guest@example.com", "REQUEST")
    ]
    assert b"SCHEDULE-STATUS=1.1" in phone.account.get("work", "a.ics").replace(b"\r\n ", b"")
    await phone.put("work", "b.ics", event("b"))
    assert len(server.world.mails) == 1


async def test_the_log_tells_requests_in_order(phone, server):
    mark = server.world.journal.last_seq
    await phone.propfind(phone.home, f"{CS}getctag", depth="1")
    await phone.sync("work")
    await phone.put("work", "a.ics", event("a"))
    await phone.multiget("work", "a.ics")
    await phone.propfind("/", PRINCIPAL, auth=(phone.account.email, "wrong"))
    entries = server.world.journal.select(account=phone.account.email, since=mark)
    assert [(entry.short, entry.calendar, entry.status) for entry in entries] == [
        ("PROPFIND", None, 207),
        ("REPORT sync-collection", "work", 207),
        ("PUT", "work", 201),
        ("REPORT calendar-multiget", "work", 207),
        ("PROPFIND", None, 401),
    ]
    assert [entry.depth for entry in entries] == ["1", "1", None, "1", "0"]
    assert entries[2].body_size == len(event("a"))
    assert len(entries[2].body_sha256) == 64


async def test_bodies_are_refused_without_a_reason(phone):
    good = event("a")
    for bad, status in (
        (good.replace(b"DTEND:20261001T100000Z\r\n", b""), 404),
        (good.replace(b"SUMMARY:Dentist", b"DESCRIPTION:<html><p>hi</p></html>"), 404),
        (good.replace(b"UID:a", b"UID:" + b"a" * 64), 404),
        (good.replace(b"DTEND:20261001T100000Z", b"DTEND;VALUE=DATE:20261002"), 400),
        (good.replace(b"SUMMARY:Dentist", b"STATUS:Confirmed"), 403),
        (b"not a calendar", 403),
    ):
        reply = await phone.put("work", "x.ics", bad)
        assert (reply.status, reply.body) == (status, b"")
    assert phone.account.calendars["work"].resources == {}


async def test_unprefixed_requests_parse_too(phone):
    body = b'<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>'
    assert (await phone.ask("PROPFIND", "/", body, Depth="0")).status == 207
