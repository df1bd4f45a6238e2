"""The control API through its client, as another process uses it."""

import aiohttp
import pytest

from gateway.lookalike import page
from gateway.lookalike.client import ControlError, LookalikeControl
from gateway.lookalike.control.control import ACTIONS
from gateway.lookalike.world.ical import unfold

from .conftest import CS, EMAIL, event


@pytest.fixture
async def control(server):
    async with LookalikeControl(server.url) as opened:
        yield opened


async def test_accounts_and_passwords(control, server):
    made = await control.add_account("sam@example.com", name="Sam")
    account = await control.account("SAM@example.com")
    assert account["app_passwords"] == [made["app_password"]]
    assert [one["kind"] for one in account["calendars"]] == [
        *["calendar"] * 4,
        "subscribed",
        "reminders",
        "inbox",
        "outbox",
        "notification",
    ]
    second = await control.issue_password("sam@example.com")
    await control.revoke("sam@example.com", made["app_password"])
    assert server.world.account("sam@example.com").app_passwords == {second}
    await control.revoke("sam@example.com")
    assert (await control.account("sam@example.com"))["app_passwords"] == []


async def test_objects_and_edits(control, phone):
    data = event("a") + b"\xff raw bytes\r\n"
    name = await control.put(EMAIL, "work", data)
    assert name == "a.ics"
    assert await control.get(EMAIL, "work", name) == data
    await control.put(EMAIL, "work", event("a", "20261001T090000", "20261001T100000"))
    await control.reschedule(EMAIL, "work", name, 3600, length=1800)
    await control.edit(EMAIL, "work", name, SUMMARY="Moved")
    lines = unfold(await control.get(EMAIL, "work", name))
    assert {"DTSTART:20261001T100000Z", "DTEND:20261001T103000Z", "SUMMARY:Moved"} <= set(lines)
    assert await control.move(EMAIL, "work", name, "home") == name
    old = (await control.objects(EMAIL, "home"))[0]["etag"]
    assert await control.drift(EMAIL, "home", name) != old
    await control.delete(EMAIL, "home", name)
    assert await control.objects(EMAIL, "home") == []


async def test_series_and_guests(control, phone):
    rule = "RRULE:FREQ=DAILY;COUNT=4"
    name = await control.put(EMAIL, "work", event("s", "20261001T090000", "20261001T100000", rule))
    await control.move_occurrence(EMAIL, "work", name, "20261002T090000Z", 1800)
    await control.delete_occurrence(EMAIL, "work", name, "20261001T090000Z")
    new = await control.split_series(EMAIL, "work", name, "20261003T090000Z", seconds=600)
    await control.add_guests(EMAIL, "work", new, "guest@example.net")
    await control.respond(EMAIL, "work", new, "DECLINED")
    first = unfold(await control.get(EMAIL, "work", name))
    second = unfold(await control.get(EMAIL, "work", new))
    assert "RECURRENCE-ID:20261002T090000Z" in first
    assert "EXDATE:20261001T090000Z" in first
    assert "DTSTART:20261003T091000Z" in second
    assert any("PARTSTAT=DECLINED" in line and EMAIL in line for line in second)
    fixtures = await control.put_fixtures(EMAIL, "home", "floating", "split-series")
    assert {key: len(names) for key, names in fixtures.items()} == {
        "floating": 1,
        "split-series": 2,
    }


async def test_calendars_and_sharing(control, phone):
    await control.add_account("sam@example.com")
    made = await control.create_calendar(EMAIL, "Projects")
    await control.rename_calendar(EMAIL, made, name="Plans", color="#112233FF")
    theirs = await control.share(EMAIL, made, "sam@example.com", "read")
    await control.put(EMAIL, made, event("a"))
    assert [one["name"] for one in await control.objects("sam@example.com", theirs)] == ["a.ics"]
    assert await control.notification_count(EMAIL, made) == 1
    seen = {one["id"]: one for one in (await control.account("sam@example.com"))["calendars"]}
    assert (seen[theirs]["name"], seen[theirs]["mode"], len(theirs)) == ("Plans", "read", 64)
    await control.set_mode("sam@example.com", theirs, "write")
    await control.unshare(EMAIL, made, "sam@example.com")
    await control.drop_calendar(EMAIL, made)
    for email, gone in ((EMAIL, made), ("sam@example.com", theirs)):
        ids = [one["id"] for one in (await control.account(email))["calendars"]]
        assert gone not in ids


async def test_log_switches_and_clock(control, phone):
    await phone.propfind(phone.home, f"{CS}getctag", depth="1")
    await phone.sync("work")
    log = await control.log(EMAIL)
    assert [entry["short"] for entry in log] == ["PROPFIND", "REPORT sync-collection"]
    assert await control.log(EMAIL, since=log[0]["seq"], calendar="work") == log[1:]
    await control.clear_log()
    assert await control.log() == []
    number = await control.throttle(EMAIL, block=30)
    assert [one["id"] for one in await control.call("faults")] == [number]
    assert (await phone.sync("work")).status == 503
    assert await control.clear_faults(id=number) == 1
    assert (await phone.sync("work")).status == 207
    for switch in (control.cut_bodies, control.empty_answers, control.delay):
        await switch(EMAIL, times=1)
    assert await control.clear_faults(account=EMAIL) == 3
    now = await control.advance(60)
    assert await control.advance(0) == now
    assert await control.mail_count() == 0


async def test_stop_and_start(control, phone):
    await control.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await phone.sync("work")
    await control.start()
    assert (await phone.sync("work")).status == 207


async def test_refusals_say_why(control, phone, session, server):
    for action, arguments in (
        ("get", {"account": EMAIL, "calendar": "work", "name": "none.ics"}),
        ("set-fault", {"quirk": "no-such-quirk"}),
        ("set-fault", {"quirk": "lag", "colour": "red"}),
        ("set-mode", {"account": EMAIL, "calendar": "work", "mode": "read"}),
        ("objects", {"account": "nobody@example.com", "calendar": "work"}),
        ("no-such-action", {}),
    ):
        with pytest.raises(ControlError, match=action):
            await control.call(action, **arguments)
    url = f"{server.url}_control/accounts"
    async with session.get(url, headers={"Origin": "http://evil.example"}) as reply:
        assert reply.status == 403
    async with session.get(url) as reply:
        assert [one["email"] for one in await reply.json()] == [EMAIL]


def test_the_page_is_current(pytestconfig):
    written = (pytestconfig.rootpath / "docs" / "lookalike.md").read_text(encoding="utf-8")
    assert written == page.render_page(), (
        "run: python -m gateway.lookalike.page > docs/lookalike.md"
    )


def test_the_page_lists_all_rows_and_actions():
    text = page.render_page()
    rows = [
        int(line.split("|")[1])
        for line in text.splitlines()
        if line.startswith("| ") and line[2].isdigit()
    ]
    assert sorted(set(rows)) == list(range(1, 35))
    assert all(f"| `{name}` |" in text for name in ACTIONS)
