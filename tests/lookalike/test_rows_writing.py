"""Rows 19 to 27: what is written, over raw HTTP. The number of a row is in the name."""

import pytest

from gateway.lookalike.world.ical import unfold
from gateway.lookalike.world.world import Kind

from .conftest import EMAIL, D, event

NOON = ("20261001T120000", "20261001T130000")
GUESTS = (f"ORGANIZER:mailto:{EMAIL}", f"ATTENDEE:mailto:{EMAIL}", "ATTENDEE:mailto:g@example.net")


def switch(phone, name, **more):
    return phone.server.world.faults.set(name, EMAIL, **more)


def stored(phone, name="a.ics", calendar="work"):
    return phone.account.calendar(calendar).resources[name]


async def test_row_19_what_is_stored_is_not_what_was_sent(phone):
    data = event("a", *NOON, "COLOR:red", "X-THEIRS:kept", "TRANSP:OPAQUE")
    assert (await phone.put("work", "a.ics", data)).status == 201
    lines = unfold(stored(phone).data)
    inner = lines[lines.index("BEGIN:VEVENT") + 1 : lines.index("END:VEVENT")]
    assert inner == sorted(inner, key=lambda line: line.replace(";", ":").partition(":")[0])
    added = {line.partition(":")[0] for line in lines} - {
        line.partition(":")[0] for line in unfold(data)
    }
    assert added == {"CREATED", "LAST-MODIFIED", "SEQUENCE"}
    assert "X-THEIRS:kept" in lines
    assert "COLOR:red" not in lines
    switch(phone, "reserialise", off=True)
    assert (await phone.put("work", "a.ics", data)).status == 204
    assert stored(phone).data == data


async def test_row_19_every_fourth_put_tells_no_etag(phone):
    replies = [await phone.put("work", f"{number}.ics", event(str(number))) for number in range(5)]
    assert ["ETag" in reply.headers for reply in replies] == [True, True, True, False, True]
    switch(phone, "put-etag-missing", every=1)
    assert "ETag" not in (await phone.put("work", "1.ics", event("1"))).headers
    switch(phone, "put-etag-missing", every=0)
    reply = await phone.put("work", "1.ics", event("1"))
    assert reply.headers["ETag"] == stored(phone, "1.ics").etag


async def test_row_20_drift_and_412_without_a_body(phone):
    phone.account.put("work", event("a"))
    etag = stored(phone).etag
    switch(phone, "etag-drift", times=1, method="PUT")
    reply = await phone.put("work", "a.ics", event("a"), If_Match=etag)
    assert (reply.status, reply.body) == (412, b"")
    drifted = stored(phone)
    assert drifted.etag != etag
    assert drifted.data == event("a")
    assert (await phone.put("work", "a.ics", event("a"), If_Match=drifted.etag)).status == 204
    switch(phone, "put-412", times=1)
    reply = await phone.put("work", "a.ics", event("a"))
    assert (reply.status, reply.body) == (412, b"")
    assert (await phone.put("work", "a.ics", event("a"))).status == 204


async def test_row_21_uid_and_tombstones(phone):
    assert (await phone.put("work", "a.ics", event("a"))).status == 201
    assert (await phone.put("home", "x.ics", event("a"))).status == 412
    assert (await phone.put("work", "a.ics", event("other"))).status == 412
    await phone.ask("DELETE", f"{phone.home}work/a.ics")
    for calendar, name, uid, status in (
        ("work", "a.ics", "new", 412),
        ("work", "new.ics", "a", 412),
        ("home", "new.ics", "a", 412),
        ("work", "new.ics", "new", 201),
    ):
        assert (await phone.put(calendar, name, event(uid))).status == status
    switch(phone, "tombstones", off=True)
    assert (await phone.put("home", "a.ics", event("a"))).status == 201
    switch(phone, "unique-uid", off=True)
    assert (await phone.put("work", "b.ics", event("a"))).status == 201


async def test_row_21_the_holder_of_a_uid_can_be_invisible(phone):
    phone.server.world.ledger(EMAIL).hidden.add("ghost")
    for _ in range(2):
        assert (await phone.put("work", "g.ics", event("ghost"))).status == 412
    assert (await phone.put("work", "g.ics", event("new"))).status == 201


GOOD = event("a", *NOON)
TODO = b"\r\n".join(
    [
        b"BEGIN:VCALENDAR",
        b"VERSION:2.0",
        b"BEGIN:VTODO",
        b"UID:t",
        b"DTSTAMP:20260901T000000Z",
        b"DUE:20261001T090000Z",
        b"END:VTODO",
        b"END:VCALENDAR",
        b"",
    ]
)
BAD = {
    "no end": (GOOD.replace(b"DTEND:20261001T130000Z\r\n", b""), 404),
    "html": (GOOD.replace(b"SUMMARY:", b"DESCRIPTION:<div>x</div>\r\nSUMMARY:"), 404),
    "long uid": (GOOD.replace(b"UID:a", b"UID:" + b"u" * 64), 404),
    "mixed types": (GOOD.replace(b"DTSTART:20261001T120000Z", b"DTSTART;VALUE=DATE:20261001"), 400),
    "undefined zone": (
        GOOD.replace(b"DTSTART:20261001T120000Z", b"DTSTART;TZID=X/Y:20261001T120000"),
        400,
    ),
    "status": (GOOD.replace(b"SUMMARY:", b"STATUS:Confirmed\r\nSUMMARY:"), 403),
    "method": (GOOD.replace(b"VERSION:2.0", b"VERSION:2.0\r\nMETHOD:PUBLISH"), 403),
    "no stamp": (GOOD.replace(b"DTSTAMP:20260901T000000Z\r\n", b""), 403),
    "local stamp": (GOOD.replace(b"20260901T000000Z", b"20260901T000000"), 403),
    "timed todo": (TODO, 403),
    "no uid": (GOOD.replace(b"UID:a\r\n", b""), 403),
    "journal": (GOOD.replace(b"VEVENT", b"VJOURNAL"), 500),
    "malformed": (GOOD.replace(b"END:VEVENT\r\n", b""), 403),
    "text": (b"hello", 403),
}


@pytest.mark.parametrize("name", BAD)
async def test_row_22_bad_bodies(phone, name):
    body, status = BAD[name]
    reply = await phone.put("work", "x.ics", body)
    assert (reply.status, reply.body) == (status, b"")
    assert phone.account.calendars["work"].resources == {}


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        GOOD.replace(b"DTEND:20261001T130000Z", b"DTEND:20261001T120000Z"),
        GOOD.replace(b"DTEND:20261001T130000Z", b"DURATION:PT1H"),
        GOOD.replace(b"UID:a", b"UID:" + b"u" * 63),
        GOOD.replace(b"SUMMARY:", b"DESCRIPTION:1 < 2 and <not a tag>\r\nSUMMARY:"),
        TODO.replace(b"DUE:20261001T090000Z", b"DUE;VALUE=DATE:20261001"),
    ],
)
async def test_row_22_bodies_that_are_taken(phone, body):
    assert (await phone.put("work", "x.ics", body)).status == 201


async def test_row_22_can_be_switched_off(phone):
    switch(phone, "bad-body", off=True)
    assert (await phone.put("work", "x.ics", BAD["no end"][0])).status == 201


async def test_row_23_weekly_without_byday_loses_its_rule(phone):
    for name, rule, kept in (
        ("a", "RRULE:FREQ=WEEKLY", False),
        ("b", "RRULE:FREQ=WEEKLY;BYDAY=TH", True),
        ("c", "RRULE:FREQ=DAILY", True),
    ):
        await phone.put("work", f"{name}.ics", event(name, *NOON, rule))
        assert (rule in unfold(stored(phone, f"{name}.ics").data)) is kept
    switch(phone, "weekly-needs-byday", off=True)
    await phone.put("work", "d.ics", event("d", *NOON, "RRULE:FREQ=WEEKLY"))
    assert "RRULE:FREQ=WEEKLY" in unfold(stored(phone, "d.ics").data)


async def test_row_24_the_server_mails_the_guests(phone, server):
    def sent():
        mails = [(mail.to, mail.method) for mail in server.world.mails]
        server.world.mails.clear()
        return mails

    await phone.put("work", "a.ics", event("a", *NOON, *GUESTS))
    assert sent() == [("g@example.net", "REQUEST")]
    guest = next(line for line in unfold(stored(phone).data) if "g@example.net" in line)
    assert guest == "ATTENDEE;SCHEDULE-STATUS=1.1:mailto:g@example.net"
    await phone.put("work", "a.ics", event("a", *NOON))
    assert sent() == [("g@example.net", "CANCEL")]
    await phone.put("work", "a.ics", event("a", *NOON, *GUESTS))
    await phone.ask("DELETE", f"{phone.home}work/a.ics")
    assert sent() == [("g@example.net", "REQUEST"), ("g@example.net", "CANCEL")]
    silent = "ATTENDEE;SCHEDULE-AGENT=CLIENT:mailto:g@example.net"
    await phone.put("work", "b.ics", event("b", *NOON, GUESTS[0], silent))
    await phone.put("work", "c.ics", event("c", *NOON))
    assert sent() == []


async def test_row_24_touching_an_invitation_mails_the_organizer(phone, server):
    lines = ("ORGANIZER:mailto:host@example.net", f"ATTENDEE;PARTSTAT=DECLINED:mailto:{EMAIL}")
    phone.account.put("work", event("a", *NOON, *lines))
    await phone.put("work", "a.ics", event("a", *NOON, *lines))
    await phone.ask("DELETE", f"{phone.home}work/a.ics")
    assert [(mail.to, mail.method) for mail in server.world.mails] == [
        ("host@example.net", "REPLY")
    ] * 2


async def test_row_25_sharees_are_notified_of_each_create_and_delete(phone, server):
    def shown(calendar):
        notes = server.world.select_notifications(EMAIL, calendar)
        server.world.notifications.clear()
        return [(note.action, note.name) for note in notes]

    for calendar in ("home", phone.account.calendar("Family").id):
        await phone.put(calendar, "a.ics", event(f"a{calendar[:9]}"))
        await phone.put(calendar, "a.ics", event(f"a{calendar[:9]}", *NOON))
        assert shown(calendar) == [("created", "a.ics")]
        await phone.ask("DELETE", f"{phone.home}{calendar}/a.ics")
        await phone.put(calendar, "b.ics", event(f"b{calendar[:9]}"))
        assert shown(calendar) == [("deleted", "a.ics"), ("created", "b.ics")]
    await phone.put("work", "w.ics", event("w"))
    assert shown("work") == []


async def test_row_26_delete_on_a_shared_collection_unlinks_it(phone, server):
    friend = server.world.add_account("sam@example.com")
    shared = server.world.share(friend.email, "work", EMAIL)
    friend.put("work", event("a"))
    assert (await phone.ask("DELETE", f"{phone.home}{shared.id}/")).status == 204
    assert shared.id not in phone.account.calendars
    assert list(friend.calendars["work"].resources) == ["a.ics"]
    family = phone.account.calendar("Family")
    switch(phone, "delete-unlinks", off=True)
    assert (await phone.ask("DELETE", f"{phone.home}{family.id}/")).status == 403
    for kind in (Kind.INBOX, Kind.OUTBOX, Kind.NOTIFICATION):
        assert (await phone.ask("DELETE", f"{phone.home}{kind.value}/")).status == 403


async def test_row_27_collection_verbs_and_stars(phone):
    path = f"{phone.home}NEW/"
    assert (await phone.ask("MKCALENDAR", path)).status == 403
    assert (await phone.ask("MKCOL", path)).status == 403
    phone.account.put("work", event("a"))
    href = f"{phone.home}work/a.ics"
    for verb in ("MOVE", "COPY"):
        assert (await phone.ask(verb, href, Destination=f"{phone.home}home/a.ics")).status == 412
    assert (await phone.put("work", "a.ics", event("a"), If_Match="*")).status == 412
    switch(phone, "if-match-star-412", off=True)
    assert (await phone.put("work", "a.ics", event("a"), If_Match="*")).status == 204
    assert (await phone.put("work", "b.ics", event("b"), If_Match="*")).status == 412
    switch(phone, "mkcalendar-403", off=True)
    body = (
        b'<D:mkcol xmlns:D="DAV:"><D:set><D:prop><D:displayname>Plans</D:displayname>'
        b"</D:prop></D:set></D:mkcol>"
    )
    assert (await phone.ask("MKCOL", path, body)).status == 201
    assert phone.account.calendars["NEW"].name == "Plans"


async def test_row_27_delete_with_a_wrong_etag(phone):
    phone.account.put("work", event("a"))
    switch(phone, "delete-honours-etag", times=1)
    path = f"{phone.home}work/a.ics"
    assert (await phone.ask("DELETE", path, If_Match='"wrong"')).status == 412
    assert (await phone.ask("DELETE", path, If_Match='"wrong"')).status == 204


async def test_writes_to_where_nothing_can_be_written(phone):
    club = phone.account.calendar("Club fixtures")
    for calendar, status in ((club.id, 403), ("inbox", 403), ("nowhere", 404)):
        assert (await phone.put(calendar, "a.ics", event("a"))).status == status
    foreign = f"/{int(phone.account.dsid) + 1}/calendars/work/a.ics"
    assert (await phone.ask("PUT", foreign, event("a"))).status == 403
    phone.account.put(club.id, event("a"))
    assert (await phone.ask("DELETE", f"{phone.home}{club.id}/a.ics")).status == 403
    assert (await phone.ask("POST", f"{phone.home}work/")).status == 405


async def test_properties_of_an_own_calendar_can_be_set(phone):
    body = (
        b'<D:propertyupdate xmlns:D="DAV:" xmlns:A="http://apple.com/ns/ical/"><D:set><D:prop>'
        b"<D:displayname>Office</D:displayname><A:calendar-color>#112233</A:calendar-color>"
        b"</D:prop></D:set></D:propertyupdate>"
    )
    href = f"{phone.home}work/"
    reply = await phone.ask("PROPPATCH", href, body)
    assert sorted(reply.rows()[href]) == [
        f"{D}displayname",
        "{http://apple.com/ns/ical/}calendar-color",
    ]
    work = phone.account.calendars["work"]
    assert (work.name, work.color) == ("Office", "#112233FF")
    club = phone.account.calendar("Club fixtures")
    await phone.ask("PROPPATCH", f"{phone.home}{club.id}/", body)
    assert club.name == "Club fixtures"
